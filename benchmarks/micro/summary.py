"""Tables and plots of a run of the micro-benchmarks: `python -m benchmarks.micro.summary RUN.json`.

RUN.json is what pytest-benchmark writes with `--benchmark-json`. Each benchmark says there, as
``extra_info``, which point of which figure it is. Of all rounds the shortest counts: what else the machine
does makes a round longer, never shorter.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from dataclasses import dataclass
from typing import Any

from benchmarks.micro.figures import FIGURES, Figure
from benchmarks.plots import draw_bars, draw_lines
from benchmarks.report import save_results

X = int | str


@dataclass(frozen=True)
class Point:
    """One measurement: seconds per unit of its figure, in the shortest round and in the middle one."""

    figure: str
    implementation: str
    x: X
    best_s: float
    median_s: float
    rounds: int


def read_points(run: dict[str, Any]) -> list[Point]:
    """The points of a run, in the order in which they were measured first; of two passes the better one."""
    points: dict[tuple[str, str, X], Point] = {}
    for benchmark in run["benchmarks"]:
        label, stats = benchmark["extra_info"], benchmark["stats"]
        point = Point(
            figure=label["figure"],
            implementation=label["implementation"],
            x=label["x"],
            best_s=stats["min"] / label["units"],
            median_s=stats["median"] / label["units"],
            rounds=stats["rounds"] * stats["iterations"],
        )
        key = (point.figure, point.implementation, point.x)
        if key not in points or point.best_s < points[key].best_s:
            points[key] = point
    return list(points.values())


def make_table(name: str, points: list[Point]) -> str:
    """A figure as Markdown: the reference's times, and the others' as multiples of them with their times."""
    figure = FIGURES[name]
    if figure.by_name:
        return _make_list(figure, points)
    times = {(point.implementation, point.x): point.best_s for point in points}
    columns = sorted({point.x for point in points}, key=int)
    rows = [figure.reference, *(each for each in _names(points) if each != figure.reference)]
    lines = [
        f"| time per {figure.unit}, by {figure.x} | {' | '.join(f'{x:,}' for x in columns)} |",
        f"|---|{'--:|' * len(columns)}",
    ]
    for row in rows:
        cells = [
            _cell(times.get((row, x)), times.get((figure.reference, x)), row == figure.reference)
            for x in columns
        ]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _make_list(figure: Figure, points: list[Point]) -> str:
    """A figure whose x has names: a row for each."""
    (base_s,) = [point.best_s for point in points if point.x == figure.reference]
    lines = [f"| {figure.x} | time | against `{figure.reference}` |", "|---|--:|--:|"]
    lines += [
        f"| `{point.x}` | {format_time(point.best_s)} | {_ratio(point.best_s / base_s)} |" for point in points
    ]
    return "\n".join(lines)


def _names(points: list[Point]) -> list[str]:
    """The implementations in the order in which they were measured."""
    return list(dict.fromkeys(point.implementation for point in points))


def _cell(time_s: float | None, reference_s: float | None, is_reference: bool) -> str:
    if time_s is None or reference_s is None:
        return "" if time_s is None else format_time(time_s)
    return format_time(time_s) if is_reference else f"{_ratio(time_s / reference_s)} · {format_time(time_s)}"


def _ratio(ratio: float) -> str:
    digits = f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}" if ratio >= 1 else f"{ratio:.2g}"
    return f"{digits} ×"  # noqa: RUF001


def format_time(time_s: float) -> str:
    """Two digits at least: 47 ns, 1.3 µs, 120 µs."""
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")):
        if time_s >= size or unit == "ns":
            value = time_s / size
            return f"{value:.2g} {unit}" if value < 99.5 else f"{value:.0f} {unit}"
    raise AssertionError("not reached")


def draw(name: str, points: list[Point]) -> None:
    """Draws a figure as `docs/plots/micro-NAME.svg`: a line per implementation."""
    figure = FIGURES[name]
    if figure.by_name:
        draw_bars(
            f"micro-{name}",
            figure.title,
            f"µs per {figure.unit}",
            {str(p.x): [p.best_s * 1e6] for p in points},
            ours="",
        )
        return
    lines = {
        row: [
            (float(p.x), p.best_s * 1e9)
            for p in sorted(points, key=lambda p: int(p.x))
            if p.implementation == row
        ]
        for row in _names(points)
    }
    draw_lines(
        f"micro-{name}", figure.title, figure.x, f"ns per {figure.unit}", lines, log_x=True, log_y=True
    )


def save(points: list[Point], machine: dict[str, Any]) -> pathlib.Path:
    """Writes all plots, and `results/micro.json` with the tables."""
    by_figure = {name: [point for point in points if point.figure == name] for name in FIGURES}
    for name, those in by_figure.items():
        draw(name, those)
    tables = {f"micro-{name}": make_table(name, those) for name, those in by_figure.items()}
    results = {
        "machine": machine,
        "points": [
            {
                "figure": point.figure,
                "implementation": point.implementation,
                "x": point.x,
                "best_ns": round(point.best_s * 1e9, 1),
                "median_ns": round(point.median_s * 1e9, 1),
                "rounds": point.rounds,
            }
            for point in points
        ],
    }
    return save_results("micro", results, tables)


def describe_machine(run: dict[str, Any]) -> dict[str, Any]:
    """What may be told of the machine: its processor and its Python."""
    machine = run["machine_info"]
    return {
        "cpu": machine["cpu"].get("brand_raw", machine.get("processor", "")),
        "cores": machine["cpu"].get("count"),
        "python": machine["python_version"],
        "system": f"{machine['system']} {machine['release'].split('-')[0]}",
        "measured": run["datetime"][:10],
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.micro.summary", description=__doc__)
    parser.add_argument("run", type=pathlib.Path)
    run = json.loads(parser.parse_args().run.read_text(encoding="utf-8"))
    points = read_points(run)
    measured = {point.figure for point in points}
    for name, figure in FIGURES.items():
        if name in measured:
            table = make_table(name, [point for point in points if point.figure == name])
            print(f"\n{name}: {figure.title}\n\n{table}")
    missing = [name for name in FIGURES if name not in measured]
    if missing or run["quick"]:
        reason = f"not measured this time: {', '.join(missing)}" if missing else "this was a quick look"
        print(f"\nPlots and results stay as they are; {reason}")
        return 0
    print(f"\nwritten: {save(points, describe_machine(run))} and docs/plots/micro-*.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
