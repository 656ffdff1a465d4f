"""Measure what it costs to tell other services: `python -m benchmarks.publishing --help`."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import platform
import statistics
import sys

import uvloop

from benchmarks.brokers import data_folder, rabbitmq, rabbitmq_installed
from benchmarks.processes import LOAD_CORE, SERVER_CORE, prepare_driver
from benchmarks.publishing import ways
from benchmarks.publishing.ways import Committed, Run
from benchmarks.report import save_results

RATIO_MIN = 0.8
NAMES = {
    "library": "aio-pika alone",
    "sink": "fastchat's connection to RabbitMQ",
    "sender": "committed events, out of the store",
}


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.publishing", description=__doc__)
    parser.add_argument("--batch", type=int, default=500, help="events that are confirmed together (500)")
    parser.add_argument("--events", type=int, default=20_000, help="per round and way (20,000)")
    parser.add_argument("--rounds", type=int, default=3, help="of all ways, one after the other (3)")
    parser.add_argument("--save", action="store_true", help="keep the figures for `make report`")
    parser.add_argument("--gate", action="store_true", help="exit with 1 where a figure falls short")
    return parser.parse_args()


async def _round(url: str, count: int, batch: int) -> dict[str, Run]:
    """All ways, with the same events."""
    runs = {}
    with data_folder() as folder:
        store = Committed(f"sqlite://{folder / 'fastchat.db'}")
        try:
            await store.fill(count)
            events = await store.events(count)
            runs["library"] = await ways.library(url, events, batch)
            await ways.purge(url)
            runs["sink"] = await ways.sink(url, events, batch)
            await ways.purge(url)
            runs["sender"] = await ways.sender(url, store, count)
            await ways.purge(url)
        finally:
            await store.close()
    return runs


async def _measure(url: str, arguments: argparse.Namespace) -> list[dict[str, Run]]:
    # Declares the exchange and the queue.
    await ways.sink(url, [], arguments.batch)
    rounds = []
    for _ in range(arguments.rounds):
        runs = await _round(url, arguments.events, arguments.batch)
        rounds.append(runs)
        rates = "  ".join(f"{name} {run.rate:8,.0f}/s {run.cpu_us:5.0f} µs" for name, run in runs.items())
        print(f"    {rates}", flush=True)
    return rounds


def summarize(rounds: list[dict[str, Run]]) -> tuple[str, dict[str, float]]:
    """The table, and by way the median of its ratios to the library in the same round."""
    ratios = {
        name: statistics.median(runs[name].rate / runs["library"].rate for runs in rounds) for name in NAMES
    }
    rows = ["| | events/s | of aio-pika's | CPU per event, µs |", "|---|--:|--:|--:|"]
    for name, title in NAMES.items():
        rate = statistics.median(runs[name].rate for runs in rounds)
        cpu_us = statistics.median(runs[name].cpu_us for runs in rounds)
        rows.append(f"| {title} | {rate:,.0f} | {ratios[name]:.2f} | {cpu_us:.0f} |")
    return "\n".join(rows), ratios


def main() -> int:
    arguments = _parse_arguments()
    if not rabbitmq_installed():
        print("RabbitMQ is not installed: apt-get install rabbitmq-server", file=sys.stderr)
        return 2
    if SERVER_CORE == LOAD_CORE:
        print("Only one core: RabbitMQ and who publishes share it.", file=sys.stderr)
    prepare_driver()
    with rabbitmq() as broker, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rounds = runner.run(_measure(f"amqp://guest:guest@127.0.0.1:{broker.line_port}/", arguments))
    table, ratios = summarize(rounds)
    met = ratios["sink"] >= RATIO_MIN and ratios["sender"] >= RATIO_MIN
    print(f"\n{table}\n\nwanted: at least {RATIO_MIN} of aio-pika's: {'met' if met else 'NOT MET'}")
    if arguments.save:
        about = {"python": platform.python_version(), "kernel": platform.release(), "batch": arguments.batch}
        values = [{name: dataclasses.asdict(run) for name, run in runs.items()} for runs in rounds]
        save_results("publishing", about | {"rounds": values, "ratios": ratios}, {"publishing": table})
    return 1 if arguments.gate and not met else 0


if __name__ == "__main__":
    sys.exit(main())
