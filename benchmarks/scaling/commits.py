"""What messages cost PostgreSQL: commits a second, disk and log for each message, CPU for each commit."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import Sequence

import asyncpg

from benchmarks.postgres import Senders
from benchmarks.processes import read_cpu_s, read_tree
from fastchat.store.interface import Committed
from fastchat.store.postgres.store import PostgresStore
from tests.services.postgres import Postgres

SECONDS = 3.0
ROOMS = 8
SHAPES = ((1, 1), (8, 1), (1, 64), (1, 512))
"""Nodes, and senders of each that send their next message when the last one is stored."""


@dataclasses.dataclass(frozen=True)
class Commits:
    """Of all nodes together, which write to rooms of their own."""

    nodes: int
    senders: int
    messages_per_s: float
    commits_per_s: float
    cpu_us_per_commit: float
    """Of PostgreSQL's processes."""
    disk_bytes: float
    """Tables and indexes, for each message."""
    log_bytes: float
    """Of the write-ahead log, for each message."""


@dataclasses.dataclass(frozen=True)
class Usage:
    """What PostgreSQL has used up to a moment."""

    cpu_s: float
    disk_bytes: int
    log_bytes: int


def _read_usage(server: Postgres, url: str) -> Usage:
    async def ask() -> tuple[int, int]:
        connection = await asyncpg.connect(url)
        try:
            row = await connection.fetchrow(
                "SELECT pg_database_size(current_database()), pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
            )
        finally:
            await connection.close()
        return int(row[0]), int(row[1])

    assert server.pid is not None
    disk_bytes, log_bytes = asyncio.run(ask())
    cpu_s = 0.0
    for member in read_tree(server.pid):
        with contextlib.suppress(OSError):  # one that served the question above may just have ended
            cpu_s += read_cpu_s(member)
    return Usage(cpu_s, disk_bytes, log_bytes)


def _run(stores: Sequence[PostgresStore], clients: Sequence[Senders]) -> float:
    """Messages a second of all nodes, each in a thread of its own."""
    rates: list[float] = []
    threads = [
        threading.Thread(target=lambda store=store, own=own: rates.append(own.run(store, SECONDS)))
        for store, own in zip(stores, clients, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rates) == len(stores), "a node has failed"
    return sum(rates)


def measure(server: Postgres, nodes: int, senders: int) -> Commits:
    """In a database of its own, on a server that waits for the disk at each commit."""
    url = server.create_database()
    clients = [Senders(ROOMS, senders, f"room-{number}") for number in range(nodes)]
    stores = [PostgresStore(url, deliver=each.deliver, alone=nodes == 1) for each in clients]
    commits: list[int] = []

    def on_commit(committed: Sequence[Committed]) -> None:
        commits.append(len(committed))

    for store in stores:
        store.observe(on_commit)
    try:
        before = _read_usage(server, url)
        messages_per_s = _run(stores, clients)
        after = _read_usage(server, url)
    finally:
        for store in stores:
            store.close()
    messages, count = sum(commits), len(commits)
    return Commits(
        nodes,
        senders,
        messages_per_s,
        messages_per_s * count / messages,
        (after.cpu_s - before.cpu_s) / count * 1e6,
        (after.disk_bytes - before.disk_bytes) / messages,
        (after.log_bytes - before.log_bytes) / messages,
    )
