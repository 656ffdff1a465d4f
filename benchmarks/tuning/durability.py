"""What waiting for the disk costs: messages a second, and how long a sender waits."""

from __future__ import annotations

from benchmarks.brokers import data_folder
from benchmarks.generator import generator
from benchmarks.servers import fastchat
from benchmarks.tuning.curve import Curve, Metric, Sample, TuningPlan, each

_NO_FILE = "memory:"


def _measure_durability(value: str, plan: TuningPlan) -> Sample:
    """100 senders with 16 messages outstanding each; then ten who say 100 messages a second together."""
    with data_folder() as folder:
        durable = value != _NO_FILE
        store = f"sqlite://{folder}/fastchat.db" if durable else _NO_FILE
        with fastchat(*[f"store.durability={value}"] * durable, store=store) as server:
            many = {"senders": 100, "window": 16, "subscribers": 10, "lag": 1600, "seconds": 2 * plan.seconds}
            with generator(server, "line", "window", prefix="m", **many) as load:
                load.run(2000)
                ingest, used_s = load.run_timed(server)
            few = {"senders": 10, "subscribers": 10, "rate": 100, "seconds": plan.seconds, "acks": 1}
            with generator(server, "line", "paced", prefix="f", room="quiet", **few) as load:
                load.prefer()
                paced = load.run()
    return {
        "ingest": ingest.sent / ingest.elapsed_s,
        "per_cpu": ingest.sent / used_s,
        "p50": paced.p50_ms,
        "p99": paced.p99_ms,
    }


DURABILITY = Curve(
    "durability",
    "store.durability",
    "Messages a second from 100 senders, kept on the disk",
    "",
    ("full", "normal", _NO_FILE),
    "full",
    (
        Metric("ingest", "messages a second", "", "more"),
        Metric("per_cpu", "messages per CPU-second", "", "more", plotted=False),
        Metric("p50", "`sent` after, p50", "ms", plotted=False),
        Metric("p99", "`sent` after, p99", "ms", plotted=False),
    ),
    each(_measure_durability),
)
CURVES = (DURABILITY,)
