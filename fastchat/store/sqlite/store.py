"""The SQLite store: one file, one thread that writes, one that reads."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import orjson

from fastchat._ring import Ring
from fastchat.messages import WireError
from fastchat.store.interface import Block, Draft, Page, Retention, RoomLog, Stored
from fastchat.store.sqlite import reader
from fastchat.store.sqlite.schema import Durability, StoreError
from fastchat.store.sqlite.upkeep import Upkeep
from fastchat.store.sqlite.writer import Append, Job, RoomState, Writer


class SqliteLog:
    """One room's log in the file."""

    __slots__ = ("_state", "_store", "epoch", "head", "room")

    durable = True

    def __init__(self, store: "SqliteStore", state: RoomState) -> None:
        self._store = store
        self._state = state
        self.room = state.name
        self.epoch = state.epoch
        self.head = state.head

    @property
    def first(self) -> int:
        """The ``seq`` of the oldest event that trimming has left."""
        return self._state.first

    def attach(self, ring: Ring) -> None:
        """The ring is a cache here."""

    def append(self, draft: Draft, done: Callable[[Stored | WireError], None]) -> None:
        """Answers after the commit."""

        def on_done(result: Stored | WireError) -> None:
            if isinstance(result, Stored) and result.body is not None:
                self.head = result.seq
            done(result)

        self._store.writer.submit(Append(self._state, draft, on_done))

    def read(
        self, after: int, before: int, limit: int, newest: bool, done: Callable[[Page | WireError], None]
    ) -> None:
        """Reads in the reader's thread."""
        query = partial(
            reader.read_page, room=self._state, after=after, before=before, limit=limit, newest=newest
        )
        self._store.reader.submit(query, done)

    def replay(self, after: int, done: Callable[[Block | WireError], None]) -> None:
        """Reads in the reader's thread."""
        self._store.reader.submit(partial(reader.read_block, room=self._state, after=after), done)


class SqliteStore:
    """Durable rooms. One process may use a file at a time.

    ``deliver(callback, *args)`` runs callbacks in the loop's thread (``call_soon_threadsafe``). ``retention(room)``
    says how much of a room is kept.
    """

    def __init__(
        self,
        path: Path,
        *,
        deliver: Callable[..., object],
        durability: Durability = "full",
        retention: Callable[[str], Retention] = lambda room: Retention(),
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """Opens or creates the file. Raises StoreError."""
        self._path = path
        self._lock = lock(path)
        try:
            self._upkeep = Upkeep(retention, wall_ms)
            self.writer = Writer(path, durability, deliver, self._upkeep.step)
        except BaseException:
            os.close(self._lock)
            raise
        self.reader = reader.Reader(path, deliver)
        self._unwritten_marks: dict[tuple[str, str], int] = {}

    @property
    def problem(self) -> str | None:
        """Why nothing can be stored at the moment."""
        return self.writer.problem

    def open(self, room: str, done: Callable[[RoomLog | WireError], None]) -> None:
        """Reads the room's numbers."""

        def on_read(state: RoomState | WireError) -> None:
            done(state if isinstance(state, WireError) else SqliteLog(self, self._upkeep.watch(state)))

        self.reader.submit(partial(reader.read_room, name=room), on_read)

    def mark(self, marks: Mapping[tuple[str, str], int]) -> None:
        """All in one transaction. What cannot be stored now is tried again with the next marks."""
        for key, seq in marks.items():
            self._unwritten_marks[key] = max(seq, self._unwritten_marks.get(key, 0))
        written = dict(self._unwritten_marks)
        rows = [(user, room, seq) for (user, room), seq in written.items()]

        def run(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO marks (user, room_id, seq) "
                "SELECT value ->> 0, rooms.id, value ->> 2 FROM json_each(?) "
                "JOIN rooms ON rooms.name = value ->> 1 WHERE true "
                "ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)",
                (orjson.dumps(rows).decode(),),
            )

        def on_done(result: None | WireError) -> None:
            if isinstance(result, WireError):
                return
            for key, seq in written.items():
                if self._unwritten_marks.get(key) == seq:
                    del self._unwritten_marks[key]

        self.writer.submit(Job(run, on_done))

    def marks(
        self, user: str, rooms: Sequence[str], done: Callable[[Mapping[str, int] | WireError], None]
    ) -> None:
        """Reads in the reader's thread, which may not see yet what was marked just now."""
        fresh = {room: seq for room in rooms if (seq := self._unwritten_marks.get((user, room))) is not None}

        def on_read(stored: Mapping[str, int] | WireError) -> None:
            if isinstance(stored, WireError):
                done(stored)
            else:
                done({**stored, **{room: max(seq, stored.get(room, 0)) for room, seq in fresh.items()}})

        self.reader.submit(partial(reader.read_marks, user=user, rooms=rooms), on_read)

    def search(
        self,
        rooms: Sequence[str],
        query: str,
        before_ms: int | None,
        limit: int,
        done: Callable[[Page | WireError], None],
    ) -> None:
        """Brings the index up to date, then searches it."""

        def on_indexed(result: None | WireError) -> None:
            # An index that cannot be brought up to date still finds what it knows.
            find = partial(reader.search, rooms=rooms, query=query, before_ms=before_ms, limit=limit)
            self.reader.submit(find, done)

        self.writer.submit(Job(self._upkeep.index_all, on_indexed))

    def close(self) -> None:
        """Commits what was submitted, and lets another process have the file."""
        self.writer.close()
        self.reader.close()
        os.close(self._lock)


def lock(path: Path) -> int:
    """Makes sure that this process alone uses the file; returns the descriptor to close. Raises StoreError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(
            path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
    except OSError as error:
        raise StoreError(f"cannot use {path}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StoreError(
            f"{path} is in use by another fastchat; stop that one or choose another file"
        ) from None
    return descriptor
