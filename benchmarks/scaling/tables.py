"""The tables of docs/scaling.md, computed anew from what was saved last. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.scaling.inputs import Inputs
from benchmarks.scaling.sizing import BUS, CELL, EVERYBODY, PEOPLE, Load, Size, size

FIGURES, PEERS, NODES, OWN = (
    f"`benchmarks.{module}` · {file}.json"
    for module, file in (
        ("figures", "figures"),
        ("peers", "peers"),
        ("nodes", "nodes"),
        ("scaling", "scaling"),
    )
)


def _number(value: float) -> str:
    """Three digits that count."""
    for unit, factor in ("G", 1e9), ("M", 1e6), ("k", 1e3):
        if value >= 9.995 * factor / 10:
            return f"{float(f'{value / factor:.3g}'):g} {unit}"
    return f"{float(f'{value:.3g}'):g}"


def _bytes(value: float) -> str:
    for unit, factor in ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3):
        if value >= factor:
            return f"{float(f'{value / factor:.3g}'):g} {unit}"
    return f"{value:.0f} bytes"


def _table(head: str, align: str, rows: Sequence[tuple[str, ...]]) -> str:
    return "\n".join([head, align, *(f"| {' | '.join(row)} |" for row in rows)])


def tabulate_inputs(given: Inputs) -> str:
    """Each with its name in the formulas, and where it is from."""
    rows = [
        ("`conn`", "idle WebSocket connection, in one room", _bytes(given.connection_bytes), FIGURES),
        ("`room`", "each further room of it", _bytes(given.room_bytes), FIGURES),
        ("`one`", "deliveries per CPU-second, one message at a time", _number(given.deliveries_one), PEERS),
        ("", "the same, saturated", _number(given.deliveries_saturated), PEERS),
        ("`hands`", "handshakes with `hello` and `join` per CPU-second", _number(given.handshakes), PEERS),
        ("`ingest`", "messages per CPU-second into a file", _number(given.ingest), FIGURES),
        ("", "messages to 300 people per CPU-second of one node", _number(given.one_node), NODES),
        ("`person`", "memory for somebody on another node", _bytes(given.session_bytes), OWN),
        ("`place`", "and for each of their rooms", _bytes(given.session_room_bytes), OWN),
        ("`hear`", f"to hear of somebody in {given.rooms} rooms", f"{given.session_us:.1f} µs", OWN),
        ("", "the same on the bus", _bytes(given.session_bus_bytes), OWN),
        ("`read`", "to hear that somebody has read something", f"{given.read_us:.1f} µs", OWN),
        ("", "the same on the bus", _bytes(given.read_bus_bytes), OWN),
        ("`line`", "a message of 64 letters on the bus, alone", _bytes(given.message_bus_bytes), OWN),
        ("`skim`", "to hear of one whose room is not open", f"{given.skim_us:.1f} µs", OWN),
        ("`commit`", "PostgreSQL's CPU for a commit of one message", f"{given.commit_us:.0f} µs", OWN),
        ("`more`", "and for each further message of it", f"{given.commit_message_us:.0f} µs", OWN),
        ("`turn`", "commits a second of one node, one after the other", _number(given.commits), OWN),
        ("", "of eight nodes together", _number(given.commits_together), OWN),
        ("`disk`", "PostgreSQL's tables and indexes, for a message", _bytes(given.disk_bytes), OWN),
        ("`log`", "its write-ahead log, for a message", _bytes(given.log_bytes), OWN),
    ]
    return _table("| in formulas | what | measured | command · file |", "|---|---|--:|---|", rows)


def tabulate_buses(given: Inputs) -> str:
    """What each of them adds; delays are p50 and p99."""
    rows = [
        (
            name,
            f"{bus.delay_p50_us:,.0f} / {bus.delay_p99_us:,.0f}",
            f"{bus.bare_p50_us:,.0f} / {bus.bare_p99_us:,.0f}",
            f"{bus.client_p50_us:,.0f} / {bus.client_p99_us:,.0f}, {bus.client}",
            f"{given.further_node_us(name):.0f}",
            _number(bus.payloads),
        )
        for name, bus in given.by_bus.items()
    ]
    return _table(
        "| bus | second node behind the first, p50 / p99, µs | the bus alone | the broker's own client "
        "| CPU per message and further node, µs (`node`) | payloads/s to one other |",
        "|---|--:|--:|--:|--:|--:|",
        rows,
    )


ROWS: list[tuple[str, Callable[[Size], str]]] = [
    ("nodes", lambda one: _number(one.nodes)),
    ("connections per node", lambda one: _number(one.connections)),
    ("their memory, per node", lambda one: _bytes(one.own_bytes)),
    ("memory for people elsewhere, per node", lambda one: _bytes(one.remote_bytes)),
    ("messages a second", lambda one: _number(one.messages_per_s)),
    ("deliveries a second", lambda one: _number(one.deliveries_per_s)),
    ("changes of people a second", lambda one: _number(one.records_per_s)),
    ("what a node hears, a second", lambda one: _bytes(one.heard_bytes_per_s)),
    ("what the broker hands out a second, at most", lambda one: _number(one.bus_deliveries_per_s)),
    ("a node's CPU, cores: its own people", lambda one: f"{one.cpu_deliveries:.3f}"),
    ("… messages of other nodes", lambda one: f"{one.cpu_others:.3f}"),
    ("… people of other nodes", lambda one: f"{one.cpu_people:.3f}"),
    ("… in all", lambda one: f"{one.cpu_node:.3f}"),
    ("commits a second, at most", lambda one: _number(one.commits_per_s)),
    ("PostgreSQL's CPU, cores", lambda one: f"{one.cpu_database:.2f}"),
    ("PostgreSQL's disk, a day", lambda one: _bytes(one.disk_bytes_per_day)),
    ("its log, a second", lambda one: _bytes(one.log_bytes_per_s)),
    ("all come back at once: CPU of each node, s", lambda one: f"{one.herd_s:,.1f}"),
    ("a node comes back: it hears", lambda one: _bytes(one.snapshot_bytes)),
    ("… and needs for that, s", lambda one: f"{one.snapshot_s:,.1f}"),
]


def tabulate_sizes(given: Inputs, people: tuple[int, ...] = PEOPLE) -> str:
    """One cluster for each number of people, all else as assumed."""
    sizes = [size(Load(each), given, BUS) for each in people]
    heads = " | ".join(f"{each:,}" for each in people)
    return _table(
        f"| people online, in one cluster | {heads} |",
        "|---|" + "--:|" * len(people),
        [(name, *(show(one) for one in sizes)) for name, show in ROWS],
    )


def tabulate_ends(given: Inputs) -> str:
    """How many people come to each bound, the first one first."""
    bounds = {
        f"{BUS} hands out what it was measured at": (given.by_bus[BUS].payloads, "bus_deliveries_per_s"),
        "PostgreSQL's default of 100 connections, 6 per node, 3 kept back": (97 // 6 + 1, "nodes"),
        "2 GB per node for people elsewhere": (2e9, "remote_bytes"),
        "half a core per node": (0.5, "cpu_node"),
        "PostgreSQL takes 8 cores": (8.0, "cpu_database"),
        "a node that comes back needs 30 s to hear of all": (30.0, "snapshot_s"),
    }
    found = sorted((people_at(given, *bound), name) for name, bound in bounds.items())
    rows = [(name, f"{float(f'{people:.2g}'):,.0f}") for people, name in found]
    return _table("| bound | people online |", "|---|--:|", rows)


def tabulate_cells(given: Inputs) -> str:
    """One cell, and as many as everybody needs; the node to spare is there and nothing else of it."""
    one, cells = size(Load(CELL), given, BUS), EVERYBODY // CELL
    rows: list[tuple[str, float, Callable[[float], str]]] = [
        ("people", CELL, lambda value: f"{value:,.0f}"),
        ("nodes, with one to spare", one.nodes + 1, lambda value: f"{value:,.0f}"),
        ("messages a second", one.messages_per_s, _number),
        ("deliveries a second", one.deliveries_per_s, _number),
        ("PostgreSQL's CPU, cores", one.cpu_database, lambda value: f"{value:.3g}"),
        ("PostgreSQL's disk, a day", one.disk_bytes_per_day, _bytes),
        ("what brokers hand out a second, at most", one.bus_deliveries_per_s, _number),
    ]
    return _table(
        f"| | each cell | {cells} cells |",
        "|---|--:|--:|",
        [(name, show(value), show(value * cells)) for name, value, show in rows],
    )


def people_at(given: Inputs, bound: float, name: str) -> int:
    """How many people it takes until that part of ``Size`` has come to the bound."""
    low, high = 1, 1 << 40
    while low < high:
        middle = (low + high) // 2
        if getattr(size(Load(middle), given, BUS), name) >= bound:
            high = middle
        else:
            low = middle + 1
    return low


def tabulate(given: Inputs) -> dict[str, str]:
    """By the names under which the document shows them."""
    return {
        "scaling-inputs": tabulate_inputs(given),
        "scaling-buses": tabulate_buses(given),
        "scaling-ends": tabulate_ends(given),
        "scaling-cells": tabulate_cells(given),
        "scaling-sizes": tabulate_sizes(given),
    }
