"""A network of one's own, and in it a path of 100 ms that a process stands for. TCP is the kernel's, as ever.

It needs no privilege where users may have namespaces of their own. The machine's settings stay as they are.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import json
import os
import pathlib
import select
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from benchmarks.processes import LOAD_CORE, start_process
from benchmarks.programs import ROOT
from benchmarks.tuning.curve import CannotMeasure, Sample, Value

ROUND_TRIP_MS = 100
HERE, THERE = "10.9.0.1", "10.9.0.2"
"""What connects to THERE reaches HERE, a round trip away."""

_TIMEOUT_S = 90.0
# A namespace of processes too: whatever happens, nothing that was started in it outlives it.
_UNSHARE = ("unshare", "-rn", "--pid", "--fork", "--kill-child", "--mount-proc")
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x1, 0x1000


def measure_inside(module: str, setting: str, values: Sequence[Value]) -> Iterator[tuple[Value, Sample]]:
    """Runs `python -m MODULE SETTING VALUES…` in a namespace; it prints one JSON line for each value.

    Raises CannotMeasure where there can be no namespace.
    """
    for program, package in (("unshare", "util-linux"), ("ip", "iproute2")):
        if shutil.which(program) is None:
            raise CannotMeasure(f"`{program}` is missing; install {package}")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        raise CannotMeasure("/dev/net/tun cannot be opened; load the kernel's module tun")
    if subprocess.run([*_UNSHARE, "true"], capture_output=True).returncode:
        raise CannotMeasure(f"this user may have no namespaces ({' '.join(_UNSHARE)}); run it as root")
    inside = [*_UNSHARE, sys.executable, "-m", module, setting, *map(str, values)]
    done = subprocess.run(inside, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=_TIMEOUT_S)
    yield from zip(values, map(json.loads, done.stdout.splitlines()), strict=True)


def set_sysctl(name: str, value: str) -> None:
    """Of this namespace alone."""
    pathlib.Path("/proc/sys", *name.split(".")).write_text(value)


@contextlib.contextmanager
def far_path() -> Iterator[None]:
    """The namespace's loopback device, and a device behind which THERE is."""
    command = [sys.executable, "-m", __name__, "far0", str(ROUND_TRIP_MS / 2e3)]
    process = start_process(LOAD_CORE, command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError("the path could not be made")
        for arguments in (
            "link set lo up",
            f"addr add {HERE}/24 dev far0",
            "link set far0 up mtu 1500 txqueuelen 20000",
        ):
            subprocess.run(["ip", *arguments.split()], check=True)
        yield
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def turn_packet(packet: bytes) -> bytes:
    """The packet with its addresses exchanged, which leaves every checksum as it is."""
    return packet[:12] + packet[16:20] + packet[12:16] + packet[20:]


def reflect(device_name: str, delay_s: float) -> None:
    """Sends every packet back after a while, from there to here: a connection to THERE reaches HERE."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", device_name.encode(), _IFF_TUN | _IFF_NO_PI))
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
                    under_way.append((now + delay_s, turn_packet(packet)))
        while under_way and under_way[0][0] <= now:
            os.write(device, under_way.popleft()[1])


if __name__ == "__main__":
    reflect(sys.argv[1], float(sys.argv[2]))
