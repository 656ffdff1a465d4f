"""What a run has to reach, from a TOML file, and whether it did. Pure but for reading the file.

    [all.failures]              # of all lines of this name, over both edges
    all = 0                     # any kind of failure, or one of them: hole, repeat, lagged, lost …
    [steady.delivery]           # a line of the scenario steady
    p99_ms = 100                # p50_ms, p90_ms, p95_ms, p99_ms, p999_ms, mean_ms, max_ms: at most
    min_count = 1000            # min_count, min_per_s: at least

What a scenario says goes before what `all` says. A time that was not measured is not reached.
"""

from __future__ import annotations

import dataclasses
import pathlib
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from .outcome import FAILURES, LINES, PERCENTILES, Line, format_ms, format_table

_AT_MOST = (*(f"{label}_ms" for label in PERCENTILES), "mean_ms", "max_ms")
_AT_LEAST = {"min_count": "count", "min_per_s": "per_s"}


class Unusable(Exception):
    """The file says something that is no objective."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One objective and what became of it."""

    line: str
    figure: str
    limit: float
    measured: float | None
    met: bool


Objectives = dict[str, dict[str, float]]
"""By line, the figures' limits; the line "failures" has the kinds of failures."""


def read_objectives(path: pathlib.Path, scenario: str) -> Objectives:
    """Those of one scenario. Raises Unusable."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Unusable(f"{path}: {error}") from None
    merged: Objectives = {}
    for section in ("all", scenario):
        for line, limits in document.get(section, {}).items():
            known = _find_known(line)
            if not isinstance(limits, dict) or not known:
                raise Unusable(f"{path}: [{section}.{line}] is no line; use failures, {', '.join(LINES)}")
            for figure, limit in limits.items():
                if figure not in known:
                    raise Unusable(
                        f"{path}: {figure!r} in [{section}.{line}] is no figure; use {', '.join(known)}"
                    )
                if isinstance(limit, bool) or not isinstance(limit, (int, float)):
                    raise Unusable(f"{path}: {figure} in [{section}.{line}] must be a number")
                merged.setdefault(line, {})[figure] = limit
    return merged


def _find_known(line: str) -> Sequence[str]:
    if line == "failures":
        return ("all", *FAILURES)
    return (*_AT_MOST, *_AT_LEAST) if line in LINES else ()


def judge(objectives: Mapping[str, Mapping[str, float]], lines: Sequence[Line]) -> list[Verdict]:
    """One verdict for each objective and each edge that has its line."""
    verdicts: list[Verdict] = []
    for name, limits in objectives.items():
        for figure, limit in limits.items():
            if name == "failures":
                verdicts.append(_judge_failures(figure, limit, lines))
            else:
                verdicts += _judge_line(name, figure, limit, lines)
    return verdicts


def _judge_failures(kind: str, limit: float, lines: Sequence[Line]) -> Verdict:
    failed = sum(line.failures for line in lines if kind in ("all", line.name))
    return Verdict("failures", kind, limit, failed, failed <= limit)


def _judge_line(name: str, figure: str, limit: float, lines: Sequence[Line]) -> list[Verdict]:
    here = [line for line in lines if line.name == name]
    if figure in _AT_LEAST:
        measured = sum(line.read(_AT_LEAST[figure]) or 0 for line in here)
        return [Verdict(name, figure, limit, measured, measured >= limit)]
    if not here:
        return [Verdict(name, figure, limit, None, met=False)]
    values = [(line, line.read(figure)) for line in here]
    return [
        Verdict(f"{name} ({line.edge})", figure, limit, value, value is not None and value <= limit)
        for line, value in values
    ]


def format_verdicts(verdicts: Sequence[Verdict]) -> str:
    rows = [("line", "figure", "limit", "measured", "")]
    for verdict in verdicts:
        measured = "none" if verdict.measured is None else _format(verdict.figure, verdict.measured)
        limit = _format(verdict.figure, verdict.limit)
        rows.append((verdict.line, verdict.figure, limit, measured, "met" if verdict.met else "NOT MET"))
    return format_table(rows)


def _format(figure: str, value: Any) -> str:
    return format_ms(value) if figure.endswith("_ms") else f"{value:.10g}"
