"""The plots of a run, as `docs/plots/peers-*.svg`."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from benchmarks.plots import draw_bars, draw_lines

from .measurement import Measurements
from .plan import PeersPlan

_PER_CPU_S = "deliveries per second of the server's CPU time"
_LINES = 8  # more in one plot cannot be told apart


def draw_plots(run: Measurements, plan: PeersPlan, peers: Sequence[str]) -> list[pathlib.Path]:
    """Draw what was measured; returns the files."""
    members = plan.trial_members
    bars = (
        ("peers-one", f"one-{members}", "deliveries_per_cpu_s", True,
         f"One message at a time to {members:,} members", _PER_CPU_S, False),
        ("peers-saturated", f"saturated-{members}", "deliveries_per_cpu_s", True,
         f"Saturated, each at its own best: {plan.senders} senders, {members:,} members", _PER_CPU_S, True),
        ("peers-delay", f"delay-{plan.delay_rates[-1]}", "p99_ms", False,
         f"p99 delay at {plan.delay_rates[-1] * plan.delay_members:,} deliveries a second", "ms", True),
        ("peers-idle", "idle", "bytes_each", False,
         "The server's own memory per idle connection", "bytes", True),
        ("peers-handshakes", "idle", "handshakes_per_cpu_s", True,
         f"Taking {plan.idle_connections:,} new connections", "per second of the server's CPU time", False),
    )  # fmt: skip
    drawn = []
    for name, case, value, higher, title, unit, log in bars:
        values = {peer: run.values(case, peer, value) for peer in peers if run.values(case, peer, value)}
        if values:
            ordered = sorted(values, key=lambda peer: run.median(case, peer, value) or 0.0, reverse=higher)
            drawn.append(draw_bars(name, title, unit, {peer: values[peer] for peer in ordered}, log=log))
    lines = {
        peer: [
            (float(n), median)
            for n in plan.members
            if (median := run.median(f"saturated-{n}", peer, "deliveries_per_cpu_s"))
        ]
        for peer in peers
    }
    best = sorted(
        (peer for peer, points in lines.items() if len(points) > 1), key=lambda peer: -lines[peer][-1][1]
    )
    lines = {peer: lines[peer] for peer in best[:_LINES]}
    if lines:
        title = f"Saturated, each at its own best, by the number of members: the best {len(lines)}"
        drawn.append(draw_lines("peers-members", title, "members", _PER_CPU_S, lines, log_x=True, log_y=True))
    return drawn
