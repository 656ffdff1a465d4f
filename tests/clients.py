"""Small clients for tests of the running server: JSON lines, WebSocket, and a person with `nc`.

Each has `expect()`, which goes on reading until what it was told arrives and fails with everything that came
instead after `TIMEOUT_S`. All are async context managers that close their connection.
"""

import asyncio
import itertools
import json
import socket
import struct
from abc import ABC, abstractmethod
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

TIMEOUT_S = 10.0

Document = dict[str, Any]


class Closed(Exception):
    """The server closed the connection. `code` and `reason` are those of the close frame; a line has none."""

    def __init__(self, code: int | None = None, reason: str = "") -> None:
        super().__init__(f"closed with {code} {reason!r}")
        self.code = code
        self.reason = reason


def split_address(address: str) -> tuple[str, int]:
    """HOST:PORT in its two parts."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


async def get(address: str, path: str) -> tuple[int, bytes]:
    """What a server answers by HTTP on a connection of its own: the status and the body."""
    reader, writer = await asyncio.open_connection(*split_address(address))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body


async def get_json(address: str, path: str) -> tuple[int, Document]:
    """As `get`, of a body that is a JSON object."""
    status, body = await get(address, path)
    found: Document = json.loads(body)
    return status, found


class Client(ABC):
    """What clients of both JSON transports have in common."""

    def __init__(self) -> None:
        self.skipped: list[Document] = []
        """Documents that `expect` read and passed over, oldest first."""
        self._refs = itertools.count(1)

    @abstractmethod
    async def send_raw(self, payload: str | bytes) -> None:
        """Sends bytes as they are, or text as one message."""

    @abstractmethod
    async def _read(self) -> str | bytes:
        """The next document undecoded. Raises Closed."""

    @abstractmethod
    async def close(self) -> None:
        """Closes this side and waits until the connection is gone."""

    async def send(self, type: str, **fields: Any) -> None:
        """Sends one command."""
        await self.send_raw(json.dumps({"type": type, **fields}))

    async def receive(self) -> Document:
        """The next document, whatever it is. Raises Closed; TimeoutError after TIMEOUT_S."""
        async with asyncio.timeout(TIMEOUT_S):
            document = json.loads(await self._read())
        assert isinstance(document, dict)
        return document

    async def expect(self, type: str, **fields: Any) -> Document:
        """The next document of this type with these fields; others before it are kept in `skipped`."""
        wanted = {"type": type, **fields}
        passed: list[Document] = []
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while True:
                    document: Document = json.loads(await self._read())
                    if wanted.items() <= document.items():
                        return document
                    passed.append(document)
        except (TimeoutError, Closed) as error:
            raise AssertionError(f"{wanted} did not arrive ({error!r}); instead: {passed}") from error
        finally:
            self.skipped += passed

    async def expect_closed(self) -> Closed:
        """Reads until the server closes; what comes before is kept in `skipped`."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while True:
                    self.skipped.append(json.loads(await self._read()))
        except Closed as closed:
            return closed

    async def ask(self, type: str, **fields: Any) -> Document:
        """Sends a command with a fresh `ref` and returns what answers it, a reply or an error."""
        ref = f"ask-{next(self._refs)}"
        await self.send(type, ref=ref, **fields)
        passed: list[Document] = []
        try:
            while (document := await self.receive()).get("ref") != ref:
                passed.append(document)
            return document
        finally:
            self.skipped += passed

    async def hello(self, user: str | None = None) -> Document:
        """Says hello and returns `welcome`."""
        answer = await self.ask("hello", **({} if user is None else {"user": user}))
        assert answer["type"] == "welcome", answer
        return answer

    async def join(self, room: str = "lobby", **fields: Any) -> Document:
        """Joins a room and returns `joined`."""
        answer = await self.ask("join", room=room, **fields)
        assert answer["type"] == "joined", answer
        return answer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.close()


class LineConnection:
    """One TCP connection that reads lines."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, address: str) -> Self:
        host, port = split_address(address)
        async with asyncio.timeout(TIMEOUT_S):
            return cls(*await asyncio.open_connection(host, port, limit=1 << 24))

    async def write(self, payload: bytes) -> None:
        self.writer.write(payload)
        await self.writer.drain()

    async def read_line(self) -> bytes:
        """The next line without its end. Raises Closed."""
        try:
            line = await self.reader.readline()
        except ConnectionError as error:
            raise Closed(reason=str(error)) from error
        if not line:
            raise Closed
        return line.rstrip(b"\r\n")

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            return  # gone already, which is what was wanted

    async def reset(self) -> None:
        """Ends the connection with a TCP reset, as a crashed machine or a middlebox does."""
        self.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        await self.close()


class JsonLinesClient(Client):
    """A program on the line port: one JSON document per line."""

    def __init__(self, connection: LineConnection) -> None:
        super().__init__()
        self.connection = connection

    @classmethod
    async def open(cls, address: str) -> Self:
        """Connects to HOST:PORT; says nothing yet."""
        return cls(await LineConnection.open(address))

    async def send_raw(self, payload: str | bytes) -> None:
        await self.connection.write(payload.encode() + b"\n" if isinstance(payload, str) else payload)

    async def _read(self) -> bytes:
        return await self.connection.read_line()

    async def close(self) -> None:
        await self.connection.close()

    async def reset(self) -> None:
        await self.connection.reset()


class WebSocketClient(Client):
    """A browser or program at `/ws`; the WebSocket layer is the `websockets` library's."""

    def __init__(self, socket: ClientConnection) -> None:
        super().__init__()
        self.socket = socket

    @classmethod
    async def open(
        cls,
        address: str,
        *,
        origin: str | None = None,
        headers: dict[str, str] | None = None,
        subprotocols: tuple[str, ...] = ("fastchat.v1",),
        path: str = "/ws",
    ) -> Self:
        """Connects to HOST:PORT; says nothing yet. Raises websockets.InvalidStatus when it is refused."""
        return cls(
            await connect(
                f"ws://{address}{path}",
                additional_headers={**(headers or {}), **({} if origin is None else {"Origin": origin})},
                subprotocols=[Subprotocol(each) for each in subprotocols],
                open_timeout=TIMEOUT_S,
                close_timeout=TIMEOUT_S,
                ping_interval=None,
                compression=None,
                proxy=None,
                max_size=1 << 24,
            )
        )

    async def send_raw(self, payload: str | bytes) -> None:
        await self.socket.send(payload)

    async def _read(self) -> str | bytes:
        try:
            return await self.socket.recv()
        except ConnectionClosed as error:
            received = error.rcvd
            raise Closed(*(received.code, received.reason) if received else ()) from error

    async def close(self) -> None:
        await self.socket.close()


class TextClient:
    """A person with `nc`."""

    def __init__(self, connection: LineConnection) -> None:
        self.connection = connection
        self.skipped: list[str] = []
        """Lines that `expect` read and passed over, oldest first."""

    @classmethod
    async def open(cls, address: str) -> Self:
        """Connects to HOST:PORT; types nothing yet."""
        return cls(await LineConnection.open(address))

    async def type(self, line: str, end: str = "\n") -> None:
        """Types one line."""
        await self.connection.write(f"{line}{end}".encode())

    async def send_raw(self, payload: bytes) -> None:
        await self.connection.write(payload)

    async def receive(self) -> str:
        """The next line. Raises Closed; TimeoutError after TIMEOUT_S."""
        async with asyncio.timeout(TIMEOUT_S):
            return (await self.connection.read_line()).decode()

    async def expect(self, text: str) -> str:
        """The next line that contains `text`; others before it are kept in `skipped`."""
        passed: list[str] = []
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while text not in (line := (await self.connection.read_line()).decode()):
                    passed.append(line)
                return line
        except (TimeoutError, Closed) as error:
            raise AssertionError(f"{text!r} did not arrive ({error!r}); instead: {passed}") from error
        finally:
            self.skipped += passed

    async def expect_closed(self) -> None:
        """Reads until the server closes; what comes before is kept in `skipped`."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while True:
                    self.skipped.append((await self.connection.read_line()).decode())
        except Closed:
            return

    async def close(self) -> None:
        await self.connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.close()
