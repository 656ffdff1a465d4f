"""Reads the file in a thread of its own, beside the one that writes.

Every query gives one row: rows one by one would make the thread wait for the busy loop after each of them.
The JSON of events holds no raw line break, so that a page is text with one event a line.
"""

import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson

from fastchat.messages import WireError
from fastchat.store.errors import unavailable
from fastchat.store.found import PAGE_MAX, cut_page, cut_range, parse_query
from fastchat.store.interface import BLOCK_EVENTS, NO_FACTS, Block, Kind, Page, RoomSummary
from fastchat.store.sqlite.batch import RoomState
from fastchat.store.sqlite.schema import SEQ_BITS, SEQ_MASK, connect_to_read
from fastchat.store.sqlite.writer import describe

_ROOM = """
    SELECT id, epoch, head, first, (
        SELECT json_group_object(name, json(value)) FROM facts WHERE room_id = rooms.id
    ) FROM rooms WHERE name = ?
"""

_BLOCK = """
    SELECT group_concat(body, char(10)), count(*), min(key)
    FROM (SELECT key, body FROM events WHERE key > ? AND key <= ? ORDER BY key)
"""
_NEXT = "SELECT min(key) FROM events WHERE key > ? AND key <= ?"

_PAGE = f"""
    SELECT group_concat(body, char(10)), count(*) FROM (
        SELECT key, body FROM (
            SELECT key, coalesce(states.body, events.body) AS body
            FROM events LEFT JOIN states USING (key)
            WHERE key > ? AND key < ? AND kind = '{Kind.MESSAGE}'
            ORDER BY key {{order}} LIMIT ?
        ) ORDER BY key
    )
"""
_OLDEST = _PAGE.format(order="ASC")
_NEWEST = _PAGE.format(order="DESC")

# Bodies are looked up for those alone that are wanted.
_SEARCH = f"""
    SELECT group_concat(at_ms || ' ' || coalesce(states.body, found.body), char(10)) FROM (
        SELECT key, at_ms, body FROM (
            SELECT key FROM texts JOIN events ON key = texts.rowid
            WHERE texts MATCH ? AND at_ms < ?
                AND key >> {SEQ_BITS} IN (SELECT id FROM rooms WHERE name IN (SELECT value FROM json_each(?)))
            ORDER BY at_ms DESC, key DESC LIMIT ?
        ) JOIN events USING (key) ORDER BY at_ms DESC, key DESC
    ) AS found LEFT JOIN states USING (key)
"""


class Reader:
    """Answers queries; ``deliver(callback, *args)`` runs callbacks in the loop's thread."""

    def __init__(self, path: Path, deliver: Callable[..., object], name: str) -> None:
        self._path = path
        self.deliver = deliver
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, f"fastchat-store-{name}")

    def submit(self, query: Callable[[sqlite3.Connection], Any], done: Callable[[Any], None]) -> None:
        """Runs the query; ``done`` gets what it returns, or a WireError."""
        try:
            self._thread.submit(self._run, query, done)
        except RuntimeError:
            self.deliver(done, unavailable("it is closed"))

    def _run(self, query: Callable[[sqlite3.Connection], Any], done: Callable[[Any], None]) -> None:
        try:
            if self._connection is None:
                self._connection = connect_to_read(self._path)
            result = query(self._connection)
        except WireError as error:
            result = error
        except Exception as error:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()
            result = unavailable(describe(error))
        self.deliver(done, result)

    def close(self) -> None:
        """Answers what was asked and ends the thread."""
        self._thread.shutdown(wait=True)
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def read_room(connection: sqlite3.Connection, name: str) -> RoomState:
    """The room's numbers and facts; those of a new room where there is none."""
    row = connection.execute(_ROOM, (name,)).fetchone()
    if row is None:
        return RoomState(name)
    room_id, epoch, head, first, facts = row
    return RoomState(name, room_id, epoch, head, first, orjson.loads(facts) or NO_FACTS)


def read_rooms(connection: sqlite3.Connection, after: str, limit: int) -> list[RoomSummary]:
    """Rooms by name, but for those of two."""
    rows = connection.execute(
        "SELECT name, first, head, size_bytes FROM rooms WHERE name > ? AND name NOT LIKE '@%' "
        "ORDER BY name LIMIT ?",
        (after, limit),
    )
    return [RoomSummary(*row) for row in rows]


def read_block(connection: sqlite3.Connection, room: RoomState, after: int, head: int) -> Block:
    """The events that follow ``after``, to the end of its aligned block, and none after ``head``."""
    base = room.room_id << SEQ_BITS
    after = max(after, room.first - 1)
    while after < head:
        end = min((after // BLOCK_EVENTS + 1) * BLOCK_EVENTS, head)
        text, count, lowest = connection.execute(_BLOCK, (base | after, base | end)).fetchone()
        if count:
            return Block(lowest & SEQ_MASK, text.encode().split(b"\n"))
        # Trimmed away a moment ago.
        (lowest,) = connection.execute(_NEXT, (base | after, base | head)).fetchone()
        if lowest is None:
            break
        after = (lowest & SEQ_MASK) - 1
    return Block(after + 1, ())


def read_page(
    connection: sqlite3.Connection, room: RoomState, after: int, before: int, limit: int, newest: bool
) -> Page:
    """Messages with ``after < seq < before`` in their current state, bounded by ``limit`` and PAGE_BYTES."""
    base = room.room_id << SEQ_BITS
    low, high = base | min(max(after, 0), SEQ_MASK), base | min(max(before, 0), SEQ_MASK)
    query = _NEWEST if newest else _OLDEST
    wanted = min(limit, PAGE_MAX)
    text, count = connection.execute(query, (low, high, wanted + 1)).fetchone()
    return cut_range(text.encode().split(b"\n") if count else (), wanted, newest=newest)


def search(
    connection: sqlite3.Connection, rooms: Sequence[str], query: str, before_ms: int | None, limit: int
) -> Page:
    """Messages that contain all words of the query, the newest first. Raises WireError for a wrong query."""
    words = " ".join(f'"{word}"' for word in parse_query(query))
    wanted = min(limit, PAGE_MAX) + 1
    before = before_ms if before_ms is not None else 1 << 62
    names = orjson.dumps(rooms).decode()
    (text,) = connection.execute(_SEARCH, (words, before, names, wanted)).fetchone()
    lines = (line.split(b" ", 1) for line in text.encode().split(b"\n")) if text else ()
    return cut_page([(int(at_ms), body) for at_ms, body in lines], wanted - 1)
