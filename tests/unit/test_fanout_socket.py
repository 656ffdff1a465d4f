"""Sending on the socket itself, past the transport: the compiled fan-out alone does that."""

import contextlib
import itertools
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.twins.stage import COMPILED, Stage, encode_lagged

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


class BrokenTransport(SocketTransport):
    """Raises as soon as it is left with anything."""

    aborted = False

    def write(self, data: bytes | memoryview) -> None:
        raise ConnectionResetError

    def abort(self) -> None:
        self.aborted = True


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """As many as a sweep looks at between several looks at the clock."""
    with contextlib.ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(20)]
        for sock in itertools.chain(*pairs):
            stack.enter_context(sock)
            sock.setblocking(False)
        yield pairs


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


def connect(
    stage: Stage, sock: socket.socket, kind: type[SocketTransport] = SocketTransport, **extra: Any
) -> tuple[Any, SocketTransport]:
    return connect_to(stage, stage.profile("lines", 1 << 22), kind(sock, **extra))


def connect_to(stage: Stage, profile: Any, transport: SocketTransport) -> tuple[Any, SocketTransport]:
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


def everyone_in(
    stage: Stage,
    room: Any,
    pairs: list[tuple[socket.socket, socket.socket]],
    odd: int,
    kind: type[SocketTransport],
) -> list[tuple[Any, Any]]:
    """A writer in the room for each pair, with one profile; the one at ``odd`` has this kind of transport."""
    profile = stage.profile("lines", 1 << 22)
    members = [
        connect_to(stage, profile, (kind if number == odd else SocketTransport)(ours))
        for number, (ours, _) in enumerate(pairs)
    ]
    for writer, _ in members:
        writer.subscribe(room)
    return members


def test_replies_go_before_a_shared_span_also_when_a_slice_ends_before_them(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    stage = Stage(COMPILED, slice_s=0.0)
    room = stage.channel()
    members = everyone_in(stage, room, pairs, 0, SocketTransport)
    for writer, _ in members:
        writer.write(b"reply\n")
    stage.say(room)
    stage.settle()
    assert {received(theirs) for _, theirs in pairs} == {b"reply\nroom 1\n"}
    assert {bytes(transport.left) for _, transport in members} == {b""}
    assert stage.counters()["writes"] == len(pairs), "both are one write"


def test_a_full_socket_among_many_leaves_its_transport_the_rest(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    stage = Stage(COMPILED)
    room = stage.channel("room", 1 << 24)
    members = everyone_in(stage, room, pairs, 5, SocketTransport)
    pairs[5][0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    body = stage.say(room, 50_000).ljust(50_000, b".") + b"\n"
    stage.settle()
    assert [writer.paused for writer, _ in members] == [number == 5 for number in range(20)]
    for number, ((_, theirs), (_, transport)) in enumerate(zip(pairs, members, strict=True)):
        arrived = received(theirs)
        assert arrived + transport.left == body
        assert bool(transport.left) == (number == 5)
        assert arrived, "some of it has gone out"
    counters = stage.counters()
    assert (counters["deliveries"], counters["writes"], counters["bytes_written"]) == (20, 20, 20 * len(body))
    rest = bytes(members[5][1].left)
    stage.say(room)
    stage.settle()
    assert received(pairs[5][1]) == b"", "nothing passes what waits in the transport"
    assert members[5][1].left == rest
    assert received(pairs[6][1]) == b"room 2\n"


def test_what_is_hidden_from_one_among_many_is_shared_by_the_others(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    stage = Stage(COMPILED)
    room = stage.channel()
    members = everyone_in(stage, room, pairs, 0, SocketTransport)
    stage.say(room, hidden_from=members[7][0].subscription(room))
    stage.settle()
    assert [received(theirs) for _, theirs in pairs] == [b"room 1\n"] * 7 + [b""] + [b"room 1\n"] * 12
    stage.say(room)
    stage.settle()
    assert {received(theirs) for _, theirs in pairs} == {b"room 2\n"}


def test_a_socket_that_fails_among_many_ends_its_writer_alone(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    stage = Stage(COMPILED)
    room = stage.channel()
    members = everyone_in(stage, room, pairs, 11, BrokenTransport)
    pairs[11][1].close()
    stage.say(room)
    stage.settle()
    assert [writer.closed for writer, _ in members] == [number == 11 for number in range(20)]
    assert members[11][1].aborted
    del pairs[11]
    assert {received(theirs) for _, theirs in pairs} == {b"room 1\n"}
    counters = stage.counters()
    assert (counters["deliveries"], counters["writes"], counters["failures"]) == (20, 19, 1)


def test_who_publishes_while_a_full_socket_is_handed_over_is_heard(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    class Talkative(SocketTransport):
        def write(self, data: bytes | memoryview) -> None:
            """Takes everything, and has something to say."""
            self.left += data
            if room.ring.head_seq == 1:
                stage.say(room)

    stage = Stage(COMPILED)
    room = stage.channel("room", 1 << 24)
    members = everyone_in(stage, room, pairs, 5, Talkative)
    pairs[5][0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    body = stage.say(room, 50_000).ljust(50_000, b".")
    stage.settle()
    given = [
        received(theirs) + transport.left for (_, theirs), (_, transport) in zip(pairs, members, strict=True)
    ]
    assert given.pop(5).count(b"room 2\n") == 1
    assert set(given) == {body + b"\nroom 2\n"}
    assert stage.counters()["deliveries"] == 40


def test_the_systems_own_clock_ends_a_slice() -> None:
    """It is read without calling Python; any other one is called."""
    ready: list[Any] = []
    stage = Stage(COMPILED)
    fanout = COMPILED.fanout.Fanout(ready.append, time.monotonic, encode_lagged, 0.0)
    stage.fanout = fanout
    room = stage.channel()
    clients = [stage.client(room) for _ in range(20)]
    stage.say(room)
    before = time.monotonic()
    ready.pop()()
    assert sum(bool(client.heard) for client in clients) == 8
    assert 0 < fanout.sweep_time_s <= time.monotonic() - before


def test_pieces_go_to_the_socket_in_one_write(pair: tuple[socket.socket, socket.socket]) -> None:
    stage = Stage(COMPILED)
    room = stage.channel()
    writer, transport = connect(stage, pair[0])
    writer.subscribe(room)
    stage.say(room)
    writer.write(b"joined\n")
    stage.settle()
    assert received(pair[1]) == b"joined\nroom 1\n"
    assert transport.left == b""
    counters = stage.counters()
    assert (counters["writes"], counters["bytes_written"]) == (1, len(b"joined\nroom 1\n"))


def test_what_the_socket_does_not_take_of_pieces_is_left_to_the_transport(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    stage = Stage(COMPILED)
    room = stage.channel(ring_bytes=1 << 23)
    writer, transport = connect(stage, pair[0])
    writer.subscribe(room)
    stage.say(room, 1 << 21)
    writer.write(b"joined\n")
    stage.settle()
    assert transport.left
    arrived = received(pair[1])
    assert arrived.startswith(b"joined\nroom 1")
    assert len(arrived) + len(transport.left) == len(b"joined\n") + (1 << 21) + 1


def test_a_full_socket_leaves_all_pieces_to_the_transport(pair: tuple[socket.socket, socket.socket]) -> None:
    stage = Stage(COMPILED)
    room = stage.channel()
    writer, transport = connect(stage, pair[0])
    writer.subscribe(room)
    filled = pair[0].send(bytes(1 << 24))
    while filled:
        try:
            filled = pair[0].send(b"x")
        except BlockingIOError:
            filled = 0
    stage.say(room)
    writer.write(b"joined\n")
    stage.settle()
    assert transport.left == b"joined\nroom 1\n"
