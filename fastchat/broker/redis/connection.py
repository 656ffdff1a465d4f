"""A connection to a Redis server: the library's, one at a time, whose commands are pipelined."""

import asyncio
import math
from collections.abc import Iterable, Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    InvalidResponse,
    NoPermissionError,
    RedisError,
    ResponseError,
)

from fastchat.broker.interface import BrokerError
from fastchat.broker.link import ANSWER_TIMEOUT_S, Link

Command = Sequence[str | bytes | int]
Reply = Any
"""What RESP2 has: bytes, int, None, or a list of these."""


class Connection:
    """One connection; when it is lost, that is the end of this object.

    One task at a time runs commands; beside it, one may read what the server sends by itself.
    """

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._lock = asyncio.Lock()

    async def open(self, where: str) -> None:
        """Connects. Raises BrokerError where user or password are refused."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await self._connection.connect()  # type: ignore[no-untyped-call]
        except (AuthenticationError, AuthorizationError, NoPermissionError) as error:
            raise BrokerError(f"Redis at {where} refuses the user or password in broker.url") from error
        except ResponseError as error:
            if "WRONGPASS" in str(error) or "NOAUTH" in str(error):
                raise BrokerError(f"Redis at {where} refuses the user or password in broker.url") from error
            raise

    async def send(self, commands: Iterable[Command]) -> None:
        """Writes the commands together; their answers have to be read."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await self._connection.send_packed_command(
                self._connection.pack_commands(commands), check_health=False
            )

    async def read(self) -> Reply:
        """The next answer, or what the server sends by itself; waits for it without a limit.

        Raises ResponseError where that is what the server says, and ConnectionError at the end.
        """
        return await self._connection.read_response(timeout=math.inf)

    async def run(self, commands: Sequence[Command], replies: list[Reply] | None = None) -> list[Reply]:
        """Runs the commands together; returns their answers, a ResponseError among them as it is.

        ``replies`` has those that came, also where the rest did not. Raises TimeoutError where the server
        does not answer.
        """
        replies = [] if replies is None else replies
        now_s = asyncio.get_running_loop().time
        async with self._lock:
            await self.send(commands)
            async with asyncio.timeout(ANSWER_TIMEOUT_S) as limit:
                for number in range(len(commands)):
                    replies.append(await self._read_or_error())
                    if number % 64 == 0:
                        limit.reschedule(now_s() + ANSWER_TIMEOUT_S)
        return replies

    async def run_one(self, *command: str | bytes | int) -> Reply:
        """Runs one command; raises ResponseError where that is the answer."""
        (reply,) = await self.run([command])
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    async def _read_or_error(self) -> Reply:
        try:
            return await self.read()
        except ResponseError as error:
            return error

    async def let_go(self) -> None:
        """Closes at once, whatever has not been read."""
        writer = getattr(self._connection, "_writer", None)
        if writer is not None:
            writer.transport.abort()
        await self._connection.disconnect(nowait=True)


def _make(url: str, name: str) -> AbstractConnection:
    # The pool is a factory here, which knows what every part of the address means.
    pool: ConnectionPool = ConnectionPool.from_url(
        url,
        protocol=2,
        client_name=name,
        socket_connect_timeout=ANSWER_TIMEOUT_S,
        socket_timeout=None,
        retry=Retry(NoBackoff(), 0),
    )
    made: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
    return made


class RedisLink(Link):
    """A link whose connections are `Connection`s: those that it has opened, which go together."""

    def __init__(self, url: str, role: str) -> None:
        super().__init__(url, role)
        self._connections: list[Connection] = []

    async def _open(self) -> Connection:
        # In a thread, since the library looks up its own version on the disk.
        connection = Connection(await asyncio.to_thread(_make, self._url, f"fastchat-{self._role}"))
        self._connections.append(connection)
        try:
            await connection.open(self.where)
        except InvalidResponse:
            # Without what it says: each time other bytes, and a line in the log for each try.
            raise ConnectionError("what answers there is no Redis") from None
        except RedisError as error:
            raise ConnectionError(str(error)) from error
        return connection

    async def _disconnect(self) -> None:
        connections, self._connections = self._connections, []
        for connection in connections:
            await connection.let_go()
