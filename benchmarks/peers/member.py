"""One more member, that joins and then does not read until it is told to: what does it get in the end?"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Callable, Iterator

from benchmarks.servers import Server

ROOM = "bench"
_JOIN_TIMEOUT_S = 10.0
_QUIET_S = 1.0
_READING_S = 15.0
_RECEIVE_BUFFER_BYTES = 4096
_message_id = re.compile(rb"x(\d{9})")


class StuckMember:
    """Received so far: which messages, by their ids, and whether the server has said that any were lost."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.ids: set[int] = set()
        self.closed = False
        self.told = False

    def read_all(self) -> None:
        """Read until the server closes the connection, or has nothing more to say."""
        deadline = time.monotonic() + _READING_S
        self._connection.settimeout(_QUIET_S)
        rest = b""
        while time.monotonic() < deadline:
            try:
                received = self._connection.recv(1 << 20)
            except TimeoutError:
                break
            except OSError:
                received = b""
            if not received:
                self.closed = True
                break
            received = rest + received
            self.ids |= {int(number) for number in _message_id.findall(received)}
            self.told = self.told or b'"type":"lagged"' in received
            rest = received[-16:]


@contextlib.contextmanager
def stuck_member(server: Server, dialect: str) -> Iterator[StuckMember]:
    """Join the room, in this dialect of the load generator, and stop reading."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        connection.settimeout(_JOIN_TIMEOUT_S)
        connection.connect(("127.0.0.1", server.port(dialect)))
        for command, answer in _greetings[dialect]():
            connection.sendall(command)
            _wait_for(connection, answer)
        yield StuckMember(connection)


def _wait_for(connection: socket.socket, answer: bytes) -> None:
    received = b""
    while answer not in received:
        some = connection.recv(4096)
        if not some:
            raise ConnectionError(f"closed before {answer!r} came, after {received!r}")
        received += some


Greeting = list[tuple[bytes, bytes]]
"""What is sent, each with the answer that is waited for before the next."""

_UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
_HELLO = json.dumps({"type": "hello", "user": "stuck"}).encode()
_JOIN = json.dumps({"type": "join", "room": ROOM}).encode()


def _frame(payload: bytes) -> bytes:
    """A masked text frame; the mask is all zeros."""
    return bytes((0x81, 0x80 | len(payload))) + bytes(4) + payload


def _mqtt_packet(kind: int, body: bytes) -> bytes:
    return bytes((kind, len(body))) + body


def _mqtt_text(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()


def _mqtt() -> Greeting:
    connect = _mqtt_packet(0x10, _mqtt_text("MQTT") + b"\x04\x02\x00\x00" + _mqtt_text("stuck"))
    subscribe = _mqtt_packet(0x82, b"\x00\x01" + _mqtt_text(ROOM) + b"\x00")
    return [(connect, b"\x20\x02"), (subscribe, b"\x90")]


_greetings: dict[str, Callable[[], Greeting]] = {
    "line": lambda: [(_HELLO + b"\n", b"welcome"), (_JOIN + b"\n", b"joined")],
    "ws": lambda: [
        (_UPGRADE + b"Sec-WebSocket-Protocol: fastchat.v1\r\n\r\n", b"\r\n\r\n"),
        (_frame(_HELLO), b"welcome"),
        (_frame(_JOIN), b"joined"),
    ],
    "floor": lambda: [(b"S\n", b"\n")],
    "echo-ws": lambda: [(_UPGRADE + b"\r\n", b"\r\n\r\n")],
    "echo-line": lambda: [(b"", b"\n")],
    "nats-core": lambda: [(b'CONNECT {"verbose":false}\r\nSUB bench 1\r\nPING\r\n', b"PONG")],
    "mqtt": _mqtt,
    "irc": lambda: [(b"NICK stuck\r\nUSER stuck 0 * :stuck\r\n", b" 001 "), (b"JOIN #bench\r\n", b" 366 ")],
}
