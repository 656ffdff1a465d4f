"""Reads the file in a thread of its own, beside the one that writes.

Every query gives one row: rows one by one would make the thread wait for the busy loop after each of them. The
JSON of events holds no raw line break, so that a page is text with one event a line.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fastchat.messages import Code, WireError
from fastchat.store.interface import BLOCK_EVENTS, PAGE_BYTES, Block, Kind, Page
from fastchat.store.sqlite.schema import SEQ_BITS, connect_to_read
from fastchat.store.sqlite.writer import RoomState, unavailable

_SEQ_MASK = (1 << SEQ_BITS) - 1

_JOINED = "group_concat(body, char(10)), count(*), min(key), max(key)"

_BLOCK = f"SELECT {_JOINED} FROM (SELECT key, body FROM events WHERE key > ? AND key <= ? ORDER BY key)"

_PAGE = """
    SELECT {joined} FROM (
        SELECT key, body FROM (
            SELECT key, coalesce(states.body, events.body) AS body
            FROM events LEFT JOIN states USING (key)
            WHERE key > ? AND key < ? AND kind = '{message}'
            ORDER BY key {order} LIMIT ?
        ) ORDER BY key
    )
"""
_OLDEST = _PAGE.format(joined=_JOINED, message=Kind.MESSAGE, order="ASC")
_NEWEST = _PAGE.format(joined=_JOINED, message=Kind.MESSAGE, order="DESC")


class Reader:
    """Answers queries; ``deliver(callback, *args)`` runs callbacks in the loop's thread."""

    def __init__(self, path: Path, deliver: Callable[..., object]) -> None:
        self._path = path
        self._deliver = deliver
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, "fastchat-store-reader")

    def submit(self, query: Callable[[sqlite3.Connection], Any], done: Callable[[Any], None]) -> None:
        """Runs the query; ``done`` gets what it returns, or a WireError."""
        self._thread.submit(self._run, query, done)

    def _run(self, query: Callable[[sqlite3.Connection], Any], done: Callable[[Any], None]) -> None:
        try:
            if self._connection is None:
                self._connection = connect_to_read(self._path)
            result = query(self._connection)
        except WireError as error:
            result = error
        except sqlite3.Error as error:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()
            result = unavailable(error)
        self._deliver(done, result)

    def close(self) -> None:
        """Answers what was asked and ends the thread."""
        self._thread.shutdown(wait=True)
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def read_room(connection: sqlite3.Connection, name: str) -> RoomState:
    """The room's numbers; those of a new room where there is none."""
    row = connection.execute("SELECT id, epoch, head, first FROM rooms WHERE name = ?", (name,)).fetchone()
    return RoomState(name, *row) if row else RoomState(name)


def read_block(connection: sqlite3.Connection, room: RoomState, after: int) -> Block:
    """The events that follow ``after``, to the end of its aligned block."""
    base = room.room_id << SEQ_BITS
    after = max(after, room.first - 1)
    end = (after // BLOCK_EVENTS + 1) * BLOCK_EVENTS
    text, count, lowest, _ = connection.execute(_BLOCK, (base | after, base | end)).fetchone()
    if not count:
        return Block(after + 1, ())
    return Block(lowest & _SEQ_MASK, text.encode().split(b"\n"))


def read_page(
    connection: sqlite3.Connection, room: RoomState, after: int, before: int, limit: int, newest: bool
) -> Page:
    """Messages with ``after < seq < before`` in their current state, bounded by ``limit`` and PAGE_BYTES."""
    base = room.room_id << SEQ_BITS
    low, high = base | max(after, 0), base | min(before, _SEQ_MASK)
    # One more than wanted tells whether there are more.
    query = _NEWEST if newest else _OLDEST
    text, count, _, _ = connection.execute(query, (low, high, limit + 1)).fetchone()
    bodies = text.encode().split(b"\n") if count else []
    more = count > limit
    if more:
        bodies = bodies[1:] if newest else bodies[:-1]
    kept = fit(bodies, newest=newest)
    return Page(kept, more or len(kept) < len(bodies))


def fit(bodies: Sequence[bytes], *, newest: bool) -> Sequence[bytes]:
    """As many of the oldest (or ``newest``) as one page carries; at least one."""
    size = 0
    for count, body in enumerate(reversed(bodies) if newest else bodies):
        size += len(body)
        if count and size > PAGE_BYTES:
            return bodies[-count:] if newest else bodies[:count]
    return bodies


def read_marks(connection: sqlite3.Connection, user: str, rooms: Sequence[str]) -> Mapping[str, int]:
    """How far the user has read each of the rooms."""
    marks = ", ".join("?" * len(rooms))
    return dict(
        connection.execute(
            f"SELECT name, seq FROM marks JOIN rooms ON rooms.id = room_id WHERE user = ? AND name IN ({marks})",
            (user, *rooms),
        ).fetchall()
    )


def search(
    connection: sqlite3.Connection, rooms: Sequence[str], query: str, before_ms: int | None, limit: int
) -> Page:
    """Messages that contain all words of the query, the newest first. Raises WireError for a query without words."""
    words = " ".join(f'"{word}"' for word in query.replace('"', " ").split())
    if not words:
        raise WireError(Code.BAD_FIELD, "query must contain a word", field="query")
    marks = ", ".join("?" * len(rooms))
    rows = connection.execute(
        f"""
        SELECT coalesce(states.body, events.body) FROM texts
        JOIN events ON events.key = texts.rowid LEFT JOIN states USING (key)
        WHERE texts MATCH ? AND events.key >> {SEQ_BITS} IN (SELECT id FROM rooms WHERE name IN ({marks}))
            AND at_ms < ?
        ORDER BY at_ms DESC, events.key DESC LIMIT ?
        """,
        (words, *rooms, before_ms if before_ms is not None else 1 << 62, limit + 1),
    ).fetchall()
    bodies = [row[0].encode() for row in rows]
    kept = fit(bodies[:limit], newest=False)
    return Page(kept, len(bodies) > len(kept))
