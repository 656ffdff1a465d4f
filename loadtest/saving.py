"""Keeps what a run has measured: its numbers, its tables and its plots, for the documents."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from .soaking import Sample

_SHOWN = ("connect", "join", "sent", "delivery", "return", "away", "hub lag")


def save_outcome(scenario: str, outcome: dict[str, Any], samples: Sequence[Sample]) -> list[pathlib.Path]:
    """Writes benchmarks/results/load-SCENARIO.json and docs/plots/load-SCENARIO.svg; returns the files.

    The plot shows a soak's memory, and else how the delays went.
    """
    from benchmarks.plots import draw_lines  # takes matplotlib, which a run that is not saved does not need
    from benchmarks.report import save_results

    name = f"load-{scenario.replace('_', '-')}"
    tables = {name: format_markdown(outcome)}
    if "memory" in outcome:
        tables[f"{name}-memory"] = outcome["memory"]["verdict"]
    paths = [save_results(name, {key: value for key, value in outcome.items() if key != "tables"}, tables)]
    if samples:
        memory = [(sample.at_s / 60, sample.anonymous_bytes / 2**20) for sample in thin(samples)]
        lines = {"memory of the server": memory}
        files = [(sample.at_s / 60, sample.file_bytes / 2**20) for sample in thin(samples)]
        if any(size for _, size in files):
            lines["its store's files"] = files
        paths.append(draw_lines(name, f"{scenario}: {outcome['users']} users", "minutes", "MiB", lines))
    elif points := outcome["timeline"]:
        curves = {
            label: [(point["at_s"], point[key]) for point in points if point[key] is not None]
            for label, key in (("delivery p50", "delivery_p50_ms"), ("delivery p99", "delivery_p99_ms"))
        }
        title = f"{scenario}: {outcome['users']} users, {outcome['rate']:.0f} messages per second"
        paths.append(draw_lines(name, title, "seconds", "milliseconds", curves))
    return paths


def thin(samples: Sequence[Sample], wanted: int = 120) -> list[Sample]:
    """About so many of them, evenly spaced, the last one included."""
    step = max(1, len(samples) // wanted)
    return [*samples[:-1:step], samples[-1]] if samples else []


def format_markdown(outcome: dict[str, Any]) -> str:
    """The lines that have a time, and one for the failures."""
    text = ["| edge | line | count | p50 ms | p90 ms | p99 ms | max ms |", "|---|---|--:|--:|--:|--:|--:|"]
    for line in outcome["lines"]:
        if line["name"] in _SHOWN:
            times = line["percentiles_ms"]
            shown = [times.get("p50"), times.get("p90"), times.get("p99"), line["max_ms"]]
            cells = " | ".join("" if value is None else f"{value:.4g}" for value in shown)
            text.append(f"| {line['edge']} | {line['name']} | {line['count']:,} | {cells} |")
    failures = sum(line["failures"] for line in outcome["lines"])
    counts = outcome["counts"]
    summary = (
        f"{outcome['users']} users, {counts.get('messages', 0):,} messages, "
        f"{counts.get('deliveries', 0):,} deliveries, {counts.get('connections', 0):,} connections, "
        f"{failures} failures, in {outcome['time_s']} s."
    )
    return "\n".join([*text, "", summary])
