"""The one thread that writes: group commit, and upkeep when there is time.

Everything that arrives while one commit runs goes into the next, as far as it can be written in the time
that the last one waited for the disk: so a burst becomes a few commits, and the loop answers for one while
the disk has the next. A statement lets go of Python's lock once, not once a row: with rows one by one, the
thread would wait for the busy loop after each of them.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from fastchat.messages import WireError
from fastchat.store.errors import unavailable
from fastchat.store.interface import Draft, Facts, Stored
from fastchat.store.sqlite.batch import Batch, RoomState, take_back
from fastchat.store.sqlite.schema import Durability, Statement, StoreError, connect, set_durability

COLLECTED_MAX = 2048  # what is looked at together, so that the first one does not wait for ever
FILL_S = 0.002  # for which a commit is filled at least
FILL_STEP = 64  # events added between two looks at the clock
PROBE_INTERVAL_S = 1.0
UPKEEP_RETRY_S = 10.0
UPKEEP_PAUSE_S = 0.25  # between two steps while there are commits, so that each is worth its pages
UPKEEP_SHARE = 0.1  # of the time, while there is always something to commit


class Log(Protocol):
    """Where an event belongs."""

    state: RoomState

    def on_delivered(self, seq: int) -> None:
        """The event is about to be shown to the room. Called in the loop's thread."""


Result = Stored | WireError | None
"""What came of an `Append`; None for facts that are kept."""


@dataclass(slots=True)
class Append:
    """A draft, or facts by themselves, that wait for their commit."""

    log: Log
    draft: Draft | Facts
    done: Callable[[Any], None]


@dataclass(slots=True)
class Job:
    """Something else to be done in a transaction of its own; ``done`` gets what ``run`` returns.

    ``volatile``: it can be done again after a power cut, so that it need not wait for the disk. What must not
    turn up after its commit has failed says in ``undo``, before ``run`` ends, what takes it back: statements
    that do nothing where it left nothing.
    """

    run: Callable[[sqlite3.Connection], Any]
    done: Callable[[Any], None]
    volatile: bool = False
    undo: tuple[Statement, ...] = ()


class Writer:
    """Owns the connection that writes.

    ``deliver(callback, *args)`` runs callbacks in the loop's thread. ``upkeep(connection)`` is called between
    commits; it does a little in a transaction of its own, and returns whether it has more to do.
    ``on_recovered`` is delivered when the file can be written to again.
    """

    def __init__(
        self,
        path: Path,
        durability: Durability,
        deliver: Callable[..., object],
        upkeep: Callable[[sqlite3.Connection], bool],
        on_recovered: Callable[[], None],
    ) -> None:
        """Opens the file. Raises StoreError."""
        self._path = path
        self._durability = durability
        self._deliver = deliver
        self._upkeep = upkeep
        self._upkeep_from = 0.0  # not before, because it failed
        self._upkeep_due = 0.0  # not before while there is something to commit
        self._on_recovered = on_recovered
        self._connection: sqlite3.Connection | None = connect(path, durability)
        self._queue: SimpleQueue[Append | Job | None] = SimpleQueue()
        self._doubtful: dict[RoomState, int] = {}  # rooms of failed commits, and how far these went
        self._undo: dict[tuple[Statement, ...], None] = {}  # what failed jobs may have left, each once
        self._commit_s = 0.0  # that the last one took
        self._closed = False
        self.problem: str | None = None
        self.on_commit: Callable[[], None] | None = None  # delivered after each commit of events
        self._thread = threading.Thread(target=self._run, name="fastchat-store-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Append | Job) -> None:
        """Has it done with the next commit."""
        if self._closed:
            self._deliver(work.done, unavailable("it is closed"))
        else:
            self._queue.put(work)

    def close(self) -> None:
        """Commits what was submitted and ends the thread."""
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        # Submitted by another thread at the same moment.
        while not self._queue.empty():
            work = self._queue.get()
            if work is not None:
                self._deliver(work.done, unavailable("it is closed"))

    # The thread

    def _run(self) -> None:
        stopping = more = False
        waiting: list[Append] = []
        while waiting or not stopping:
            work, last = self._collect(wait=not (more or waiting or stopping))
            stopping = stopping or last
            waiting += [item for item in work if isinstance(item, Append)]
            if waiting:
                del waiting[: self._commit(waiting[:COLLECTED_MAX])]
            for item in work:
                if isinstance(item, Job):
                    self._do(item)
            if self.problem is not None and not (work or waiting):
                self._probe()
            more = not stopping and self.problem is None and self._keep_up(idle=not (work or waiting))
        if self._connection is not None:
            self._connection.close()

    def _collect(self, *, wait: bool) -> tuple[list[Append | Job], bool]:
        """What has been submitted since; and whether that was the last of it."""
        work: list[Append | Job] = []
        try:
            item = self._queue.get(wait, PROBE_INTERVAL_S if wait else None)
            while item is not None:
                work.append(item)
                if len(work) >= COLLECTED_MAX:
                    return work, False
                item = self._queue.get_nowait()
        except Empty:
            return work, False
        return work, True

    def _keep_up(self, *, idle: bool) -> bool:
        """Does some upkeep if it is time for it; returns whether there is more to do."""
        began_at = time.monotonic()
        if began_at < (self._upkeep_from if idle else self._upkeep_due):
            return False
        try:
            connection = self._connected()
            # Nobody waits for it, and the next commit takes it along to the disk.
            set_durability(connection, "normal")
            more = self._upkeep(connection)
            set_durability(connection, self._durability)
        except Exception as error:
            self._failed(error)
            self._upkeep_from = self._upkeep_due = began_at + UPKEEP_RETRY_S
            self._probe()  # it may be nobody else's problem
            return False
        ended_at = time.monotonic()
        pause_s = (ended_at - began_at) * (1 / UPKEEP_SHARE - 1)
        self._upkeep_due = ended_at + max(UPKEEP_PAUSE_S, pause_s)
        return more

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connected()
        connection.execute("BEGIN IMMEDIATE")
        for room, last in self._doubtful.items():
            take_back(connection, room, last)
        for undo in reversed(self._undo):
            for statement in undo:
                connection.execute(*statement)
        yield connection
        began_at = time.monotonic()
        connection.execute("COMMIT")
        self._commit_s = time.monotonic() - began_at
        self._doubtful.clear()
        self._undo.clear()
        if self.problem is not None:
            self.problem = None
            self._deliver(self._on_recovered)

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._path, self._durability)
        return self._connection

    def _failed(self, error: Exception) -> None:
        """Lets go of everything that may not be true any more; the next use opens the file anew."""
        self.problem = describe(error)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()  # rolls back

    def _probe(self) -> None:
        """Finds out whether the file can be written again, when nobody sends anything."""
        try:
            with self._transaction() as connection:
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                connection.execute(f"PRAGMA user_version = {version}")
        except Exception as error:
            self._failed(error)

    def _do(self, job: Job) -> None:
        commit_s = self._commit_s
        try:
            if job.volatile:
                set_durability(self._connected(), "normal")
            with self._transaction() as connection:
                result = job.run(connection)
            # What does not wait for the disk, or only reads, says nothing of how long events have to.
            self._commit_s = commit_s
            if job.volatile:
                set_durability(connection, self._durability)
        except Exception as error:
            if job.undo:
                self._undo[job.undo] = None
            self._failed(error)
            result = unavailable(describe(error))
            self._probe()  # it may be this job's problem alone
        self._deliver(job.done, result)

    # Group commit

    def _commit(self, appends: Sequence[Append]) -> int:
        """Commits the first of them, at least one; returns how many have been answered."""
        before = {(room := append.log.state): (room.head, room.room_id, room.facts) for append in appends}
        results: Sequence[Result]
        try:
            try:
                results = self._write(appends, careful=False)
            except sqlite3.IntegrityError:
                # An id that is stored already: look every id up this time.
                # It has rolled everything back already.
                self._restore(before)
                results = self._write(appends, careful=True)
        except Exception as error:
            for room in before:
                self._doubtful[room] = max(room.head, self._doubtful.get(room, 0))
            self._failed(error)
            self._restore(before)
            results = [unavailable(describe(error))] * len(appends)
        self._deliver(_complete, appends[: len(results)], results)
        if self.on_commit is not None:
            self._deliver(self.on_commit)
        return len(results)

    def _restore(self, before: dict[RoomState, tuple[int, int, Facts]]) -> None:
        for room, (head, room_id, facts) in before.items():
            room.head, room.room_id, room.facts = head, room_id, facts

    def _write(self, appends: Sequence[Append], *, careful: bool) -> list[Result]:
        with self._transaction() as connection:
            batch = Batch(connection, careful=careful)
            full_at = time.monotonic() + max(FILL_S, self._commit_s)
            results: list[Result] = []
            for append in appends:
                draft = append.draft
                if isinstance(draft, Draft):
                    results.append(batch.add(append.log.state, draft))
                else:
                    batch.set_facts(append.log.state, draft)
                    results.append(None)
                if len(results) % FILL_STEP == 0 and time.monotonic() > full_at:
                    break
            batch.finish()
        return results


def _complete(appends: Sequence[Append], results: Sequence[Result]) -> None:
    """In the loop's thread: tells everyone what came of it, even when somebody fails to take it."""
    failure: Exception | None = None
    for append, result in zip(appends, results, strict=True):
        try:
            if isinstance(result, Stored) and result.body is not None:
                append.log.on_delivered(result.seq)
            append.done(result)
        except Exception as error:
            failure = failure or error
    if failure is not None:
        raise failure


def describe(error: Exception) -> str:
    """What is wrong, in one line; errors that nobody expects say what they are."""
    return str(error) if isinstance(error, (sqlite3.Error, StoreError)) else repr(error)
