"""Servers that send everyone what one says and make mistakes on purpose."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

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

    def send(self, message: bytes, *, beside: asyncio.Queue[bytes] | None = None) -> None:
        self._sent.append(message)
        faulty = self._fault(self._sent)
        for wrong in faulty[self._first_got :]:
            self._members[0].put_nowait(wrong)
        self._first_got = len(faulty)
        for member in self._members[1:]:
            if member is not beside:
                member.put_nowait(message)


Listen = Callable[[asyncio.StreamReader, asyncio.StreamWriter, Room, asyncio.Queue[bytes]], Awaitable[None]]
"""Serves what one member says, until the connection ends."""


@contextlib.asynccontextmanager
async def _stream_server(
    fault: Fault, listen: Listen, encode: Callable[[bytes], bytes]
) -> AsyncIterator[int]:
    room = Room(fault)
    tasks: set[asyncio.Task[None]] = set()

    async def serve_member(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        queue = room.enter()
        sending = asyncio.create_task(send_messages(queue, writer))
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await listen(reader, writer, room, queue)
        sending.cancel()
        writer.close()

    async def send_messages(queue: asyncio.Queue[bytes], writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(encode(await queue.get()))

    server = await asyncio.start_server(serve_member, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        server.close()
        await asyncio.gather(*tasks)


def line_server(fault: Fault) -> contextlib.AbstractAsyncContextManager[int]:
    """Yields its port. Whoever has joined is told so in a first line."""

    async def listen(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, room: Room, _: asyncio.Queue[bytes]
    ) -> None:
        writer.write(b"joined\n")
        async for line in reader:
            room.send(line)

    return _stream_server(fault, listen, lambda message: message)


def irc_server(fault: Fault) -> contextlib.AbstractAsyncContextManager[int]:
    """Yields its port. Senders don't get their own messages; everyone has to answer a PING to be welcome."""

    async def listen(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, room: Room, queue: asyncio.Queue[bytes]
    ) -> None:
        async for line in reader:
            command, _, rest = line.rstrip().partition(b" ")
            if command == b"USER":
                writer.write(b"PING :are you there\r\n")
            elif line == b"PONG :are you there\r\n":
                writer.write(b":test 001 u :Welcome\r\n:test 422 u :No message of the day\r\n")
            elif command == b"JOIN":
                writer.write(b":u!u@test JOIN :#bench\r\n:test 366 u #bench :End of names\r\n")
            elif command == b"PRIVMSG":
                room.send(rest.partition(b":")[2], beside=queue)
            elif command == b"PING":
                writer.write(b":test PONG test " + rest + b"\r\n")

    return _stream_server(fault, listen, lambda message: b":u!u@test PRIVMSG #bench :" + message + b"\r\n")


def nats_server(fault: Fault) -> contextlib.AbstractAsyncContextManager[int]:
    """Yields its port."""

    async def listen(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, room: Room, _: asyncio.Queue[bytes]
    ) -> None:
        writer.write(b"INFO {}\r\n")
        async for line in reader:
            if line.startswith(b"PUB "):
                room.send((await reader.readexactly(int(line.split()[-1]) + 2))[:-2])
            elif line == b"PING\r\n":
                writer.write(b"PONG\r\n")

    return _stream_server(
        fault, listen, lambda message: b"MSG bench 2 %d\r\n%b\r\n" % (len(message), message)
    )


def mqtt_server(fault: Fault) -> contextlib.AbstractAsyncContextManager[int]:
    """Yields its port."""

    async def listen(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, room: Room, _: asyncio.Queue[bytes]
    ) -> None:
        while True:
            kind, size = await reader.readexactly(2)  # lengths below 128 are one byte
            body = await reader.readexactly(size)
            if kind == 0x10:
                writer.write(b"\x20\x02\x00\x00")
            elif kind == 0x82:
                writer.write(b"\x90\x03" + body[:2] + b"\x00")
            else:
                room.send(body[2 + int.from_bytes(body[:2], "big") :])

    return _stream_server(
        fault, listen, lambda message: bytes((0x30, len(message) + 7)) + b"\0\5bench" + message
    )


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
