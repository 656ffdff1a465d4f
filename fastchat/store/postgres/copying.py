"""Copies a history from a file into a database that has nothing else: `fastchat migrate-store`.

Each chunk is one transaction, and what it has is what it has done: a room's ``head`` says how far its events
are there, and for other tables the last key stands in ``meta``. So it can be killed at any point and goes on
from there. Rooms keep their numbers and epochs: clients' cursors stay valid. Until it is complete, no server
starts on the database.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import orjson

from fastchat.store.errors import StoreError
from fastchat.store.interface import Kind
from fastchat.store.postgres.connection import Connection, Server, disconnect
from fastchat.store.postgres.errors import explain
from fastchat.store.postgres.rows import TABLES, Statement, columns
from fastchat.store.postgres.schema import escape, migrate, read_copy, set_copy
from fastchat.store.postgres.thread import LoopThread
from fastchat.store.postgres.writer import LOCK
from fastchat.store.sqlite.rows import Room, Row, Rows
from fastchat.store.words import encode_words

CHUNK_ROWS = 2000
CHUNK_BYTES = 4 << 20
TIMEOUT_S = 86_400.0  # for one statement: an index over a long history takes hours
LOCK_WAIT_S = 5.0  # for what a copy that was killed has left in the server

_ADD_ROOMS = """
    INSERT INTO rooms (id, name, epoch, head, first) OVERRIDING SYSTEM VALUE
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
    ON CONFLICT DO NOTHING
"""
_ADD_EVENTS = """
    INSERT INTO events (room_id, seq, kind, author, id, at_ms, body, words)
    SELECT room_id, seq, kind, author, id, at_ms, body, words::tsvector
    FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[],
        $8::text[]) AS new (room_id, seq, kind, author, id, at_ms, body, words)
"""
_SET_HEADS = """
    UPDATE rooms SET head = new.head FROM unnest($1::bigint[], $2::bigint[]) AS new (id, head)
    WHERE rooms.id = new.id
"""
# A server may have trimmed the file between two attempts.
_FINISH_ROOMS = """
    UPDATE rooms SET first = new.first, head = new.head, size_bytes = new.size_bytes
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS new (id, first, head, size_bytes)
    WHERE rooms.id = new.id
"""
_TRIM = "DELETE FROM {table} USING rooms WHERE rooms.id = room_id AND seq < first"
_BEGIN_SENDING = "SELECT begin_sending()"
_ADD_WAITING = """
    INSERT INTO waiting (room_id, slot, published) SELECT id, slot, published
    FROM unnest($1::bigint[], $2::bigint[]) AS new (id, published) JOIN rooms USING (id)
    ON CONFLICT (room_id) DO UPDATE SET published = excluded.published
"""
_COUNT_NOTICES = "UPDATE outbox SET notices = (SELECT count(*) FROM notices), dropped = $1"
_NEXT_NUMBERS = """
    SELECT setval(pg_get_serial_sequence(name, "column"), greatest(last, 1), last > 0)
    FROM (VALUES ('rooms', 'id', (SELECT max(id) FROM rooms)), ('audit', 'id', (SELECT max(id) FROM audit)),
        ('notices', 'number', (SELECT max(number) FROM notices))) AS given (name, "column", highest)
    CROSS JOIN LATERAL (SELECT coalesce(highest, 0)) AS known (last)
"""
_SIZES = """
    SELECT room_id, count(*), max(seq), sum(octet_length(body))::bigint FROM events GROUP BY room_id
"""
# To add to it event by event takes longer than everything else together.
_DROP_INDEX = "DROP INDEX IF EXISTS events_by_word"
_MAKE_INDEX = "CREATE INDEX IF NOT EXISTS events_by_word ON events USING gin (words)"
_IS_EMPTY = " AND ".join(
    f"NOT EXISTS (SELECT FROM {table})" for table in ("rooms", "events", "accounts", "audit", "notices")
)


def copy_history(source: Path, url: str, report: Callable[[str], object]) -> None:
    """Copies all of it, or goes on where it ended before; ``report`` gets a line now and then.

    Raises StoreError, also where a server uses either of them, or the database has something else.
    """
    rows = Rows(source)
    try:
        target = Target(url)
        try:
            _Copy(rows, target, report).run()
        finally:
            target.close()
    finally:
        rows.close()


class Target:
    """The database, which no server uses meanwhile."""

    def __init__(self, url: str) -> None:
        """Raises StoreError."""
        self._url = url
        self._thread = LoopThread("fastchat-copy")
        try:
            self._connection = self._call(self._connect())
        except BaseException:
            self._thread.close()
            raise

    async def _connect(self) -> Connection:
        connection = await Server(self._url, "copy", command_timeout_s=TIMEOUT_S).connect("copy")
        try:
            await self._lock(connection)
            await migrate(connection, self._url, copying=True)
        except BaseException:
            await disconnect(connection)
            raise
        return connection

    async def _lock(self, connection: Connection) -> None:
        until = time.monotonic() + LOCK_WAIT_S
        while not await connection.fetchval(f"SELECT pg_try_advisory_lock({LOCK})"):
            if time.monotonic() > until:
                raise StoreError("a server uses the database, or another copy is under way; stop that one")
            await asyncio.sleep(LOCK_WAIT_S / 20)

    def _call(self, coroutine: Any) -> Any:
        try:
            return self._thread.run(coroutine)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise explain(error, self._url) from error

    def fetch(self, query: str, *values: Any) -> list[Sequence[Any]]:
        """Raises StoreError, as all here do."""
        rows: list[Sequence[Any]] = self._call(self._connection.fetch(query, *values))
        return rows

    def value(self, query: str, *values: Any) -> Any:
        """The only one of the only row."""
        return self._call(self._connection.fetchval(query, *values))

    def commit(self, *statements: Statement, progress: dict[str, Any] | None = None) -> None:
        """Has all of it done, or nothing; with it what is written down of the progress."""

        async def run() -> None:
            async with self._connection.transaction():
                for query, values in statements:
                    await self._connection.execute(query, *values)
                if progress is not None:
                    await set_copy(self._connection, progress)

        self._call(run())

    def progress(self) -> dict[str, Any] | None:
        """What was written down by an attempt before."""
        found: dict[str, Any] | None = self._call(read_copy(self._connection))
        return found

    def close(self) -> None:
        """Disconnects."""
        self._thread.run(disconnect(self._connection))
        self._thread.close()


class _Copy:
    def __init__(self, source: Rows, target: Target, report: Callable[[str], object]) -> None:
        self._source = source
        self._target = target
        self._report = report
        self._progress: dict[str, Any] = {}

    def run(self) -> None:
        if not self._begin():
            self._report("it is copied already")
            return
        rooms = self._source.rooms()
        self._add_rooms(rooms)
        self._target.fetch(_DROP_INDEX)
        self._add_events(rooms)
        self._finish_rooms(rooms)
        for number, name in enumerate(TABLES):
            if number >= self._progress["table"]:
                self._copy_table(number, name)
        self._report("search index: all words of all messages")
        self._target.fetch(_MAKE_INDEX)
        self._finish_outbox(rooms)
        self._verify(rooms)
        self._target.fetch("ANALYZE")
        self._write_down(done=True)
        self._report("complete")

    def _begin(self) -> bool:
        """Finds out where to go on; False where it is complete. Raises StoreError."""
        known = self._target.progress()
        begun = {"source": self._source.identity, "stamp": self._source.stamp, "table": 0, "after": None}
        if known is None:
            if not self._target.value(f"SELECT {_IS_EMPTY}"):
                raise StoreError("the database has a chat already; copy into a new one")
            self._progress = {**begun, "done": False}
            self._write_down()
            return True
        if known["source"] != begun["source"]:
            raise StoreError("the database has a copy of another file; copy into a new one")
        self._progress = known
        if known["done"]:
            return False
        if known["stamp"] != begun["stamp"]:
            # What is no event may be another by now.
            self._write_down(**begun)
        return True

    def _write_down(self, **changes: Any) -> None:
        self._progress |= changes
        self._target.commit(progress=self._progress)

    # Rooms and their events

    def _add_rooms(self, rooms: Sequence[Room]) -> None:
        known = {row[0] for row in self._target.fetch("SELECT id FROM rooms")}
        new = [
            (room.id, escape(room.name), room.epoch, room.first - 1, room.first)
            for room in rooms
            if room.id not in known
        ]
        for start in range(0, len(new), CHUNK_ROWS):
            self._target.commit((_ADD_ROOMS, columns(new[start : start + CHUNK_ROWS])))
            self._report(f"rooms: {len(known) + min(start + CHUNK_ROWS, len(new))} of {len(rooms)}")

    def _add_events(self, rooms: Sequence[Room]) -> None:
        heads: dict[int, int] = {row[0]: row[1] for row in self._target.fetch("SELECT id, head FROM rooms")}
        total = sum(room.head - room.first + 1 for room in rooms)
        done = sum(max(heads[room.id] - room.first + 1, 0) for room in rooms)
        for chunk in self._chunks(rooms, heads):
            reached = {row[0]: row[1] for row in chunk}  # the last one of each room counts
            self._target.commit(
                (_ADD_EVENTS, columns(chunk)), (_SET_HEADS, [list(reached), list(reached.values())])
            )
            done += len(chunk)
            self._report(f"events: {done} of {total}")

    def _chunks(self, rooms: Sequence[Room], heads: dict[int, int]) -> Iterator[list[Row]]:
        chunk: list[Row] = []
        size = 0
        for room in rooms:
            after = heads[room.id]
            while after < room.head and (found := self._source.events(room, after, CHUNK_ROWS)):
                for seq, kind, author, event_id, at_ms, body in found:
                    words = encode_words(orjson.loads(body)["text"]) if kind == Kind.MESSAGE else None
                    known_id = None if event_id is None else escape(event_id)
                    chunk.append((room.id, seq, kind, escape(author), known_id, at_ms, body, words))
                    size += len(body)
                    if len(chunk) == CHUNK_ROWS or size > CHUNK_BYTES:
                        yield chunk
                        chunk, size = [], 0
                after = found[-1][0]
        if chunk:
            yield chunk

    def _finish_rooms(self, rooms: Sequence[Room]) -> None:
        numbers = [(room.id, room.first, room.head, room.size_bytes) for room in rooms]
        for start in range(0, len(numbers), CHUNK_ROWS):
            self._target.commit((_FINISH_ROOMS, columns(numbers[start : start + CHUNK_ROWS])))
        self._target.commit(*((_TRIM.format(table=table), ()) for table in ("events", "states")))

    # Everything else

    def _copy_table(self, number: int, name: str) -> None:
        table = TABLES[name]
        total, done = self._source.count(name), 0
        after = self._progress["after"]
        if after is None and table.before is not None:
            self._target.commit((table.before, ()))
        while True:
            rows, last = self._source.table(name, after, CHUNK_ROWS)
            if last is None:
                break
            after = list(last)
            self._progress |= {"table": number, "after": after}
            self._target.commit(*table.statements(rows), progress=self._progress)
            done += len(rows)
            self._report(f"{name}: {min(done, total)} of {total}")
        self._write_down(table=number + 1, after=None)

    def _finish_outbox(self, rooms: Sequence[Room]) -> None:
        """What waited for a broker goes on waiting; and what is added later gets the next numbers."""
        if self._source.meta("sending"):
            waiting = [
                (room.id, room.published)
                for room in rooms
                if room.published is not None and room.published < room.head
            ]
            dropped = self._source.meta("notices_dropped")
            self._target.commit(
                (_BEGIN_SENDING, ()), (_ADD_WAITING, columns(waiting, 2)), (_COUNT_NOTICES, (dropped,))
            )
        self._target.fetch(_NEXT_NUMBERS)

    def _verify(self, rooms: Sequence[Room]) -> None:
        """Raises StoreError where the copy is another one than the file."""
        expected = {row[0]: row for row in self._source.sizes()}
        found = {row[0]: tuple(row) for row in self._target.fetch(_SIZES)}
        numbers = {
            row[0]: tuple(row) for row in self._target.fetch("SELECT id, epoch, first, head FROM rooms")
        }
        wrong = [
            room.name
            for room in rooms
            if expected.get(room.id) != found.get(room.id)
            or numbers.get(room.id) != (room.id, room.epoch, room.first, room.head)
        ]
        if len(numbers) != len(rooms):
            wrong.append(f"{len(numbers)} rooms instead of {len(rooms)}")
        for name in TABLES:
            count, there = self._source.count(name), self._target.value(f"SELECT count(*) FROM {name}")
            if count != there:
                wrong.append(f"{there} {name} instead of {count}")
        if wrong:
            raise StoreError(f"the copy differs: {', '.join(wrong[:10])}; drop its schema and copy again")
        events = sum(row[1] for row in expected.values())
        self._report(f"verified: {len(rooms)} rooms with {events} events")
