"""The PostgreSQL store: any number of nodes on one database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from secrets import token_hex
from typing import Literal
from weakref import WeakValueDictionary

from fastchat.messages import WireError
from fastchat.store.interface import AUDIT_KEPT, Committed, Facts, Retention, RoomLog, Stored
from fastchat.store.postgres import reading
from fastchat.store.postgres.batch import Log, Outcome, Result, RoomState
from fastchat.store.postgres.changes import Changes
from fastchat.store.postgres.connection import (
    COMMAND_TIMEOUT_S,
    READERS,
    SEARCHERS,
    Connection,
    Reader,
    Server,
    disconnect,
)
from fastchat.store.postgres.directory import PostgresDirectory
from fastchat.store.postgres.errors import explain
from fastchat.store.postgres.log import PostgresLog
from fastchat.store.postgres.outbox import PostgresOutbox
from fastchat.store.postgres.reading import RoomFound
from fastchat.store.postgres.schema import migrate
from fastchat.store.postgres.sharing import LEASE_S, Sharing
from fastchat.store.postgres.thread import LoopThread
from fastchat.store.postgres.upkeep import Upkeep
from fastchat.store.postgres.writer import Writer

COMPARED_AT_ONCE = 500  # rooms
MIGRATION_TIMEOUT_S = 3600.0


class PostgresStore(PostgresDirectory, PostgresOutbox, Sharing):
    """Durable rooms and accounts, for several nodes.

    ``deliver(callback, *args)`` runs callbacks in the loop's thread (``call_soon_threadsafe``).
    ``alone``: no other process may use the database, as there is no bus to hear of it.
    """

    def __init__(
        self,
        url: str,
        *,
        deliver: Callable[..., object],
        durability: Literal["full", "normal"] = "full",
        retention: Callable[[str], Retention] = lambda room: Retention(),
        audit: Retention = AUDIT_KEPT,
        alone: bool = True,
        lease_s: float = LEASE_S,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        command_timeout_s: float = COMMAND_TIMEOUT_S,
    ) -> None:
        """Connects, and migrates the database where needed. Raises StoreError."""
        node = token_hex(4)
        self._deliver = deliver
        self._server = Server(url, node, durability == "full", command_timeout_s)
        self._states: WeakValueDictionary[str, RoomState] = WeakValueDictionary()
        self._attached: WeakValueDictionary[str, PostgresLog] = WeakValueDictionary()
        self._observer: Callable[[Sequence[Committed]], None] = lambda committed: None
        self._closed = False
        self._thread = LoopThread("fastchat-store")
        try:
            self.writer = Writer(
                self._thread, self._server, deliver, self._on_commit, self._on_recovered, alone=alone
            )
            self._epoch = self._thread.run(self._start())
        except BaseException:
            self._thread.close()
            raise

        def reader(purpose: str, count: int) -> Reader:
            return Reader(self._thread, self._server, deliver, purpose, count)

        self._changing = reader("changes", 1)
        # A search may take long: those who read must not wait for it.
        PostgresDirectory.__init__(
            self,
            Changes(self._thread, self._changing),
            reader("reader", READERS),
            reader("searcher", SEARCHERS),
        )
        PostgresOutbox.__init__(self, self.changes)
        Sharing.__init__(self, node, self.changes, lease_s=lease_s)
        trimmed = partial(deliver, self._on_trimmed)
        self._upkeep = Upkeep(self._thread, self._server, retention, wall_ms, audit, trimmed)

    async def _start(self) -> str:
        try:
            # Another node may be at it, and it may have much to do.
            server = replace(self._server, command_timeout_s=MIGRATION_TIMEOUT_S)
            connection = await server.connect("migration")
            try:
                epoch = await migrate(connection, self._server.url)
            finally:
                await disconnect(connection)
            await self.writer.start()
        except Exception as error:
            raise explain(error, self._server.url) from error
        return epoch

    @property
    def problem(self) -> str | None:
        """Why nothing can be stored at the moment."""
        return self.writer.problem

    def open(self, room: str, done: Callable[[RoomLog | WireError], None]) -> None:
        """Reads the room's numbers and facts."""

        def on_read(found: RoomFound | WireError) -> None:
            done(
                found if isinstance(found, WireError) else PostgresLog(self, self._watch(room, found), found)
            )

        epoch = room_epoch(self._epoch, room)
        self.reader.submit(partial(reading.read_room, name=room, epoch=epoch), on_read)

    def _watch(self, room: str, found: RoomFound) -> RoomState:
        """The one state of a room in use."""
        state = self._states.get(room)
        if state is None or state.epoch != found.epoch:
            state = RoomState(room, found.epoch, found.head, found.first, found.version)
            self._states[room] = state
        state.first = max(state.first, found.first)
        return state

    def attach(self, log: PostgresLog) -> None:
        """The log wants to hear what other nodes store in its room."""
        self._attached[log.room] = log

    def later(self, delay_s: float, callback: Callable[[], object]) -> None:
        """Has it called in the loop's thread."""
        if not self._closed:
            self._thread.call(self._thread.loop.call_later, delay_s, self._deliver, callback)

    # What is committed

    def observe(self, on_commit: Callable[[Sequence[Committed]], None]) -> None:
        """Has everything told that is committed here."""
        self._observer = on_commit

    def _on_commit(self, outcome: Outcome, facts: Sequence[tuple[RoomState, int, Facts]]) -> None:
        committed = [
            Committed(append.log.state.name, result.seq, result.body)
            for append, result in outcome.results
            if isinstance(result, Stored) and result.body is not None
        ]
        committed += [Committed(room.name, room.head, None) for room in outcome.changed]
        failure: Exception | None = None
        if committed:
            try:
                self._observer(committed)
            except Exception as error:
                failure = error
        for room, version, known in facts:
            failure = self._guard(partial(self._on_facts, room.name, version, known)) or failure
        for append, result in outcome.results:
            failure = self._guard(partial(_complete, append.log, append.done, result)) or failure
        if committed:
            failure = self._guard(self.on_waiting) or failure
        if failure is not None:
            raise failure

    def _guard(self, call: Callable[[], object]) -> Exception | None:
        """The others are to have theirs."""
        try:
            call()
        except Exception as error:
            return error
        return None

    def _on_facts(self, room: str, version: int, facts: Facts) -> None:
        if (log := self._attached.get(room)) is not None:
            log.on_facts(version, facts)

    def _on_recovered(self) -> None:
        self.save()
        self.compare()

    # What other nodes commit

    def receive(self, committed: Sequence[Committed]) -> None:
        """Other nodes have committed this."""
        failure: Exception | None = None
        for one in committed:
            log = self._attached.get(one.room)
            if log is None:
                continue
            if one.body is None:
                self._load_facts(log)
                continue
            try:  # in place: nearly everything that is heard comes by here
                log.receive(one.seq, one.body)
            except Exception as error:
                failure = error
        # It may be this node's to send.
        failure = self._guard(self.on_waiting) or failure
        if failure is not None:
            raise failure

    def compare(self) -> None:
        """Looks whether open rooms have more than was told; fetches what is missing."""
        names = list(self._attached)
        # In pieces, so that the loop does something else in between.
        for start in range(0, len(names), COMPARED_AT_ONCE):
            some = names[start : start + COMPARED_AT_ONCE]
            self.searcher.submit(partial(reading.read_heads, names=some), self._on_heads)

    def _on_heads(self, heads: dict[str, tuple[str, int, int, int]] | WireError) -> None:
        if isinstance(heads, WireError):
            return  # it is asked again after a while
        for room, (epoch, head, first, version) in heads.items():
            log = self._attached.get(room)
            if log is None or log.epoch != epoch:
                continue
            log.state.first = max(log.state.first, first)
            log.expect(head)
            if version > log.state.version:
                self._load_facts(log)

    def _load_facts(self, log: PostgresLog) -> None:
        def on_read(found: RoomFound | WireError) -> None:
            if isinstance(found, RoomFound) and found.epoch == log.epoch:
                log.on_facts(found.version, found.facts)

        self.reader.submit(partial(_learn, state=log.state), on_read)

    def _on_trimmed(self, room: str, first: int) -> None:
        if (state := self._states.get(room)) is not None:
            state.first = max(state.first, first)

    def close(self) -> None:
        """Commits what was submitted, and disconnects. May be called again."""
        if self._closed:
            return
        self._closed = True
        self._thread.run(self._close())
        self._thread.close()

    async def _close(self) -> None:
        await self._upkeep.close()
        await self.writer.close()
        if self.writer.problem is None:
            self.changes.submit(self.leave, lambda result: None)
        await asyncio.gather(self._changing.close(), self.reader.close(), self.searcher.close())
        self.changes.close()


def room_epoch(epoch: str, room: str) -> str:
    """The epoch of a room that is not in the database yet: the same on all nodes."""
    return sha256(f"{epoch} {room}".encode()).hexdigest()[:12]


async def _learn(connection: Connection, state: RoomState) -> RoomFound:
    """The facts, from which on nothing is stored that was allowed by older ones."""
    found = await reading.read_room(connection, state.name, state.epoch)
    if found.epoch == state.epoch:
        state.learn(found.version)
    return found


def _complete(log: Log, done: Callable[[Result], None], result: Result) -> None:
    if isinstance(result, Stored) and result.body is not None:
        log.on_stored(result, done)
    else:
        done(result)
