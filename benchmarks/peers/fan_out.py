"""Fan-out: deliveries per second of the server's CPU time, and how long each takes at a fixed rate."""

from __future__ import annotations

from benchmarks.servers import Server

from .measurement import Measurement, Measurements
from .peer import Peer
from .phases import Phase, run_paced, run_window
from .plan import PeersPlan

_WORSE = 0.7
"""A window that reaches only so much of the best one's rate is past the peak: larger ones are not tried."""
_DRAIN_S = 2.0
"""Nor is a window tried that the server would be busy with for longer than this, at the rate seen before."""


class Windows:
    """The number of outstanding messages per sender with which each peer delivers most, by members."""

    def __init__(self, plan: PeersPlan) -> None:
        self._plan = plan
        self._best: dict[tuple[str, int], int] = {}

    def best(self, peer: Peer, server: Server, members: int, results: Measurements) -> int:
        """Try each of the peer's windows, once in a run. A window that loses messages does not count."""
        key = (peer.name, members)
        if key not in self._best:
            rates = self._try(peer, server, members, results)
            self._best[key] = max(rates, key=rates.__getitem__) if rates else peer.windows[0]
        return self._best[key]

    def _try(self, peer: Peer, server: Server, members: int, results: Measurements) -> dict[int, float]:
        rates: dict[int, float] = {}
        for window in peer.windows:
            outstanding = self._plan.senders * window * members
            if rates and (
                rates[max(rates)] < _WORSE * max(rates.values())
                or outstanding / max(rates.values()) > _DRAIN_S
            ):
                break
            phase = run_window(peer, server, self._plan, members, window, seconds=self._plan.trial_seconds)
            values = {"deliveries_per_cpu_s": phase.per_cpu_s}
            results.add(Measurement(f"window-{window}-{members}", peer.name, 0, values, phase.fault))
            if not phase.fault:
                rates[window] = phase.per_cpu_s
        return rates


def measure_fan_out(
    peer: Peer, plan: PeersPlan, windows: Windows, round_number: int, results: Measurements
) -> None:
    """One message at a time, and saturated, for each number of members."""
    for members in plan.members:
        with peer.start() as server:
            one = run_window(peer, server, plan, members, 0, seconds=plan.seconds)
            _report(results, f"one-{members}", peer, round_number, one)
            window = windows.best(peer, server, members, results)
            saturated = run_window(peer, server, plan, members, window, seconds=plan.seconds)
            _report(results, f"saturated-{members}", peer, round_number, saturated, {"window": window})


def measure_delay(peer: Peer, plan: PeersPlan, round_number: int, results: Measurements) -> None:
    for rate in plan.delay_rates:
        with peer.start() as server:
            phase = run_paced(peer, server, plan, rate)
        delays = phase.load.delays_us
        values = {f"{quantile}_ms": delays[quantile] / 1e3 for quantile in ("p50", "p99", "p999", "max")}
        _report(results, f"delay-{rate}", peer, round_number, phase, values)


def measure_system_calls(peer: Peer, plan: PeersPlan, windows: Windows, results: Measurements) -> None:
    """Deliveries per system call that sends; once in a run, since a count hardly varies."""
    members = plan.delay_members
    with peer.start() as server:
        best = windows.best(peer, server, members, results)
        for case, window in (("calls-one", 0), ("calls-saturated", best)):
            phase = run_window(
                peer, server, plan, members, window, seconds=plan.trial_seconds, count_calls=True
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
