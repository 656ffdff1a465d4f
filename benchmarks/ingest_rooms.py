"""What one message costs on its way in: parsed, checked, numbered, encoded, published, acknowledged.

Every sender is alone in a room of its own, so each message is delivered once, to who has sent it, and next to
nothing of what is measured is fan-out.
"""

from __future__ import annotations

import dataclasses

from .generator import Load, generator
from .ingest import durable_fastchat
from .plan import Plan
from .processes import settle_cpu
from .results import Figure
from .servers import Server, fastchat

_WARM_UP_MESSAGES = 20_000


@dataclasses.dataclass(frozen=True)
class Rate:
    per_cpu_s: float
    cpu_share: float
    load: Load

    def as_json(self) -> dict[str, object]:
        rates = {"per_cpu_s": self.per_cpu_s, "cpu_share": self.cpu_share}
        return rates | dataclasses.asdict(self.load)


def measure(server: Server, dialect: str, prefix: str, plan: Plan) -> Rate:
    """Messages per second of the server's CPU time, all its threads; `prefix` begins the rooms' names."""
    options: dict[str, int | float | str] = {
        "senders": plan.senders,
        "rooms": plan.senders,
        "window": plan.window,
        "subscribers": 0,
        "text_bytes": plan.text_bytes,
        "seconds": plan.seconds,
        "room": f"{prefix}-bench",
        "prefix": prefix[0],
    }
    with generator(server, dialect, "window", **options) as load:
        load.run(_WARM_UP_MESSAGES)
        settle_cpu(server.cpu_s, quiet_s=0.5)
        result, used_s = load.run_timed(server)
    rate = Rate(result.sent / used_s, used_s / result.elapsed_s, result)
    print(
        f"    rooms of one, {prefix:7} {dialect:5} {rate.per_cpu_s:9,.0f} messages per CPU-second,"
        f" {result.sent / result.elapsed_s:9,.0f} messages/s, server {rate.cpu_share:.0%} busy"
        f"  {result.faults}",
        flush=True,
    )
    return rate


@dataclasses.dataclass
class _Case:
    name: str
    results: list[Rate] = dataclasses.field(default_factory=list)

    def faults(self) -> list[str]:
        return [f"{self.name}: {result.load.faults}" for result in self.results if result.load.faults]

    def details(self) -> dict[str, object]:
        return {self.name: [result.as_json() for result in self.results]}


def measure_ingest_rooms(plan: Plan, wanted: set[str]) -> list[Figure]:
    """Run memory rooms over both dialects, and durable ones for comparison; in turn, `plan.rounds` times."""
    lines, frames, durable = _Case("memory, lines"), _Case("memory, WebSocket"), _Case("durable, lines")
    for _ in range(plan.rounds):
        with fastchat() as server:
            lines.results.append(measure(server, "line", "lines", plan))
            if "ingest-ws" in wanted:
                frames.results.append(measure(server, "ws", "frames", plan))
        if "ingest-file" in wanted:
            with durable_fastchat() as server:
                durable.results.append(measure(server, "line", "durable", plan))
    figures = []
    for name, case in (("ingest-line", lines), ("ingest-ws", frames)):
        if name in wanted:
            title = f"ingest ({case.name}), messages per CPU-second"
            values = [rate.per_cpu_s for rate in case.results]
            figures.append(Figure(title, values, 80_000, True, "", case.faults(), case.details()))
    if "ingest-file" in wanted:
        values = [a.per_cpu_s / b.per_cpu_s for a, b in zip(durable.results, lines.results, strict=True)]
        faults = durable.faults() + lines.faults()
        details = durable.details() | lines.details()
        title = "ingest, durable / memory, messages per CPU-second"
        figures.append(Figure(title, values, 0.4, True, "times", faults, details))
    return figures
