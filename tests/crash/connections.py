"""A client's connection that takes everything one read brings: JSON lines or WebSocket, by socket alone."""

import os
from typing import Self

import orjson

from fastchat._websocket import CLOSE, PING, PONG, TEXT, FrameParser, encode_frame
from tests.clients import Closed, Document
from tests.integration.raw_clients import RawConnection, encode_request

MESSAGE_BYTES_MAX = 1 << 24


class LinesConnection:
    """JSON lines. A context manager that closes it."""

    def __init__(self, connection: RawConnection) -> None:
        self.connection = connection

    @classmethod
    async def open(cls, address: str, receive_buffer_bytes: int) -> Self:
        """Connects to HOST:PORT. Raises OSError."""
        return cls(await RawConnection.open(address, receive_buffer_bytes))

    async def say(self, commands: list[Document]) -> None:
        """Sends all of them at once. Raises Closed."""
        await self.connection.send(b"".join(orjson.dumps(command) + b"\n" for command in commands))

    async def listen(self) -> list[bytes]:
        """The documents that the next read completes, often many, sometimes none. Raises Closed."""
        await self.connection.read_more()
        *lines, self.connection.received = self.connection.received.split(b"\n")
        return lines

    def close(self) -> None:
        self.connection.close()

    def reset(self) -> None:
        self.connection.reset()


class FramesConnection(LinesConnection):
    """WebSocket."""

    def __init__(self, connection: RawConnection) -> None:
        super().__init__(connection)
        self._parser = FrameParser(MESSAGE_BYTES_MAX, require_mask=False)

    @classmethod
    async def open(cls, address: str, receive_buffer_bytes: int) -> Self:
        """Connects to HOST:PORT. Raises OSError, Closed."""
        connection = await RawConnection.open(address, receive_buffer_bytes)
        try:
            await connection.send(encode_request())
            head = await connection.read_until(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 101 "):
                raise Closed(reason=f"no upgrade: {head!r}")
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    async def say(self, commands: list[Document]) -> None:
        """Sends all of them at once. Raises Closed."""
        frames = [encode_frame(TEXT, orjson.dumps(command), os.urandom(4)) for command in commands]
        await self.connection.send(b"".join(frames))

    async def listen(self) -> list[bytes]:
        """The documents that the next read completes. Raises Closed."""
        await self.connection.read_more()
        self._parser.feed(self.connection.received)
        self.connection.received = b""
        documents: list[bytes] = []
        while (frame := self._parser.next()) is not None:
            opcode, payload = frame
            if opcode == TEXT:
                documents.append(payload)
            elif opcode == PING:
                await self.connection.send(encode_frame(PONG, payload, os.urandom(4)))
            elif opcode == CLOSE:
                # The socket's own end comes next, and what was read before it counts.
                break
        return documents


TRANSPORTS: dict[str, type[LinesConnection]] = {"lines": LinesConnection, "frames": FramesConnection}
