"""What sizing starts from, out of the saved results. Pure but for reading the files."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import statistics
from typing import Any

ALONE = "one node, without a broker"
OURS = "fastchat's bus"


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Each measured here; times are CPU time of one core, ``_us`` microseconds."""

    connection_bytes: float
    room_bytes: float
    """Each further room of a connection."""
    deliveries_one: float
    """Per CPU-second, one message at a time to 1,000 people."""
    deliveries_saturated: float
    handshakes: float
    """Per CPU-second, with ``hello`` and ``join``."""
    ingest: float
    """Messages per CPU-second into rooms that are kept, in a file."""
    one_node: float
    """Messages per CPU-second of one node on PostgreSQL, each to 300 people."""
    by_bus: dict[str, Bus]
    session_bytes: float
    """Somebody on another node, in no room."""
    session_room_bytes: float
    """One room of theirs, of which they have read something."""
    session_us: float
    """To hear of somebody, with the rooms that were measured."""
    session_bus_bytes: float
    rooms: int
    read_us: float
    read_bus_bytes: float
    message_bus_bytes: float
    skim_us: float
    """To hear of a message in a room that is not open here, without the broker's client."""
    commit_us: float
    """Of PostgreSQL, for a commit of one message."""
    commit_message_us: float
    """Of PostgreSQL, for each further message of the same commit."""
    commits: float
    """A second, by one node with one sender: one after the other."""
    commits_together: float
    """A second, by eight such nodes."""
    disk_bytes: float
    log_bytes: float

    def further_node_us(self, bus: str) -> float:
        """What each further node adds to a message: the difference of three nodes and one, by two."""
        return (1e6 / self.by_bus[bus].three_nodes - 1e6 / self.one_node) / 2


@dataclasses.dataclass(frozen=True)
class Bus:
    """One of the brokers, as the way between nodes."""

    delay_p50_us: float
    """By which a second node is behind the first."""
    delay_p99_us: float
    three_nodes: float
    """Messages per CPU-second of three nodes together, each message to 300 people."""
    payloads: float
    """A second, from one connection to one other."""
    bare_p50_us: float
    """From publishing to hearing, by the bus alone."""
    bare_p99_us: float
    client: str
    client_p50_us: float
    """The same by the broker's own client."""
    client_p99_us: float


def read_inputs(results: pathlib.Path) -> Inputs:
    """Raises KeyError where something was not measured."""

    def load(name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
        return found

    figures = {each["name"]: each["measured"] for each in load("figures")["figures"]}
    scaling = load("scaling")
    told, rooms = scaling["told"], scaling["rooms"]
    commits = {(each["nodes"], each["senders"]): each for each in scaling["commits"]}
    single, full = commits[1, 1], commits[1, 64]
    joined = full["messages_per_s"] / full["commits_per_s"]
    in_rooms = told["session in rooms"]
    peers = load("peers")["measurements"]
    by_bus, one_node = _read_buses(load("nodes"), load("buses"))
    return Inputs(
        connection_bytes=figures["idle WebSocket connection, all in one room"],
        room_bytes=figures["each further room of an idle connection"],
        deliveries_one=_median_of(peers, "one-1000", "deliveries_per_cpu_s"),
        deliveries_saturated=_median_of(peers, "saturated-1000", "deliveries_per_cpu_s"),
        handshakes=_median_of(peers, "idle", "handshakes_per_cpu_s"),
        ingest=figures["ingest (memory, WebSocket), messages per CPU-second"]
        * figures["ingest, durable / memory, messages per CPU-second"],
        one_node=one_node,
        by_bus=by_bus,
        session_bytes=told["session"]["memory_bytes"],
        session_room_bytes=(in_rooms["memory_bytes"] - told["session"]["memory_bytes"]) / rooms
        + told["read"]["memory_bytes"],
        session_us=in_rooms["cpu_us"],
        session_bus_bytes=in_rooms["bus_bytes"],
        rooms=rooms,
        read_us=told["read"]["cpu_us"],
        read_bus_bytes=told["read"]["bus_bytes"],
        message_bus_bytes=told["message"]["bus_bytes"],
        skim_us=told["message"]["cpu_us"],
        commit_us=single["cpu_us_per_commit"],
        commit_message_us=(full["cpu_us_per_commit"] - single["cpu_us_per_commit"]) / (joined - 1),
        commits=single["commits_per_s"],
        commits_together=commits[8, 1]["commits_per_s"],
        disk_bytes=single["disk_bytes"],
        log_bytes=single["log_bytes"],
    )


def _median_of(measurements: list[dict[str, Any]], case: str, value: str) -> float:
    return statistics.median(
        float(each["values"][value])
        for each in measurements
        if each["case"] == case and each["peer"] == "fastchat, WebSocket"
    )


def _read_buses(nodes: dict[str, Any], buses: dict[str, Any]) -> tuple[dict[str, Bus], float]:
    assert nodes["nodes"] == 3, "what a further node adds is computed for three"
    per_cpu_s = {
        name: statistics.median(phase["per_cpu_s"] for phase in phases)
        for name, phases in nodes["phases"].items()
    }
    found = {}
    for name, delay in nodes["second_node"].items():
        rounds = buses["rounds"][name]
        (client,) = (each for each in rounds[0] if each != OURS)
        ours, theirs = (
            {key: statistics.median(each[by][key] for each in rounds) for key in ("p50_us", "p99_us", "rate")}
            for by in (OURS, client)
        )
        found[name] = Bus(
            delay_p50_us=delay["p50_us"],
            delay_p99_us=delay["p99_us"],
            three_nodes=per_cpu_s[f"3 nodes, {name}"],
            payloads=ours["rate"],
            bare_p50_us=ours["p50_us"],
            bare_p99_us=ours["p99_us"],
            client=client,
            client_p50_us=theirs["p50_us"],
            client_p99_us=theirs["p99_us"],
        )
    return found, per_cpu_s[ALONE]
