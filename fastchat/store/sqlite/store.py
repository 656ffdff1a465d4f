"""The SQLite store: one file; a thread that writes, one that reads, and one that searches."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from fastchat._ring import Ring
from fastchat.messages import WireError
from fastchat.store.interface import (
    AUDIT_KEPT,
    Block,
    Draft,
    Facts,
    Follower,
    Page,
    Retention,
    RoomLog,
    RoomSummary,
    Stored,
)
from fastchat.store.sqlite import reader
from fastchat.store.sqlite.accounts import has_accounts
from fastchat.store.sqlite.batch import RoomState
from fastchat.store.sqlite.directory import SqliteDirectory
from fastchat.store.sqlite.outbox import NOTICES_KEPT, SqliteOutbox
from fastchat.store.sqlite.probe import probe
from fastchat.store.sqlite.schema import Durability, StoreError, connect_to_read
from fastchat.store.sqlite.upkeep import Indexing, Upkeep
from fastchat.store.sqlite.writer import Append, Job, Writer


class SqliteLog:
    """One room's log in the file."""

    __slots__ = ("_store", "epoch", "facts", "head", "room", "state")

    durable = True

    def __init__(self, store: SqliteStore, state: RoomState) -> None:
        self._store = store
        self.state = state
        self.room = state.name
        self.epoch = state.epoch
        self.head = state.head
        self.facts = state.facts

    def on_delivered(self, seq: int) -> None:
        """The event is about to be shown to the room."""
        self.head = seq

    @property
    def first(self) -> int:
        """The ``seq`` of the oldest event that trimming has left."""
        return self.state.first

    def attach(self, ring: Ring, follower: Follower) -> None:
        """The ring is a cache here."""

    def refresh(self, done: Callable[[WireError | None], None]) -> None:
        """Nobody else stores anything here."""
        done(None)

    def append(self, draft: Draft, done: Callable[[Stored | WireError], None]) -> None:
        """Answers after the commit."""
        self._store.writer.submit(Append(self, draft, done))

    def set_facts(self, changes: Facts, done: Callable[[WireError | None], None]) -> None:
        """Answers after the commit, in its turn among the events."""
        self._store.writer.submit(Append(self, changes, done))

    def read(
        self, after: int, before: int, limit: int, newest: bool, done: Callable[[Page | WireError], None]
    ) -> None:
        """Reads in the reader's thread, and only what has been delivered already."""
        before = min(before, self.head + 1)
        query = partial(
            reader.read_page, room=self.state, after=after, before=before, limit=limit, newest=newest
        )
        self._store.reader.submit(query, done)

    def replay(self, after: int, done: Callable[[Block | WireError], None]) -> None:
        """Reads in the reader's thread, and only what has been delivered already."""
        query = partial(reader.read_block, room=self.state, after=after, head=self.head)
        self._store.reader.submit(query, done)


class SqliteStore(SqliteDirectory, SqliteOutbox):
    """Durable rooms and accounts. One process may use a file at a time.

    ``deliver(callback, *args)`` runs callbacks in the loop's thread (``call_soon_threadsafe``).
    ``retention(room)`` says how much of a room is kept, ``audit`` how much of the audit log,
    ``keep_notices`` how many notices wait for a broker.
    """

    def __init__(
        self,
        path: Path,
        *,
        deliver: Callable[..., object],
        durability: Durability = "full",
        retention: Callable[[str], Retention] = lambda room: Retention(),
        audit: Retention = AUDIT_KEPT,
        keep_notices: int = NOTICES_KEPT,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """Opens or creates the file. Raises StoreError."""
        self._lock = lock(path)
        try:
            self._upkeep = Upkeep(retention, wall_ms, audit)
            writer = Writer(path, durability, deliver, self._upkeep.step, self.save)
            try:
                with closing(connect_to_read(path)) as connection:
                    known = has_accounts(connection)
            except sqlite3.Error as error:
                writer.close()
                raise StoreError(f"cannot use {path}: {error}") from None
        except BaseException:
            os.close(self._lock)
            raise
        SqliteDirectory.__init__(self, writer, reader.Reader(path, deliver, "reader"), has_accounts=known)
        # A search may take long: those who read must not wait for it.
        self.searcher = reader.Reader(path, deliver, "searcher")
        SqliteOutbox.__init__(self, writer, self.searcher, self._upkeep, wall_ms, keep_notices)

    def save(self) -> None:
        """Stores what could not be stored before."""
        super().save()
        self.save_notices()

    def probe(self, done: Callable[[WireError | None], None]) -> None:
        """Writes and reads as everything else does, and so waits behind it."""
        probe(self.writer, self.reader, done)

    @property
    def problem(self) -> str | None:
        """Why nothing can be stored at the moment."""
        return self.writer.problem

    def open(self, room: str, done: Callable[[RoomLog | WireError], None]) -> None:
        """Reads the room's numbers and facts."""

        def on_read(state: RoomState | WireError) -> None:
            done(state if isinstance(state, WireError) else SqliteLog(self, self._upkeep.watch(state)))

        self.reader.submit(partial(reader.read_room, name=room), on_read)

    def rooms(
        self, after: str, limit: int, done: Callable[[Sequence[RoomSummary] | WireError], None]
    ) -> None:
        """Reads in the searcher's thread: nobody waits for it."""
        self.searcher.submit(partial(reader.read_rooms, after=after, limit=limit), done)

    # Search

    def search(
        self,
        rooms: Sequence[str],
        query: str,
        before_ms: int | None,
        limit: int,
        done: Callable[[Page | WireError], None],
    ) -> None:
        """Brings the index up to date, a little at a time, then searches it."""
        job = Job(Indexing(rooms).step, lambda result: on_indexed(result), volatile=True)

        def on_indexed(result: bool | WireError) -> None:
            if result is True:
                self.writer.submit(job)
                return
            # An index that cannot be brought up to date still finds what it knows.
            find = partial(reader.search, rooms=rooms, query=query, before_ms=before_ms, limit=limit)
            self.searcher.submit(find, done)

        self.writer.submit(job)

    def close(self) -> None:
        """Commits what was submitted, and lets another process have the file. May be called again."""
        if self._lock < 0:
            return
        self.reader.close()
        self.searcher.close()
        # The last one to close the file brings it into one piece; those who only read cannot.
        self.writer.close()
        os.close(self._lock)
        self._lock = -1


def lock(path: Path) -> int:
    """Makes sure that this process alone uses the file; returns the descriptor to close. Raises StoreError.

    What is not there yet is created for this user's eyes only: it will hold what people said.
    """
    real = path.resolve()  # however many names a file has, there is one lock
    try:
        real.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(real.with_name(real.name + ".lock"), _OPEN, 0o600)
    except OSError as error:
        raise StoreError(f"cannot use {path}: {reason(error)}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(os.open(real, _OPEN, 0o600))
    except BlockingIOError:
        os.close(descriptor)
        raise StoreError(
            f"{path} is in use by another fastchat; stop that one or choose another file"
        ) from None
    except OSError as error:
        os.close(descriptor)
        raise StoreError(f"cannot use {path}: {reason(error)}") from None
    return descriptor


_OPEN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


def reason(error: OSError) -> str:
    """The operating system's words, in the middle of a line."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]
