"""Measure what each setting trades: `python -m benchmarks.tuning --help`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import sys
import time
from typing import Any

from benchmarks.plots import draw_bars, draw_lines
from benchmarks.processes import LOAD_CORE, SERVER_CORE, prepare_driver
from benchmarks.report import RESULTS, save_results
from benchmarks.tuning import durability, floods, rooms, slow_readers
from benchmarks.tuning.curve import FULL, QUICK, Curve, Points, Sample, Value, lines, run_curve, short, table

CURVES: dict[str, Curve] = {
    curve.key: curve for module in (slow_readers, rooms, floods, durability) for curve in module.CURVES
}


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", action="extend", choices=tuple(CURVES), metavar="NAME", help=", ".join(CURVES)
    )
    parser.add_argument(
        "--quick", action="store_true", help="a look in two minutes: few values, one round, nothing is saved"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each value is measured")
    return parser.parse_args()


def draw(curve: Curve, points: Points) -> None:
    """The curve as docs/plots/tuning-KEY.svg."""
    name = f"tuning-{curve.key}"
    if any(isinstance(value, str) for value in curve.values):
        metric = curve.metrics[0]
        bars = {f"{value}": points[value][metric.key] for value in points}
        draw_bars(name, curve.title, metric.title, bars, ours=str(curve.default))
        return
    default = curve.default if isinstance(curve.default, float | int) else None
    draw_lines(
        name,
        curve.title,
        f"{curve.setting}, {curve.unit}" if curve.unit else curve.setting,
        "multiple of what it is at the default" if curve.relative else curve.y_label,
        lines(curve, points),
        log_x=True,
        log_y=curve.log_y,
        mark_x=default / curve.unit_size if default else None,
    )


def save(curve: Curve, points: Points) -> None:
    """Puts the curve into the results beside those that were measured before, and draws it."""
    path = RESULTS / "tuning.json"
    saved: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    tables = saved.pop("tables", {}) | {f"tuning-{curve.key}": table(curve, points)}
    measured = {
        "setting": curve.setting,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "points": [{"value": value, **rounds} for value, rounds in points.items()],
    }
    curves = saved.get("curves", {}) | {curve.key: measured}
    ordered = {key: curves[key] for key in CURVES if key in curves}
    save_results("tuning", {"curves": ordered}, tables)
    draw(curve, points)


def main() -> int:
    arguments = _parse_arguments()
    plan = QUICK if arguments.quick else FULL
    plan = dataclasses.replace(plan, rounds=arguments.rounds or plan.rounds)
    if SERVER_CORE == LOAD_CORE:
        print("Only one core: server and load share it, the curves mean little.", file=sys.stderr)
    prepare_driver()
    for key in arguments.only or CURVES:
        curve, began = CURVES[key], time.monotonic()

        def show(value: Value, sample: Sample, key: str = key) -> None:
            print(
                f"    {key} {value}: " + ", ".join(f"{k} {short(v)}" for k, v in sample.items()), flush=True
            )

        print(f"{curve.setting}: {curve.title}", flush=True)
        points = run_curve(curve, plan, show)
        print(f"\n{table(curve, points)}\n\n({time.monotonic() - began:.0f} s)\n", flush=True)
        if not arguments.quick:
            save(curve, points)
    return 0


if __name__ == "__main__":
    sys.exit(main())
