"""Measure fastchat beside its peers: `python -m benchmarks.peers --help`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import platform
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.processes import LOAD_CORE, SERVER_CORE, prepare_driver
from benchmarks.report import save_results

from . import syscalls
from .drawings import draw_plots
from .fan_out import Windows, measure_delay, measure_fan_out, measure_system_calls
from .idle import measure_idle
from .measurement import Measurement, Measurements, disagreements, shared_claims
from .native import NATIVE
from .ours import OURS
from .peer import Peer
from .plan import FULL, QUICK, PeersPlan
from .python import PYTHON
from .stuck import measure_stuck
from .tables import About, make_tables

PEERS: tuple[Peer, ...] = (*OURS, *NATIVE, *PYTHON)
CASES = ("fan-out", "calls", "delay", "idle", "stuck")


class Run:
    """One run of the command: what it measures, and what has come of it so far."""

    def __init__(self, plan: PeersPlan, cases: Sequence[str], peers: Sequence[Peer]) -> None:
        self.plan = plan
        self.results = Measurements()
        self._cases = cases
        self._peers = peers
        self._windows = Windows(plan)
        self._failed: set[tuple[str, str]] = set()

    def measure(self) -> None:
        """All peers in turn, and so once more for each round: the machine drifts under all of them alike."""
        for round_number in range(1, self.plan.rounds + 1):
            for peer in self._peers:
                print(f"round {round_number}, {peer.name}", flush=True)
                for case in self._cases:
                    self._measure(case, peer, round_number)

    def _measure(self, case: str, peer: Peer, round_number: int) -> None:
        """Whatever a peer does is a result; once a case has failed with it, it is not tried again."""
        measures: dict[str, Callable[[], None]] = {
            "fan-out": lambda: measure_fan_out(peer, self.plan, self._windows, round_number, self.results),
            "calls": lambda: measure_system_calls(peer, self.plan, self._windows, self.results),
            "delay": lambda: measure_delay(peer, self.plan, round_number, self.results),
            "idle": lambda: measure_idle(peer, self.plan, round_number, self.results),
            "stuck": lambda: measure_stuck(peer, self.plan, round_number, self.results),
        }
        once = {"calls": 1, "stuck": self.plan.stuck_rounds}
        if (peer.name, case) in self._failed or round_number > once.get(case, self.plan.rounds):
            return
        began = time.monotonic()
        try:
            measures[case]()
        except (RuntimeError, OSError, ValueError, LookupError) as error:
            self._failed.add((peer.name, case))
            self.results.add(Measurement(case, peer.name, round_number, {}, _in_short(error)))
            print(f"    {peer.name:24} {case}: FAILED: {error}", flush=True)
        print(f"    {case} took {time.monotonic() - began:.1f} s", flush=True)


def _in_short(error: Exception) -> str:
    return f"failed: {str(error).splitlines()[0][:100] if str(error) else type(error).__name__}"


def _choose_peers(only: Sequence[str] | None) -> tuple[list[Peer], dict[str, str]]:
    """Those that can run here, and what the others need."""
    wanted = [peer for peer in PEERS if not only or any(word.lower() in peer.name.lower() for word in only)]
    chosen, skipped = [], {}
    for peer in wanted:
        install = peer.missing()
        if install:
            skipped[peer.name] = install
            print(f"left out: {peer.name}; to measure it: {install}", flush=True)
        else:
            chosen.append(peer)
    return chosen, skipped


def _report(
    run: Run,
    peers: Sequence[Peer],
    skipped: dict[str, str],
    took_s: float,
    *,
    whole: bool,
    file: pathlib.Path | None,
) -> None:
    """Print the tables; save what documents are made from where the run was a whole one."""
    about = [About(peer.name, peer.language, peer.version(), peer.settings) for peer in peers]
    tables = make_tables(run.results, run.plan, about, skipped)
    for name, table in tables.items():
        print(f"\n{name}\n\n{table}")
    document: dict[str, Any] = {
        "whole": whole,
        "took_s": round(took_s),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "plan": dataclasses.asdict(run.plan),
        "peers": [dataclasses.asdict(peer) for peer in about],
        "skipped": skipped,
        "measurements": run.results.as_json(),
    }
    if file:
        file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if whole:
        save_results("peers", document, tables)
        draw_plots(run.results, run.plan, [peer.name for peer in peers])


def _compare(files: Sequence[pathlib.Path]) -> int:
    """Whether two runs agree on every ranking that either claims: 0; 1 where not, or where there is none."""
    runs = [
        Measurements.from_json(json.loads(file.read_text(encoding="utf-8"))["measurements"]) for file in files
    ]
    found = disagreements(*runs)
    for ranking, ratio in found:
        print(
            f"{ranking.case}, {ranking.value}: {ranking.better} is ahead of {ranking.worse} by"
            f" {ranking.ratio:.2f} in one run, and by {ratio:.2f} in the other"
        )
    claims = shared_claims(*runs)
    print(
        f"{len(found)} of {claims:,} rankings differ"
        if found
        else f"the runs agree on all {claims:,} rankings"
    )
    return 1 if found or not claims else 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    names = ", ".join(peer.name for peer in PEERS)
    parser.add_argument("--quick", action="store_true", help="a look: short phases, one round")
    parser.add_argument("--only", nargs="+", metavar="PEER", help=f"a part of the name of: {names}")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES, metavar="CASE",
                        help=", ".join(CASES))  # fmt: skip
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each case is measured")
    parser.add_argument("--seconds", type=float, metavar="S", help="how long a phase of fan-out takes")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write everything measured there")
    parser.add_argument("--rankings", nargs=2, type=pathlib.Path, metavar="FILE",
                        help="measure nothing: tell whether two saved runs agree")  # fmt: skip
    return parser.parse_args()


def main() -> int:
    arguments = _parse_arguments()
    if arguments.rankings:
        return _compare(arguments.rankings)
    plan = QUICK if arguments.quick else FULL
    plan = dataclasses.replace(
        plan, rounds=arguments.rounds or plan.rounds, seconds=arguments.seconds or plan.seconds
    )
    if SERVER_CORE == LOAD_CORE:
        print("Only one core: server and load share it, the figures mean little.", file=sys.stderr)
    prepare_driver()
    peers, skipped = _choose_peers(arguments.only)
    cases = list(arguments.cases)
    if "calls" in cases and syscalls.missing():
        print(f"left out: system calls; to count them: {syscalls.missing()}", flush=True)
        cases.remove("calls")
    run, began = Run(plan, cases, peers), time.monotonic()
    run.measure()
    took_s = time.monotonic() - began
    whole = not (arguments.quick or arguments.only or len(cases) < len(CASES))
    _report(run, peers, skipped, took_s, whole=whole, file=arguments.json)
    print(f"\n{took_s / 60:.1f} minutes{'' if whole else '; a part of it all: documents keep what they say'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
