"""Measure what each setting trades: `python -m benchmarks.tuning --help`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import subprocess
import sys
import time
from typing import Any

from benchmarks.plots import draw_bars, draw_lines
from benchmarks.processes import LOAD_CORE, SERVER_CORE, prepare_driver
from benchmarks.report import RESULTS, save_results
from benchmarks.tuning import durability, far, floods, footprint, rooms, slow_readers
from benchmarks.tuning.curve import (
    FULL,
    QUICK,
    CannotMeasure,
    Curve,
    Points,
    Sample,
    TuningPlan,
    Value,
    lines,
    run_curve,
    short,
    table,
)
from benchmarks.tuning.observe import congestion_control

CURVES: dict[str, Curve] = {
    curve.key: curve for module in (slow_readers, far, rooms, floods, durability) for curve in module.CURVES
}
NAMES = (*CURVES, *footprint.STUDIES)
_LONG = {"tcp-wmem", "slow-start", "backlog", "allocator"}
"""Not our settings; a look leaves them out, unless they are named."""


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tuning", description="Measure what each setting trades."
    )
    parser.add_argument(
        "--only", nargs="+", action="extend", choices=NAMES, metavar="NAME", help=", ".join(NAMES)
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


def save(key: str, measured: dict[str, Any], tables: dict[str, str]) -> None:
    """Puts it into the results, beside what was measured before."""
    path = RESULTS / "tuning.json"
    saved: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    about = {"kernel": platform.release(), "python": platform.python_version(), "tcp": congestion_control()}
    all_measured = saved.get("measured", {}) | {key: about | measured}
    ordered = {name: all_measured[name] for name in NAMES if name in all_measured}
    save_results("tuning", {"measured": ordered}, saved.get("tables", {}) | tables)


def _measure_curve(curve: Curve, plan: TuningPlan, *, keep: bool) -> None:
    def show(value: Value, sample: Sample) -> None:
        found = ", ".join(f"{key} {short(measured)}" for key, measured in sample.items())
        print(f"    {curve.key} {value}: {found}", flush=True)

    print(f"{curve.setting}: {curve.title}", flush=True)
    points = run_curve(curve, plan, show)
    print(f"\n{table(curve, points)}\n")
    if keep:
        rounds = [{"value": value, **measured} for value, measured in points.items()]
        save(
            curve.key,
            {"setting": curve.setting, "points": rounds},
            {f"tuning-{curve.key}": table(curve, points)},
        )
        draw(curve, points)


def _study(key: str, plan: TuningPlan, *, keep: bool) -> None:
    print(key, flush=True)
    measured, tables = footprint.STUDIES[key](plan, lambda line: print(f"    {line}", flush=True))
    print("\n" + "\n\n".join(tables.values()) + "\n")
    if keep:
        save(key, measured, tables)


def main() -> int:
    arguments = _parse_arguments()
    plan = QUICK if arguments.quick else FULL
    plan = dataclasses.replace(plan, rounds=arguments.rounds or plan.rounds)
    if SERVER_CORE == LOAD_CORE:
        print("Only one core: server and load share it, the curves mean little.", file=sys.stderr)
    prepare_driver()
    failed = []
    usual = [name for name in NAMES if not (arguments.quick and name in _LONG)]
    for key in arguments.only or usual:
        began = time.monotonic()
        try:
            if key in CURVES:
                _measure_curve(CURVES[key], plan, keep=not arguments.quick)
            else:
                _study(key, plan, keep=not arguments.quick)
        except CannotMeasure as reason:
            print(f"    skipped: {reason}")
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            # The others are worth having: an unattended run goes on.
            print(f"    failed: {error}", file=sys.stderr)
            failed.append(key)
        print(f"({time.monotonic() - began:.0f} s)\n", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
