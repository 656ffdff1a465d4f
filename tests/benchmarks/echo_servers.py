"""Servers that send everyone what one says and make mistakes on purpose."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

Fault = Callable[[list[bytes]], list[bytes]]
"""What the first member gets instead of what was sent so far; asked again with each message."""


def nothing_wrong(sent: list[bytes]) -> list[bytes]:
    return sent


def one_lost(sent: list[bytes]) -> list[bytes]:
    return sent[:3] + sent[4:]


def two_swapped(sent: list[bytes]) -> list[bytes]:
    """The fourth message comes behind the fifth."""
    return sent[:3] + sent[4:5] + sent[3:4] + sent[5:] if len(sent) > 4 else sent[:3]


def one_repeated(sent: list[bytes]) -> list[bytes]:
    return sent[:4] + sent[3:]


def one_changed(sent: list[bytes]) -> list[bytes]:
    return sent[:3] + [message.replace(b"m", b"", 1) for message in sent[3:4]] + sent[4:]


class Room:
    """Its members' queues. The first one to come is treated as `fault` says."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._members: list[asyncio.Queue[bytes]] = []
        self._sent: list[bytes] = []
        self._first_got = 0

    def enter(self) -> asyncio.Queue[bytes]:
        self._members.append(asyncio.Queue())
        return self._members[-1]

    def send(self, message: bytes) -> None:
        self._sent.append(message)
        faulty = self._fault(self._sent)
        for wrong in faulty[self._first_got :]:
            self._members[0].put_nowait(wrong)
        self._first_got = len(faulty)
        for member in self._members[1:]:
            member.put_nowait(message)


@contextlib.asynccontextmanager
async def line_server(fault: Fault) -> AsyncIterator[int]:
    """Yields its port. Whoever has joined is told so in a first line."""
    room = Room(fault)
    tasks: set[asyncio.Task[None]] = set()

    async def serve_member(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        queue = room.enter()
        sending = asyncio.create_task(send_lines(queue, writer))
        with contextlib.suppress(ConnectionError):
            async for line in reader:
                room.send(line)
        sending.cancel()
        writer.close()

    async def send_lines(queue: asyncio.Queue[bytes], writer: asyncio.StreamWriter) -> None:
        writer.write(b"joined\n")
        while True:
            writer.write(await queue.get())

    server = await asyncio.start_server(serve_member, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        server.close()
        await asyncio.gather(*tasks)


@contextlib.asynccontextmanager
async def websocket_server(fault: Fault) -> AsyncIterator[int]:
    """Yields its port."""
    room = Room(fault)

    async def serve_member(connection: ServerConnection) -> None:
        queue = room.enter()
        sending = asyncio.create_task(send_messages(queue, connection))
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                room.send(message.encode() if isinstance(message, str) else message)
        sending.cancel()

    async def send_messages(queue: asyncio.Queue[bytes], connection: ServerConnection) -> None:
        while True:
            await connection.send((await queue.get()).decode())

    async with serve(serve_member, "127.0.0.1", 0) as server:
        yield next(iter(server.sockets)).getsockname()[1]
