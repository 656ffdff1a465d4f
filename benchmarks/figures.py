"""Measure what the README promises: `python -m benchmarks.figures --help`."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import platform
import sys

from .fairness import measure_ping
from .memory import measure_idle, measure_stuck
from .plan import FULL, QUICK, Plan
from .processes import LOAD_CORE, SERVER_CORE, prepare_driver
from .results import Figure, format_table, write_json
from .throughput import measure_throughput

_THROUGHPUT = ("one", "saturation-send", "saturation-writev", "saturation-ws")
_GROUPS = {"saturation": _THROUGHPUT[1:], "throughput": _THROUGHPUT, "idle": ("idle-room", "idle-rooms")}
NAMES = (*_THROUGHPUT, "idle-room", "idle-rooms", "stuck", "ping")


def measure_figures(plan: Plan, wanted: set[str]) -> list[Figure]:
    figures: list[Figure] = []
    if wanted & set(_THROUGHPUT):
        print("throughput", flush=True)
        figures += measure_throughput(plan, wanted)
    if wanted & {"idle-room", "idle-rooms"}:
        print("idle memory", flush=True)
        figures += [
            measure_idle(plan, rooms)
            for name, rooms in (("idle-room", 1), ("idle-rooms", 100))
            if name in wanted
        ]
    if "stuck" in wanted:
        print("stuck readers", flush=True)
        figures += measure_stuck(plan)
    if "ping" in wanted:
        print("ping beside a flood", flush=True)
        figures.append(measure_ping(plan))
    return figures


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.figures", description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        choices=(*NAMES, *_GROUPS),
        metavar="NAME",
        help=", ".join((*NAMES, *_GROUPS)),
    )
    parser.add_argument("--quick", action="store_true", help="a look in a minute: short runs, one round")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each case is measured")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write everything measured there")
    parser.add_argument("--gate", action="store_true", help="exit with 1 where a figure falls short")
    return parser.parse_args()


def main() -> int:
    arguments = _parse_arguments()
    plan = QUICK if arguments.quick else FULL
    plan = dataclasses.replace(plan, rounds=arguments.rounds or plan.rounds)
    wanted = {name for only in arguments.only or NAMES for name in _GROUPS.get(only, (only,))}
    if SERVER_CORE == LOAD_CORE:
        print("Only one core: server and load share it, the figures mean little.", file=sys.stderr)
    prepare_driver()
    figures = measure_figures(plan, wanted)
    print("\n" + format_table(figures))
    if arguments.json:
        about = {"quick": arguments.quick, "python": platform.python_version(), "kernel": platform.release()}
        write_json(arguments.json, figures, about)
    return 1 if arguments.gate and not all(figure.met for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
