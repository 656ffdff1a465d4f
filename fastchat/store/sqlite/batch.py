"""The events of one transaction: their numbers, their rows, and what becomes of the messages they change."""

import sqlite3
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

import orjson

from fastchat.messages import WireError
from fastchat.store.facts import apply, audit_of, facts_of
from fastchat.store.interface import NO_FACTS, Draft, Facts, Kind, Stored
from fastchat.store.pairs import users_of
from fastchat.store.sqlite.audit import add_entry
from fastchat.store.sqlite.schema import SEQ_BITS, SEQ_MASK
from fastchat.store.states import State, change, check_change

ROWS_MAX = 256  # in one statement
# OR ROLLBACK: without it SQLite keeps a journal of every statement of many rows, in case that it fails.
_ROW = "(?, ?, ?, ?, ?, ?)"
_COLUMNS = _ROW.count("?")
_INSERTS = tuple(
    (size, f"INSERT OR ROLLBACK INTO events VALUES {', '.join([_ROW] * size)}")
    for size in (ROWS_MAX, 32, 4, 1)
)
_MESSAGE = Kind.MESSAGE  # a member of a class is slow to find
_FIND = f"SELECT key, at_ms FROM events WHERE key >> {SEQ_BITS} = ? AND author = ? AND id = ?"


@dataclass(slots=True, weakref_slot=True, eq=False)
class RoomState:
    """A room's numbers and facts. After a failed commit they are the truth, not the file."""

    name: str
    room_id: int = 0  # 0: not in the file yet
    epoch: str = field(default_factory=lambda: token_hex(6))
    head: int = 0
    first: int = 1
    facts: Facts = field(default_factory=lambda: NO_FACTS)  # never changed in place: others hold them


class Batch:
    """The events of one transaction."""

    def __init__(self, connection: sqlite3.Connection, *, careful: bool) -> None:
        """``careful``: every id is looked up; otherwise one that is stored already is an IntegrityError."""
        self._connection = connection
        self._careful = careful
        self._values: list[Any] = []  # of all rows, one after the other
        self._sizes: dict[RoomState, int] = {}  # bytes added

    def add(self, room: RoomState, draft: Draft) -> Stored | WireError:
        """Numbers the event, unless its id is known or it changes what it may not."""
        if not room.room_id:
            self._create(room)
        ordinary = draft.kind is _MESSAGE
        # A message stored twice fails at the unique index. What brings something about would do so before
        # that, or be refused, as a deletion is: so it is looked up.
        if (
            draft.id is not None
            and (self._careful or not ordinary)
            and (first := self._find(room, draft.author, draft.id)) is not None
        ):
            return Stored(*first, None)
        if draft.of is not None:
            try:
                self._change(room, draft)
            except WireError as error:
                return error
        seq = room.head = room.head + 1
        if not ordinary:
            self._bring_about(room, draft, seq)
        body = draft.encode(room.name, seq)
        key = room.room_id << SEQ_BITS | seq
        # The plain string: sqlite3 looks for an adapter of every other type. ``value`` is a slow property.
        self._values += (key, draft.kind._value_, draft.author, draft.id, draft.at_ms, body.decode())
        if len(self._values) == ROWS_MAX * _COLUMNS:
            self._flush()
        self._sizes[room] = self._sizes.get(room, 0) + len(body)
        return Stored(seq, draft.at_ms, body)

    def set_facts(self, room: RoomState, changes: Facts) -> None:
        """Keeps facts, and takes away those that are None now."""
        if not room.room_id:
            self._create(room)
        for name, value in changes.items():
            _keep_fact(self._connection, room.room_id, name, value)
        room.facts = apply(room.facts, changes)

    def finish(self) -> None:
        """Writes what has been added."""
        self._flush()
        for room, size in self._sizes.items():
            self._connection.execute(
                "UPDATE rooms SET head = ?, size_bytes = size_bytes + ? WHERE id = ?",
                (room.head, size, room.room_id),
            )

    def _create(self, room: RoomState) -> None:
        self._connection.execute(
            "INSERT INTO rooms (name, epoch, head, first, published) "
            "VALUES (?1, ?2, ?3, ?4, (SELECT ?3 FROM meta WHERE name = 'sending')) "
            "ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch",
            (room.name, room.epoch, room.head, room.first),
        )
        query = "SELECT id FROM rooms WHERE name = ?"
        (room.room_id,) = self._connection.execute(query, (room.name,)).fetchone()
        for user in users_of(room.name):
            self._connection.execute(
                "INSERT INTO directs (user, room_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
                (user, room.room_id),
            )

    def _find(self, room: RoomState, author: str, draft_id: str) -> tuple[int, int] | None:
        """The first event with this id: its seq and time."""
        self._flush()
        found = self._connection.execute(_FIND, (room.room_id, author, draft_id)).fetchone()
        return (found[0] & SEQ_MASK, found[1]) if found else None

    def _bring_about(self, room: RoomState, draft: Draft, seq: int) -> None:
        if changes := facts_of(draft):
            self.set_facts(room, changes)
        if (entry := audit_of(room.name, draft)) is not None:
            add_entry(self._connection, entry, room.room_id << SEQ_BITS | seq)

    def _change(self, room: RoomState, draft: Draft) -> None:
        """Checks the change and keeps what becomes of the message. Raises WireError."""
        assert draft.of is not None
        if not 0 < draft.of <= room.head:  # would be a key of another room
            check_change(draft, None)
        self._flush()
        key = room.room_id << SEQ_BITS | draft.of
        found = self._connection.execute(
            "SELECT coalesce(states.body, events.body) FROM events LEFT JOIN states USING (key) "
            "WHERE events.key = ? AND kind = ?",
            (key, Kind.MESSAGE),
        ).fetchone()
        message: State | None = orjson.loads(found[0]) if found else None
        check_change(draft, message)
        assert message is not None
        _keep_state(self._connection, key, change(message, draft))

    def _flush(self) -> None:
        values = self._values
        if not values:
            return
        self._values = []
        at = 0
        for rows, insert in _INSERTS:
            while len(values) - at >= rows * _COLUMNS:
                self._connection.execute(insert, values[at : at + rows * _COLUMNS])
                at += rows * _COLUMNS


def _keep_fact(connection: sqlite3.Connection, room_id: int, name: str, value: Any) -> None:
    if value is None:
        connection.execute("DELETE FROM facts WHERE room_id = ? AND name = ?", (room_id, name))
    else:
        row = (room_id, name, orjson.dumps(value).decode())
        connection.execute("REPLACE INTO facts (room_id, name, value) VALUES (?, ?, ?)", row)


def _keep_state(connection: sqlite3.Connection, key: int, state: State) -> None:
    connection.execute("REPLACE INTO states (key, body) VALUES (?, ?)", (key, orjson.dumps(state).decode()))
    _index_again(connection, key, state)


def _index_again(connection: sqlite3.Connection, key: int, state: State) -> None:
    """Has search find the message as it is now; one that has not been indexed yet will be."""
    query = "SELECT indexed FROM rooms WHERE id = ?"
    (indexed,) = connection.execute(query, (key >> SEQ_BITS,)).fetchone()
    if key & SEQ_MASK <= indexed:
        connection.execute("DELETE FROM texts WHERE rowid = ?", (key,))
        if "text" in state:
            connection.execute("INSERT INTO texts (rowid, text) VALUES (?, ?)", (key, state["text"]))


def take_back(connection: sqlite3.Connection, room: RoomState, last: int) -> None:
    """Deletes what a failed commit may have left: its senders were told that it was not stored.

    The commit began behind the room's head and went up to ``last``.
    """
    found = connection.execute("SELECT id FROM rooms WHERE name = ?", (room.name,)).fetchone()
    if found is None:
        return
    # What facts were is not in the events: trimming may have taken those that told of them.
    connection.execute("DELETE FROM facts WHERE room_id = ?", found)
    for name, value in room.facts.items():
        _keep_fact(connection, found[0], name, value)
    base = found[0] << SEQ_BITS
    span = (base | room.head, base | last)
    left = connection.execute("SELECT kind, body FROM events WHERE key > ? AND key <= ?", span).fetchall()
    if not left:
        return
    for table, column in (("events", "key"), ("states", "key"), ("texts", "rowid"), ("audit", "key")):
        connection.execute(f"DELETE FROM {table} WHERE {column} > ? AND {column} <= ?", span)
    connection.execute(
        "UPDATE rooms SET head = ?, indexed = min(indexed, ?), size_bytes = size_bytes - ? WHERE id = ?",
        (room.head, room.head, sum(len(body.encode()) for _, body in left), found[0]),
    )
    for seq in {orjson.loads(body).get("of") for kind, body in left if kind != Kind.MESSAGE}:
        if seq is not None and seq <= room.head:
            _recall_state(connection, base, seq)


def _recall_state(connection: sqlite3.Connection, base: int, seq: int) -> None:
    """Makes a message again what the changes that are left have made of it."""
    key = base | seq
    found = connection.execute("SELECT body FROM events WHERE key = ?", (key,)).fetchone()
    if found is None:
        return
    changes = connection.execute(
        "SELECT kind, author, at_ms, body FROM events "
        f"WHERE key > ? AND key < ? AND kind <> '{Kind.MESSAGE}' AND body ->> '$.of' = ? ORDER BY key",
        (key, base + SEQ_MASK, seq),
    ).fetchall()
    state: State = orjson.loads(found[0])
    for kind, author, at_ms, body in changes:
        state = change(state, Draft(Kind(kind), author, at_ms, orjson.loads(body)))
    if changes:
        _keep_state(connection, key, state)
    else:
        connection.execute("DELETE FROM states WHERE key = ?", (key,))
        _index_again(connection, key, state)
