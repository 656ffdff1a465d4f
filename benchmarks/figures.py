"""Measure what the README promises: `python -m benchmarks.figures --help`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import sys

from .delay import measure_delay
from .fairness import measure_ping
from .herd import measure_herd
from .ingest import measure_ingest
from .ingest_rooms import measure_ingest_rooms
from .memory import measure_further_rooms, measure_idle, measure_stuck
from .pace import measure_pace
from .plan import FULL, QUICK, Plan
from .processes import LOAD_CORE, SERVER_CORE, prepare_driver
from .report import RESULTS, save_results
from .results import Figure, format_table, merge_figures
from .resume import measure_resume
from .throughput import measure_throughput

_THROUGHPUT = ("one", "saturation-send", "saturation-writev", "saturation-ws")
_INGEST_ROOMS = ("ingest-line", "ingest-ws", "ingest-file")
_INGEST = ("durable-ingest", "durable-rabbitmq", "durable-nats")
_RESUME = ("resume-one", "resume-many")
_DURABLE = (*_INGEST, "durable-delay", *_RESUME)
_GROUPS = {
    "saturation": _THROUGHPUT[1:],
    "throughput": _THROUGHPUT,
    "ingest": _INGEST_ROOMS,
    "idle": ("idle-room", "idle-rooms", "idle-further"),
    "durable": _DURABLE,
    "resume": _RESUME,
}
NAMES = (
    *_THROUGHPUT,
    "pace",
    *_INGEST_ROOMS,
    "idle-room",
    "idle-rooms",
    "idle-further",
    "stuck",
    "ping",
    *_DURABLE,
    "herd",
)


def measure_figures(plan: Plan, wanted: set[str]) -> list[Figure]:
    figures: list[Figure] = []
    if wanted & set(_THROUGHPUT):
        print("throughput", flush=True)
        figures += measure_throughput(plan, wanted)
    if "pace" in wanted:
        print("delay at a steady rate", flush=True)
        figures.append(measure_pace(plan))
    if wanted & set(_INGEST_ROOMS):
        print("ingest", flush=True)
        figures += measure_ingest_rooms(plan, wanted)
    if wanted & set(_GROUPS["idle"]):
        print("idle memory", flush=True)
        figures += [
            measure_idle(plan, rooms)
            for name, rooms in (("idle-room", 1), ("idle-rooms", 100))
            if name in wanted
        ]
    if "idle-further" in wanted:
        figures.append(measure_further_rooms(plan))
    if "stuck" in wanted:
        print("stuck readers", flush=True)
        figures += measure_stuck(plan)
    if "ping" in wanted:
        print("ping beside a flood", flush=True)
        figures.append(measure_ping(plan))
    return figures + measure_durable(plan, wanted)


def measure_durable(plan: Plan, wanted: set[str]) -> list[Figure]:
    figures: list[Figure] = []
    if wanted & set(_INGEST):
        print("durable ingest", flush=True)
        figures += measure_ingest(plan, wanted)
    if "durable-delay" in wanted:
        print("what durability adds to the delay", flush=True)
        figures.append(measure_delay(plan))
    if wanted & set(_RESUME):
        print("resume", flush=True)
        figures += measure_resume(plan, wanted)
    if "herd" in wanted:
        print("herd", flush=True)
        figures.append(measure_herd(plan))
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
    parser.add_argument("--save", action="store_true", help="keep the figures for `make report`")
    parser.add_argument("--gate", action="store_true", help="exit with 1 where a figure falls short")
    return parser.parse_args()


def _save(figures: list[Figure]) -> None:
    """Keeps the figures, and those of earlier runs that this one has not measured."""
    path = RESULTS / "figures.json"
    earlier = json.loads(path.read_text(encoding="utf-8"))["figures"] if path.exists() else []
    figures = merge_figures([Figure.from_json(figure) for figure in earlier], figures)
    about = {"python": platform.python_version(), "kernel": platform.release()}
    results = about | {"figures": [figure.as_json() for figure in figures]}
    save_results("figures", results, {"figures": format_table(figures)})


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
    if arguments.save:
        _save(figures)
    return 1 if arguments.gate and not all(figure.met for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
