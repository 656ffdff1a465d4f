"""What the writer does when nobody waits for it: the search index, and trimming what retention does not keep.

Each step is one short transaction, so that no commit waits long for it.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

import orjson

from fastchat.store.interface import AUDIT_KEPT, Kind, Retention
from fastchat.store.sqlite.audit import trim_entries
from fastchat.store.sqlite.batch import RoomState
from fastchat.store.sqlite.schema import SEQ_BITS, SEQ_MASK

INDEX_STEP = 200  # events indexed in one transaction
TRIM_STEP = 200  # events deleted in one transaction
TRIM_PASS_S = 10.0  # every room is looked at this often, at most
TRIM_LOOK = 1000  # rooms looked at in one step

_INDEX = f"""
    INSERT INTO texts (rowid, text)
    SELECT key, text FROM (
        SELECT key, coalesce(states.body, events.body) ->> '$.text' AS text
        FROM events LEFT JOIN states USING (key)
        WHERE key > ? AND key <= ? AND kind = '{Kind.MESSAGE}'
    ) WHERE text IS NOT NULL
"""

# Rows one by one would make the thread wait for the busy loop after each of them.
_TO_INDEX = """
    SELECT json_group_array(json_array(id, head)) FROM rooms
    WHERE indexed < head AND name IN (SELECT value FROM json_each(?))
"""
_LOOK = f"""
    SELECT json_group_array(json_array(id, name, head, first, size_bytes)) FROM (
        SELECT id, name, head, first, size_bytes FROM rooms WHERE id > ? ORDER BY id LIMIT {TRIM_LOOK}
    )
"""

# How far to delete, and how many bytes that is. It ends before the first event that is to be kept: times need
# not be in order, since clocks are set. ``total`` is the size of everything up to an event.
_OLDEST = f"""
    WITH oldest AS (
        SELECT key, at_ms, size, sum(size) OVER (ORDER BY key) AS total FROM (
            SELECT key, at_ms, length(CAST(body AS BLOB)) AS size
            FROM events WHERE key >= :first AND key < :head ORDER BY key LIMIT {TRIM_STEP}
        )
    )
    SELECT max(key), max(total) FROM oldest WHERE key < coalesce((
        SELECT min(key) FROM oldest WHERE key >= :kept AND at_ms >= :since_ms AND total - size >= :excess
    ), {1 << 62})
"""


class Upkeep:
    """Keeps the rooms that are in use (``watch``), and works through the file (``step``)."""

    def __init__(
        self,
        retention: Callable[[str], Retention],
        wall_ms: Callable[[], int],
        audit: Retention = AUDIT_KEPT,
    ) -> None:
        """``retention`` tells for a room how much of it is kept, ``audit`` how much of the audit log."""
        self._retention = retention
        self._audit = audit
        self._audit_next = True
        self.sending = False
        """Whether what waits for a broker is kept beyond retention: it is where there is one."""
        self._wall_ms = wall_ms
        self._rooms: WeakValueDictionary[str, RoomState] = WeakValueDictionary()
        self._index_next = True
        self._to_trim: list[tuple[int, str]] = []
        self._last_looked = 0  # id of the room that was looked at last
        self._next_pass_at = 0.0

    def watch(self, state: RoomState) -> RoomState:
        """The one RoomState of a room in use: the given one, unless there is one already."""
        return self._rooms.setdefault(state.name, state)

    def step(self, connection: sqlite3.Connection) -> bool:
        """Does a little; returns whether there is more to do."""
        # In turns: where there is always something to index, trimming must come to its right, too.
        self._index_next = not self._index_next
        if self._index_next:
            return self._index(connection) or self._trim_next(connection)
        return self._trim_next(connection) or self._index(connection)

    def _index(self, connection: sqlite3.Connection) -> bool:
        found = connection.execute("SELECT id FROM rooms WHERE indexed < head LIMIT 1").fetchone()
        if found is None:
            return False
        connection.execute("BEGIN IMMEDIATE")
        index_some(connection, found[0], SEQ_MASK)
        connection.execute("COMMIT")
        return True

    # Trimming

    def _trim_next(self, connection: sqlite3.Connection) -> bool:
        if self._audit_next:
            self._audit_next = trim_entries(connection, self._audit, self._wall_ms())
            if self._audit_next:
                return True
        if not self._to_trim:
            return self._look(connection)
        room_id, name = self._to_trim[-1]
        if not self._trim(connection, room_id, name):
            self._to_trim.pop()
        return True

    def _look(self, connection: sqlite3.Connection) -> bool:
        """Notes which of the next rooms are to be trimmed; False when a pass is over."""
        if time.monotonic() < self._next_pass_at:
            return False
        rooms = orjson.loads(connection.execute(_LOOK, (self._last_looked,)).fetchone()[0])
        for room_id, name, head, first, size_bytes in rooms:
            keep = self._retention(name)
            if (
                (keep.events and head - first + 1 > keep.events)
                or (keep.size_bytes and size_bytes > keep.size_bytes)
                or keep.age_s
            ):
                self._to_trim.append((room_id, name))
        self._last_looked = rooms[-1][0] if rooms else 0
        if not rooms:
            self._next_pass_at = time.monotonic() + TRIM_PASS_S
            self._audit_next = True
        return bool(rooms)

    def _trim(self, connection: sqlite3.Connection, room_id: int, name: str) -> bool:
        """Deletes the oldest events that are not to be kept; returns whether there may be more of them."""
        keep, base = self._retention(name), room_id << SEQ_BITS
        query = "SELECT head, first, size_bytes, published FROM rooms WHERE id = ?"
        head, first, size_bytes, published = connection.execute(query, (room_id,)).fetchone()
        # The newest event stays: it carries the numbering. So does what waits.
        end = min(head, published + 1) if self.sending and published is not None else head
        last, total = connection.execute(
            _OLDEST,
            {
                "first": base | first,
                "head": base | end,
                "kept": base | max(head - keep.events + 1, 0) if keep.events else 0,
                "since_ms": self._wall_ms() - int(keep.age_s * 1000) if keep.age_s else 0,
                "excess": max(size_bytes - keep.size_bytes, 0) if keep.size_bytes else 0,
            },
        ).fetchone()
        if last is None:
            return False
        connection.execute("BEGIN IMMEDIATE")
        for table, column in (("events", "key"), ("states", "key"), ("texts", "rowid")):
            connection.execute(f"DELETE FROM {table} WHERE {column} > ? AND {column} <= ?", (base, last))
        new_first = (last & SEQ_MASK) + 1
        connection.execute(
            "UPDATE rooms SET first = ?, size_bytes = size_bytes - ?, indexed = max(indexed, ?) WHERE id = ?",
            (new_first, total, new_first - 1, room_id),
        )
        connection.execute("COMMIT")
        state = self._rooms.get(name)
        if state is not None:
            state.first = new_first
        return True


class Indexing:
    """Brings the search index of some rooms up to date, as far as they go when it begins."""

    def __init__(self, rooms: Sequence[str]) -> None:
        self._rooms = rooms
        self._heads: dict[int, int] | None = None

    def step(self, connection: sqlite3.Connection) -> bool:
        """Indexes a little, within the caller's transaction; returns whether there is more to do."""
        if self._heads is None:
            (found,) = connection.execute(_TO_INDEX, (orjson.dumps(self._rooms).decode(),)).fetchone()
            self._heads = dict(orjson.loads(found))
        if self._heads:
            room_id, head = next(iter(self._heads.items()))
            if not index_some(connection, room_id, head):
                del self._heads[room_id]
        return bool(self._heads)


def index_some(connection: sqlite3.Connection, room_id: int, last: int) -> bool:
    """Indexes the next events of a room; returns whether there are more of them up to ``last``."""
    query = "SELECT indexed, head FROM rooms WHERE id = ?"
    indexed, head = connection.execute(query, (room_id,)).fetchone()
    last = min(last, head)  # what a failed commit left may have been taken back meanwhile
    end: int = min(last, indexed + INDEX_STEP)
    if end > indexed:
        base = room_id << SEQ_BITS
        connection.execute(_INDEX, (base | indexed, base | end))
        connection.execute("UPDATE rooms SET indexed = ? WHERE id = ?", (end, room_id))
    return bool(end < last)
