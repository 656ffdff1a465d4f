"""Fan-out: deliveries per second of the server's CPU time, and how long each takes at a fixed rate."""

from __future__ import annotations

import math

from benchmarks.servers import Server

from .measurement import Measurement, Measurements
from .peer import Peer
from .phases import Phase, run_paced, run_window
from .plan import PeersPlan

_WORSE = 0.7
"""Two windows that reach only so much of the best one's rate are past the peak: larger ones are not tried."""
_DRAIN_S = 2.0
"""Nor is a window used that the server would be busy with for longer than this, at the rate seen before."""


class Windows:
    """With how many outstanding messages per sender each peer delivers most."""

    def __init__(self, plan: PeersPlan) -> None:
        self._plan = plan
        self._rates: dict[str, dict[int, float]] = {}

    def best(self, peer: Peer, server: Server, members: int, results: Measurements) -> list[int]:
        """The best one; with `plan.trial_members` the best `plan.best_windows`, the very best first.

        All are tried once in a run. A window that loses messages does not count.
        """
        if peer.name not in self._rates:
            self._rates[peer.name] = self._try(peer, server, results)
        count = self._plan.best_windows if members == self._plan.trial_members else 1
        return best_windows(self._plan, self._rates[peer.name], members)[:count] or [min(peer.windows)]

    def learn(self, peer: Peer, window: int, phase: Phase) -> None:
        """Correct what the first try has shown: some peers are of two minds near their peak."""
        rates = self._rates[peer.name]
        rates[window] = 0.0 if phase.fault else (rates.get(window, phase.per_cpu_s) + phase.per_cpu_s) / 2

    def _try(self, peer: Peer, server: Server, results: Measurements) -> dict[int, float]:
        plan, members, rates = self._plan, self._plan.trial_members, dict[int, float]()
        for window in peer.windows:
            if not is_worth_trying(plan, rates, window):
                break
            phase = run_window(peer, server, plan, members, window, seconds=plan.trial_seconds)
            values = {"deliveries_per_cpu_s": phase.per_cpu_s}
            results.add(Measurement(f"window-{window}-{members}", peer.name, 0, values, phase.fault))
            if not phase.fault:
                rates[window] = phase.per_cpu_s
        return rates


def is_worth_trying(plan: PeersPlan, rates: dict[int, float], window: int) -> bool:
    """Whether this window may be the best one, after smaller ones have reached these rates."""
    if not rates:
        return True
    best = max(rates.values())
    past_peak = len(rates) > 2 and all(rates[last] < _WORSE * best for last in sorted(rates)[-2:])
    return not past_peak and _drain_s(plan, window, plan.trial_members, best) <= _DRAIN_S


def best_windows(plan: PeersPlan, rates: dict[int, float], members: int) -> list[int]:
    """Those that so many members are not too much for, from the best rate to the worst."""
    usable = [window for window, rate in rates.items() if _drain_s(plan, window, members, rate) <= _DRAIN_S]
    return sorted(usable, key=rates.__getitem__, reverse=True)


def _drain_s(plan: PeersPlan, window: int, members: int, rate: float) -> float:
    """How long all that is outstanding takes at this rate."""
    return plan.senders * window * members / rate if rate > 0 else math.inf


def measure_fan_out(
    peer: Peer, plan: PeersPlan, windows: Windows, round_number: int, results: Measurements
) -> None:
    """One message at a time, and saturated, for each number of members."""
    for members in plan.members:
        with peer.start() as server:
            one = run_window(peer, server, plan, members, 0, seconds=plan.seconds)
            _report(results, f"one-{members}", peer, round_number, one)
            saturated = {
                window: run_window(peer, server, plan, members, window, seconds=plan.seconds)
                for window in windows.best(peer, server, members, results)
            }
        if members == plan.trial_members:
            for window, phase in saturated.items():
                windows.learn(peer, window, phase)
        window = max(saturated, key=lambda window: (not saturated[window].fault, saturated[window].per_cpu_s))
        _report(results, f"saturated-{members}", peer, round_number, saturated[window], {"window": window})


def measure_delay(peer: Peer, plan: PeersPlan, round_number: int, results: Measurements) -> None:
    for rate in plan.delay_rates:
        with peer.start() as server:
            phase = run_paced(peer, server, plan, rate)
        delays = phase.load.delays_us
        values = {f"{quantile}_ms": delays[quantile] / 1e3 for quantile in ("p50", "p99", "p999", "max")}
        _report(results, f"delay-{rate}", peer, round_number, phase, values)


def measure_system_calls(peer: Peer, plan: PeersPlan, windows: Windows, results: Measurements) -> None:
    """Deliveries per system call that sends; once in a run, since a count hardly varies."""
    with peer.start() as server:
        best = windows.best(peer, server, plan.trial_members, results)
        for case, window in (("calls-one", 0), ("calls-saturated", best[0])):
            phase = run_window(
                peer, server, plan, plan.trial_members, window, seconds=plan.trial_seconds, count_calls=True
            )
            values = {"deliveries_per_call": phase.load.all_deliveries / max(1, phase.calls)}
            _report(results, case, peer, 0, phase, values)


def _report(
    results: Measurements,
    case: str,
    peer: Peer,
    round_number: int,
    phase: Phase,
    values: dict[str, float] | None = None,
) -> None:
    """Keep what a phase has shown, and say it."""
    values = {
        "deliveries_per_cpu_s": phase.per_cpu_s,
        "deliveries_per_s": phase.load.all_deliveries / phase.load.elapsed_s,
        "cpu_share": phase.cpu_s / phase.load.elapsed_s,
        "event_bytes": phase.load.event_bytes,
        "sent": phase.load.sent,
    } | (values or {})
    results.add(Measurement(case, peer.name, round_number, values, phase.fault))
    delays = f"p50 {phase.load.p50_ms:.1f}, p99 {phase.load.p99_ms:.1f} ms"
    print(
        f"    {peer.name:24} {case:15} {phase.per_cpu_s / 1e3:9,.0f} k deliveries per CPU-second,"
        f" {phase.load.event_bytes:.0f} bytes each, server {values['cpu_share']:.0%} busy, {delays}"
        f"  {phase.fault}",
        flush=True,
    )
