"""The server's own memory: of idle connections, and of readers that never read."""

from __future__ import annotations

import dataclasses
import threading

from .generator import Load, generator
from .plan import Plan
from .processes import read_anonymous_bytes, read_peak_bytes, reset_peak, settled_anonymous_bytes
from .results import Figure
from .servers import fastchat

HIGH_WATER_BYTES = 65536
RING_BYTES = 1 << 20
CONNECTION_BYTES = 4096
IDLE_BYTES = 2560
FURTHER_ROOM_BYTES = 307
FURTHER_ROOMS = 10
_SAMPLE_S = 0.02
_FLOOD_WINDOW = 16
_STAGGER_MESSAGES = 8


def measure_idle(plan: Plan, rooms: int) -> Figure:
    """Return bytes per idle WebSocket connection; what the first few cost once is not counted."""
    values = [_idle_bytes(plan, rooms, 1) for _ in range(plan.rounds)]
    where = "one room" if rooms == 1 else f"{rooms} rooms"
    return Figure(f"idle WebSocket connection, all in {where}", values, IDLE_BYTES, False, "bytes")


def measure_further_rooms(plan: Plan) -> Figure:
    """Return bytes that a connection costs more for each further room, of rooms that all are in."""
    values = []
    for _ in range(plan.rounds):
        alone = _idle_bytes(plan, 1, 1)
        values.append((_idle_bytes(plan, 1, 1 + FURTHER_ROOMS) - alone) / FURTHER_ROOMS)
    return Figure("each further room of an idle connection", values, FURTHER_ROOM_BYTES, False, "bytes")


def _idle_bytes(plan: Plan, rooms: int, joins: int) -> float:
    with fastchat() as server:
        idle = {"seconds": 1, "rooms": rooms, "joins": joins}
        with generator(server, "ws", "idle", subscribers=plan.idle_warm_up, prefix="w", **idle):
            before = settled_anonymous_bytes(server.pid)
            with generator(
                server, "ws", "idle", subscribers=plan.idle_connections, prefix="i", **idle
            ) as load:
                grown = settled_anonymous_bytes(server.pid) - before
                lost = load.run().closed
    if lost:
        raise RuntimeError(f"{lost} idle connections were lost")
    each = grown / plan.idle_connections
    where = f"in {joins} of {rooms} room(s)" if joins == 1 else f"in {joins} rooms each"
    print(f"    {plan.idle_connections:,} connections {where}: {each:,.0f} bytes each", flush=True)
    return each


class _PeakMemory:
    """Samples a process's anonymous memory while it is entered.

    The kernel keeps a peak of the whole resident memory only; it is used to see what falls between samples.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._files_bytes = 0
        self.before = 0
        self.peak = 0

    def __enter__(self) -> _PeakMemory:
        self.before = self.peak = read_anonymous_bytes(self._pid)
        reset_peak(self._pid)
        self._files_bytes = read_peak_bytes(self._pid) - self.before
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.peak = max(self.peak, read_peak_bytes(self._pid) - self._files_bytes)

    def _sample(self) -> None:
        while not self._over.wait(_SAMPLE_S):
            self.peak = max(self.peak, read_anonymous_bytes(self._pid))


@dataclasses.dataclass(frozen=True)
class _Flood:
    load: Load
    growth_bytes: int


def _flood(plan: Plan, stuck: int, stagger: int = 0) -> _Flood:
    settings = (f"fanout.high_water_bytes={HIGH_WATER_BYTES}", f"fanout.ring_bytes={RING_BYTES}")
    with fastchat(*settings) as server:
        # One sender that waits for its healthy readers: what they are behind is never more than the window.
        options = {"subscribers": plan.healthy_readers, "senders": 1, "stuck": stuck, "stagger": stagger}
        options |= {
            "grace": 30,
            "text_bytes": plan.flood_text_bytes,
            "window": _FLOOD_WINDOW,
            "lag": _FLOOD_WINDOW,
        }
        with generator(server, "line", "window", seconds=600, **options) as load:
            settled_anonymous_bytes(server.pid)
            with _PeakMemory(server.pid) as memory:
                result = load.run(plan.flood_bytes // plan.flood_text_bytes)
    flood = _Flood(result, memory.peak - memory.before)
    print(
        f"    {stuck:5} stuck readers: {result.sent * plan.flood_text_bytes / 1e6:,.0f} MB"
        f" in {result.elapsed_s:.1f} s, memory grew by {flood.growth_bytes / 1e6:.1f} MB,"
        f" healthy p50 {result.p50_ms:.2f}, p99 {result.p99_ms:.2f} ms  {result.faults}",
        flush=True,
    )
    return flood


def measure_stuck(plan: Plan) -> list[Figure]:
    """Flood a room of healthy readers alone, with stuck ones, and with some that get stuck one by one.

    Those that stop at once all wait for the same span, which they share. Those that stop one by one
    wait for different ones: the dearest case.
    """
    connections = plan.stuck_readers + plan.healthy_readers + 1
    bound_mb = (connections * (HIGH_WATER_BYTES + CONNECTION_BYTES) + RING_BYTES) / 1e6
    runs = []
    for _ in range(plan.rounds):
        alone, together = _flood(plan, 0), _flood(plan, plan.stuck_readers)
        runs.append((alone, together, _flood(plan, plan.stuck_readers, _STAGGER_MESSAGES)))
    faults = [f"healthy readers: {flood.load.faults}" for run in runs for flood in run if flood.load.faults]
    at_once = [together.growth_bytes / 1e6 for _, together, _ in runs]
    one_by_one = [staggered.growth_bytes / 1e6 for _, _, staggered in runs]
    delays = [together.load.p99_ms / alone.load.p99_ms for alone, together, _ in runs]
    details = {"runs": [[dataclasses.asdict(flood) for flood in run] for run in runs]}
    return [
        Figure("memory grown, readers stuck at once", at_once, bound_mb, False, "MB", faults, details),
        Figure("memory grown, readers stuck one by one", one_by_one, bound_mb, False, "MB"),
        Figure("healthy readers' p99, with stuck ones / alone", delays, 2.0, False, "times"),
    ]
