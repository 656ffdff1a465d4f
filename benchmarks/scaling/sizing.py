"""What so many people need: the formulas of docs/scaling.md. Pure: no sockets, clock or await."""

from __future__ import annotations

import dataclasses
import math

from benchmarks.scaling.inputs import Inputs

CELL, EVERYBODY = 250_000, 100_000_000
PEOPLE = (10_000, 100_000, CELL, 1_000_000, EVERYBODY)
BUS = "NATS"


@dataclasses.dataclass(frozen=True)
class Load:
    """What people do. All of it is assumed: put in what yours do."""

    people: int
    rooms: int = 5
    messages_per_h: float = 10.0
    people_in_room: float = 50.0
    """Online, on average over messages."""
    reads_per_h: float = 60.0
    stay_h: float = 1.0
    busy_h_per_day: float = 8.0
    connections_per_node: int = 50_000


@dataclasses.dataclass(frozen=True)
class Size:
    """What follows. CPU is in cores: seconds of CPU time a second."""

    nodes: int
    connections: float
    own_bytes: float
    remote_bytes: float
    messages_per_s: float
    deliveries_per_s: float
    records_per_s: float
    heard_bytes_per_s: float
    bus_deliveries_per_s: float
    cpu_deliveries: float
    cpu_others: float
    cpu_people: float
    commits_per_s: float
    cpu_database: float
    disk_bytes_per_day: float
    log_bytes_per_s: float
    herd_s: float
    snapshot_bytes: float
    snapshot_s: float

    @property
    def cpu_node(self) -> float:
        return self.cpu_deliveries + self.cpu_others + self.cpu_people


def size(load: Load, given: Inputs, bus: str = BUS) -> Size:
    """One cluster for all of them."""
    nodes = math.ceil(load.people / load.connections_per_node)
    here, elsewhere = load.people / nodes, load.people * (1 - 1 / nodes)
    away = 1 - 1 / nodes
    messages = load.people * load.messages_per_h / 3600
    deliveries = messages * load.people_in_room
    # Who comes is told of, then each room, then that they have gone.
    moves = load.people * (2 + load.rooms) / (load.stay_h * 3600)
    reads = load.people * load.reads_per_h / 3600
    # A session and its rooms, as measured: so many records at so much for all of them.
    record_us, record_bytes = (
        each / (1 + given.rooms) for each in (given.session_us, given.session_bus_bytes)
    )
    remote_each = given.session_bytes + load.rooms * given.session_room_bytes
    own_each = given.connection_bytes + (load.rooms - 1) * given.room_bytes
    commits = min(messages, nodes * given.commits)
    first_us = given.commit_us - given.commit_message_us
    return Size(
        nodes=nodes,
        connections=here,
        own_bytes=here * own_each,
        remote_bytes=elsewhere * remote_each,
        messages_per_s=messages,
        deliveries_per_s=deliveries,
        records_per_s=moves + reads,
        heard_bytes_per_s=away
        * (messages * given.message_bus_bytes + moves * record_bytes + reads * given.read_bus_bytes),
        bus_deliveries_per_s=(messages + moves + reads) * (nodes - 1),
        cpu_deliveries=deliveries / nodes / given.deliveries_one + messages / nodes / given.ingest,
        cpu_others=away * messages * given.further_node_us(bus) / 1e6,
        cpu_people=away * (moves * record_us + reads * given.read_us) / 1e6,
        commits_per_s=commits,
        cpu_database=(commits * first_us + messages * given.commit_message_us) / 1e6,
        disk_bytes_per_day=messages * 3600 * load.busy_h_per_day * given.disk_bytes,
        log_bytes_per_s=messages * given.log_bytes,
        herd_s=here / given.handshakes + elsewhere * given.session_us / 1e6,
        snapshot_bytes=elsewhere * given.session_bus_bytes,
        snapshot_s=elsewhere * given.session_us / 1e6,
    )
