"""Measure several nodes that are one chat: `python -m benchmarks.nodes --help`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import os
import platform
import statistics
import sys
from collections.abc import Sequence

import uvloop

from benchmarks.buses.__main__ import SERVERS
from benchmarks.nodes import chats, delays, efficiency
from benchmarks.nodes.efficiency import CLIENTS, RUSHES, SENDERS, Phase, Rush
from benchmarks.processes import LOAD_CORE, SERVER_CORE, prefer, prepare_driver
from benchmarks.report import save_results
from fastchat.log import configure

NODES = 3
LEAST = 0.5
"""What a chat of several busy nodes is to reach of one node's messages per CPU-second."""
ALONE = "one node, without a broker"


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nodes", description=__doc__)
    parser.add_argument("names", nargs="*", choices=(*SERVERS, []), help=", ".join(SERVERS))
    parser.add_argument("--rounds", type=int, default=5, help="phases of each chat, in turn (5)")
    parser.add_argument("--messages", type=int, default=3000, help="in a phase (3,000)")
    parser.add_argument(
        "--paced", type=int, default=1000, help=f"messages, {delays.RATE:.0f} a second (1,000)"
    )
    parser.add_argument("--save", action="store_true", help="keep the figures for `make report`")
    parser.add_argument("--gate", action="store_true", help="exit with 1 where a figure falls short")
    return parser.parse_args()


@dataclasses.dataclass
class Results:
    """By bus, and for one node alone."""

    phases: dict[Rush, dict[str, list[Phase]]] = dataclasses.field(default_factory=dict)
    delays_us: dict[str, list[float]] = dataclasses.field(default_factory=dict)


async def _measure(running: dict[str, chats.Chat], arguments: argparse.Namespace) -> Results:
    results = Results()
    for name, chat in running.items():
        if len(chat.nodes) > 1:
            results.delays_us[name] = await delays.measure(chat, arguments.paced)
    loads = {name: efficiency.Load(chat) for name, chat in running.items()}
    for number, load in enumerate(loads.values()):
        await load.open(f"u{number}")
        await load.run(RUSHES[-1], arguments.messages // 4)  # warms up
    for rush in RUSHES:
        messages = arguments.messages if rush.senders > 1 else arguments.messages // 10
        found = results.phases.setdefault(rush, {name: [] for name in loads})
        for i in range(arguments.rounds):
            for name in loads if i % 2 else reversed(loads):
                phase = await loads[name].run(rush, messages)
                found[name].append(phase)
                print(
                    f"    {rush.name:22} {name:28} {phase.per_cpu_s:8,.0f} per CPU-second, "
                    f"{phase.per_s:8,.0f}/s",
                    flush=True,
                )
    return results


def quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]


def summarize(phases: dict[Rush, dict[str, list[Phase]]]) -> tuple[str, dict[str, float]]:
    """The table, and by chat the median ratio to one node where all are busy."""
    rows = [
        "| load | chat | messages per CPU-second | beside one node | messages/s | CPU of the services |",
        "|---|---|--:|--:|--:|--:|",
    ]
    ratios: dict[str, float] = {}
    for rush, chats_of in phases.items():
        base = chats_of[ALONE]
        for name, own in chats_of.items():
            by_cpu = [mine.per_cpu_s / one.per_cpu_s for mine, one in zip(own, base, strict=True)]
            ratios[name] = statistics.median(by_cpu)  # the last load's is what stays
            rows.append(
                f"| {rush.name} | {name} | {statistics.median(phase.per_cpu_s for phase in own):,.0f} "
                f"| {ratios[name]:.2f} ({min(by_cpu):.2f} … {max(by_cpu):.2f}) "
                f"| {statistics.median(phase.per_s for phase in own):,.0f} "
                f"| {statistics.median(phase.services_cpu for phase in own):.2f} |"
            )
    return "\n".join(rows), ratios


def main() -> int:
    arguments = _parse_arguments()
    if SERVER_CORE == LOAD_CORE:
        print("Only one core: nodes and load share it, the figures mean little.", file=sys.stderr)
    prepare_driver()
    configure("warning", "text")
    prefer(os.getpid())
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(chats.database())
        running = {ALONE: stack.enter_context(chats.chat(database, 1))}
        for name in arguments.names or SERVERS:
            installed, start, url = SERVERS[name]
            if not installed():
                print(f"{name} is not installed: left out", file=sys.stderr)
                continue
            broker = stack.enter_context(start())
            address = url.format(broker.line_port)
            running[f"{NODES} nodes, {name}"] = stack.enter_context(
                chats.chat(database, NODES, broker, address)
            )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            results = runner.run(_measure(running, arguments))
    table, ratios = summarize(results.phases)
    second_node = {
        name.removeprefix(f"{NODES} nodes, "): {
            "p50_us": quantile(found, 0.5),
            "p99_us": quantile(found, 0.99),
        }
        for name, found in results.delays_us.items()
    }
    print(f"\n{table}\n")
    for name, delay in second_node.items():
        print(f"  a second node, over {name}: {delay['p50_us']:,.0f} µs, p99 {delay['p99_us']:,.0f} µs")
    if arguments.save:
        about = {"python": platform.python_version(), "kernel": platform.release()}
        shape = {"clients": CLIENTS, "senders": SENDERS, "nodes": NODES}
        loads = {
            rush.name: {name: [dataclasses.asdict(phase) for phase in own] for name, own in found.items()}
            for rush, found in results.phases.items()
        }
        values = {"second_node": second_node, "phases": loads[RUSHES[-1].name], "loads": loads}
        save_results("nodes", {**about, **shape, **values}, {"nodes": table})
    return 1 if arguments.gate and min(ratios.values()) < LEAST else 0


if __name__ == "__main__":
    sys.exit(main())
