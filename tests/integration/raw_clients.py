"""Clients that read from their socket only when they are told to, and that may send anything.

A client with asyncio's streams reads ahead in the background; one of these leaves what it doesn't read with
the kernel, where it holds up the server.
"""

import asyncio
import json
import os
import socket
import struct
from typing import Self

from fastchat._websocket import CLOSE, PING, PONG, TEXT, FrameParser, encode_frame, parse_close
from tests.clients import TIMEOUT_S, Client, Closed, Document, split_address

SMALL_BUFFER_BYTES = 4096
MESSAGE_BYTES_MAX = 1 << 24

UPGRADE = {
    "Host": "test",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


def encode_request(path: str = "/ws", **headers: str | None) -> bytes:
    """A WebSocket's opening request; None takes a header out, `_` in a name stands for `-`."""
    changed = {**UPGRADE, **{name.replace("_", "-"): value for name, value in headers.items()}}
    lines = [f"{name}: {value}" for name, value in changed.items() if value is not None]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


class RawConnection:
    """One TCP connection; a context manager that closes it."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.received = b""
        """What was read and not yet given out."""

    @classmethod
    async def open(cls, address: str, receive_buffer_bytes: int = 0) -> Self:
        """Connects to HOST:PORT. A receive buffer of its own (0: the kernel's) keeps the window small."""
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await asyncio.get_running_loop().sock_connect(sock, split_address(address))
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    async def send(self, data: bytes) -> None:
        """Returns when the kernel has taken all of it. Raises Closed."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await asyncio.get_running_loop().sock_sendall(self.socket, data)
        except ConnectionError as error:
            raise Closed(reason=str(error)) from error

    async def read_more(self) -> bytes:
        """Adds to `received` what comes next. Raises Closed, at a reset with its reason."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                data = await asyncio.get_running_loop().sock_recv(self.socket, 65536)
        except ConnectionError as error:
            raise Closed(reason=str(error)) from error
        if not data:
            raise Closed
        self.received += data
        return data

    async def read_until(self, end: bytes) -> bytes:
        """Everything up to and with `end`."""
        searched = 0
        while (at := self.received.find(end, searched)) < 0:
            searched = max(0, len(self.received) - len(end) + 1)
            await self.read_more()
        at += len(end)
        taken, self.received = self.received[:at], self.received[at:]
        return taken

    async def read_to_end(self) -> bytes:
        """Everything until the server closes or resets the connection."""
        try:
            while True:
                await self.read_more()
        except Closed:
            taken, self.received = self.received, b""
            return taken

    def end_input(self) -> None:
        """Sends no more, and goes on reading: `nc -N`."""
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Ends the connection with a TCP reset, as a crashed machine or a middlebox does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        self.close()


class RawClient(Client):
    """What both JSON transports have in common here."""

    frames = False
    """Whether commands go out as WebSocket frames."""

    def __init__(self, connection: RawConnection) -> None:
        super().__init__()
        self.connection = connection

    async def send_commands(self, *commands: Document) -> None:
        """Sends all of them at once."""
        await self.send_raw(encode_commands(*commands, frames=self.frames))

    async def close(self) -> None:
        self.connection.close()

    def reset(self) -> None:
        self.connection.reset()


class RawLinesClient(RawClient):
    """JSON lines."""

    @classmethod
    async def open(cls, address: str, receive_buffer_bytes: int = 0) -> Self:
        return cls(await RawConnection.open(address, receive_buffer_bytes))

    async def send_raw(self, payload: str | bytes) -> None:
        await self.connection.send(payload.encode() + b"\n" if isinstance(payload, str) else payload)

    async def _read(self) -> bytes:
        return await self.connection.read_until(b"\n")


class RawWebSocketClient(RawClient):
    """WebSocket frames; answers no ping and no close frame. `closed` is the close frame that came."""

    frames = True

    def __init__(self, connection: RawConnection) -> None:
        super().__init__(connection)
        self._parser = FrameParser(MESSAGE_BYTES_MAX, require_mask=False)
        self.closed: Closed | None = None

    @classmethod
    async def open(cls, address: str, receive_buffer_bytes: int = 0) -> Self:
        connection = await RawConnection.open(address, receive_buffer_bytes)
        try:
            await connection.send(encode_request())
            head = await connection.read_until(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 "), head
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    async def send_raw(self, payload: str | bytes) -> None:
        if isinstance(payload, str):
            payload = encode_text(payload.encode())
        await self.connection.send(payload)

    async def read_frame(self) -> tuple[int, bytes]:
        """The next message or control frame: opcode and payload. Raises Closed where there is none."""
        while (frame := self._take_frame()) is None:
            await self.connection.read_more()
        return frame

    async def _read(self) -> bytes:
        while True:
            try:
                opcode, payload = await self.read_frame()
            except Closed as closed:
                raise self.closed or closed from None
            if opcode == TEXT:
                return payload
            if opcode == CLOSE:
                self.closed = Closed(*parse_close(payload))
                raise self.closed
            assert opcode in (PING, PONG)

    def _take_frame(self) -> tuple[int, bytes] | None:
        connection = self.connection
        self._parser.feed(connection.received)
        connection.received = b""
        try:
            return self._parser.next()
        finally:
            self._parser.keep()


def encode_text(payload: bytes) -> bytes:
    """A text message as a client's frame, masked."""
    return encode_frame(TEXT, payload, os.urandom(4))


def encode_commands(*commands: Document, frames: bool) -> bytes:
    """Commands as lines, or as a client's frames: for what is sent many at a time."""
    payloads = [json.dumps(command).encode() for command in commands]
    return b"".join(encode_text(payload) if frames else payload + b"\n" for payload in payloads)
