"""Limits on what one client may say: what a flood by one costs the others."""

from __future__ import annotations

from benchmarks.generator import Load, generator
from benchmarks.servers import Server, fastchat
from benchmarks.tuning.clients import Bursts, Flood
from benchmarks.tuning.curve import Curve, Metric, Sample, TuningPlan, each

_MEMBERS = 500
_BURSTS_PER_S = 10


def _talk(server: Server, plan: TuningPlan, flood: Flood | Bursts) -> tuple[Load, float]:
    """Ten people say five messages a second in a room of 500, beside the flood; how busy the server is."""
    options = {"senders": 10, "subscribers": _MEMBERS, "rate": 50, "seconds": 1.5 * plan.seconds, "grace": 2}
    with generator(server, "line", "paced", **options) as load:
        load.prefer()
        with flood:
            talked, used_s = load.run_timed(server)
    return talked, used_s / talked.elapsed_s


def _measure_rate(value: float, plan: TuningPlan) -> Sample:
    with fastchat(f"limits.messages_per_s={value:.0f}") as server:
        flood = Flood(server, "bench")
        talked, busy = _talk(server, plan, flood)
        return {
            "p50": talked.p50_ms,
            "p99": talked.p99_ms,
            "busy": 100 * busy,
            "through": flood.sent / talked.elapsed_s,
        }


def _measure_burst(value: float, plan: TuningPlan) -> Sample:
    with fastchat("limits.messages_per_s=10", f"limits.burst={value:.0f}") as server:
        # More than any burst: what is too much is refused, which is work too.
        bursts = Bursts(server, "bench", 3000, 1 / _BURSTS_PER_S)
        talked, busy = _talk(server, plan, bursts)
        return {
            "p50": talked.p50_ms,
            "p99": talked.p99_ms,
            "busy": 100 * busy,
            "through": bursts.sent / max(1, bursts.bursts),
        }


_OTHERS = (
    Metric("p50", "others' delay, p50", "ms"),
    Metric("p99", "others' delay, p99", "ms"),
    Metric("busy", "server busy", "%"),
)
RATE = Curve(
    "rate",
    "limits.messages_per_s",
    f"One user says as much as the server takes, in a room of {_MEMBERS}",
    "",
    (1.0, 10.0, 100.0, 1000.0, 10_000.0, 100_000.0),
    10.0,
    (*_OTHERS, Metric("through", "messages a second that come through", "", plotted=False)),
    each(_measure_rate),
)
BURST = Curve(
    "burst",
    "limits.burst",
    f"Somebody comes {_BURSTS_PER_S} times a second to say 3,000 messages at once, in a room of {_MEMBERS}",
    "",
    (3.0, 30.0, 100.0, 300.0, 1000.0, 3000.0),
    100.0,
    (*_OTHERS, Metric("through", "messages of each burst that come through", "", plotted=False)),
    each(_measure_burst),
)
CURVES = (RATE, BURST)
