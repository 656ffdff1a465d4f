"""Group commit: everything that arrives while one commit runs goes into the next.

Each batch has a number, which the database writes down with what came of it. Where a connection breaks in
the middle, nobody knows the outcome; the batch is submitted again under its number until it is known, and
nobody is told anything before. Whatever comes meanwhile is refused at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from fastchat.ending import end
from fastchat.messages import WireError
from fastchat.store.errors import StoreError, unavailable
from fastchat.store.interface import Facts, Stored
from fastchat.store.postgres.appending import APPEND
from fastchat.store.postgres.batch import Append, Batch, Found, Outcome, RoomState
from fastchat.store.postgres.connection import RETRY_FIRST_S, Connection, Delay, Server, disconnect
from fastchat.store.postgres.errors import (
    describe,
    is_of_connection,
    is_of_data,
    is_of_others,
)
from fastchat.store.postgres.filling import Filling
from fastchat.store.postgres.reading import read_room, read_to_change
from fastchat.store.postgres.thread import LoopThread

COLLECTED_MAX = 2048  # what goes into one commit, so that the first one does not wait for ever
CLOSE_TIMEOUT_S = 5.0
ALONE_WAIT_S = 3.0  # for the connections of a process that has just ended
LOCK = "hashtext('fastchat'), hashtext('alone')"

# Plans without a look at how large the tables are: they are made once, when the tables may be empty.
_PLANS = """
    SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off;
    SET enable_mergejoin = off; SET enable_bitmapscan = off
"""
_END_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = $1 AND usename = current_user AND pid <> pg_backend_pid()
"""
_REGISTER = """
    INSERT INTO writers (id, number) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET used_at = now()
"""

logger = logging.getLogger(__name__)


class Writer:
    """Owns the connection that writes. ``deliver(callback, *args)`` runs callbacks in the server's loop.

    ``on_commit(outcome, facts)`` is delivered after each commit, with the facts of rooms that others have
    changed; ``on_recovered`` when the database can be written to again. ``alone``: no other process may
    write.
    """

    def __init__(
        self,
        thread: LoopThread,
        server: Server,
        deliver: Callable[..., object],
        on_commit: Callable[[Outcome, Sequence[tuple[RoomState, int, Facts]]], None],
        on_recovered: Callable[[], None],
        *,
        alone: bool,
    ) -> None:
        self._thread = thread
        self._server = server
        self._deliver = deliver
        self._on_commit = on_commit
        self._on_recovered = on_recovered
        self._alone = alone
        self._connection: Connection | None = None
        self._submitted: deque[Append] = deque()  # by other threads
        self._woken = False
        self._waiting: list[Append] = []
        self._single = 0  # so many are committed one by one, as one of them is not storable
        self._number = 0  # of the last batch
        self._filling = Filling()
        self._work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._in_doubt = False
        self._closing = asyncio.Event()
        self.problem: str | None = None

    @property
    def _closed(self) -> bool:
        return self._closing.is_set()

    def submit(self, append: Append) -> None:
        """Has it stored with the next commit. From any thread."""
        self._submitted.append(append)
        # What is added before the thread looks is seen by it; so is what wakes it up afterwards.
        if not self._woken:
            self._woken = True
            try:
                self._thread.call(self._wake)
            except RuntimeError:  # there is no thread any more
                self._refuse("it is closed")

    # In the thread

    async def start(self) -> None:
        """Connects. Raises StoreError where another process has the database, and what connecting raises."""
        self._connection = await self._connect(ALONE_WAIT_S)
        self._task = self._thread.loop.create_task(self._run())

    async def close(self) -> None:
        """Commits what was submitted, where that can be done in time."""
        self._closing.set()
        self._work.set()
        if self._task is not None:
            done, _ = await asyncio.wait([self._task], timeout=CLOSE_TIMEOUT_S)
            if not done:
                await end([self._task])
        if self._connection is not None:
            await disconnect(self._connection)
        self._refuse("it is closed")

    def _wake(self) -> None:
        self._woken = False
        while self._submitted:
            self._waiting.append(self._submitted.popleft())
        if self.problem is not None:
            self._refuse(self.problem)
        elif self._closed and self._task is not None and self._task.done():
            self._refuse("it is closed")
        else:
            self._work.set()

    def _refuse(self, problem: str) -> None:
        """Nothing of what waits has been stored."""
        while self._submitted:
            self._waiting.append(self._submitted.popleft())
        waiting, self._waiting = self._waiting, []
        for append in waiting:
            self._deliver(append.done, unavailable(problem))

    async def _run(self) -> None:
        while True:
            if not self._waiting:
                if self._closed:
                    return
                if self.problem is None:
                    self._work.clear()
                    await self._work.wait()
                else:
                    await self._try_to_connect()
                continue
            if not self._alone and (wait_s := self._filling.wait_s(len(self._waiting))):
                await self._fill(wait_s)
                if not self._waiting:
                    continue  # they were refused
            began, count = self._thread.loop.time(), 1 if self._single else COLLECTED_MAX
            batch = Batch(self._waiting[:count])
            self._waiting = batch.put_off + self._waiting[count:]
            self._single = max(0, self._single - 1)
            try:
                await self._commit(batch)
                self._filling.on_commit(len(batch.appends), self._thread.loop.time() - began)
            except asyncio.CancelledError:
                self._answer(batch.appends, unavailable("it is closed"))
                raise
            except Exception as error:
                self._answer(batch.appends, unavailable(describe(error)))
                logger.exception("the store has a fault of its own")

    async def _fill(self, wait_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while len(self._waiting) < self._filling.count and not self._closed:
                    self._work.clear()
                    await self._work.wait()

    async def _try_to_connect(self) -> None:
        """Nobody waits for it, but it is to be known when it works again."""
        with suppress(StoreError):
            await self._connected()

    async def _commit(self, batch: Batch) -> None:
        try:
            connection = await self._connected()
            found = await self._find(connection, batch)
        except Exception as error:
            # Nothing has been sent that stores anything.
            self._answer(batch.appends, unavailable(describe(error)))
            await self._lost(error)
            return
        arguments = batch.build(found)
        self._number += 1
        answer = await self._submit(batch, arguments)
        if answer is None:
            return
        outcome = batch.take(answer)
        self._waiting = outcome.again + self._waiting
        facts = await self._reload(outcome.unknown)
        self._deliver(self._on_commit, outcome, facts)

    async def _find(self, connection: Connection, batch: Batch) -> dict[Append, Found]:
        if not batch.changes:
            return {}
        rows = await read_to_change(connection, batch.questions())
        return {
            append: Found(body, version, None if seq is None else Stored(seq, at_ms, None))
            for append, (body, version, seq, at_ms) in zip(batch.changes, rows, strict=True)
        }

    async def _submit(self, batch: Batch, arguments: Sequence[Any]) -> Sequence[int] | None:
        """What the database answers, however often it has to be asked; None where it refuses the batch."""
        while True:
            try:
                connection = await self._connected()
                self._in_doubt = True
                answer: Sequence[int] = await connection.fetchval(
                    APPEND, self._server.name, self._number, *arguments
                )
                self._in_doubt = False
                return answer
            except Exception as error:
                if is_of_others(error):
                    continue
                if is_of_connection(error):
                    await self._lost(error)
                    continue
                self._in_doubt = False
                if is_of_data(error) and len(batch.appends) > 1:
                    # One of them is to blame: the others are to have theirs.
                    self._single = len(batch.appends)
                    self._waiting = batch.appends + self._waiting
                    return None
                self._answer(batch.appends, unavailable(describe(error)))
                if not is_of_data(error):
                    await self._lost(error)
                return None

    async def _reload(self, rooms: Sequence[RoomState]) -> list[tuple[RoomState, int, Facts]]:
        """The facts of rooms where others have changed them."""
        facts: list[tuple[RoomState, int, Facts]] = []
        try:
            for room in rooms:
                connection = await self._connected()
                found = await read_room(connection, room.name, room.epoch)
                room.learn(found.version)
                facts.append((room, found.version, found.facts))
        except Exception as error:
            logger.info("facts cannot be read: %s", describe(error))  # the next append tries again
        return facts

    def _answer(self, appends: Sequence[Append], error: WireError) -> None:
        for append in appends:
            self._deliver(append.done, error)

    # The connection

    async def _connected(self) -> Connection:
        """The connection, which is made again as often as it takes."""
        delay = Delay()
        while (connection := self._connection) is None or connection.is_closed():
            try:
                self._connection = await self._connect(0.0)
            except Exception as error:
                self._set_problem(error)
                if self._closed and not self._in_doubt:
                    raise StoreError("it is closed") from None
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), delay.next())
                if self._closed:
                    await asyncio.sleep(RETRY_FIRST_S)
        if self.problem is not None:
            self.problem = None
            logger.info("PostgreSQL can be written to again")
            self._deliver(self._on_recovered)
        return connection

    async def _lost(self, error: BaseException) -> None:
        """Begins anew, as nothing is certain any more; returns when it can be written to again."""
        self._set_problem(error)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
        await self._connected()

    def _set_problem(self, error: BaseException) -> None:
        problem = describe(error)
        if self.problem is None:
            logger.warning("the message store is not available: %s", problem)
        self.problem = problem
        self._refuse(problem)

    def _on_terminated(self, connection: Connection) -> None:
        if connection is self._connection and not self._closed:
            self._set_problem(StoreError("PostgreSQL has ended the connection"))
            self._work.set()

    async def _connect(self, wait_s: float) -> Connection:
        connection = await self._server.connect("writer")
        try:
            # What an own connection may still be doing, that was lost, is over now.
            await connection.execute(_END_OTHERS, self._server.application("writer"))
            await self._lock(connection, wait_s)
            await connection.execute(_PLANS)
            # Shows also whether it can be written at all.
            await connection.execute(_REGISTER, self._server.name, max(0, self._number - 1))
        except BaseException:
            connection.terminate()
            raise
        connection.add_termination_listener(self._on_terminated)
        return connection

    async def _lock(self, connection: Connection, wait_s: float) -> None:
        loop = self._thread.loop
        until, shared = loop.time() + wait_s, "" if self._alone else "_shared"
        while not await connection.fetchval(f"SELECT pg_try_advisory_lock{shared}({LOCK})"):
            if loop.time() >= until:
                raise StoreError(
                    "another fastchat uses this database; set broker.url on every node, or stop that one"
                )
            await asyncio.sleep(0.1)
