"""Measure what a broker costs the chat: `python -m benchmarks.attached --help`.

Two servers with their rooms in files, one of them with a broker, run all the time; phases alternate between
them: what changes on the machine changes for both. After each phase the outbox is let run empty.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import platform
import statistics
import sys
import time
import urllib.request
from collections.abc import Iterator

from benchmarks.brokers import data_folder
from benchmarks.generator import Generator, generator
from benchmarks.plan import FULL
from benchmarks.processes import LOAD_CORE, SERVER_CORE, prepare_driver
from benchmarks.report import save_results
from benchmarks.servers import Server, fastchat
from tests.services.nats import Nats
from tests.services.rabbitmq import RabbitMQ
from tests.services.redis import Redis

LEAST = 0.9
MODES = {"one": "one message at a time", "window": "saturated"}
BROKERS = {"rabbitmq": "RabbitMQ", "nats": "NATS", "redis": "Redis"}
KINDS = {"rabbitmq": RabbitMQ, "nats": Nats, "redis": Redis}
# Short ones, by turns: the machine's own drift is larger than what is measured. Saturated, a second fills the
# outbox with what a broker takes several for.
SECONDS = 1.0
ROUNDS = {"one": 21, "window": 7}
_WARM_UP_MESSAGES = {"one": 50, "window": 5000}
_EMPTY_TIMEOUT_S = 120.0


@dataclasses.dataclass(frozen=True)
class Phase:
    """What a server did in one phase, and with a broker how the outbox kept pace."""

    per_cpu_s: float
    per_s: float
    sent: int
    faults: str
    waited: int = 0
    """Events that waited when the phase was over."""
    empty_after_s: float = 0.0


@contextlib.contextmanager
def broker_url(kind: str) -> Iterator[str]:
    """Starts the broker. It runs where this process does: on the load's core."""
    service = KINDS[kind]()
    try:
        service.start()
        yield service.url
    finally:
        service.close()


def waiting(server: Server) -> int:
    """How many events wait in the server's outbox; it counts every 2 s."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/healthz", timeout=30) as answer:
        return int(json.load(answer)["outbox"]["events"])


def _let_empty(server: Server) -> tuple[int, float]:
    """What waited after a phase, and how long it took until nothing did."""
    began_at = time.monotonic()
    most = 0
    empty = 0
    while empty < 2:  # it may have been counted before the phase was over
        now = waiting(server)
        most = max(most, now)
        empty = 0 if now else empty + 1
        if time.monotonic() - began_at > _EMPTY_TIMEOUT_S:
            raise TimeoutError(f"{now} events still wait after {_EMPTY_TIMEOUT_S:g} s")
        time.sleep(2.1 if not now else 0.2)
    return most, max(0.0, time.monotonic() - began_at - 2 * 2.1)


def _phase(server: Server, load: Generator, *, attached: bool) -> Phase:
    result, used_s = load.run_timed(server)
    most, empty_after_s = _let_empty(server) if attached else (0, 0.0)
    deliveries = result.all_deliveries
    return Phase(
        deliveries / used_s, deliveries / result.elapsed_s, result.sent, result.faults, most, empty_after_s
    )


@contextlib.contextmanager
def _start(mode: str, seconds: float, *settings: str) -> Iterator[tuple[Server, Generator]]:
    options: dict[str, int | float | str] = {
        "subscribers": FULL.subscribers,
        "text_bytes": FULL.text_bytes,
        "seconds": seconds,
    }
    if mode == "window":
        options |= {"senders": FULL.senders, "window": FULL.window, "lag": FULL.outstanding}
    with (
        data_folder() as folder,
        fastchat(*settings, store=f"sqlite://{folder / 'fastchat.db'}") as server,
        generator(server, "line", mode, **options) as load,
    ):
        load.run(_WARM_UP_MESSAGES[mode])
        yield server, load


def measure(mode: str, url: str, rounds: int, seconds: float) -> dict[str, list[Phase]]:
    """Alternates between the two servers; the order is turned around each time."""
    phases: dict[str, list[Phase]] = {"without": [], "with": []}
    settings = [f"broker.url={url}", *(["broker.queue=archive"] if url.startswith("amqp") else [])]
    with (
        _start(mode, seconds) as without,
        _start(mode, seconds, *settings) as attached,
    ):
        running = {"without": without, "with": attached}
        _let_empty(attached[0])
        for i in range(rounds):
            for name in ("without", "with") if i % 2 else ("with", "without"):
                phase = _phase(*running[name], attached=name == "with")
                phases[name].append(phase)
                print(
                    f"    {mode:6} {name:7} {phase.per_cpu_s:12,.0f} deliveries per CPU-second,"
                    f" {phase.per_s:12,.0f}/s, {phase.sent:7,} sent, {phase.waited:7,} waited,"
                    f" none after {phase.empty_after_s:5.1f} s  {phase.faults}",
                    flush=True,
                )
    return phases


def summarize(broker: str, phases: dict[str, dict[str, list[Phase]]]) -> tuple[str, dict[str, float]]:
    """The table, and by mode the median of the ratios to the server without a broker."""
    rows = [
        f"| | with {broker} beside without, per CPU-second | per second | events waited | gone after |",
        "|---|--:|--:|--:|--:|",
    ]
    ratios = {}
    for mode, own in phases.items():
        pairs = list(zip(own["with"], own["without"], strict=True))
        by_cpu = [a.per_cpu_s / b.per_cpu_s for a, b in pairs]
        by_time = statistics.median(a.per_s / b.per_s for a, b in pairs)
        ratios[mode] = statistics.median(by_cpu)
        waited = statistics.median(phase.waited for phase in own["with"])
        sent = statistics.median(phase.sent for phase in own["with"])
        empty_s = statistics.median(phase.empty_after_s for phase in own["with"])
        rows.append(
            f"| {MODES[mode]} | {ratios[mode]:.2f} ({min(by_cpu):.2f} … {max(by_cpu):.2f}) | {by_time:.2f}"
            f" | {waited:,.0f} of {sent:,.0f} | {empty_s:.1f} s |"
        )
    return "\n".join(rows), ratios


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attached", description=__doc__)
    parser.add_argument("--broker", choices=BROKERS, default="rabbitmq", help="rabbitmq if left out")
    parser.add_argument("--only", choices=MODES, help="one at a time, or saturated")
    parser.add_argument("--quick", action="store_true", help="a look: two rounds")
    parser.add_argument("--save", action="store_true", help="keep the figures for `make report`")
    parser.add_argument("--gate", action="store_true", help="exit with 1 where a figure falls short")
    return parser.parse_args()


def main() -> int:
    arguments = _parse_arguments()
    if SERVER_CORE == LOAD_CORE:
        print("Only one core: server and load share it, the figures mean little.", file=sys.stderr)
    prepare_driver()
    with broker_url(arguments.broker) as url:
        phases = {
            mode: measure(mode, url, 2 if arguments.quick else ROUNDS[mode], SECONDS)
            for mode in ([arguments.only] if arguments.only else MODES)
        }
    table, ratios = summarize(BROKERS[arguments.broker], phases)
    print("\n" + table)
    if arguments.save:
        about = {"python": platform.python_version(), "kernel": platform.release()}
        values = {
            mode: {name: [dataclasses.asdict(phase) for phase in own] for name, own in both.items()}
            for mode, both in phases.items()
        }
        name = "attached" if arguments.broker == "rabbitmq" else f"attached-{arguments.broker}"
        save_results(name, about | values, {name: table})
    faulty = any(phase.faults for both in phases.values() for own in both.values() for phase in own)
    return 1 if arguments.gate and (faulty or min(ratios.values()) < LEAST) else 0


if __name__ == "__main__":
    sys.exit(main())
