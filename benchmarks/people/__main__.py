"""Measure what people cost: `python -m benchmarks.people --help`."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable

from benchmarks.people import hooks, joins, logins
from benchmarks.people.measure import Measured
from benchmarks.processes import LOAD_CORE, SERVER_CORE, prepare_driver
from benchmarks.report import save_results

MEASURES: dict[str, Callable[[bool], Measured]] = {
    "joins": joins.measure,
    "hooks": hooks.measure,
    "logins": logins.measure,
}
"""By name, what is called with whether a quick look is enough."""


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.people", description=__doc__)
    parser.add_argument("names", nargs="*", choices=(*MEASURES, []), help=", ".join(MEASURES))
    parser.add_argument("--quick", action="store_true", help="a look: short runs, one round")
    parser.add_argument("--save", action="store_true", help="keep the figures for `make report`")
    parser.add_argument("--gate", action="store_true", help="exit with 1 where a figure falls short")
    return parser.parse_args()


def main() -> int:
    arguments = _parse_arguments()
    if SERVER_CORE == LOAD_CORE:
        print("Only one core: server and load share it, the figures mean little.", file=sys.stderr)
    prepare_driver()
    met = True
    for name in arguments.names or MEASURES:
        print(name, flush=True)
        measured = MEASURES[name](arguments.quick)
        met = met and measured.met
        for table in measured.tables.values():
            print("\n" + table)
        for fault in measured.faults:
            print(f"  {name}: {fault}")
        if arguments.save:
            about = {"python": platform.python_version(), "kernel": platform.release()}
            save_results(f"people-{name}", about | measured.values, measured.tables)
            measured.draw()
    return 1 if arguments.gate and not met else 0


if __name__ == "__main__":
    sys.exit(main())
