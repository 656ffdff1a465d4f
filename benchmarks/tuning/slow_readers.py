"""Watermarks, ring and replay: what readers that are slow cost, and what they miss."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import statistics
import time
from collections.abc import Iterator, Sequence

from benchmarks.brokers import data_folder
from benchmarks.generator import Generator, generator
from benchmarks.ingest import MEMORY_ROOMS
from benchmarks.processes import read_anonymous_bytes, settle_cpu
from benchmarks.resume import SMALL_RING
from benchmarks.servers import Server, fastchat
from benchmarks.tuning.clients import read_steadily, read_with_pauses, readers
from benchmarks.tuning.curve import Curve, Metric, Sample, TuningPlan, Value, each
from benchmarks.tuning.observe import read_send_queues, read_store_bytes

Options = dict[str, int | float | str]
KIB, MIB = 1 << 10, 1 << 20
_STUCK = 200
_STAGGER = 8
_STUCK_TEXT_BYTES = 4000
_RETURNING = 20
_MISSED = 50_000
# A receive buffer that the kernel does not enlarge: on one machine it would swallow every pause.
_RECEIVE_BUFFER_BYTES = 16 * KIB
_DEFAULT_LOW, _DEFAULT_HIGH, _DEFAULT_RING = 32 * KIB, 64 * KIB, MIB


@contextlib.contextmanager
def stuck_readers(server: Server, messages: int, count: int = _STUCK) -> Iterator[Generator]:
    """A room with 20 healthy members, and others that stop reading one by one, each at another place."""
    options = {"senders": 1, "window": 16, "lag": 16, "text_bytes": _STUCK_TEXT_BYTES, "grace": 30}
    options |= {"subscribers": 20, "stuck": count, "stagger": _STAGGER, "seconds": 60}
    with generator(server, "line", "window", room="stuck", prefix="s", **options) as load:
        load.run(count * _STAGGER + messages)
        yield load


def _grown_by_stuck(server: Server, high_water_bytes: int) -> float:
    """Bytes of the server's own memory for each stuck reader."""
    with stuck_readers(server, messages=0, count=10):
        pass  # fills the ring, which is not theirs
    before = read_anonymous_bytes(server.pid)
    with stuck_readers(server, messages=200 + 3 * high_water_bytes // _STUCK_TEXT_BYTES):
        return (read_anonymous_bytes(server.pid) - before) / _STUCK


def _catch_up(server: Server, room: str) -> float:
    """Messages per CPU-second to readers that come back to what the room's ring still holds."""
    fill: Options = {"senders": 10, "window": 64, "subscribers": 0, "seconds": 30, "prefix": "f"}
    with generator(server, "line", "window", room=room, **fill) as load:
        load.run(_MISSED)
    back: Options = {"subscribers": _RETURNING, "senders": 0, "after": 0, "seconds": 30, "prefix": "b"}
    with generator(server, "line", "return", room=room, **back) as load:
        result, used_s = load.run_timed(server, _MISSED)
        return result.deliveries / used_s


def _saturated(server: Server, plan: TuningPlan) -> float:
    """Deliveries per CPU-second in a room of 1,000 with ten senders that never pause."""
    options = {"subscribers": 1000, "senders": 10, "window": 64, "lag": 640, "seconds": plan.seconds}
    with generator(server, "line", "window", prefix="w", **options) as load:
        load.run(2000)
        result, used_s = load.run_timed(server)
        return result.all_deliveries / used_s


# The ring of the room to which people come back holds all they missed, so that no store is in the way.
_DEEP_RING = 'rooms.classes=[{"pattern":"deep*","ring_bytes":67108864}]'


def _measure_high_water(value: int, plan: TuningPlan) -> Sample:
    settings = (
        f"fanout.high_water_bytes={value}",
        f"fanout.low_water_bytes={min(_DEFAULT_LOW, value // 2)}",
        f"fanout.ring_bytes={max(_DEFAULT_RING, value)}",
    )
    with fastchat(*settings, _DEEP_RING) as server:
        memory = _grown_by_stuck(server, value)
        return {
            "memory": memory / KIB,
            "catch_up": _catch_up(server, "deep") / 1e6,
            "saturated": _saturated(server, plan) / 1e6,
        }


def _measure_low_water(value: int, plan: TuningPlan) -> Sample:
    with fastchat(f"fanout.low_water_bytes={value}", _DEEP_RING) as server:
        with stuck_readers(server, messages=2000):
            kernel = sum(read_send_queues(server.line_port)) / _STUCK
        catch_up = _catch_up(server, "deep")
    return {"kernel": kernel / KIB, "catch_up": catch_up / 1e6, "age": _slow_age_s(value, plan)}


def _slow_age_s(low_water_bytes: int, plan: TuningPlan) -> float:
    """How old messages are for readers who take a third of what the room says; they skip the rest."""
    settings = (
        f"fanout.low_water_bytes={low_water_bytes}",
        'rooms.classes=[{"pattern":"*","ring_bytes":65536}]',
    )
    talk: Options = {
        "senders": 2,
        "subscribers": 0,
        "rate": 3600,
        "seconds": 2 * plan.seconds + 1,
        "prefix": "t",
    }
    with fastchat(*settings) as server, readers(server.line_port, 10, "r", _RECEIVE_BUFFER_BYTES) as members:
        for member in members:
            member.join("bench")
        with generator(server, "line", "paced", **talk) as load:
            load.go()
            ages = read_steadily(members, 2 * plan.seconds, 200_000)
            load.result()
    return statistics.median(ages)


def _measure_send_buffer(value: int, plan: TuningPlan) -> Sample:
    with fastchat(f"fanout.send_buffer_bytes={value}", _DEEP_RING) as server:
        with stuck_readers(server, messages=2000):
            kernel = sum(read_send_queues(server.line_port)) / _STUCK
        return {
            "kernel": kernel / KIB,
            "catch_up": _catch_up(server, "deep") / 1e6,
            "saturated": _saturated(server, plan) / 1e6,
        }


_RATE_PER_S = 4000
_PAUSE_S = 0.3


def _measure_ring(value: int, plan: TuningPlan) -> Sample:
    """Twenty readers in a memory room and twenty in a durable one, that all pause for 0.3 s on average."""
    high = min(value, _DEFAULT_HIGH)
    settings = (
        f"fanout.ring_bytes={value}",
        f"fanout.high_water_bytes={high}",
        f"fanout.low_water_bytes={high // 2}",
        MEMORY_ROOMS,
    )
    seconds = 2 * plan.seconds
    talk: Options = {"senders": 4, "subscribers": 0, "rate": _RATE_PER_S, "seconds": seconds + 0.5}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(data_folder())
        server = stack.enter_context(fastchat(*settings, store=f"sqlite://{folder}/fastchat.db"))
        members = stack.enter_context(readers(server.line_port, 40, "r", _RECEIVE_BUFFER_BYTES))
        in_memory, durable = members[:20], members[20:]
        for i, member in enumerate(members):
            member.join("mem-bench" if i < 20 else "bench")
        rooms = (("mem-bench", "m"), ("bench", "d"))
        loads = [
            stack.enter_context(generator(server, "line", "paced", room=room, prefix=prefix, **talk))
            for room, prefix in rooms
        ]
        before = read_store_bytes(server.pid)
        for load in loads:
            load.go()
        read_with_pauses(members, seconds, _PAUSE_S)
        read_bytes = read_store_bytes(server.pid) - before
        for load in loads:
            load.result()
    missed, received = (sum(getattr(member, name) for member in in_memory) for name in ("missed", "received"))
    delivered_bytes = sum(member.received_bytes for member in durable)
    return {
        "lagged": 100 * missed / max(1, missed + received),
        "from_file": 100 * read_bytes / max(1, delivered_bytes),
    }


_COMING_BACK = 40


def _seed(file: pathlib.Path) -> None:
    with fastchat("store.durability=normal", store=f"sqlite://{file}") as server:
        options = {"senders": 10, "window": 64, "subscribers": 0, "seconds": 60}
        with generator(server, "line", "window", **options) as load:
            load.run(_MISSED)
        settle_cpu(server.cpu_s, quiet_s=1.0, timeout_s=20.0)


def _come_back(file: pathlib.Path, replay_bytes: int) -> Sample:
    """People who left off at places all over the room come back at once, and read at full speed."""
    with (
        fastchat(f"fanout.replay_bytes={replay_bytes}", SMALL_RING, store=f"sqlite://{file}") as server,
        readers(server.line_port, _COMING_BACK, "c") as members,
    ):
        settle_cpu(server.cpu_s, quiet_s=0.3, timeout_s=5.0)  # it takes up what the killed one had left
        before = read_anonymous_bytes(server.pid), read_store_bytes(server.pid), server.cpu_s()
        began = time.monotonic()
        owed = []
        for i, member in enumerate(members):
            after = i * _MISSED // _COMING_BACK
            member.join("bench", after)
            owed.append(_MISSED - after)
        while any(member.received < missing for member, missing in zip(members, owed, strict=True)):
            if not sum(member.read() for member in members):
                time.sleep(0.001)
            if time.monotonic() > began + 30:
                raise TimeoutError("those who came back have not got everything within 30 s")
        used_s = server.cpu_s() - before[2]
        return {
            "reads": (read_store_bytes(server.pid) - before[1]) / MIB,
            "cpu": used_s / sum(owed) * 1e6,
            "memory": (read_anonymous_bytes(server.pid) - before[0]) / MIB,
            "seconds": time.monotonic() - began,
        }


def _measure_replay(values: Sequence[Value], plan: TuningPlan) -> Iterator[tuple[Value, Sample]]:
    with data_folder() as folder:
        _seed(folder / "seeded.db")
        for value in values:
            file = folder / "fastchat.db"
            # A measured server is killed: what it wrote last is in the log beside the file.
            for suffix in ("", "-wal"):
                shutil.copyfile(folder / f"seeded.db{suffix}", f"{file}{suffix}")
            yield value, _come_back(file, int(value))


_CATCH_UP = Metric("catch_up", "catching up from the ring", "M messages per CPU-second", "more")
_SATURATED = Metric("saturated", "busy room of 1,000", "M deliveries per CPU-second", "more")
_KERNEL = Metric("kernel", "in the kernel for a stuck reader", "KiB")

HIGH_WATER = Curve(
    "high-water",
    "fanout.high_water_bytes",
    "The most of one write: memory of stuck readers, and work to catch up",
    "KiB",
    (4 * KIB, 16 * KIB, 32 * KIB, 64 * KIB, 256 * KIB, 1024 * KIB),
    _DEFAULT_HIGH,
    (Metric("memory", "memory of a stuck reader", "KiB"), _CATCH_UP, _SATURATED),
    each(_measure_high_water),
    unit_size=KIB,
)
LOW_WATER = Curve(
    "low-water",
    "fanout.low_water_bytes",
    "Unsent bytes in the kernel: freshness for slow readers, and work to catch up",
    "KiB",
    (0, 2 * KIB, 8 * KIB, 16 * KIB, 32 * KIB, 63 * KIB),
    _DEFAULT_LOW,
    (_KERNEL, Metric("age", "age of what a slow reader reads", "s"), _CATCH_UP),
    each(_measure_low_water),
    unit_size=KIB,
)
SEND_BUFFER = Curve(
    "send-buffer",
    "fanout.send_buffer_bytes",
    "SO_SNDBUF: what the kernel holds for a stuck reader, and work",
    "KiB",
    (0, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB),
    0,
    (_KERNEL, _CATCH_UP, _SATURATED),
    each(_measure_send_buffer),
    unit_size=KIB,
)
RING = Curve(
    "ring",
    "fanout.ring_bytes",
    "A room's newest part in memory: 4,000 messages a second, readers that pause for 0.3 s",
    "KiB",
    (16 * KIB, 64 * KIB, 256 * KIB, 512 * KIB, 1024 * KIB, 4096 * KIB),
    _DEFAULT_RING,
    (
        Metric("lagged", "missed in a memory room", "%"),
        Metric("from_file", "read from the file for a durable room, of the bytes delivered", "%"),
    ),
    each(_measure_ring),
    unit_size=KIB,
    relative=False,
    y_label="% (less is better)",
    log_y=False,
)
REPLAY = Curve(
    "replay",
    "fanout.replay_bytes",
    "Old events in memory: 40 readers come back to 40 places of 50,000 messages",
    "MiB",
    (64 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB, 64 * MIB),
    16 * MIB,
    (
        Metric("reads", "read from the file", "MiB"),
        Metric("cpu", "server's CPU per message", "µs"),
        Metric("seconds", "until all have everything", "s"),
        Metric("memory", "memory grown", "MiB"),
    ),
    _measure_replay,
    unit_size=MIB,
)
CURVES = (HIGH_WATER, LOW_WATER, SEND_BUFFER, RING, REPLAY)
