"""Ways to bring a room's messages to all of its subscribers: ours, its twin, and what else one would write.

Each is given the transports and one message's payload. ``deliver(messages)`` brings so many messages to
everyone, as they would come within one tick of an event loop, and returns when every transport has them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from websockets.asyncio.connection import Connection as ClientOrServerConnection
from websockets.asyncio.server import Server, ServerConnection, broadcast
from websockets.protocol import State
from websockets.server import ServerProtocol
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from fastchat._websocket import TEXT, encode_frame
from tests.twins.stage import COMPILED, TWIN, Implementation, encode_lagged

Transports = Sequence[asyncio.Transport]

HIGH_WATER_BYTES, LOW_WATER_BYTES = 65536, 32768
RING_EVENTS = 80  # a little more than the 64 of one tick: the twin looks at all of them, again and again


class Broadcaster(Protocol):
    """Something that serves a room."""

    def deliver(self, messages: int) -> None:
        """Gives every transport so many messages."""


class FanoutRoom:
    """Our ring and fan-out, or their twins, with a loop that is turned by hand."""

    def __init__(self, implementation: Implementation, transports: Transports, payload: bytes) -> None:
        self._ready: list[Callable[[], object]] = []
        self._event = implementation.ring.Event
        self._payload = payload
        self._seq = 0
        self.fanout = implementation.fanout.Fanout(self._ready.append, time.monotonic, encode_lagged)
        profile = implementation.ring.Profile("ws", "websocket", HIGH_WATER_BYTES, LOW_WATER_BYTES)
        self._channel = self.fanout.channel("room", RING_EVENTS * (len(payload) + 144))
        self._writers = [
            implementation.fanout.Writer(self.fanout, profile, each, self) for each in transports
        ]
        for writer in self._writers:
            writer.subscribe(self._channel)

    def on_writable(self) -> None:
        """Nobody replies here."""

    def deliver(self, messages: int) -> None:
        """Publishes them in one tick, and turns the loop until everyone is served."""
        for _ in range(messages):
            self._seq += 1
            self._channel.publish(self._event(self._seq, self._payload))
        while self._ready:
            self._ready.pop()()


def open_room(transports: Transports, payload: bytes) -> FanoutRoom:
    """The compiled one."""
    return FanoutRoom(COMPILED, transports, payload)


def open_twin(transports: Transports, payload: bytes) -> FanoutRoom:
    """The same in plain Python."""
    return FanoutRoom(TWIN, transports, payload)


def open_server_connections(transports: Transports) -> list[ServerConnection]:
    """`websockets`' connections as they are after a handshake, uncompressed. Needs a running loop."""
    connections = []
    for transport in transports:
        protocol = ServerProtocol(state=State.OPEN)
        connection = ServerConnection(protocol, cast("Server", None), ping_interval=None)
        transport.set_protocol(connection)
        # Not the server connection's own: that begins the handshake, for which it needs the server.
        ClientOrServerConnection.connection_made(connection, transport)
        connections.append(connection)
    return connections


class WebsocketsBroadcast:
    """`websockets.broadcast`, which sends bytes as text: the quickest way it has. Needs a running loop."""

    def __init__(self, transports: Transports, payload: bytes) -> None:
        self._connections = open_server_connections(transports)
        self._payload = payload

    def deliver(self, messages: int) -> None:
        """One call per message."""
        for _ in range(messages):
            broadcast(self._connections, self._payload, text=True)


class WsprotoLoop:
    """A connection of wsproto's for each subscriber, which frames what is then written."""

    def __init__(self, transports: Transports, payload: bytes) -> None:
        self._connections = [(Connection(ConnectionType.SERVER), each.write) for each in transports]
        self._text = payload.decode()

    def deliver(self, messages: int) -> None:
        """One frame and one write per message and subscriber."""
        for _ in range(messages):
            message = TextMessage(data=self._text)
            for connection, write in self._connections:
                write(connection.send(message))


class WriteLoop:
    """The least that a broadcast in Python can be: framed once, then written to one after the other."""

    def __init__(self, transports: Transports, payload: bytes) -> None:
        self._transports = transports
        self._payload = payload

    def deliver(self, messages: int) -> None:
        """One write per message and subscriber."""
        for _ in range(messages):
            frame = encode_frame(TEXT, self._payload)
            for transport in self._transports:
                transport.write(frame)


class JoinedWriteLoop(WriteLoop):
    """The same, with all messages of a tick joined for everyone: no cursors, no bound for slow readers."""

    def deliver(self, messages: int) -> None:
        """One write per subscriber."""
        span = b"".join([encode_frame(TEXT, self._payload) for _ in range(messages)])
        for transport in self._transports:
            transport.write(span)


Open = Callable[[Any, bytes], Broadcaster]

BROADCASTERS: dict[str, Open] = {
    "fastchat": open_room,
    "its twin": open_twin,
    "websockets.broadcast": WebsocketsBroadcast,
    "wsproto, write": WsprotoLoop,
    "loop of write": WriteLoop,
    "loop of joined write": JoinedWriteLoop,
}
"""By the name in tables, those that write to any asyncio transport."""
