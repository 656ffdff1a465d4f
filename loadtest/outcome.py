"""What a run has measured, taken from Locust's statistics: lines, counts, a table. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

FAILURES = {
    "hole": "events of a log did not come",
    "repeat": "an event came twice, or after the room was left",
    "lagged": "the server said that events are gone",
    "reset": "a room's log was another one after a return: what had been said there is gone",
    "lost": "an acknowledged message did not come to its sender",
    "error": "a command was refused",
    "closed": "a connection ended unexpectedly",
    "refused": "a connection could not be had",
    "late": "an answer did not come in time",
}

LINES = ("connect", "join", "sent", "delivery", "return", "away", "hub lag")
"""Those that have a time; `figures` tells what each is."""

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of the statistics. Times are in milliseconds, and None where nothing was timed."""

    edge: str
    name: str
    count: int
    failures: int
    per_s: float
    mean_ms: float | None
    max_ms: float | None
    percentiles_ms: Mapping[str, float]

    def read(self, figure: str) -> float | None:
        """``p99_ms`` and the like, ``mean_ms``, ``max_ms``, ``count``, ``per_s``, ``failures``."""
        if figure.removesuffix("_ms") in PERCENTILES:
            return self.percentiles_ms.get(figure.removesuffix("_ms"))
        value: float | None = getattr(self, figure)
        return value


def take_percentile(times: Mapping[float, int], part: float) -> float | None:
    """The time that this part of them does not exceed; ``times`` counts each."""
    total = sum(times.values())
    seen = 0
    for time_ms in sorted(times):
        seen += times[time_ms]
        if seen >= part * total:
            return time_ms
    return None


def take_lines(stats: Any) -> list[Line]:
    """The lines of Locust's RequestStats, without its sum over all of them."""
    lines = []
    for (name, edge), entry in sorted(stats.entries.items()):
        timed = entry.num_requests - entry.num_none_requests
        lines.append(
            Line(
                edge=edge,
                name=name,
                count=entry.num_requests,
                failures=entry.num_failures,
                per_s=entry.total_rps,
                mean_ms=entry.total_response_time / timed if timed else None,
                max_ms=entry.max_response_time if timed else None,
                percentiles_ms={
                    label: value
                    for label, part in PERCENTILES.items()
                    if (value := take_percentile(entry.response_times, part)) is not None
                },
            )
        )
    return lines


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they must be; the first row is the head, the first two columns are words."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    text = []
    for row in rows:
        cells = [
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        text.append("  ".join(cells).rstrip())
    return "\n".join(text)


def format_ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def format_lines(lines: Sequence[Line]) -> str:
    """The table that is printed at the end of a run."""
    rows: list[tuple[str, ...]] = [
        ("edge", "line", "count", "per s", "mean", "p50", "p90", "p99", "p99.9", "max", "failed")
    ]
    rows += [
        (
            line.edge,
            line.name,
            str(line.count),
            f"{line.per_s:.1f}",
            format_ms(line.mean_ms),
            *(format_ms(line.percentiles_ms.get(label)) for label in ("p50", "p90", "p99", "p999")),
            format_ms(line.max_ms),
            str(line.failures or ""),
        )
        for line in lines
    ]
    return format_table(rows)
