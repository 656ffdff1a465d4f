"""What the writer does when nobody waits for it: the search index, and trimming what retention does not keep.

Each step is one short transaction, so that no commit waits long for it.
"""

import sqlite3
import time
from collections.abc import Callable
from weakref import WeakValueDictionary

from fastchat.store.interface import Kind, Retention
from fastchat.store.sqlite.schema import SEQ_BITS
from fastchat.store.sqlite.writer import RoomState

INDEX_STEP = 1000  # messages indexed in one transaction
TRIM_STEP = 500  # events deleted in one transaction
TRIM_PASS_S = 10.0  # every room is looked at this often, at most

_SEQ_MASK = (1 << SEQ_BITS) - 1

_INDEX = f"""
    INSERT INTO texts (rowid, text)
    SELECT key, text FROM (
        SELECT key, coalesce(states.body, events.body) ->> '$.text' AS text
        FROM events LEFT JOIN states USING (key)
        WHERE key > ? AND key <= ? AND kind = '{Kind.MESSAGE}'
    ) WHERE text IS NOT NULL
"""

# The oldest events of a room, how old and how large they are; ``total`` counts from the oldest on.
_OLDEST = f"""
    SELECT max(key), max(total) FROM (
        SELECT key, at_ms, sum(length(CAST(body AS BLOB))) OVER (ORDER BY key) AS total
        FROM events WHERE key >= ? AND key < ? ORDER BY key LIMIT {TRIM_STEP}
    ) WHERE key < ? OR at_ms < ? OR total <= ?
"""


class Upkeep:
    """Keeps the rooms that are in use (``watch``), and works through the file (``step``)."""

    def __init__(self, retention: Callable[[str], Retention], wall_ms: Callable[[], int]) -> None:
        self._retention = retention
        self._wall_ms = wall_ms
        self._rooms: WeakValueDictionary[str, RoomState] = WeakValueDictionary()
        self._last_trimmed = 0  # id of the room that was looked at last
        self._next_pass_at = 0.0

    def watch(self, state: RoomState) -> RoomState:
        """The one RoomState of a room in use: the given one, unless there is one already."""
        return self._rooms.setdefault(state.name, state)

    def step(self, connection: sqlite3.Connection) -> bool:
        """Does a little; returns whether there is more to do."""
        return self._index(connection) or self._trim_next(connection)

    # The search index

    def index_all(self, connection: sqlite3.Connection) -> None:
        """Brings the index up to date, within the caller's transaction."""
        while self._index_some(connection):
            pass

    def _index(self, connection: sqlite3.Connection) -> bool:
        if not connection.execute("SELECT 1 FROM rooms WHERE indexed < head LIMIT 1").fetchone():
            return False
        connection.execute("BEGIN IMMEDIATE")
        self._index_some(connection)
        connection.execute("COMMIT")
        return True

    def _index_some(self, connection: sqlite3.Connection) -> bool:
        found = connection.execute(
            "SELECT id, indexed, head FROM rooms WHERE indexed < head LIMIT 1"
        ).fetchone()
        if found is None:
            return False
        room_id, indexed, head = found
        end = min(head, indexed + INDEX_STEP)
        base = room_id << SEQ_BITS
        connection.execute(_INDEX, (base | indexed, base | end))
        connection.execute("UPDATE rooms SET indexed = ? WHERE id = ?", (end, room_id))
        return True

    # Trimming

    def _trim_next(self, connection: sqlite3.Connection) -> bool:
        if time.monotonic() < self._next_pass_at:
            return False
        found = connection.execute(
            "SELECT id, name, head, first, size_bytes FROM rooms WHERE id > ? ORDER BY id LIMIT 1",
            (self._last_trimmed,),
        ).fetchone()
        if found is None:
            self._last_trimmed = 0
            self._next_pass_at = time.monotonic() + TRIM_PASS_S
            return False
        room_id, name, *numbers = found
        if not self._trim(connection, room_id, name, *numbers):
            self._last_trimmed = room_id
        return True

    def _trim(
        self, connection: sqlite3.Connection, room_id: int, name: str, head: int, first: int, size_bytes: int
    ) -> bool:
        """Deletes the oldest events that are not to be kept; returns whether there may be more of them."""
        keep = self._retention(name)
        if keep == Retention() or first > head:
            return False
        base = room_id << SEQ_BITS
        count_end = base | max(head - keep.events + 1, 0) if keep.events else 0
        age_end = self._wall_ms() - int(keep.age_s * 1000) if keep.age_s else 0
        excess = size_bytes - keep.size_bytes if keep.size_bytes else 0
        # The newest event stays: it carries the numbering.
        last, total = connection.execute(
            _OLDEST, (base | first, base | head, count_end, age_end, max(excess, 0))
        ).fetchone()
        if last is None:
            return False
        connection.execute("BEGIN IMMEDIATE")
        for table, column in (("events", "key"), ("states", "key"), ("texts", "rowid")):
            connection.execute(f"DELETE FROM {table} WHERE {column} > ? AND {column} <= ?", (base, last))
        new_first = (last & _SEQ_MASK) + 1
        connection.execute(
            "UPDATE rooms SET first = ?, size_bytes = size_bytes - ?, indexed = max(indexed, ?) WHERE id = ?",
            (new_first, total, new_first - 1, room_id),
        )
        connection.execute("COMMIT")
        state = self._rooms.get(name)
        if state is not None:
            state.first = new_first
        return True
