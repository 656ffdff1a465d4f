"""A connection to PostgreSQL that is made again when it is lost, and those who read by such ones."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import asyncpg

from fastchat.ending import end
from fastchat.messages import WireError
from fastchat.store.errors import unavailable
from fastchat.store.postgres.errors import describe, is_of_connection
from fastchat.store.postgres.thread import LoopThread

Connection: TypeAlias = asyncpg.Connection
Query: TypeAlias = Callable[[Connection], Awaitable[Any]]
"""What is to be asked on a connection; returns the answer. May be run again on another one."""

SCHEMA = "fastchat"
"""The tables are in a schema of their own: the database may have others for other programs."""

CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 15.0
RETRY_FIRST_S = 0.05
RETRY_MAX_S = 5.0
CLOSE_TIMEOUT_S = 5.0
READERS = 3
SEARCHERS = 1


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Server:
    """Where the database is, and what every connection to it has in common."""

    url: str
    name: str
    """Tells the server's operator which node it is."""
    durable: bool = True
    """Whether a commit waits for the disk."""
    command_timeout_s: float = COMMAND_TIMEOUT_S
    """How long an answer may take before the connection is given up."""

    async def connect(self, purpose: str) -> Connection:
        """Raises OSError, TimeoutError and asyncpg's errors."""
        return await asyncpg.connect(
            self.url,
            timeout=min(CONNECT_TIMEOUT_S, self.command_timeout_s),
            command_timeout=self.command_timeout_s,
            server_settings={
                "application_name": self.application(purpose),
                "search_path": SCHEMA,
                "synchronous_commit": "on" if self.durable else "off",
                # It never pays for statements as short as these.
                "jit": "off",
                # Whoever is lost in the middle of something must not hold up the others for long.
                "statement_timeout": str(int(self.command_timeout_s * 1000)),
                "idle_in_transaction_session_timeout": str(int(self.command_timeout_s * 1000)),
            },
        )

    def application(self, purpose: str) -> str:
        """What the connection is called in the server's lists."""
        return f"fastchat-{self.name}-{purpose}"


@dataclass
class Delay:
    """Delays that grow and are spread, so that not all nodes come back at once."""

    _next_s: float = field(default=RETRY_FIRST_S, init=False)

    def next(self) -> float:
        """How long to wait before the next attempt."""
        delay_s = self._next_s * random.uniform(0.5, 1.0)
        self._next_s = min(self._next_s * 2, RETRY_MAX_S)
        return delay_s

    def reset(self) -> None:
        """The last attempt has succeeded."""
        self._next_s = RETRY_FIRST_S


class Reader:
    """Asks on a few connections of its own, which it makes when they are needed.

    ``deliver(callback, *args)`` runs callbacks in the server's loop.
    """

    def __init__(
        self, thread: LoopThread, server: Server, deliver: Callable[..., object], purpose: str, count: int
    ) -> None:
        self.deliver = deliver
        self._thread = thread
        self._server = server
        self._purpose = purpose
        self._count = count
        self._waiting: deque[tuple[Query, Callable[[Any], None]] | None] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._tasks: list[asyncio.Task[None]] = []
        self._delay = Delay()
        self._retry_at = 0.0  # before that, what cannot be asked is answered so at once
        self._error: BaseException = TimeoutError()
        self._closed = False
        thread.call(self._start)

    def submit(self, query: Query, done: Callable[[Any], None]) -> None:
        """Asks; ``done`` gets what it returns, or a WireError. From any thread."""
        try:
            self._thread.call(self._add, query, done)
        except RuntimeError:  # there is no thread any more
            self.deliver(done, unavailable("it is closed"))

    async def close(self) -> None:
        """Answers what was asked, and disconnects. In the thread."""
        self._closed = True
        self._waiting.extend([None] * len(self._tasks))
        for _ in self._tasks:
            self._wake()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=CLOSE_TIMEOUT_S)
            await end(late)
        while self._waiting:
            if (asked := self._waiting.popleft()) is not None:
                self.deliver(asked[1], unavailable("it is closed"))

    # In the thread

    def _start(self) -> None:
        loop = self._thread.loop
        self._tasks = [loop.create_task(self._run()) for _ in range(self._count)]

    def _add(self, query: Query, done: Callable[[Any], None]) -> None:
        if self._closed:
            self.deliver(done, unavailable("it is closed"))
        else:
            self._waiting.append((query, done))
            self._wake()

    def _wake(self) -> None:
        while self._idle:
            if not (one := self._idle.popleft()).done():
                one.set_result(None)
                return

    async def _run(self) -> None:
        connection: Connection | None = None
        try:
            while True:
                while not self._waiting:
                    idle = self._thread.loop.create_future()
                    self._idle.append(idle)
                    await idle
                if (asked := self._waiting.popleft()) is None:
                    return
                result: Any = unavailable("it is closed")
                try:
                    connection, result = await self._answer(connection, asked[0])
                finally:
                    self.deliver(asked[1], result)
        finally:
            if connection is not None:
                await disconnect(connection)

    async def _answer(self, connection: Connection | None, query: Query) -> tuple[Connection | None, Any]:
        # An idle connection may have been lost: that is found out by using it.
        for attempt in 1, 2:
            try:
                if connection is None or connection.is_closed():
                    connection = await self._connect()
                return connection, await query(connection)
            except WireError as error:
                return connection, error
            except Exception as error:
                # A server that does not answer in time will not do so at once.
                if attempt == 2 or isinstance(error, TimeoutError) or not is_of_connection(error):
                    failure = error
                    break
                if connection is not None:
                    connection.terminate()
        if is_of_connection(failure):
            if connection is not None:
                connection.terminate()
            connection = None
        elif not isinstance(failure, asyncpg.PostgresError):
            logger.error("the store has a fault of its own", exc_info=failure)
        return connection, unavailable(describe(failure))

    async def _connect(self) -> Connection:
        if time.monotonic() < self._retry_at:
            raise asyncpg.ConnectionFailureError(describe(self._error))
        try:
            connection = await self._server.connect(self._purpose)
        except Exception as error:
            self._error = error
            self._retry_at = time.monotonic() + self._delay.next()
            raise
        self._delay.reset()
        return connection


async def disconnect(connection: Connection) -> None:
    """Says good-bye where somebody listens."""
    with suppress(Exception):
        await connection.close(timeout=1.0)
        return
    connection.terminate()
