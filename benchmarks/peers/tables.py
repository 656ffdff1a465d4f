"""What a run has measured as Markdown tables. Pure: measurements in, text out."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Sequence

from benchmarks.plots import format_short

from .measurement import Measurements
from .plan import PeersPlan

_ABSENT = "-"
Row = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class About:
    """What is known of a peer beside its figures."""

    name: str
    language: str
    version: str
    settings: str


def make_tables(
    run: Measurements, plan: PeersPlan, peers: Sequence[About], skipped: dict[str, str]
) -> dict[str, str]:
    """All tables of which something was measured, by name."""
    tables: dict[str, str] = {"peers-versions": versions_table(peers, skipped)}
    names = [peer.name for peer in peers]
    cases = run.cases()
    members = [n for n in plan.members if f"one-{n}" in cases]
    if members:
        tables["peers-members"] = members_table(run, names, members)
    if plan.trial_members in members:
        tables["peers-fan-out"] = fan_out_table(run, names, plan.trial_members)
    windows = window_numbers(cases, plan.trial_members)
    if windows:
        tables["peers-windows"] = windows_table(run, names, windows, plan.trial_members)
    rates = [rate for rate in plan.delay_rates if f"delay-{rate}" in cases]
    if rates:
        tables["peers-delay"] = delay_table(run, names, rates)
    if "idle" in cases:
        tables["peers-idle"] = idle_table(run, names)
    if "stuck" in cases:
        tables["peers-stuck"] = stuck_table(run, names)
    return tables


def fan_out_table(run: Measurements, peers: Iterable[str], members: int) -> str:
    one, saturated = f"one-{members}", f"saturated-{members}"
    header = (
        "server", "one at a time", "rounds", "saturated", "rounds", "outstanding per sender",
        "deliveries per send call, one / saturated", "bytes per delivery",
    )  # fmt: skip
    rate, rows = "deliveries_per_cpu_s", []
    for peer in _by(run, peers, saturated, rate, higher=True):
        calls = (
            _one(run, case, peer, "deliveries_per_call", _per_call)
            for case in ("calls-one", "calls-saturated")
        )
        rows.append(
            (
                peer,
                _median(run, one, peer, rate),
                _spread(run, one, peer, rate),
                _median(run, saturated, peer, rate),
                _spread(run, saturated, peer, rate),
                ", ".join(f"{n:.0f}" for n in sorted(set(run.values(saturated, peer, "window")))) or _ABSENT,
                " / ".join(calls),
                _one(run, saturated, peer, "event_bytes", "{:.0f}".format),
            )
        )
    return markdown(header, rows)


def members_table(run: Measurements, peers: Iterable[str], members: Sequence[int]) -> str:
    """How the rates change with the number of members."""
    cases = [f"{load}-{n}" for n in members for load in ("one", "saturated")]
    header = ["server"]
    for n in members:
        header += [f"{n:,}: one at a time", "saturated"]
    order = _by(run, peers, f"saturated-{members[-1]}", "deliveries_per_cpu_s", higher=True)
    rows = [(peer, *(_median(run, case, peer, "deliveries_per_cpu_s") for case in cases)) for peer in order]
    return markdown(header, rows)


def window_numbers(cases: Iterable[str], members: int) -> list[int]:
    """The windows that were tried with so many members."""
    named = (case.split("-") for case in cases if case.startswith("window-"))
    return sorted({int(parts[1]) for parts in named if int(parts[2]) == members})


def windows_table(run: Measurements, peers: Iterable[str], windows: Sequence[int], members: int) -> str:
    header = ["server", *(f"{window}" for window in windows)]
    rate = "deliveries_per_cpu_s"
    rows = [
        (peer, *(_median(run, f"window-{window}-{members}", peer, rate) for window in windows))
        for peer in _by(run, peers, f"saturated-{members}", rate, higher=True)
    ]
    return markdown(header, rows)


def delay_table(run: Measurements, peers: Iterable[str], rates: Sequence[int]) -> str:
    header = ["server"]
    for rate in rates:
        header += [f"{rate:,} messages/s: p50", "p99", "p99 of the rounds", "p99.9"]
    rows = []
    for peer in _by(run, peers, f"delay-{rates[-1]}", "p99_ms", higher=False):
        row = [peer]
        for rate in rates:
            case = f"delay-{rate}"
            row += [
                _median(run, case, peer, "p50_ms", _ms),
                _median(run, case, peer, "p99_ms", _ms),
                _spread(run, case, peer, "p99_ms", _ms),
                _median(run, case, peer, "p999_ms", _ms),
            ]
        rows.append(tuple(row))
    return markdown(header, rows)


def idle_table(run: Measurements, peers: Iterable[str]) -> str:
    header = (
        "server",
        "bytes per idle connection",
        "rounds",
        "handshakes per CPU-second",
        "rounds",
        "per second",
    )
    rows = [
        (
            peer,
            _median(run, "idle", peer, "bytes_each", "{:,.0f}".format),
            _spread(run, "idle", peer, "bytes_each", "{:,.0f}".format),
            _median(run, "idle", peer, "handshakes_per_cpu_s", "{:,.0f}".format),
            _spread(run, "idle", peer, "handshakes_per_cpu_s", "{:,.0f}".format),
            _median(run, "idle", peer, "handshakes_per_s", "{:,.0f}".format),
        )
        for peer in _by(run, peers, "idle", "bytes_each", higher=False)
    ]
    return markdown(header, rows)


def stuck_table(run: Measurements, peers: Iterable[str]) -> str:
    header = (
        "server", "sent to each member", "missing at members that read", "their p99", "memory grew by",
        "stuck connections closed", "a stuck member that reads again",
    )  # fmt: skip
    rows = [
        (
            peer,
            _one(run, "stuck", peer, "flood_mb", "{:.1f} MB".format),
            _one(run, "stuck", peer, "missing", "{:,.0f}".format),
            _one(run, "stuck", peer, "p99_ms", _ms),
            _one(run, "stuck", peer, "growth_mb", "{:,.0f} MB".format),
            _one(run, "stuck", peer, "closed_stuck", "{:,.0f}".format),
            stuck_outcome(run, peer),
        )
        for peer in _by(run, peers, "stuck", "growth_mb", higher=False)
    ]
    return markdown(header, rows)


def stuck_outcome(run: Measurements, peer: str) -> str:
    """What the member that did not read has got, and what it knows."""
    received = run.median("stuck", peer, "stuck_received")
    if received is None:
        return "; ".join(run.faults("stuck", peer)) or _ABSENT
    told = bool(run.median("stuck", peer, "stuck_told"))
    closed = bool(run.median("stuck", peer, "stuck_closed"))
    if closed:
        return f"{received:.0%}, then it is disconnected"
    if received >= 1:
        return "everything"
    return (
        f"{received:.0%}, and is told which are missing" if told else f"{received:.0%}, no word of the rest"
    )


def versions_table(peers: Iterable[About], skipped: dict[str, str]) -> str:
    rows = [(peer.name, peer.language, peer.version, peer.settings) for peer in peers]
    rows += [(name, "", "not measured", f"not installed: {install}") for name, install in skipped.items()]
    return markdown(("server", "language", "version", "settings"), rows)


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with numbers, in all columns but the first, set to the right."""
    lines = ["| " + " | ".join(row) + " |" for row in (header, *rows)]
    numeric = header[0] == "server" and header[1] != "language"
    lines.insert(1, "|---|" + ("--:|" if numeric else "---|") * (len(header) - 1))
    return "\n".join(lines)


Format = Callable[[float], str]


def _per_call(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _ms(value: float) -> str:
    return f"{value:,.0f} ms" if value >= 99.95 else f"{value:.1f} ms"


def _median(run: Measurements, case: str, peer: str, value: str, form: Format = format_short) -> str:
    """The median, and what went wrong in any round."""
    said = list(run.faults(case, peer))
    median = run.median(case, peer, value)
    if median is not None:
        said.insert(0, form(median))
    return "; ".join(said) or _ABSENT


def _spread(run: Measurements, case: str, peer: str, value: str, form: Format = format_short) -> str:
    values = run.values(case, peer, value)
    return f"{form(min(values))} … {form(max(values))}" if values else _ABSENT


def _one(run: Measurements, case: str, peer: str, value: str, form: Format = "{:.3g}".format) -> str:
    values = run.values(case, peer, value)
    return form(statistics.median(values)) if values else _ABSENT


def _by(run: Measurements, peers: Iterable[str], case: str, value: str, *, higher: bool) -> list[str]:
    """The peers from best to worst; those without a number come last."""

    def rank(peer: str) -> tuple[bool, float]:
        median = run.median(case, peer, value)
        return (median is None, 0.0 if median is None else -median if higher else median)

    return sorted(peers, key=rank)
