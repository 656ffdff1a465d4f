"""Measure the buses between nodes: `python -m benchmarks.buses --help`."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import pathlib
import platform
import shutil
import statistics
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

import uvloop

from benchmarks import brokers
from benchmarks.buses import ways
from benchmarks.buses.measure import PAYLOAD_BYTES, RATE, Run, measure
from benchmarks.processes import LOAD_CORE, SERVER_CORE, prefer, prepare_driver, read_tree
from benchmarks.report import RESULTS, save_results
from fastchat.log import configure

OURS = "fastchat's bus"
SECOND_NODE = "a second node, behind the first"

SERVERS: dict[str, tuple[Callable[[], bool], Callable[[], AbstractContextManager[brokers.Broker]], str]] = {
    "NATS": (lambda: brokers.nats_program() is not None, brokers.nats, "nats://127.0.0.1:{}"),
    "Redis": (lambda: shutil.which("redis-server") is not None, brokers.redis, "redis://127.0.0.1:{}"),
    "RabbitMQ": (brokers.rabbitmq_installed, brokers.rabbitmq, "amqp://guest:guest@127.0.0.1:{}/"),
}
"""By bus: whether it is installed, what starts it, and where it is then."""


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.buses", description=__doc__)
    parser.add_argument("names", nargs="*", choices=(*SERVERS, []), help=", ".join(SERVERS))
    parser.add_argument("--rounds", type=int, default=3, help="of both ways, one after the other (3)")
    parser.add_argument("--paced", type=int, default=750, help=f"payloads at {RATE:.0f} per second (750)")
    parser.add_argument("--saturated", type=int, default=4000, help="payloads at full speed (4,000)")
    parser.add_argument("--save", action="store_true", help="keep the figures for `make report`")
    return parser.parse_args()


async def _measure(name: str, url: str, arguments: argparse.Namespace) -> list[dict[str, Run]]:
    library, bare = ways.LIBRARIES[name]
    rounds = []
    for _ in range(arguments.rounds):
        runs = {
            OURS: await measure(ways.ours, url, arguments.paced, arguments.saturated),
            f"{library} alone": await measure(bare, url, arguments.paced, arguments.saturated),
        }
        rounds.append(runs)
        for way, run in runs.items():
            delays = f"p50 {run.p50_us:6.0f} µs, p99 {run.p99_us:6.0f} µs"
            print(f"    {name:8} {way:16} {delays}, {run.rate:8,.0f}/s", flush=True)
    return rounds


def _prefer(*pids: int) -> None:
    """Runs these before other programs, with all their threads: delays are of the bus, not of the machine."""
    for pid in pids:
        for member in read_tree(pid) if pid != os.getpid() else (pid,):
            for thread in pathlib.Path(f"/proc/{member}/task").iterdir():
                prefer(int(thread.name))


def summarize(measured: dict[str, list[dict[str, Run]]], nodes: dict[str, dict[str, float]]) -> str:
    """The table. ``nodes`` has, by bus, ``p50_us`` and ``p99_us`` of a second node behind the first."""
    rows = ["| bus | by | p50, µs | p99, µs | payloads/s |", "|---|---|--:|--:|--:|"]
    for name, rounds in measured.items():
        for way in rounds[0]:
            p50, p99, rate = (
                statistics.median(getattr(runs[way], field) for runs in rounds)
                for field in ("p50_us", "p99_us", "rate")
            )
            rows.append(f"| {name} | {way} | {p50:,.0f} | {p99:,.0f} | {rate:,.0f} |")
        if name in nodes:
            rows.append(
                f"| {name} | {SECOND_NODE} | {nodes[name]['p50_us']:,.0f} | {nodes[name]['p99_us']:,.0f} | |"
            )
    return "\n".join(rows)


def _read_nodes() -> dict[str, dict[str, float]]:
    """What a second node's delay is over the first's, where that has been measured and saved."""
    path = RESULTS / "nodes.json"
    if not path.exists():
        return {}
    delays: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8")).get("second_node", {})
    return delays


def main() -> int:
    arguments = _parse_arguments()
    if SERVER_CORE == LOAD_CORE:
        print("Only one core: the broker and who uses it share it.", file=sys.stderr)
    prepare_driver()
    configure("warning", "text")
    measured: dict[str, list[dict[str, Run]]] = {}
    for name in arguments.names or SERVERS:
        installed, start, url = SERVERS[name]
        if not installed():
            print(f"{name} is not installed: left out", file=sys.stderr)
            continue
        with start() as broker, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            _prefer(broker.pid, os.getpid())
            measured[name] = runner.run(_measure(name, url.format(broker.line_port), arguments))
    if not measured:
        return 2
    table = summarize(measured, _read_nodes())
    print(f"\n{table}")
    if arguments.save:
        about = {"python": platform.python_version(), "kernel": platform.release(), "bytes": PAYLOAD_BYTES}
        values = {
            name: [{way: dataclasses.asdict(run) for way, run in runs.items()} for runs in rounds]
            for name, rounds in measured.items()
        }
        save_results("buses", about | {"rounds": values}, {"buses": table})
    return 0


if __name__ == "__main__":
    sys.exit(main())
