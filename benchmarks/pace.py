"""The delay of deliveries at a steady rate, beside the send floor's at the same rate."""

from __future__ import annotations

import dataclasses

from .generator import Load, generator
from .plan import Plan
from .results import Figure
from .servers import Server, fastchat, floor, measure_event_size

LIMIT = 1.2
_WARM_UP_MESSAGES = 50


def measure_pace(plan: Plan) -> Figure:
    """Return the p99 of 100,000 deliveries a second to 1,000 connections, as a ratio to the send floor's.

    A delay runs from the moment that a message is due; 100 of the connections, evenly spread over the sweep,
    are looked at.
    """
    values, faults, runs = [], [], []
    size = measure_event_size(plan.text_bytes)
    for _ in range(plan.rounds):
        with floor("send_floor", size) as server:
            least = _paced(server, "floor", plan)
        with fastchat() as server:
            ours = _paced(server, "line", plan)
        values.append(ours.p99_ms / least.p99_ms)
        faults += [load.faults for load in (least, ours) if load.faults]
        runs.append({"floor": dataclasses.asdict(least), "fastchat": dataclasses.asdict(ours)})
    name = f"p99 delay, {plan.pace_rate * plan.subscribers:,.0f} deliveries/s: fastchat / C `send` floor"
    return Figure(name, values, LIMIT, False, "times", faults, {"runs": runs})


def _paced(server: Server, dialect: str, plan: Plan) -> Load:
    options: dict[str, int | float | str] = {
        "subscribers": plan.subscribers,
        "senders": plan.senders,
        "rate": plan.pace_rate,
        "seconds": plan.pace_seconds,
        "text_bytes": plan.text_bytes,
    }
    with generator(server, dialect, "paced", **options) as load:
        load.prefer()
        load.run(_WARM_UP_MESSAGES)
        result = load.run()
    print(
        f"    {server.name:12} p50 {result.p50_ms:.2f}, p99 {result.p99_ms:.2f},"
        f" p99.9 {result.delays_us['p999'] / 1e3:.2f} ms  {result.faults}",
        flush=True,
    )
    return result
