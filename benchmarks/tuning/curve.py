"""Curves: values of one setting, what was measured at each, and the table of it. Pure: measures nothing."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

FLAT_RATIO = 1.25
"""Medians that differ by less than this are one value: the machine drifts as much."""

Value = float | str


class CannotMeasure(Exception):
    """This machine lacks something that the curve needs; the message says what."""


Sample = dict[str, float]
"""What one run measured, by the metric's key."""


@dataclasses.dataclass(frozen=True)
class TuningPlan:
    """How much is measured. ``values`` limits how many of a curve's values are taken."""

    rounds: int
    seconds: float
    values: int


FULL = TuningPlan(rounds=3, seconds=1.2, values=7)
QUICK = TuningPlan(rounds=1, seconds=0.5, values=3)

MeasureRound = Callable[[Sequence[Value], TuningPlan], Iterator[tuple[Value, Sample]]]


@dataclasses.dataclass(frozen=True)
class Metric:
    """One thing that is measured. ``good`` says which way is better."""

    key: str
    title: str
    unit: str
    good: str = "less"
    plotted: bool = True


@dataclasses.dataclass(frozen=True)
class Curve:
    """One setting. ``unit_size`` is what the plot's and table's unit is in the setting's own unit.

    ``measure_round`` measures every value once and yields what it found. ``relative``: the plot shows each
    metric as a multiple of what it is at the default, so that different units share it. ``default`` may be
    None where what is varied is not a setting. ``quick_values`` are for a look, where not any do.
    """

    key: str
    setting: str
    title: str
    unit: str
    values: tuple[Value, ...]
    default: Value | None
    metrics: tuple[Metric, ...]
    measure_round: MeasureRound
    unit_size: int = 1
    relative: bool = True
    y_label: str = ""
    log_y: bool = True
    quick_values: tuple[Value, ...] = ()

    def choose(self, plan: TuningPlan) -> tuple[Value, ...]:
        """The values that the plan takes: the first, the last, the default, and others as there is room."""
        if len(self.values) <= plan.values:
            return self.values
        if self.quick_values:
            return self.quick_values
        kept = {self.values[0], self.values[-1]}
        if self.default is not None:
            kept.add(self.default)
        for value in self.values:
            if len(kept) >= plan.values:
                break
            kept.add(value)
        return tuple(value for value in self.values if value in kept)


def each(measure: Callable[[Any, TuningPlan], Sample]) -> MeasureRound:
    """A round that measures one value after the other."""

    def measure_round(values: Sequence[Value], plan: TuningPlan) -> Iterator[tuple[Value, Sample]]:
        for value in values:
            yield value, measure(value, plan)

    return measure_round


Points = Mapping[Value, Mapping[str, Sequence[float]]]
"""By value and metric: one number for each round."""


def run_curve(
    curve: Curve, plan: TuningPlan, on_sample: Callable[[Value, Sample], None]
) -> dict[Value, dict[str, list[float]]]:
    """Measures the curve round by round; every other one goes backwards, so that a drift shows as spread."""
    values = curve.choose(plan)
    points: dict[Value, dict[str, list[float]]] = {value: {} for value in values}
    for number in range(plan.rounds):
        order = values if number % 2 == 0 else tuple(reversed(values))
        for value, sample in curve.measure_round(order, plan):
            on_sample(value, sample)
            for key, measured in sample.items():
                points[value].setdefault(key, []).append(measured)
    return points


def median(points: Points, value: Value, key: str) -> float:
    return statistics.median(points[value][key])


def is_flat(points: Points, key: str) -> bool:
    """Whether the medians are one value, or lie within the spread of the rounds at most of the values."""
    medians = [median(points, value, key) for value in points]
    if max(medians) <= 0:
        return True
    if min(medians) > 0 and max(medians) / min(medians) < FLAT_RATIO:
        return True
    spreads = [max(rounds[key]) - min(rounds[key]) for rounds in points.values()]
    return max(medians) - min(medians) <= statistics.median(spreads)


def lines(curve: Curve, points: Points) -> dict[str, list[tuple[float, float]]]:
    """What the plot shows: each plotted metric's medians. Logarithmic axes have no place for 0."""
    drawn: dict[str, list[tuple[float, float]]] = {}
    for metric in curve.metrics:
        if not metric.plotted:
            continue
        scale = 1.0
        if curve.relative:
            assert curve.default is not None
            scale = median(points, curve.default, metric.key)
        label = f"{metric.title} ({metric.good} is better)"
        drawn[label] = [
            (float(value) / curve.unit_size, median(points, value, metric.key) / scale if scale else 0.0)
            for value in points
            if not isinstance(value, str) and value > 0
        ]
        if curve.log_y:
            drawn[label] = [(x, y) for x, y in drawn[label] if y > 0]
    return drawn


def table(curve: Curve, points: Points) -> str:
    """The medians as Markdown, each with its smallest and largest round; the default is set in bold."""
    titles = [f"{metric.title}, {metric.unit}" if metric.unit else metric.title for metric in curve.metrics]
    name = f"`{curve.setting}`" + (f", {curve.unit}" if curve.unit else "")
    rows = [f"| {name} | {' | '.join(titles)} |", "|--:" * (len(titles) + 1) + "|"]
    for value in points:
        shown = _value_text(curve, value)
        label = f"**{shown}**" if value == curve.default else shown
        cells = [_cell(points[value][metric.key]) for metric in curve.metrics]
        rows.append(f"| {label} | {' | '.join(cells)} |")
    flat = [metric.title for metric in curve.metrics if is_flat(points, metric.key)]
    if flat:
        rows += ["", f"No difference beyond the spread: {'; '.join(flat)}."]
    return "\n".join(rows)


def _value_text(curve: Curve, value: Value) -> str:
    if isinstance(value, str):
        return value
    return f"{value / curve.unit_size:g}" if value else "0 (off)"


def _cell(rounds: Sequence[float]) -> str:
    text = short(statistics.median(rounds))
    return text if len(rounds) == 1 else f"{text} ({short(min(rounds))} … {short(max(rounds))})"


def short(value: float) -> str:
    """Two or three digits, thousands with commas: 0.12, 4.6, 38, 1,230."""
    if abs(value) >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    if abs(value) >= 10:
        return f"{value:.0f}"
    return f"{value:.2g}" if value else "0"
