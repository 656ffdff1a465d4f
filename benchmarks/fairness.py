"""How long a ping takes while a large room is flooded: whether sweeps are sliced."""

from __future__ import annotations

import dataclasses

from .generator import generator
from .plan import Plan
from .processes import read_waited_s, settled_anonymous_bytes
from .results import Figure
from .servers import fastchat

SLICE_MS = 5
_PING_INTERVAL_MS = 10


def measure_ping(plan: Plan) -> Figure:
    """Return the p99 of a ping's round trip during the flood.

    "One poll" is what the same ping takes (median) while nobody talks: one turn of the loop, and the way
    there and back. Where the quiet p99 is far above it, or the server has to wait for its core, the machine
    is too busy to measure delays.
    """
    values, limits, runs, faults = [], [], [], []
    for _ in range(plan.rounds):
        with fastchat(f"fanout.slice_ms={SLICE_MS}") as server:
            flood_options = {"subscribers": plan.room_members, "senders": plan.senders, "window": plan.window}
            flood_options |= {"lag": plan.outstanding, "text_bytes": plan.text_bytes, "grace": 30}
            with (
                generator(server, "line", "window", seconds=plan.ping_seconds + 1, **flood_options) as flood,
                generator(
                    server,
                    "line",
                    "ping",
                    seconds=plan.ping_seconds,
                    interval_ms=_PING_INTERVAL_MS,
                    prefix="p",
                ) as pinger,
            ):
                pinger.prefer()
                # What 10,000 arrivals are told about each other is over when the memory is quiet.
                settled_anonymous_bytes(server.pid)
                quiet = pinger.run()
                before_s = read_waited_s(server.pid)
                flood.go()
                busy = pinger.run()
                waited = (read_waited_s(server.pid) - before_s) / busy.elapsed_s
                flooded = flood.result()
        runs += [{"quiet": dataclasses.asdict(quiet), "busy": dataclasses.asdict(busy)}]
        values.append(busy.p99_ms)
        limits.append(3 * SLICE_MS + quiet.p50_ms)
        faults += [
            f"{name}: {load.faults}" for name, load in (("room", flooded), ("ping", busy)) if load.faults
        ]
        print(
            f"    ping: quiet p50 {quiet.p50_ms:.2f}, p99 {quiet.p99_ms:.2f} ms; flooded"
            f" p50 {busy.p50_ms:.2f}, p99 {busy.p99_ms:.2f}, max {busy.delays_us['max'] / 1e3:.2f} ms;"
            f" {flooded.sent:,} messages to {plan.room_members:,} members,"
            f" the server waited {waited:.1%} of the time for its core  {flooded.faults}",
            flush=True,
        )
    name = f"ping p99 beside a flooded room of {plan.room_members:,} (slice {SLICE_MS} ms)"
    return Figure(name, values, max(limits), False, "ms", faults, {"runs": runs})
