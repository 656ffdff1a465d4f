"""Readers at a distance: catching up over a path of 100 ms, which a process stands for (TUN, own namespace).

The kernel's TCP is the real one at both ends. `python -m benchmarks.tuning.far` is what runs inside the
namespace; it needs no privilege where users may have namespaces of their own.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import json
import os
import select
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from benchmarks.generator import generator
from benchmarks.processes import LOAD_CORE, prepare_driver, start_process
from benchmarks.programs import ROOT
from benchmarks.servers import fastchat
from benchmarks.tuning.clients import Reader
from benchmarks.tuning.curve import CannotMeasure, Curve, Metric, Sample, TuningPlan, Value

ROUND_TRIP_MS = 100
_HERE, _THERE = "10.9.0.1", "10.9.0.2"
_MISSED = 30_000
_TIMEOUT_S = 30.0
_DEEP_RING = 'rooms.classes=[{"pattern":"*","ring_bytes":67108864}]'
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x1, 0x1000
_KIB = 1 << 10


def reflect(name: str, delay_s: float) -> None:
    """Sends every packet back after a while, from there to here: a connection to ``there`` reaches ``here``.

    To exchange the two addresses leaves every checksum as it is.
    """
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    under_way: collections.deque[tuple[float, bytes]] = collections.deque()
    os.write(1, b"ready\n")
    while True:
        wait_s = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        select.select([device], [], [], wait_s)
        now = time.monotonic()
        with contextlib.suppress(BlockingIOError):
            while True:
                packet = os.read(device, 65536)
                if packet[0] >> 4 == 4:
                    turned = packet[:12] + packet[16:20] + packet[12:16] + packet[20:]
                    under_way.append((now + delay_s, turned))
        while under_way and under_way[0][0] <= now:
            os.write(device, under_way.popleft()[1])


@contextlib.contextmanager
def _path() -> Iterator[None]:
    """A device behind which everything is half a round trip away."""
    command = [sys.executable, "-m", "benchmarks.tuning.far", "reflect", "far0", str(ROUND_TRIP_MS / 2e3)]
    process = start_process(LOAD_CORE, command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError("the path could not be made")
        for arguments in (
            "link set lo up",
            f"addr add {_HERE}/24 dev far0",
            "link set far0 up mtu 1500 txqueuelen 20000",
        ):
            subprocess.run(["ip", *arguments.split()], check=True)
        yield
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _catch_up_s(setting: str, value: int) -> float:
    """How long a far reader takes to get 30,000 messages, which the ring holds."""
    with fastchat(f"{setting}={value}", _DEEP_RING, host="0.0.0.0") as server:
        fill: dict[str, int | float | str] = {"senders": 10, "window": 64, "subscribers": 0, "seconds": 20}
        with generator(server, "line", "window", **fill) as load:
            load.run(_MISSED)
        reader = Reader(server.line_port, "far", host=_THERE)
        began = time.monotonic()
        reader.join("bench", 0)
        while reader.received < _MISSED:
            if not reader.read():
                select.select([reader.connection], [], [], 0.1)
            if time.monotonic() > began + _TIMEOUT_S:
                raise TimeoutError(f"a far reader has got {reader.received:,} messages after {_TIMEOUT_S} s")
        reader.connection.close()
        return time.monotonic() - began


def measure_far(setting: str, values: Sequence[Value]) -> Iterator[tuple[Value, Sample]]:
    """A round in a namespace of its own. Raises CannotMeasure where there can be none."""
    for program in ("unshare", "ip"):
        if shutil.which(program) is None:
            raise CannotMeasure(f"`{program}` is missing; install util-linux and iproute2")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        raise CannotMeasure("/dev/net/tun cannot be opened; load the kernel's module tun")
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode:
        raise CannotMeasure("network namespaces are not allowed to this user; run it as root")
    inside = [sys.executable, "-m", "benchmarks.tuning.far", "measure", setting, *map(str, values)]
    done = subprocess.run(["unshare", "-rn", *inside], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    measured = [json.loads(line) for line in done.stdout.splitlines()]
    yield from zip(values, measured, strict=True)


def _measure_send_buffer(values: Sequence[Value], plan: TuningPlan) -> Iterator[tuple[Value, Sample]]:
    return measure_far("fanout.send_buffer_bytes", values)


def _measure_low_water(values: Sequence[Value], plan: TuningPlan) -> Iterator[tuple[Value, Sample]]:
    return measure_far("fanout.low_water_bytes", values)


_SECONDS = Metric("seconds", f"{_MISSED:,} messages to a reader {ROUND_TRIP_MS} ms away", "s")
SEND_BUFFER = Curve(
    "far-send-buffer",
    "fanout.send_buffer_bytes",
    f"SO_SNDBUF, and how long a reader {ROUND_TRIP_MS} ms away takes to catch up",
    "KiB",
    (0, 32 * _KIB, 64 * _KIB, 256 * _KIB, 1024 * _KIB, 2048 * _KIB),
    0,
    (_SECONDS,),
    _measure_send_buffer,
    quick_values=(0, 256 * _KIB),
    unit_size=_KIB,
    relative=False,
    y_label="s",
)
LOW_WATER = Curve(
    "far-low-water",
    "fanout.low_water_bytes",
    f"Unsent bytes in the kernel, and how long a reader {ROUND_TRIP_MS} ms away takes to catch up",
    "KiB",
    (0, 2 * _KIB, 8 * _KIB, 32 * _KIB, 63 * _KIB),
    32 * _KIB,
    (_SECONDS,),
    _measure_low_water,
    quick_values=(2 * _KIB, 32 * _KIB),
    unit_size=_KIB,
    relative=False,
    y_label="s",
)
CURVES = (SEND_BUFFER, LOW_WATER)


def main() -> None:
    what, *arguments = sys.argv[1:]
    if what == "reflect":
        reflect(arguments[0], float(arguments[1]))
    prepare_driver()
    with _path():
        for value in arguments[1:]:
            print(json.dumps({"seconds": _catch_up_s(arguments[0], int(value))}), flush=True)


if __name__ == "__main__":
    main()
