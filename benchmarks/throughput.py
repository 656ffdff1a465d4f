"""Deliveries per second of the server's CPU time, as a ratio to the C floors."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

from .generator import Load, generator
from .plan import Plan
from .results import Figure
from .servers import EventSize, Server, fastchat, floor, measure_event_size

_WARM_UP_MESSAGES = {"one": 20, "window": 5000}


@dataclasses.dataclass(frozen=True)
class Throughput:
    per_cpu_s: float
    cpu_share: float
    load: Load


def measure(server: Server, dialect: str, mode: str, plan: Plan) -> Throughput:
    options: dict[str, int | float | str] = {
        "subscribers": plan.subscribers,
        "text_bytes": plan.text_bytes,
        "seconds": plan.seconds,
    }
    if mode == "window":
        # Without the lag a generator slower than the server would leave messages behind in every socket,
        # and what is measured would depend on how much the kernel holds.
        options |= {"senders": plan.senders, "window": plan.window, "lag": plan.outstanding}
    with generator(server, dialect, mode, **options) as load:
        load.run(_WARM_UP_MESSAGES[mode])
        result, used_s = load.run_timed(server)
    throughput = Throughput(result.all_deliveries / used_s, used_s / result.elapsed_s, result)
    print(
        f"    {server.name:12} {dialect:5} {mode:6} {throughput.per_cpu_s / 1e3:10,.0f} k deliveries per"
        f" CPU-second, {result.event_bytes:.1f} bytes each, server {throughput.cpu_share:.0%} busy,"
        f" p99 {result.p99_ms:.2f} ms  {result.faults}",
        flush=True,
    )
    return throughput


@dataclasses.dataclass
class _Case:
    """One server under one load; its results by round."""

    name: str
    server: str
    dialect: str
    mode: str
    results: list[Throughput] = dataclasses.field(default_factory=list)

    @contextlib.contextmanager
    def start(self, size: EventSize) -> Iterator[Server]:
        with fastchat() if self.server == "fastchat" else floor(self.server, size) as server:
            yield server

    def faults(self) -> list[str]:
        return [f"{self.name}: {result.load.faults}" for result in self.results if result.load.faults]


def _ratio(name: str, above: _Case, below: _Case, limit: float) -> Figure:
    values = [a.per_cpu_s / b.per_cpu_s for a, b in zip(above.results, below.results, strict=True)]
    details = {
        case.name: [
            {"per_cpu_s": result.per_cpu_s, "cpu_share": result.cpu_share, **dataclasses.asdict(result.load)}
            for result in case.results
        ]
        for case in (above, below)
    }
    return Figure(name, values, limit, True, "times", above.faults() + below.faults(), details)


def measure_throughput(plan: Plan, wanted: set[str]) -> list[Figure]:
    """Run the cases that the wanted figures need, in turn, `plan.rounds` times."""
    send_one = _Case("send floor", "send_floor", "floor", "one")
    line_one = _Case("fastchat, lines, one at a time", "fastchat", "line", "one")
    writev_window = _Case("writev floor", "writev_floor", "floor", "window")
    line_window = _Case("fastchat, lines, saturated", "fastchat", "line", "window")
    ws_window = _Case("fastchat, WebSocket, saturated", "fastchat", "ws", "window")
    ratios = {
        "one": ("one message at a time: fastchat / C `send` floor", line_one, send_one, 0.9),
        "saturation-send": (
            "saturated: fastchat / C `send` floor, one by one",
            line_window,
            send_one,
            40.0,
        ),
        "saturation-writev": ("saturated: fastchat / C `writev` floor", line_window, writev_window, 0.7),
        "saturation-ws": ("saturated: fastchat, WebSocket / lines", ws_window, line_window, 0.8),
    }
    chosen = [ratio for key, ratio in ratios.items() if key in wanted]
    needed = [
        case
        for case in (send_one, line_one, writev_window, line_window, ws_window)
        if any(case in (above, below) for _, above, below, _ in chosen)
    ]
    size = measure_event_size(plan.text_bytes)
    print(f"    an event is {size.event} bytes, an acknowledgement {size.ack}", flush=True)
    for _ in range(plan.rounds):
        for case in needed:
            with case.start(size) as server:
                case.results.append(measure(server, case.dialect, case.mode, plan))
    return [_ratio(*ratio) for ratio in chosen]
