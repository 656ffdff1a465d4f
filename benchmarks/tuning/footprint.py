"""Memory: what each part of a server takes, whether the parts add up, and whether the allocator matters."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from benchmarks.generator import generator
from benchmarks.processes import read_anonymous_bytes
from benchmarks.servers import Server, fastchat
from benchmarks.tuning.clients import connect, encode, encode_sends, read_until
from benchmarks.tuning.curve import TuningPlan, short
from benchmarks.tuning.observe import huge_pages_mode
from benchmarks.tuning.slow_readers import KIB, MIB, stuck_readers

_WARM_UP = 500
_IDLE = 5000
_ROOMS = 100
_PEOPLE = 50
_STUCK_SETTLE_MESSAGES = 500
_EXAMPLE_ROOMS = 20
_EXAMPLE_RING = 2 * MIB
_TURN = 1000

Parts = dict[str, float]
"""Bytes, by part."""


@contextlib.contextmanager
def _idle(server: Server, dialect: str, count: int, prefix: str, seconds: float = 600) -> Iterator[None]:
    options: dict[str, int | float | str] = {"subscribers": count, "seconds": seconds, "room": "idle"}
    with generator(server, dialect, "idle", prefix=prefix, **options):
        time.sleep(1.2)  # the last of them have been told of each other
        yield


def _bytes_per_connection(dialect: str) -> float:
    with fastchat() as server, _idle(server, dialect, _WARM_UP, "w"):
        before = read_anonymous_bytes(server.pid)
        with _idle(server, dialect, _IDLE, "i"):
            return (read_anonymous_bytes(server.pid) - before) / _IDLE


def _bytes_per_membership() -> float:
    """One more room for somebody who is in some already; the rooms are there."""
    with fastchat() as server, contextlib.ExitStack() as stack:
        people = [
            stack.enter_context(contextlib.closing(connect(server.line_port, f"p{i}")))
            for i in range(_PEOPLE + 1)
        ]
        before = 0
        for i, person in enumerate(people):
            person.sendall(b"".join(encode(type="join", room=f"r{number}") for number in range(_ROOMS)))
            read_until(person, f'"type":"joined","room":"r{_ROOMS - 1}"'.encode())
            if i == 0:
                before = read_anonymous_bytes(server.pid)
        return (read_anonymous_bytes(server.pid) - before) / (_PEOPLE * _ROOMS)


def fill_rooms(server: Server, rooms: int, size_bytes: int) -> None:
    """Says so much in each room: messages of 64 letters, counted as a ring counts them."""
    with contextlib.closing(connect(server.line_port, "filler")) as person:
        for number in range(rooms):
            name, said = f"full{number}", 0
            person.sendall(encode(type="join", room=name))
            read_until(person, b'"type":"joined"')
            while said * _EVENT_BYTES < size_bytes:
                person.sendall(encode_sends(name, "e", _TURN, said) + encode(type="ping"))
                read_until(person, b'"type":"pong"')
                said += _TURN


_EVENT_BYTES = 300  # a message of 64 letters as the ring counts it, a little less: so that rings are full


def _bytes_per_ring_byte() -> float:
    ring_bytes = 16 * MIB
    with fastchat(f"fanout.ring_bytes={ring_bytes}") as server:
        fill_rooms(server, 1, MIB)
        before = read_anonymous_bytes(server.pid)
        fill_rooms(server, 2, int(1.1 * ring_bytes))
        # The first of the two had a mebibyte before.
        return (read_anonymous_bytes(server.pid) - before) / (2 * ring_bytes - MIB)


def _bytes_per_stuck_reader() -> float:
    with fastchat() as server:
        with stuck_readers(server, messages=0):
            pass
        time.sleep(0.5)
        before = read_anonymous_bytes(server.pid)
        with stuck_readers(server, messages=_STUCK_SETTLE_MESSAGES, count=800):
            return (read_anonymous_bytes(server.pid) - before) / 800


def measure_parts() -> Parts:
    with fastchat() as server:
        time.sleep(0.5)
        bare = read_anonymous_bytes(server.pid)
    return {
        "bare": bare,
        "websocket": _bytes_per_connection("ws"),
        "line": _bytes_per_connection("line"),
        "membership": _bytes_per_membership(),
        "ring": _bytes_per_ring_byte(),
        "stuck": _bytes_per_stuck_reader(),
    }


def predict(parts: Mapping[str, float]) -> list[tuple[str, float, float]]:
    """The worked example: what there is, how many, bytes of each."""
    return [
        ("the server alone", 1, parts["bare"]),
        ("idle WebSocket connections", _IDLE, parts["websocket"]),
        ("stuck readers", 800, parts["stuck"]),
        (f"memory rooms with {_EXAMPLE_RING // MIB} MiB", _EXAMPLE_ROOMS, parts["ring"] * _EXAMPLE_RING),
    ]


def measure_example() -> float:
    """All of the worked example in one server: bytes."""
    with fastchat(f"fanout.ring_bytes={_EXAMPLE_RING}") as server:
        fill_rooms(server, _EXAMPLE_ROOMS, int(1.1 * _EXAMPLE_RING))
        with (
            stuck_readers(server, messages=_STUCK_SETTLE_MESSAGES, count=800),
            _idle(server, "ws", _IDLE, "i"),
        ):
            return read_anonymous_bytes(server.pid)


_PART_TITLES = {
    "bare": ("the server alone", MIB, "MiB"),
    "websocket": ("idle WebSocket connection, in one room", KIB, "KiB"),
    "line": ("idle line connection, in one room", KIB, "KiB"),
    "membership": ("each further room of a connection", 1, "bytes"),
    "ring": ("memory room, for each byte of `fanout.ring_bytes`", 1, "bytes"),
    "stuck": ("reader that has stopped, at the default watermarks", KIB, "KiB"),
}


def format_parts(rounds: Sequence[Parts]) -> str:
    rows = ["| part | takes | rounds |", "|---|--:|--:|"]
    for key, (title, size, unit) in _PART_TITLES.items():
        values = [parts[key] / size for parts in rounds]
        spread = f"{short(min(values))} … {short(max(values))}"
        rows.append(f"| {title} | {short(statistics.median(values))} {unit} | {spread} |")
    return "\n".join(rows)


def format_example(parts: Mapping[str, float], measured: Sequence[float]) -> str:
    rows = ["| part | how many | each | together |", "|---|--:|--:|--:|"]
    total = 0.0
    for title, count, each in predict(parts):
        total += count * each
        size = f"{short(each / MIB)} MiB" if each >= MIB else f"{short(each / KIB)} KiB"
        rows.append(f"| {title} | {count:,} | {size} | {short(count * each / MIB)} MiB |")
    rows.append(f"| **predicted** | | | {short(total / MIB)} MiB |")
    rows.append(f"| **measured**, all at once | | | {short(statistics.median(measured) / MIB)} MiB |")
    return "\n".join(rows)


def study_memory(plan: TuningPlan, show: Callable[[str], None]) -> tuple[dict[str, object], dict[str, str]]:
    """The constants of the memory formula, and a worked example that is measured too."""
    rounds, examples = [], []
    for _ in range(min(plan.rounds, 2)):  # they differ by little
        rounds.append(measure_parts())
        examples.append(measure_example())
        show(", ".join(f"{key} {short(value)}" for key, value in rounds[-1].items()))
    middle = {key: statistics.median(parts[key] for parts in rounds) for key in rounds[0]}
    tables = {
        "tuning-memory": format_parts(rounds),
        "tuning-memory-example": format_example(middle, examples),
    }
    return {"parts": rounds, "examples": examples}, tables


# The allocator

ALLOCATORS: dict[str, dict[str, str]] = {
    "as it is": {},
    "MALLOC_ARENA_MAX=1": {"MALLOC_ARENA_MAX": "1"},
    "MALLOC_TRIM_THRESHOLD_=65536": {"MALLOC_TRIM_THRESHOLD_": "65536"},
    "MALLOC_MMAP_THRESHOLD_=16384": {"MALLOC_MMAP_THRESHOLD_": "16384"},
    "huge pages for malloc": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
    "PYTHONMALLOC=malloc": {"PYTHONMALLOC": "malloc"},
}


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _measure_allocator(variables: Mapping[str, str]) -> Parts:
    """Resident memory in four moments of a server's life."""
    found: Parts = {}
    with _environment(variables), fastchat() as server:
        time.sleep(0.3)
        found["start"] = read_anonymous_bytes(server.pid)
        with _idle(server, "ws", _IDLE, "i"):
            found["idle"] = read_anonymous_bytes(server.pid)
            before_s = server.cpu_s()
            with stuck_readers(server, messages=_STUCK_SETTLE_MESSAGES, count=800):
                found["stuck"] = read_anonymous_bytes(server.pid)
            found["cpu_s"] = server.cpu_s() - before_s
        time.sleep(2.0)
        found["after"] = read_anonymous_bytes(server.pid)
    return found


def format_allocators(found: Mapping[str, Parts]) -> str:
    rows = [
        (
            f"| environment | at start, MiB | {_IDLE:,} idle connections, MiB | and 800 stuck readers, MiB"
            " | when all are gone, MiB | CPU for the stuck ones, s |"
        ),
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, parts in found.items():
        cells = [short(parts[key] / MIB) for key in ("start", "idle", "stuck", "after")]
        rows.append(f"| {name} | {' | '.join(cells)} | {short(parts['cpu_s'])} |")
    rows += ["", f"Transparent huge pages were set to `{huge_pages_mode() or 'never'}`."]
    return "\n".join(rows)


def study_allocator(
    plan: TuningPlan, show: Callable[[str], None]
) -> tuple[dict[str, object], dict[str, str]]:
    """What the C library's and Python's allocators make of the same life; once, as it hardly varies."""
    found: dict[str, Parts] = {}
    for name in list(ALLOCATORS)[: plan.values]:
        found[name] = _measure_allocator(ALLOCATORS[name])
        show(f"{name}: " + ", ".join(f"{key} {short(value)}" for key, value in found[name].items()))
    return {"found": found}, {"tuning-allocator": format_allocators(found)}


STUDIES = {"memory": study_memory, "allocator": study_allocator}
