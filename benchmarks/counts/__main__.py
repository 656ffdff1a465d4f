"""Counts instructions, allocations and sends: `python -m benchmarks.counts [--accept]`.

Exits with 1 where a workload takes more instructions than expected.json allows.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping

from benchmarks.report import save_results

from .gate import accept, find_grown, read_expected
from .run import Instructions, Work, count_instructions, count_work, describe_environment, why_no_instructions
from .workloads import WORKLOADS


def format_table(work: Mapping[str, Work], instructions: Mapping[str, Instructions]) -> str:
    """All counts, as Markdown."""
    lines = [
        "| operation | per | instructions | times the reference | allocations | sends | objects made |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for workload in WORKLOADS:
        if workload.name not in work:
            continue
        own, counted = work[workload.name], instructions.get(workload.name)
        cells = [workload.name, workload.per]
        cells += [f"{counted.count:,.1f}", f"{counted.ratio:.3g}"] if counted else ["-", "-"]
        cells += [
            f"{abs(own.allocations):.2f}",
            f"{own.sends:.3g}",
            f"{counted.made:.3g}" if counted else "-",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _format_calls(instructions: Mapping[str, Instructions]) -> str:
    lines = ["Calls out of the compiled modules, per operation:"]
    for name, counted in instructions.items():
        calls = ", ".join(f"{callee} {number:.3g}" for callee, number in counted.calls.items())
        lines.append(f"  {name}: {calls or 'none'}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.counts", description=__doc__)
    parser.add_argument(
        "--accept", action="store_true", help="expect these counts from now on, and report them"
    )
    parser.add_argument("--only", action="append", default=[], choices=[each.name for each in WORKLOADS])
    parser.add_argument(
        "--quick", action="store_true", help="without instructions, which take some ten seconds"
    )
    options = parser.parse_args()
    if options.accept and (options.only or options.quick):
        parser.error("all counts are accepted together")
    missing = why_no_instructions()
    if missing:
        print(f"Instructions are not counted: {missing}")
    environment = describe_environment()
    work = count_work(options.only)
    instructions = {} if missing or options.quick else count_instructions(options.only)
    table = format_table(work, instructions)
    print(", ".join(environment.values()))
    print(table)
    if instructions:
        print(_format_calls(instructions))
    if options.accept and instructions:
        accept(instructions, environment)
        results = {
            "environment": environment,
            "work": {name: dataclasses.asdict(each) for name, each in work.items()},
            "instructions": {name: dataclasses.asdict(each) for name, each in instructions.items()},
        }
        save_results("counts", results, {"counts": table})
        return 0
    grown = find_grown(instructions, environment, read_expected())
    for line in grown:
        print(f"Grown: {line}")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
