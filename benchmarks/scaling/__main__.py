"""Measures what sizing needs beside the other benchmarks: `python -m benchmarks.scaling [--save]`.

What people and messages of other nodes cost a node, and what messages cost PostgreSQL.
"""

from __future__ import annotations

import argparse
import dataclasses
import platform
import sys

from benchmarks.report import save_results
from benchmarks.scaling import commits, people
from tests.services.postgres import running


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--save", action="store_true", help="keep the figures for `make report`")
    arguments = parser.parse_args()
    told = people.measure() | {"message": people.measure_events()}
    for name, cost in told.items():
        print(
            f"  {name:18} {cost.bus_bytes:6,.0f} bytes on the bus, {cost.cpu_us:6.2f} µs, "
            f"{cost.memory_bytes:6,.0f} bytes of memory"
        )
    found = []
    with running(fast=False) as server:
        for nodes, senders in commits.SHAPES:
            one = commits.measure(server, nodes, senders)
            found.append(one)
            print(
                f"  {nodes} nodes, {senders:3} senders each: {one.messages_per_s:7,.0f} messages/s in "
                f"{one.commits_per_s:6,.0f} commits, {one.cpu_us_per_commit:6,.0f} µs of PostgreSQL each; "
                f"for each message {one.disk_bytes:,.0f} bytes of disk, {one.log_bytes:,.0f} of log"
            )
    if arguments.save:
        results = {
            "python": platform.python_version(),
            "kernel": platform.release(),
            "rooms": people.ROOMS,
            "told": {name: dataclasses.asdict(cost) for name, cost in told.items()},
            "commits": [dataclasses.asdict(one) for one in found],
        }
        save_results("scaling", results, {})
    return 0


if __name__ == "__main__":
    sys.exit(main())
