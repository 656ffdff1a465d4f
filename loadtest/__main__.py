"""`python -m loadtest [SCENARIO] [options]`: a load test in one command.

Without --host or --line it starts a server of its own, with any free ports and a store in a temporary
folder. Locust runs in processes of its own. The exit code is 0 if all objectives were met, 1 if not, 2 for a
mistake in the options.
"""

from __future__ import annotations

import argparse
import importlib.util
import pathlib
import sys

from .defaults import DEFAULTS
from .options import add_load_options

FOLDER = pathlib.Path(__file__).resolve().parent
ROOT = FOLDER.parent
OUTPUT = ROOT / "build" / "loadtest"
QUICK = {"steady": 8, "fanout": 8, "spike": 6, "herd": 10, "slow_readers": 10, "churn": 8}
"""The seconds of each scenario where none is named: a minute in all."""
QUICK_PART = 0.4
"""And which part of the usual number of users."""


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "scenario",
        nargs="?",
        choices=(*DEFAULTS, "all"),
        default="all",
        help="what the users do; all of them but soak, shortly, if none is named",
    )
    parser.add_argument("--users", type=int, metavar="N")
    parser.add_argument("--time", type=float, metavar="S", help="seconds, the start of the users included")
    parser.add_argument(
        "--start", type=float, metavar="S", help="over how many seconds the users are started"
    )
    parser.add_argument("--processes", type=int, metavar="P", default=1, help="of Locust (1)")
    parser.add_argument("--host", metavar="HOST:PORT", default="", help="the HTTP port of a server that runs")
    parser.add_argument("--html", metavar="FILE", help="Locust's report")
    parser.add_argument("--store", metavar="URL", help="of the own server; a file in a temporary folder")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="a setting of the own server"
    )
    parser.add_argument(
        "--restart-signal",
        choices=("kill", "term"),
        default="kill",
        help="how herd ends the own server (kill)",
    )
    parser.add_argument("--sample-pid", type=int, metavar="PID", help="whose memory soak watches with --host")
    parser.add_argument(
        "--output", metavar="FOLDER", default=str(OUTPUT), help="for figures and samples (build/loadtest)"
    )
    parser.add_argument("--save", action="store_true", help="into benchmarks/results and docs/plots, too")
    parser.add_argument("--verbose", action="store_true", help="Locust's statistics every two seconds")
    add_load_options(parser)
    return parser.parse_args(arguments)


def main() -> int:
    options = parse_arguments()
    missing = [name for name in ("locust", "orjson") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"loadtest: install {' and '.join(missing)}: pip install -e '.[load]'", file=sys.stderr)
        return 2
    from .running import run_scenario  # it needs what was looked for just now

    if not options.objectives:
        options.objectives = str(FOLDER / "objectives.toml")
    pathlib.Path(options.output).mkdir(parents=True, exist_ok=True)
    if options.scenario != "all":
        return run_scenario(options, options.scenario)
    codes = []
    for scenario, time_s in QUICK.items():
        options.time = time_s
        codes.append(run_scenario(options, scenario, users_part=QUICK_PART))
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
