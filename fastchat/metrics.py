"""What Prometheus is told: read from the server's own counters at each scrape, and kept nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from fastchat.health import Health

FANOUT = {
    # counter of ``Fanout``: (its name here, what it counts)
    "events": ("fastchat_events", "Events that rooms were given to deliver."),
    "deliveries": ("fastchat_deliveries", "Events times the subscribers that they were written to."),
    "writes": ("fastchat_writes", "Writes to sockets with events."),
    "bytes_written": ("fastchat_written_bytes", "Bytes in these writes."),
    "pauses": ("fastchat_pauses", "Times that a reader was too slow and was left for later."),
    "lags": ("fastchat_lags", "Times that a reader was told of events that are gone."),
    "missed": ("fastchat_missed_events", "Events that were gone for a reader."),
    "sweeps": ("fastchat_sweeps", "Times that all subscribers of a room were served."),
    "failures": ("fastchat_write_failures", "Connections that failed while they were written to."),
    "sweep_time_s": ("fastchat_sweep_seconds", "Seconds of the loop's time that delivering took."),
}

CLUSTER = {
    # counter of ``cluster.service.Counters``: (its name here, what it counts)
    "events_out": ("fastchat_bus_events_sent", "Events that other nodes were told of."),
    "events_in": ("fastchat_bus_events_received", "Events that other nodes have told of."),
    "payloads_out": ("fastchat_bus_payloads_sent", "Payloads given to the bus."),
    "payloads_in": ("fastchat_bus_payloads_received", "Payloads of other nodes that the bus brought."),
    "bytes_out": ("fastchat_bus_sent_bytes", "Bytes in the payloads given to the bus."),
    "bytes_in": ("fastchat_bus_received_bytes", "Bytes in the payloads that the bus brought."),
    "rejected": ("fastchat_bus_rejected_payloads", "Payloads that could not be read."),
    "comparisons": ("fastchat_bus_comparisons", "Times that the store was asked what the bus had lost."),
}


class Metrics:
    """The text that is scraped."""

    def __init__(self, health: Health) -> None:
        self._own = CollectorRegistry(auto_describe=False)
        self._own.register(_ServerCollector(health))
        self._process = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._process)

    async def encode(self) -> bytes:
        """In the text format of Prometheus."""
        # To count many thousand open files takes a while.
        return generate_latest(self._own) + await asyncio.to_thread(generate_latest, self._process)


class _ServerCollector(Collector):
    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        health, parts = self._health, self._health.parts
        node = "" if parts.cluster is None else parts.cluster.node
        yield InfoMetricFamily(
            "fastchat", "Which server this is.", value={"version": health.version, "node": node}
        )
        chat = parts.chat
        yield _gauge("fastchat_connections", "Open chat connections.", len(chat.census.members))
        yield _gauge("fastchat_rooms", "Rooms in memory, empty ones included.", len(chat.hub.rooms))
        yield _gauge("fastchat_draining", "1 while the server stops.", health.draining)
        yield _gauge(
            "fastchat_stalled_connections",
            "Connections that are too slow at the moment.",
            len(chat.hub.fanout.stalled),
        )
        for counter, (name, text) in FANOUT.items():
            yield CounterMetricFamily(name, text, value=getattr(chat.hub.fanout, counter))
        yield from self._collect_health()
        if parts.sender is not None:
            yield from self._collect_outbox()
        if parts.cluster is not None:
            yield _gauge(
                "fastchat_nodes", "Nodes that are alive, this one included.", len(parts.cluster.nodes) + 1
            )
            for counter, (name, text) in CLUSTER.items():
                yield CounterMetricFamily(name, text, value=getattr(parts.cluster.counters, counter))
        if parts.inbox is not None:
            commands = CounterMetricFamily(
                "fastchat_inbox_commands", "Commands of other services.", labels=["outcome"]
            )
            for outcome in ("accepted", "rejected", "retried"):
                commands.add_metric([outcome], getattr(parts.inbox.executor, outcome))
            yield commands

    def _collect_health(self) -> Iterator[Metric]:
        health, parts = self._health, self._health.parts
        available = GaugeMetricFamily(
            "fastchat_available", "1 where this can be used, 0 where it cannot.", labels=["part"]
        )
        available.add_metric(["store"], parts.store.problem is None)
        if parts.cluster is not None:
            available.add_metric(["bus"], parts.cluster.bus.problem is None)
        if parts.sender is not None or parts.inbox is not None:
            available.add_metric(["broker"], health.broker_problem is None)
        yield available
        took = GaugeMetricFamily(
            "fastchat_probe_seconds", "How long /readyz waited for this the last time.", labels=["part"]
        )
        for part, seconds in health.prober.took_s.items():
            took.add_metric([part], seconds)
        yield took

    def _collect_outbox(self) -> Iterator[Metric]:
        sender = self._health.parts.sender
        assert sender is not None
        waiting = GaugeMetricFamily(
            "fastchat_outbox_waiting", "What waits for the broker, of all nodes.", labels=["kind"]
        )
        waiting.add_metric(["events"], sender.backlog.events)
        waiting.add_metric(["notices"], sender.backlog.notices)
        yield waiting
        yield _gauge("fastchat_outbox_oldest_seconds", "Age of the oldest of it.", self._health.oldest_s())
        yield CounterMetricFamily(
            "fastchat_outbox_dropped", "Notices that were too many to wait.", value=sender.backlog.dropped
        )
        yield CounterMetricFamily(
            "fastchat_outbox_sent", "Events and notices that the broker has confirmed.", value=sender.sent
        )


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)
