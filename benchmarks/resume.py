"""Coming back to a durable room: what was missed comes from the store."""

from __future__ import annotations

import dataclasses
import pathlib

from .brokers import data_folder
from .generator import Load, generator
from .plan import Plan
from .processes import settle_cpu
from .reads import count_reads
from .results import Figure
from .servers import fastchat

# So small that next to nothing of what was missed is still in memory.
SMALL_RING = 'rooms.classes=[{"pattern":"*","ring_bytes":1024}]'
ROOM = "bench"


@dataclasses.dataclass(frozen=True)
class _Return:
    load: Load
    cpu_s: float

    @property
    def per_cpu_s(self) -> float:
        return self.load.deliveries / self.cpu_s


def measure_resume(plan: Plan, wanted: set[str]) -> list[Figure]:
    """One client that missed a lot, and many that missed a little, each with a server started anew."""
    alone: list[_Return] = []
    crowds: list[_Return] = []
    with data_folder() as folder:
        file = folder / "fastchat.db"
        seed(file, plan)
        for _ in range(plan.rounds if wanted & {"resume-one", "resume-many"} else 0):
            if "resume-one" in wanted:
                alone.append(_come_back(file, 1, plan.missed_messages, plan))
            if "resume-many" in wanted:
                crowds.append(_come_back(file, plan.returning_clients, plan.returning_behind, plan))
    figures = []
    if alone:
        name = f"resume: {plan.missed_messages:,} messages to one client, per CPU-second"
        figures.append(_figure(name, alone, 200_000))
    if crowds:
        reads, blocks = count_reads(plan)
        print(f"    {plan.returning_clients:,} cursors, the store was read {reads} times", flush=True)
        name = f"resume: reads of the store, {plan.returning_clients:,} clients in {blocks} block(s)"
        figures.append(Figure(name, [float(reads)], float(blocks), False, "reads"))
        name = f"resume: {plan.returning_clients:,} clients {plan.returning_behind} behind, per CPU-second"
        figures.append(_figure(name, crowds, 200_000))
    return figures


def _figure(name: str, returns: list[_Return], limit: float) -> Figure:
    faults = [load.faults for load in (each.load for each in returns) if load.faults]
    details = {"runs": [{"cpu_s": each.cpu_s, **dataclasses.asdict(each.load)} for each in returns]}
    return Figure(name, [each.per_cpu_s for each in returns], limit, True, "messages", faults, details)


def seed(file: pathlib.Path, plan: Plan) -> None:
    """Fill the room through a server, and let it finish its search index."""
    with fastchat("store.durability=normal", store=f"sqlite://{file}") as server:
        options = {
            "senders": 10,
            "window": 64,
            "subscribers": 0,
            "text_bytes": plan.text_bytes,
            "seconds": 120,
        }
        with generator(server, "line", "window", room=ROOM, **options) as load:
            seeded = load.run(plan.missed_messages)
        if seeded.faults or seeded.acked != plan.missed_messages:
            raise RuntimeError(f"the room could not be filled: {seeded.acked:,} messages, {seeded.faults}")
        settle_cpu(server.cpu_s)


def _come_back(file: pathlib.Path, clients: int, behind: int, plan: Plan) -> _Return:
    after = plan.missed_messages - behind
    with fastchat(SMALL_RING, store=f"sqlite://{file}") as server:
        options = {"subscribers": clients, "senders": 0, "after": after, "seconds": 60, "grace": 60}
        with generator(server, "line", "return", room=ROOM, **options) as load:
            settle_cpu(server.cpu_s)
            result, cpu_s = load.run_timed(server, behind)
            returned = _Return(result, cpu_s)
    print(
        f"    {clients:6,} client(s), {behind:,} messages behind: {returned.per_cpu_s:,.0f} messages per"
        f" CPU-second, {result.deliveries / result.elapsed_s:,.0f}/s, all there after"
        f" {result.elapsed_s:.2f} s  {result.faults}",
        flush=True,
    )
    return returned
