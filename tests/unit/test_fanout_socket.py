"""Sending on the socket itself, past the transport: the compiled fan-out alone does that."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.twins.stage import COMPILED, Stage

pytestmark = pytest.mark.compiled


class SocketTransport:
    """Stands for a transport on a real socket: keeps what it is left with."""

    def __init__(self, sock: socket.socket, sslcontext: object = None) -> None:
        self.extra = {"socket": sock, "sslcontext": sslcontext}
        self.left = bytearray()
        self.protocol: Any = None

    def get_extra_info(self, name: str) -> Any:
        return self.extra[name]

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert (high, low) == (0, 0)

    def get_write_buffer_size(self) -> int:
        return len(self.left)

    def write(self, data: bytes | memoryview) -> None:
        self.left += data
        self.protocol.pause()

    def writelines(self, data: list[bytes]) -> None:
        self.write(b"".join(data))

    def abort(self) -> None:
        raise AssertionError("nothing went wrong")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs


def received(sock: socket.socket) -> bytes:
    """Everything that has arrived."""
    pieces = []
    while True:
        try:
            pieces.append(sock.recv(1 << 20))
        except BlockingIOError:
            return b"".join(pieces)
        if not pieces[-1]:
            return b"".join(pieces)


def connect(stage: Stage, sock: socket.socket, **extra: Any) -> tuple[Any, SocketTransport]:
    transport = SocketTransport(sock, **extra)
    profile = stage.profile("lines", 1 << 22)
    transport.protocol = writer = stage.implementation.fanout.Writer(stage.fanout, profile, transport)
    return writer, transport


def test_a_span_goes_to_the_socket_without_the_transport(pair: tuple[socket.socket, socket.socket]) -> None:
    stage = Stage(COMPILED)
    room = stage.channel()
    writer, transport = connect(stage, pair[0])
    writer.subscribe(room)
    stage.say(room)
    stage.settle()
    assert received(pair[1]) == b"room 1\n"
    assert transport.left == b""
    assert stage.counters()["bytes_written"] == len(b"room 1\n")


def test_the_transport_gets_what_the_socket_does_not_take(pair: tuple[socket.socket, socket.socket]) -> None:
    stage = Stage(COMPILED)
    room = stage.channel("room", 1 << 24)
    writer, transport = connect(stage, pair[0])
    writer.subscribe(room)
    body = stage.say(room, 3_000_000).ljust(3_000_000, b".")
    stage.settle()
    assert writer.paused
    arrived = received(pair[1])
    assert 0 < len(arrived) < len(body)
    assert arrived + transport.left == body + b"\n"
    writer.write(b"more\n")
    stage.settle()
    writer.finish()
    assert transport.left.endswith(b"\nmore\n"), "nothing passes what waits in the transport"
    assert received(pair[1]) == b""
    assert stage.counters()["bytes_written"] == len(body) + 6


def test_the_transport_gets_everything_that_has_to_be_encrypted(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    stage = Stage(COMPILED)
    writer, transport = connect(stage, pair[0], sslcontext=object())
    writer.write(b"secret\n")
    stage.settle()
    assert transport.left == b"secret\n"
    assert received(pair[1]) == b""


def test_an_error_of_the_socket_is_the_transports(pair: tuple[socket.socket, socket.socket]) -> None:
    stage = Stage(COMPILED)
    writer, transport = connect(stage, pair[0])
    pair[1].close()
    writer.write(b"too late\n")
    stage.settle()
    assert transport.left == b"too late\n"
    assert not writer.closed


def test_a_closed_writer_leaves_the_socket_alone(pair: tuple[socket.socket, socket.socket]) -> None:
    stage = Stage(COMPILED)
    room = stage.channel()
    writer, transport = connect(stage, pair[0])
    writer.subscribe(room)
    stage.say(room)
    writer.write(b"reply\n")
    writer.close()
    stage.settle()
    assert received(pair[1]) == transport.left == b""
