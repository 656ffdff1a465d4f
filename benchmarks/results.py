"""Figures: what was measured, what was wanted, as a table and as JSON."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass
class Figure:
    """One line of the table. `values` has one entry per round."""

    name: str
    values: list[float]
    limit: float
    at_least: bool
    unit: str = ""
    faults: list[str] = dataclasses.field(default_factory=list)
    details: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def measured(self) -> float:
        return statistics.median(self.values)

    @property
    def met(self) -> bool:
        reached = self.measured >= self.limit if self.at_least else self.measured <= self.limit
        return reached and not self.faults

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"measured": self.measured, "met": self.met}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Figure:
        return cls(**{field.name: saved[field.name] for field in dataclasses.fields(cls)})


def merge_figures(earlier: Sequence[Figure], figures: Sequence[Figure]) -> list[Figure]:
    """What was measured now, in the place of what was measured of it before."""
    merged = {figure.name: figure for figure in earlier}
    merged |= {figure.name: figure for figure in figures}
    return list(merged.values())


def format_number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def format_table(figures: Sequence[Figure]) -> str:
    """Return the table as Markdown, so that it can go into a README as it is."""
    rows = [("figure", "measured", "rounds", "target", "met")]
    for figure in figures:
        spread = f"{format_number(min(figure.values))} … {format_number(max(figure.values))}"
        bound = f"{'≥' if figure.at_least else '≤'} {format_number(figure.limit)} {figure.unit}"
        measured = f"{format_number(figure.measured)} {figure.unit}"
        rows.append((figure.name, measured.strip(), spread, bound.strip(), "yes" if figure.met else "NO"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    lines += [f"  {figure.name}: {fault}" for figure in figures for fault in figure.faults]
    return "\n".join(lines)
