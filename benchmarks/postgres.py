"""Appends a second in PostgreSQL: the store, beside SQLite's and a bare INSERT of the same rows, in one run.

    python -m benchmarks.postgres [--url postgresql://…] [--seconds 4] [--rooms 8] [--senders 64]

So many senders send their next message when the last one is answered: commits have about as many in a batch.
Without ``--url`` a server is started for it, with its usual settings: each commit waits for the disk.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import queue
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg

from fastchat._ring import Ring
from fastchat.messages import WireError
from fastchat.store import Draft, Facts, Kind, RoomLog, Store, Stored, open_store
from fastchat.store.words import encode_words

TEXT = "The quick brown fox jumps over the lazy dog, and number {} is in its place"
ROUNDS = 3


class Senders:
    """Clients of a store in this process; what its threads deliver is called here."""

    def __init__(self, rooms: int, senders: int, prefix: str = "room") -> None:
        self._prefix = prefix
        self._due: queue.SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]]] = queue.SimpleQueue()
        self._rooms = rooms
        self._senders = senders
        self._sent = 0
        self.answered = 0

    def deliver(self, callback: Callable[..., object], *arguments: Any) -> None:
        self._due.put((callback, arguments))

    def run(self, store: Store, seconds: float) -> float:
        """Appends a second."""
        logs = [self._open(store, f"{self._prefix}-{number}") for number in range(self._rooms)]
        for sender in range(self._senders):
            self._send(logs[sender % len(logs)], f"user-{sender}")
        began_at, until = time.perf_counter(), time.perf_counter() + seconds
        self.answered = 0
        while time.perf_counter() < until:
            self._turn()
        rate = self.answered / (time.perf_counter() - began_at)
        self._senders = 0  # nobody sends again
        while self.answered < self._sent:
            self._turn()
        return rate

    def _turn(self) -> None:
        callback, arguments = self._due.get(timeout=60)
        callback(*arguments)

    def _open(self, store: Store, name: str) -> RoomLog:
        found: list[RoomLog | WireError] = []
        store.open(name, found.append)
        while not found:
            self._turn()
        (log,) = found
        assert not isinstance(log, WireError), log
        log.attach(Ring(1 << 20, log.head), self)
        return log

    def _send(self, log: RoomLog, author: str) -> None:
        self._sent += 1
        draft = draft_of(author, self._sent)

        def on_stored(stored: Stored | WireError) -> None:
            assert isinstance(stored, Stored), stored
            self.answered += 1
            if self._senders:
                self._send(log, author)

        log.append(draft, on_stored)

    def on_foreign(self, stored: Stored) -> None:
        """There is nobody else."""

    def on_facts(self, facts: Facts) -> None:
        """There is nobody else."""

    def on_lost(self) -> None:
        """Nothing is trimmed."""


def draft_of(author: str, number: int) -> Draft:
    return Draft(
        Kind.MESSAGE, author, time.time_ns() // 1_000_000, {"text": TEXT.format(number)}, f"id-{number}"
    )


def run_store(url: str, seconds: float, rooms: int, senders: int) -> float:
    clients = Senders(rooms, senders)
    store = open_store(url, deliver=clients.deliver)
    try:
        return clients.run(store, seconds)
    finally:
        store.close()


BARE = """
    INSERT INTO events (room_id, seq, kind, author, id, at_ms, body, words)
    SELECT room_id, seq, kind, author, id, at_ms, body, words::tsvector
    FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[],
        $8::text[]) AS given (room_id, seq, kind, author, id, at_ms, body, words)
"""


async def run_bare(url: str, seconds: float, rooms: int, batch: int) -> float:
    """asyncpg alone: the same rows into the same table with the same indexes, a batch after the other.

    Rows are numbered here, nothing is looked up, and nobody is answered.
    """
    connection = await asyncpg.connect(url, server_settings={"search_path": "fastchat"})
    try:
        await connection.execute("TRUNCATE events")
        count = 0
        began_at, until = time.perf_counter(), time.perf_counter() + seconds
        while time.perf_counter() < until:
            rows = []
            for number in range(count, count + batch):
                room, seq = number % rooms, number // rooms + 1
                draft = draft_of(f"user-{number % batch}", number)
                body = draft.encode(f"room-{room}", seq).decode()
                words = encode_words(draft.fields["text"])
                rows.append((room, seq, "message", draft.author, draft.id, draft.at_ms, body, words))
            await connection.execute(BARE, *map(list, zip(*rows, strict=True)))
            count += batch
        return count / (time.perf_counter() - began_at)
    finally:
        await connection.close()


@contextlib.contextmanager
def database(url: str | None) -> Iterator[str]:
    """The given one, or a new one on a server of its own."""
    if url is not None:
        yield url
        return
    from tests.services.postgres import running

    with running(fast=False) as server:
        yield server.create_database()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--url", help="an empty database; it is written to")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each figure and round")
    parser.add_argument("--rooms", type=int, default=8)
    parser.add_argument("--senders", type=int, default=64)
    options = parser.parse_args(arguments)
    shape = (options.seconds, options.rooms, options.senders)
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, database(options.url) as url:
        for number in range(ROUNDS):
            path = Path(folder, f"chat-{number}.db")
            rates.setdefault("SQLite store", []).append(run_store(f"sqlite://{path}", *shape))
            rates.setdefault("PostgreSQL store", []).append(run_store(url, *shape))
            rates.setdefault("bare INSERT by asyncpg", []).append(asyncio.run(run_bare(url, *shape)))
            asyncio.run(_forget_rooms(url))
    print(f"appends a second, {options.senders} senders in {options.rooms} rooms, median of {ROUNDS} rounds:")
    for name, found in rates.items():
        low, middle, high = min(found), sorted(found)[len(found) // 2], max(found)
        print(f"  {name:<24} {middle:>10,.0f}   ({low:,.0f} to {high:,.0f})")


async def _forget_rooms(url: str) -> None:
    connection = await asyncpg.connect(url, server_settings={"search_path": "fastchat"})
    try:
        await connection.execute("TRUNCATE events, rooms")
    finally:
        await connection.close()


if __name__ == "__main__":
    main()
