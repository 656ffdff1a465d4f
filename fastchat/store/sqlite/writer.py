"""The one thread that writes: group commit, trimming, the search index.

Everything that arrives while one commit runs goes into the next. A statement lets go of Python's lock once, not
once a row: with rows one by one, the thread would wait for the busy loop after each of them.
"""

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from secrets import token_hex
from typing import Any

import orjson

from fastchat.messages import Code, WireError
from fastchat.store.interface import Draft, Kind, Stored
from fastchat.store.sqlite.schema import SEQ_BITS, Durability, StoreError, connect
from fastchat.store.states import State, change, check_change

COMMIT_MAX = 2048  # events in one commit, so that the first one does not wait for ever
ROWS_PER_INSERT = (256, 32, 4, 1)
RECENT_IDS = 20_000  # ids whose repetition is noticed without a look into the file
RETRY_AFTER_MS = 1000
PROBE_INTERVAL_S = 1.0


@dataclass(slots=True, weakref_slot=True, eq=False)
class RoomState:
    """A room's numbers. After a failed commit they are the truth, not the file."""

    name: str
    room_id: int = 0  # 0: not in the file yet
    epoch: str = field(default_factory=lambda: token_hex(6))
    head: int = 0
    first: int = 1
    failures: int = 0  # of the writer's, as of the last look into the file


@dataclass(slots=True)
class Append:
    """A draft that waits for its commit."""

    room: RoomState
    draft: Draft
    done: Callable[[Stored | WireError], None]


@dataclass(slots=True)
class Job:
    """Something else to be done in a transaction of its own; ``done`` gets what ``run`` returns."""

    run: Callable[[sqlite3.Connection], Any]
    done: Callable[[Any], None]


class Writer:
    """Owns the connection that writes.

    ``deliver(callback, *args)`` runs callbacks in the loop's thread. ``on_idle(connection)`` is called when there
    is nothing to commit, and returns whether it has more to do.
    """

    def __init__(
        self,
        path: Path,
        durability: Durability,
        deliver: Callable[..., object],
        on_idle: Callable[[sqlite3.Connection], bool],
    ) -> None:
        """Opens the file. Raises StoreError."""
        self._path = path
        self._durability = durability
        self._deliver = deliver
        self._on_idle = on_idle
        self._connection: sqlite3.Connection | None = connect(path, durability)
        self._queue: SimpleQueue[Append | Job | None] = SimpleQueue()
        self._recent: OrderedDict[tuple[int, str, str], tuple[int, int]] = OrderedDict()
        self._failures = 0
        self.problem: str | None = None
        self._thread = threading.Thread(target=self._run, name="fastchat-store-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Append | Job) -> None:
        """Has it done with the next commit."""
        self._queue.put(work)

    def close(self) -> None:
        """Commits what was submitted and ends the thread."""
        self._queue.put(None)
        self._thread.join()

    # The thread

    def _run(self) -> None:
        stopping = busy = False
        while not stopping:
            work, stopping = self._collect(wait=not busy)
            appends = [item for item in work if isinstance(item, Append)]
            if appends:
                self._commit(appends)
            for item in work:
                if isinstance(item, Job):
                    self._do(item)
            if self.problem is not None and not appends:
                self._probe()
            busy = not work and not stopping and self._idle()
        if self._connection is not None:
            self._connection.close()

    def _collect(self, *, wait: bool) -> tuple[list[Append | Job], bool]:
        """What has been submitted since; and whether that was the last of it."""
        work: list[Append | Job] = []
        try:
            item = self._queue.get(wait, PROBE_INTERVAL_S if wait else None)
            while item is not None:
                work.append(item)
                if len(work) >= COMMIT_MAX:
                    return work, False
                item = self._queue.get_nowait()
        except Empty:
            return work, False
        return work, True

    def _idle(self) -> bool:
        try:
            return self._on_idle(self._connected())
        except (sqlite3.Error, StoreError) as error:
            self._failed(error)
            return False

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._path, self._durability)
        return self._connection

    def _failed(self, error: Exception) -> None:
        """Lets go of everything that may not be true any more; the next use opens the file anew."""
        self.problem = str(error)
        self._failures += 1
        self._recent.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()  # rolls back

    def _probe(self) -> None:
        """Finds out whether the file can be written again, when nobody sends anything."""
        try:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            connection.execute(f"PRAGMA user_version = {version}")
            connection.execute("COMMIT")
            self.problem = None
        except (sqlite3.Error, StoreError) as error:
            self._failed(error)

    def _do(self, job: Job) -> None:
        try:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
            result = job.run(connection)
            connection.execute("COMMIT")
            self.problem = None
        except (sqlite3.Error, StoreError) as error:
            self._failed(error)
            result = unavailable(error)
        self._deliver(job.done, result)

    # Group commit

    def _commit(self, appends: Sequence[Append]) -> None:
        heads = {id(append.room): (append.room, append.room.head, append.room.room_id) for append in appends}
        try:
            try:
                results = self._write(appends, careful=False)
            except sqlite3.IntegrityError:
                # An id that is stored already, but not a recent one: look every id up this time.
                self._restore(heads)
                results = self._write(appends, careful=True)
            self.problem = None
        except (sqlite3.Error, StoreError) as error:
            self._failed(error)
            self._restore(heads)
            results = [unavailable(error)] * len(appends)
        self._deliver(_complete, appends, results)

    def _restore(self, heads: dict[int, tuple[RoomState, int, int]]) -> None:
        for room, head, room_id in heads.values():
            room.head, room.room_id = head, room_id
        self._recent.clear()
        if self._connection is not None and self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _write(self, appends: Sequence[Append], *, careful: bool) -> list[Stored | WireError]:
        connection = self._connected()
        connection.execute("BEGIN IMMEDIATE")
        batch = Batch(connection, self._recent, self._failures, careful=careful)
        results = [batch.add(append.room, append.draft) for append in appends]
        batch.finish()
        connection.execute("COMMIT")
        while len(self._recent) > RECENT_IDS:
            self._recent.popitem(last=False)
        return results


def _complete(appends: Sequence[Append], results: Sequence[Stored | WireError]) -> None:
    """In the loop's thread: tells everyone what came of it."""
    for append, result in zip(appends, results, strict=True):
        append.done(result)


def unavailable(error: Exception) -> WireError:
    """What clients are told of a store that cannot store."""
    return WireError(
        Code.UNAVAILABLE,
        f"the message store is not available ({error}); send it again later",
        retry_after_ms=RETRY_AFTER_MS,
    )


class Batch:
    """The events of one transaction."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        recent: OrderedDict[tuple[int, str, str], tuple[int, int]],
        failures: int,
        *,
        careful: bool,
    ) -> None:
        self._connection = connection
        self._failures = failures
        self._recent = recent
        self._careful = careful
        self._rows: list[tuple[Any, ...]] = []
        self._sizes: dict[RoomState, int] = {}  # bytes added

    def add(self, room: RoomState, draft: Draft) -> Stored | WireError:
        """Numbers the event, unless its id is known or it changes what it may not."""
        if not room.room_id:
            self._create(room)
        if room.failures != self._failures:
            self._take_back(room)
        if draft.id is not None and (first := self._find(room, draft.author, draft.id)) is not None:
            return Stored(*first, None)
        if draft.of is not None:
            try:
                self._change(room, draft)
            except WireError as error:
                return error
        seq = room.head = room.head + 1
        body = draft.encode(room.name, seq)
        key = room.room_id << SEQ_BITS | seq
        self._rows.append((key, draft.kind, draft.author, draft.id, draft.at_ms, body.decode()))
        self._sizes[room] = self._sizes.get(room, 0) + len(body)
        if draft.id is not None:
            self._recent[room.room_id, draft.author, draft.id] = (seq, draft.at_ms)
        return Stored(seq, draft.at_ms, body)

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
            "INSERT INTO rooms (name, epoch, head, first) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch",
            (room.name, room.epoch, room.head, room.first),
        )
        query = "SELECT id FROM rooms WHERE name = ?"
        (room.room_id,) = self._connection.execute(query, (room.name,)).fetchone()

    def _take_back(self, room: RoomState) -> None:
        """Deletes what a failed commit may have left: its senders were told that it was not stored."""
        newest, end = room.room_id << SEQ_BITS | room.head, room.room_id + 1 << SEQ_BITS
        self._connection.execute("DELETE FROM events WHERE key > ? AND key < ?", (newest, end))
        self._connection.execute("UPDATE rooms SET head = ? WHERE id = ?", (room.head, room.room_id))
        room.failures = self._failures

    def _find(self, room: RoomState, author: str, draft_id: str) -> tuple[int, int] | None:
        """The first event with this id: its seq and time."""
        known = self._recent.get((room.room_id, author, draft_id))
        if known is not None or not self._careful:
            return known
        self._flush()
        found = self._connection.execute(
            "SELECT key, at_ms FROM events WHERE key >> 40 = ? AND author = ? AND id = ?",
            (room.room_id, author, draft_id),
        ).fetchone()
        return (found[0] & (1 << SEQ_BITS) - 1, found[1]) if found else None

    def _change(self, room: RoomState, draft: Draft) -> None:
        """Checks the change and keeps what becomes of the message. Raises WireError."""
        self._flush()
        assert draft.of is not None
        key = room.room_id << SEQ_BITS | draft.of
        found = self._connection.execute(
            "SELECT coalesce(states.body, events.body) FROM events LEFT JOIN states USING (key) "
            "WHERE events.key = ? AND kind = ?",
            (key, Kind.MESSAGE),
        ).fetchone()
        message: State | None = orjson.loads(found[0]) if found else None
        check_change(draft, message)
        assert message is not None
        state = change(message, draft)
        self._connection.execute(
            "REPLACE INTO states (key, body) VALUES (?, ?)", (key, orjson.dumps(state).decode())
        )
        if self._connection.execute("SELECT 1 FROM texts WHERE rowid = ?", (key,)).fetchone():
            self._connection.execute("DELETE FROM texts WHERE rowid = ?", (key,))
            if "text" in state:
                self._connection.execute(
                    "INSERT INTO texts (rowid, text) VALUES (?, ?)", (key, state["text"])
                )

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        at = 0
        for size in ROWS_PER_INSERT:
            while len(rows) - at >= size:
                values = ", ".join(["(?, ?, ?, ?, ?, ?)"] * size)
                flat = [value for row in rows[at : at + size] for value in row]
                self._connection.execute(f"INSERT INTO events VALUES {values}", flat)
                at += size
