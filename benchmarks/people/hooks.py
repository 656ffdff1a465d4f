"""What a hook costs that does nothing: messages taken in with one installed, and without.

Every sender is alone in a room in memory, so that next to nothing of what is measured is fan-out or disk.
The servers run all the time, and short phases alternate between them: what changes on the machine changes
for all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import statistics

from benchmarks.generator import Generator, generator
from benchmarks.people.measure import Measured
from benchmarks.plan import FULL
from benchmarks.servers import Server, fastchat

LEAST = 0.9
CASES = {
    "no hook": None,
    "`async def on_message`": "benchmarks.people.noop_async",
    "`def on_message`": "benchmarks.people.noop_def",
    "`async def authorize` and `on_message`": "benchmarks.people.noop_authorize",
}
PROMISED = ("`async def on_message`",)
"""The others are told for comparison: a function in a thread costs the way there and back."""
_SECONDS = 0.5
_WARM_UP_MESSAGES = 20_000


@dataclasses.dataclass(frozen=True)
class Phase:
    """What a server did in one phase."""

    per_cpu_s: float
    per_s: float
    faults: str


def _phase(server: Server, load: Generator) -> Phase:
    result, used_s = load.run_timed(server)
    return Phase(result.sent / used_s, result.sent / result.elapsed_s, result.faults)


def _start(stack: contextlib.ExitStack, module: str | None) -> tuple[Server, Generator]:
    settings = [] if module is None else [f"hooks.modules={module}"]
    server = stack.enter_context(fastchat(*settings))
    options: dict[str, int | float | str] = {
        "senders": FULL.senders,
        "rooms": FULL.senders,
        "window": FULL.window,
        "subscribers": 0,
        "text_bytes": FULL.text_bytes,
        "seconds": _SECONDS,
        "room": "lines-bench",
        "prefix": "l",
    }
    load = stack.enter_context(generator(server, "line", "window", **options))
    load.run(_WARM_UP_MESSAGES)
    return server, load


def measure(quick: bool) -> Measured:
    """Alternates between the servers; the order is turned around each time."""
    phases: dict[str, list[Phase]] = {name: [] for name in CASES}
    with contextlib.ExitStack() as stack:
        running = {name: _start(stack, module) for name, module in CASES.items()}
        for i in range(6 if quick else 25):
            for name in (*CASES,) if i % 2 else reversed((*CASES,)):
                phases[name].append(_phase(*running[name]))
                last = phases[name][-1]
                print(
                    f"    {name:40} {last.per_cpu_s:9,.0f} per CPU-second,"
                    f" {last.per_s:9,.0f}/s  {last.faults}",
                    flush=True,
                )
    return summarize(phases)


def summarize(phases: dict[str, list[Phase]]) -> Measured:
    """The table, and what fell short: the medians of the ratios to the server without a hook."""
    base = phases["no hook"]
    rows = [
        "| hook | messages per CPU-second | beside none | messages/s beside none |",
        "|---|--:|--:|--:|",
    ]
    met, ratios = True, {}
    for name, own in phases.items():
        by_cpu = [a.per_cpu_s / b.per_cpu_s for a, b in zip(own, base, strict=True)]
        by_time = [a.per_s / b.per_s for a, b in zip(own, base, strict=True)]
        ratio = statistics.median(by_cpu)
        low, _, high = statistics.quantiles(by_cpu)
        ratios[name] = {"per_cpu_s": by_cpu, "per_s": by_time}
        if name in PROMISED:
            met = met and ratio >= LEAST
        rows.append(
            f"| {name} | {statistics.median(phase.per_cpu_s for phase in own):,.0f} | {ratio:.3f}"
            f" ({low:.2f} … {high:.2f}) | {statistics.median(by_time):.3f} |"
        )
    faults = [f"{name}: {phase.faults}" for name, own in phases.items() for phase in own if phase.faults]
    values = {
        "ratios": ratios,
        "phases": {name: [dataclasses.asdict(phase) for phase in own] for name, own in phases.items()},
    }
    return Measured({"people-hooks": "\n".join(rows)}, values, met and not faults, faults, lambda: None)
