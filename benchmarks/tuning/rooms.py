"""Slices, presence and pings: what large rooms and many connections take from everyone's delay."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator, Sequence

from benchmarks.generator import generator
from benchmarks.servers import fastchat
from benchmarks.tuning.clients import Churn, watch_presence
from benchmarks.tuning.curve import Curve, Metric, Sample, TuningPlan, Value, each

_MEMBERS = 5000
_IDLE = 10_000
_CHURN_PER_S = 400
_OFF_S = 86_400


def _measure_slice(value: float, plan: TuningPlan) -> Sample:
    """Pings outside a room of 5,000 in which ten senders never pause."""
    flood_options = {"subscribers": _MEMBERS, "senders": 10, "window": 64, "lag": 640, "grace": 30}
    seconds = 1.3 * plan.seconds
    with (
        fastchat(f"fanout.slice_ms={value}") as server,
        generator(server, "line", "window", seconds=seconds + 0.2, **flood_options) as flood,
        generator(server, "line", "ping", seconds=seconds, interval_ms=5, prefix="p") as pinger,
    ):
        pinger.prefer()
        flood.run(1000)
        before_s = server.cpu_s()
        flood.go()
        busy = pinger.run()
        flooded = flood.result()
        used_s = server.cpu_s() - before_s
    return {
        "ping_p50": busy.p50_ms,
        "ping_p99": busy.p99_ms,
        "flood": flooded.all_deliveries / used_s / 1e6,
        "room_p99": flooded.p99_ms,
    }


def _measure_presence(value: float, plan: TuningPlan) -> Sample:
    """A thousand members are told of others who come and go, 400 times a second."""
    seconds = max(plan.seconds, 2.5 * value / 1e3)
    with (
        # The other bound would hide this one: 1,000 members are told once a second by it.
        fastchat(f"rooms.presence_interval_ms={value:.0f}", "rooms.presence_per_s=0") as server,
        generator(server, "ws", "idle", subscribers=1000, seconds=seconds + 5) as members,
    ):
        members.go()
        time.sleep(value / 1e3)  # the members' own coming
        churn = Churn(server, "bench", 40, _CHURN_PER_S)
        with churn:
            before_s, began = server.cpu_s(), time.monotonic()
            told = watch_presence(server.line_port, "bench", lambda: time.sleep(seconds))
            used = (server.cpu_s() - before_s) / (time.monotonic() - began)
    waits = [
        next(at for at in told if at > came) - came
        for came in churn.came_at
        if told and told[0] < came < told[-1]
    ]
    return {"cpu": 100 * used, "wait": 1e3 * statistics.mean(waits)}


def _measure_pings(values: Sequence[Value], plan: TuningPlan) -> Iterator[tuple[Value, Sample]]:
    """10,000 idle connections for each interval, all at the same time: each process has its own CPU clock."""
    with contextlib.ExitStack() as stack:
        servers = {}
        for value in values:
            server = stack.enter_context(
                fastchat(f"websocket.ping_interval_s={value}", "websocket.ping_timeout_s=86400")
            )
            options = {"subscribers": _IDLE, "seconds": 600}
            stack.enter_context(generator(server, "ws", "idle", prefix=f"i{value}-", **options)).go()
            servers[value] = server
        measured = [value for value in values if isinstance(value, float | int) and value < _OFF_S]
        whole_s = max(measured)
        # Every connection is pinged once an interval, the first time at least half of one after it came.
        time.sleep(whole_s / 8)
        before = {value: server.cpu_s() for value, server in servers.items()}
        began = time.monotonic()
        time.sleep(whole_s)
        elapsed_s = time.monotonic() - began
        for value, server in servers.items():
            yield value, {"cpu": 1e3 * (server.cpu_s() - before[value]) / elapsed_s}


SLICE = Curve(
    "slice",
    "fanout.slice_ms",
    f"Longest turn of a sweep: a ping beside a busy room of {_MEMBERS:,}, and the room's throughput",
    "ms",
    (0.2, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0),
    5.0,
    (
        Metric("ping_p50", "ping outside the room, p50", "ms"),
        Metric("ping_p99", "ping outside the room, p99", "ms"),
        Metric("flood", "the room", "M deliveries per CPU-second", "more"),
        Metric("room_p99", "delay in the room, p99", "ms"),
    ),
    each(_measure_slice),
)
PRESENCE = Curve(
    "presence",
    "rooms.presence_interval_ms",
    f"Telling 1,000 members of {_CHURN_PER_S} comings and goings a second",
    "ms",
    (10.0, 100.0, 300.0, 1000.0, 3000.0),
    1000.0,
    (
        Metric("cpu", "server's CPU", "% of a core"),
        Metric("wait", "until the others are told, on average", "ms"),
    ),
    each(_measure_presence),
    quick_values=(10.0, 300.0, 1000.0),
)
PINGS = Curve(
    "ping-interval",
    "websocket.ping_interval_s",
    f"Pings to {_IDLE:,} idle WebSocket connections",
    "s",
    (1.0, 2.0, 5.0, 10.0, 20.0, float(_OFF_S)),
    20.0,
    (Metric("cpu", "server's CPU", "ms per second"),),
    _measure_pings,
    relative=False,
    y_label="ms of CPU per second",
    quick_values=(1.0, 2.0),
)
CURVES = (SLICE, PRESENCE, PINGS)
