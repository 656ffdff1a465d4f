"""TCP connections over loopback with both ends in this process: transports of uvloop's, and sockets to drain.

Each takes two descriptors.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast

import picows

T = TypeVar("T")

HOST = "127.0.0.1"
RECEIVE_BUFFER_BYTES = 1 << 18
PATIENCE_S = 5.0
BATCH = 64  # connections begun together: below the usual backlog of 100

_UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class Accepted(Generic[T]):
    """The connections that a server has accepted, in this order."""

    def __init__(self) -> None:
        self.connections: list[T] = []
        self._changed = asyncio.Event()

    def add(self, connection: T) -> None:
        """There is one more."""
        self.connections.append(connection)
        self._changed.set()

    async def reach(self, count: int) -> None:
        """Returns when there are so many."""
        while len(self.connections) < count:
            self._changed.clear()
            await self._changed.wait()


class Clients:
    """The ends of the clients, in the order in which the server has its own."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        self._buffer = bytearray(1 << 20)

    async def connect(
        self, port: int, count: int, say: bytes, accepted: Accepted[T], port_of: Callable[[T], int]
    ) -> None:
        """Connects so many more; returns when the server has ``accepted`` all of them."""
        by_port = {each.getsockname()[1]: each for each in self._sockets}
        while count > 0:
            batch = [_connected(port, say) for _ in range(min(count, BATCH))]
            by_port |= {each.getsockname()[1]: each for each in batch}
            self._sockets += batch
            await accepted.reach(len(by_port))
            for client in batch:
                if say:
                    client.recv(4096)  # the answer, which is written before a connection counts as accepted
                client.setblocking(False)
            count -= len(batch)
        self._sockets = [by_port[port_of(each)] for each in accepted.connections]

    def drain(self, count: int, due_bytes: int) -> None:
        """Takes what the first ``count`` of them were sent: so many bytes together.

        Raises RuntimeError when less arrives: not all of it had been written to the sockets.
        """
        received, give_up_at = 0, time.monotonic() + PATIENCE_S
        while received < due_bytes:
            for client in self._sockets[:count]:
                with contextlib.suppress(BlockingIOError):
                    received += client.recv_into(self._buffer)
            if time.monotonic() > give_up_at:
                break
        if received != due_bytes:
            raise RuntimeError(f"{received} bytes arrived at {count} clients, it should be {due_bytes}")

    def close(self) -> None:
        """Closes all."""
        for client in self._sockets:
            client.close()
        self._sockets.clear()


def _connected(port: int, say: bytes) -> socket.socket:
    client = socket.socket()
    # So much that it takes a round's bytes, one small segment each, before they are read.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    client.connect((HOST, port))
    client.sendall(say)
    return client


class _Idle(asyncio.Protocol):
    """Waits for whoever takes the connection over."""

    def __init__(self, accepted: Accepted[asyncio.Transport]) -> None:
        self._accepted = accepted

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._accepted.add(cast("asyncio.Transport", transport))


class TcpConnections:
    """Bare connections, which one after the other may use."""

    def __init__(self) -> None:
        self.clients = Clients()
        self._accepted: Accepted[asyncio.Transport] = Accepted()
        self._server: asyncio.Server | None = None

    @property
    def transports(self) -> list[asyncio.Transport]:
        """The server's ends."""
        return self._accepted.connections

    async def grow(self, count: int) -> None:
        """Opens more, until there are so many."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: _Idle(self._accepted), HOST, 0)
        missing = count - len(self.transports)
        await self.clients.connect(_port(self._server), missing, b"", self._accepted, _peer_port)

    def take_back(self) -> None:
        """Has whoever used them let go of them."""
        for transport in self.transports:
            transport.set_protocol(_Idle(Accepted()))

    async def close(self) -> None:
        """Closes all; there may be others later."""
        await _close(self._server, self.transports, self.clients)
        self._server = None
        self.transports.clear()


class _Listener(picows.WSListener):
    """Takes note of its connection, and hands over what arrives."""

    def __init__(self, accepted: Accepted[Any], on_text: Callable[[str], object]) -> None:
        self._accepted = accepted
        self._on_text = on_text

    def on_ws_connected(self, transport: Any) -> None:
        self._accepted.add(transport)

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        self._on_text(frame.get_payload_as_utf8_text())


class PicowsConnections:
    """Connections that picows has accepted; ``on_text`` is called for each text message."""

    def __init__(self, on_text: Callable[[str], object] = lambda text: None) -> None:
        self.clients = Clients()
        self._accepted: Accepted[Any] = Accepted()  # of WSTransport
        self._on_text = on_text
        self._server: asyncio.Server | None = None

    @property
    def transports(self) -> list[Any]:
        """The server's ends, a WSTransport each."""
        return self._accepted.connections

    async def grow(self, count: int) -> None:
        """Opens more, until there are so many."""
        if self._server is None:
            self._server = await picows.ws_create_server(
                lambda request: _Listener(self._accepted, self._on_text),
                HOST,
                0,
                read_buffer_init_size=1 << 17,
            )
        missing = count - len(self.transports)
        await self.clients.connect(
            _port(self._server),
            missing,
            _UPGRADE,
            self._accepted,
            lambda each: _peer_port(each.underlying_transport),
        )

    async def close(self) -> None:
        """Closes all; there may be others later."""
        await _close(self._server, [each.underlying_transport for each in self.transports], self.clients)
        self._server = None
        self.transports.clear()


class PicowsLoop:
    """picows' own ``send`` for each subscriber: it frames every time, and writes to the socket itself."""

    def __init__(self, transports: Sequence[Any], payload: bytes) -> None:
        self._transports = transports
        self._payload = payload

    def deliver(self, messages: int) -> None:
        """One frame and one write per message and subscriber."""
        text = picows.WSMsgType.TEXT
        for _ in range(messages):
            for transport in self._transports:
                transport.send(text, self._payload)


def _port(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


def _peer_port(transport: asyncio.BaseTransport) -> int:
    return int(transport.get_extra_info("peername")[1])


async def _close(
    server: asyncio.Server | None, transports: Sequence[asyncio.Transport], clients: Clients
) -> None:
    for transport in transports:
        transport.abort()
    clients.close()
    if server is not None:
        server.close()
        await server.wait_closed()
