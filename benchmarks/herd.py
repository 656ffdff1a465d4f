"""Everyone comes back after a restart: how long until all have caught up, beside a floor of handshakes."""

from __future__ import annotations

import dataclasses

from .brokers import data_folder
from .generator import Load, generator
from .plan import Plan
from .processes import settle_cpu
from .results import Figure
from .resume import ROOM, seed
from .servers import Server, fastchat, handshake_floor

# Connections that are being opened at once. The kernel drops what is beyond its backlog, 4,096.
_CONNECTING = 1000
_GRACE_S = 60


@dataclasses.dataclass(frozen=True)
class _Return:
    load: Load
    cpu_s: float


def measure_herd(plan: Plan) -> Figure:
    """Return the time until the last of a herd has caught up, as a ratio to the floor's handshakes alone."""
    herds, floors = [], []
    with data_folder() as folder:
        file = folder / "fastchat.db"
        seed(file, plan)
        for _ in range(plan.rounds):
            with handshake_floor() as server:
                floors.append(_come_back(server, plan, "echo-ws"))
            with fastchat(store=f"sqlite://{file}") as server:
                after = plan.missed_messages - plan.returning_behind
                herds.append(_come_back(server, plan, "ws", plan.returning_behind, room=ROOM, after=after))
    faults = [each.load.faults for each in (*herds, *floors) if each.load.faults]
    details = {
        name: [{"cpu_s": each.cpu_s, **dataclasses.asdict(each.load)} for each in returns]
        for name, returns in (("fastchat", herds), ("floor", floors))
    }
    elapsed = [herd.load.elapsed_s / floor.load.elapsed_s for herd, floor in zip(herds, floors, strict=True)]
    name = (
        f"herd: {plan.returning_clients:,} clients, {plan.returning_behind} messages each, against handshakes"
    )
    return Figure(name, elapsed, 3.0, False, "times", faults, details)


def _come_back(server: Server, plan: Plan, dialect: str, behind: int = 0, **options: int | str) -> _Return:
    options |= {"subscribers": plan.returning_clients, "connecting": _CONNECTING, "grace": _GRACE_S}
    with generator(server, dialect, "herd", **options) as load:
        settle_cpu(server.cpu_s)
        result, cpu_s = load.run_timed(server, behind)
        returned = _Return(result, cpu_s)
    print(
        f"    {server.name}: {plan.returning_clients:,} clients there after {result.elapsed_s:.2f} s,"
        f" {returned.cpu_s:.2f} s of CPU time  {result.faults}",
        flush=True,
    )
    return returned
