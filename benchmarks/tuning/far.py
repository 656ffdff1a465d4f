"""Readers at a distance, and the kernel's settings: in a namespace, where they can be changed.

`python -m benchmarks.tuning.far SETTING VALUES…` is what runs inside.
"""

from __future__ import annotations

import contextlib
import functools
import json
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from benchmarks.generator import generator
from benchmarks.processes import prepare_driver
from benchmarks.servers import Server, fastchat
from benchmarks.tuning.clients import Reader, connect, encode, encode_sends, read_until
from benchmarks.tuning.curve import Curve, Metric, Sample, TuningPlan, Value
from benchmarks.tuning.namespace import ROUND_TRIP_MS, THERE, far_path, measure_inside, set_sysctl

_MISSED = 30_000
_TIMEOUT_S = 30.0
_SETTINGS = (
    'rooms.classes=[{"pattern":"*","ring_bytes":67108864}]',
    "auth.guests=on",  # left alone, it lets no guests in where others than this machine can connect
)
_CONNECTIONS = 300
_IDLE_S = 5.0
_KIB = 1 << 10


def _fill(server: Server, messages: int, prefix: str) -> None:
    options: dict[str, int | float | str] = {"senders": 10, "window": 64, "subscribers": 0, "seconds": 20}
    with generator(server, "line", "window", prefix=prefix, **options) as load:
        load.run(messages)


def _read_all(reader: Reader, messages: int, speaker: socket.socket | None = None) -> float:
    """How long it takes until the reader has so many; who speaks meanwhile reads the answers."""
    began = time.monotonic()
    watched = [reader.connection] if speaker is None else [reader.connection, speaker]
    while reader.received < messages:
        reader.read()
        if speaker in select.select(watched, [], [], 0.1)[0]:
            assert speaker is not None
            speaker.recv(1 << 16)
        if time.monotonic() > began + _TIMEOUT_S:
            raise TimeoutError(f"a far reader has got {reader.received:,} messages after {_TIMEOUT_S} s")
    return time.monotonic() - began


def _catch_up(*settings: str) -> Sample:
    """A far reader comes back to what the ring holds."""
    with fastchat(*settings, *_SETTINGS, host="0.0.0.0") as server:
        _fill(server, _MISSED, "u")
        reader = Reader(server.line_port, "far", host=THERE)
        reader.join("bench", 0)
        return {"seconds": _read_all(reader, _MISSED)}


def _with_setting(name: str, value: str) -> Sample:
    return _catch_up(f"{name}={value}")


def _with_send_memory(value: str) -> Sample:
    smaller = min(16 * _KIB, int(value))
    set_sysctl("net.ipv4.tcp_wmem", f"4096 {smaller} {value}")
    return _catch_up()


def _after_silence(value: str) -> Sample:
    """A far reader has had much, then nothing for a while, then 2,000 messages at once (340 kB)."""
    # Under BBR, which paces by what it measures, the setting has no effect. Every namespace may have Reno.
    set_sysctl("net.ipv4.tcp_congestion_control", "reno")
    set_sysctl("net.ipv4.tcp_slow_start_after_idle", value)
    with fastchat(*_SETTINGS, host="0.0.0.0") as server:
        _fill(server, _MISSED, "u")
        reader = Reader(server.line_port, "far", host=THERE)
        reader.join("bench", 0)
        _read_all(reader, _MISSED)
        with contextlib.closing(connect(server.line_port, "near")) as speaker:
            speaker.sendall(encode(type="join", room="bench"))
            read_until(speaker, b'"type":"joined"')
            time.sleep(_IDLE_S)
            reader.forget()
            speaker.sendall(encode_sends("bench", "n", 2000))
            return {"seconds": _read_all(reader, 2000, speaker)}


def _with_backlog(value: str) -> Sample:
    """So many connections come in the same moment."""
    set_sysctl("net.core.somaxconn", value)
    options = {"subscribers": _CONNECTIONS, "connecting": _CONNECTIONS, "seconds": 1}
    with fastchat() as server:
        began = time.monotonic()
        with generator(server, "line", "idle", **options):
            return {"seconds": time.monotonic() - began}


MEASURES: dict[str, Callable[[str], Sample]] = {
    "fanout.send_buffer_bytes": functools.partial(_with_setting, "fanout.send_buffer_bytes"),
    "fanout.low_water_bytes": functools.partial(_with_setting, "fanout.low_water_bytes"),
    "net.ipv4.tcp_wmem": _with_send_memory,
    "net.ipv4.tcp_slow_start_after_idle": _after_silence,
    "net.core.somaxconn": _with_backlog,
}


def _round(setting: str, values: Sequence[Value], plan: TuningPlan) -> Iterator[tuple[Value, Sample]]:
    return measure_inside("benchmarks.tuning.far", setting, values)


def _curve(
    key: str, setting: str, title: str, values: tuple[Value, ...], default: Value, quick: tuple[Value, ...]
) -> Curve:
    """The time it takes, in KiB of the setting."""
    metric = Metric("seconds", f"{_MISSED:,} messages to a reader {ROUND_TRIP_MS} ms away", "s")
    measure = functools.partial(_round, setting)
    return Curve(
        key,
        setting,
        title,
        "KiB",
        values,
        default,
        (metric,),
        measure,
        unit_size=_KIB,
        relative=False,
        y_label="s",
        quick_values=quick,
    )


_FAR = f"how long a reader {ROUND_TRIP_MS} ms away takes to catch up"
SEND_BUFFER = _curve(
    "far-send-buffer",
    "fanout.send_buffer_bytes",
    f"SO_SNDBUF, and {_FAR}",
    (0, 32 * _KIB, 64 * _KIB, 256 * _KIB, 1024 * _KIB, 2048 * _KIB),
    0,
    (0, 256 * _KIB),
)
LOW_WATER = _curve(
    "far-low-water",
    "fanout.low_water_bytes",
    f"Unsent bytes in the kernel, and {_FAR}",
    (0, 2 * _KIB, 8 * _KIB, 32 * _KIB, 63 * _KIB),
    32 * _KIB,
    (2 * _KIB, 32 * _KIB),
)
SEND_MEMORY = _curve(
    "tcp-wmem",
    "net.ipv4.tcp_wmem",
    f"The third value of tcp_wmem, and {_FAR}",
    (64 * _KIB, 256 * _KIB, 1024 * _KIB, 4096 * _KIB, 16384 * _KIB),
    4096 * _KIB,
    (256 * _KIB, 4096 * _KIB),
)
SILENCE = Curve(
    "slow-start",
    "net.ipv4.tcp_slow_start_after_idle",
    f"2,000 messages at once to a reader {ROUND_TRIP_MS} ms away, after {_IDLE_S:.0f} s of silence (Reno)",
    "",
    ("1", "0"),
    "1",
    (Metric("seconds", "until all are there", "s"),),
    functools.partial(_round, "net.ipv4.tcp_slow_start_after_idle"),
)
BACKLOG = Curve(
    "backlog",
    "net.core.somaxconn",
    f"{_CONNECTIONS:,} connections in the same moment",
    "",
    (64, 128, 192, 256, 4096),
    4096,
    (Metric("seconds", f"until {_CONNECTIONS:,} have joined", "s"),),
    functools.partial(_round, "net.core.somaxconn"),
    relative=False,
    y_label="s",
)
CURVES = (SEND_BUFFER, LOW_WATER, SEND_MEMORY, SILENCE, BACKLOG)


def main() -> None:
    setting, *values = sys.argv[1:]
    prepare_driver()
    with far_path():
        for value in values:
            print(json.dumps(MEASURES[setting](value)), flush=True)


if __name__ == "__main__":
    main()
