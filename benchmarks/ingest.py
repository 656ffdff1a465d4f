"""What it costs to keep messages: durable rooms beside memory rooms, and beside brokers that keep theirs."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

from .brokers import SUBJECT, data_folder, nats, nats_program, nats_syncs_always, rabbitmq, rabbitmq_installed
from .generator import Load, generator
from .plan import Plan
from .processes import settle_cpu
from .results import Figure
from .servers import Server, fastchat

MEMORY_ROOMS = 'rooms.classes=[{"pattern":"mem-*","store":"memory"}]'
_WARM_UP_MESSAGES = 5000


@dataclasses.dataclass(frozen=True)
class Ingest:
    """`cpu_s` until the last acknowledgement; `all_cpu_s` until the server had also done what it put off."""

    load: Load
    cpu_s: float
    all_cpu_s: float

    @property
    def per_s(self) -> float:
        return self.load.sent / self.load.elapsed_s

    @property
    def per_cpu_s(self) -> float:
        return self.load.sent / self.cpu_s

    @property
    def per_all_cpu_s(self) -> float:
        return self.load.sent / self.all_cpu_s

    def as_json(self) -> dict[str, object]:
        rates = {"per_s": self.per_s, "per_cpu_s": self.per_cpu_s, "per_all_cpu_s": self.per_all_cpu_s}
        return rates | dataclasses.asdict(self.load)


@contextlib.contextmanager
def durable_fastchat(*settings: str) -> Iterator[Server]:
    """fastchat with a new file, synced before each acknowledgement; rooms called mem-… are in memory."""
    with data_folder() as folder:
        store = f"sqlite://{folder}/fastchat.db"
        with fastchat("store.durability=full", MEMORY_ROOMS, *settings, store=store) as server:
            yield server


def ingest(server: Server, name: str, dialect: str, room: str, plan: Plan, *, receive: bool = True) -> Ingest:
    """Measure one server. With `receive` everyone gets every message, senders too, as in a room."""
    options: dict[str, int | float | str] = {
        "senders": plan.ingest_senders,
        "window": plan.ingest_window,
        "subscribers": plan.ingest_subscribers if receive else 0,
        "lag": plan.ingest_senders * plan.ingest_window if receive else 0,
        "receive": int(receive),
        "text_bytes": plan.text_bytes,
        "seconds": plan.ingest_seconds,
        "grace": 30,
        "room": room,
        "prefix": room[0],
    }
    with generator(server, dialect, "window", **options) as load:
        load.run(_WARM_UP_MESSAGES)
        settle_cpu(server.cpu_s)
        before_s = server.cpu_s()
        result = load.run()
        used_s = server.cpu_s() - before_s
        settle_cpu(server.cpu_s)
        measured = Ingest(result, used_s, server.cpu_s() - before_s)
    print(
        f"    {name:30} {measured.per_s:9,.0f} messages/s, {measured.per_cpu_s:9,.0f} per CPU-second"
        f" ({measured.per_all_cpu_s:,.0f} with what it put off), server"
        f" {used_s / result.elapsed_s:.0%} busy  {result.faults}",
        flush=True,
    )
    return measured


@dataclasses.dataclass
class _Case:
    """Something that takes messages; what it did by round."""

    name: str
    dialect: str
    start: Callable[[], contextlib.AbstractContextManager[Server]]
    receive: bool = True
    results: list[Ingest] = dataclasses.field(default_factory=list)

    def measure(self, plan: Plan) -> None:
        with self.start() as server:
            self.results.append(ingest(server, self.name, self.dialect, SUBJECT, plan, receive=self.receive))

    def faults(self) -> list[str]:
        return [f"{self.name}: {result.load.faults}" for result in self.results if result.load.faults]


def _figure(name: str, above: _Case, below: _Case, rate: Callable[[Ingest], float], limit: float) -> Figure:
    values = [rate(a) / rate(b) for a, b in zip(above.results, below.results, strict=True)]
    details = {case.name: [result.as_json() for result in case.results] for case in (above, below)}
    return Figure(name, values, limit, True, "times", above.faults() + below.faults(), details)


def _peers(wanted: set[str]) -> list[_Case]:
    """Those that are wanted and installed: with a room's work, and publishing alone."""
    peers = []
    for receive, what in ((True, ""), (False, ", nobody receives")):
        if "durable-rabbitmq" in wanted and rabbitmq_installed():
            peers.append(_Case(f"RabbitMQ{what}", "amqp", rabbitmq, receive))
        if "durable-nats" in wanted and nats_syncs_always():
            peers.append(_Case(f"NATS syncing{what}", "nats", lambda: nats("always"), receive))
        if "durable-nats" in wanted and nats_program():
            peers.append(_Case(f"NATS{what}", "nats", nats, receive))
    return peers


def measure_ingest(plan: Plan, wanted: set[str]) -> list[Figure]:
    """Run fastchat with both kinds of rooms in one process, then each peer; in turn, `plan.rounds` times."""
    durable = _Case("fastchat, durable", "line", durable_fastchat)
    memory = _Case("fastchat, memory", "line", durable_fastchat)
    peers = _peers(wanted)
    for _ in range(plan.rounds):
        with durable_fastchat() as server:
            # The memory room first: the file grows, and what was put off is over when the next one begins.
            memory.results.append(ingest(server, memory.name, "line", f"mem-{SUBJECT}", plan))
            durable.results.append(ingest(server, durable.name, "line", SUBJECT, plan))
        for peer in peers:
            peer.measure(plan)
    figures = []
    if "durable-ingest" in wanted:
        figures.append(_figure("durable / memory room, messages/s", durable, memory, lambda i: i.per_s, 0.6))
    for peer in peers:
        name = f"durable room / {peer.name}, per CPU-second"
        figures.append(_figure(name, durable, peer, lambda i: i.per_cpu_s, 1.0))
    return figures
