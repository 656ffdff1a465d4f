"""The WebSocket edge over a transport that is none."""

import asyncio
import gc
import sys
import typing
from collections.abc import Callable

import pytest

from fastchat._websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    FrameParser,
    encode_close,
    encode_frame,
)
from fastchat.protocols.websocket import WebSocketListener, WebSocketProtocol
from tests.fakes import FakeLoop, FakeTransport, RecordingHandler

MASK = b"\x01\x02\x03\x04"
HEAD = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    return encode_frame(opcode, payload, MASK, fin)


def close(code: int, reason: str = "") -> bytes:
    return masked(CLOSE, encode_close(code, reason)[2:])


class Client:
    """One connection, both of its ends."""

    def __init__(
        self,
        on_event: Callable[[RecordingHandler, tuple[object, ...]], object] | None = None,
        *,
        upgraded: bool = True,
        half_close: bool = True,
        **options: typing.Any,
    ) -> None:
        self.loop = FakeLoop()
        self.handler = RecordingHandler(on_event)
        self.listener = WebSocketListener(lambda: self.handler, loop=self.loop, **options)
        self.protocol = WebSocketProtocol(self.listener)
        self.transport = FakeTransport(self.loop, half_close=half_close)
        self.transport.connect(self.protocol)
        if upgraded:
            self.send(HEAD + b"\r\n")
            assert self.transport.take().startswith(b"HTTP/1.1 101 ")
            assert self.handler.take() == [("open",)]

    def send(self, *frames: bytes) -> None:
        self.transport.peer_sends(b"".join(frames))
        self.loop.turn()

    def frames(self) -> list[tuple[int, bytes]]:
        """Returns the frames that the peer has got since the last time."""
        parser = FrameParser(1 << 20, require_mask=False)
        parser.feed(self.transport.take())
        frames = []
        while (frame := parser.next()) is not None:
            frames.append(frame)
        return frames

    def answer(self) -> bytes:
        """Returns the status line of an HTTP answer."""
        return self.transport.take().split(b"\r\n")[0]

    def has_ended(self) -> bool:
        return self.transport.lost


# Handshake --------------------------------------------------------------------------------------


def test_a_handshake_in_pieces() -> None:
    client = Client(upgraded=False)
    for byte in HEAD + b"\r\n":
        assert client.transport.take() == b""
        client.send(bytes([byte]))
    assert client.answer() == b"HTTP/1.1 101 Switching Protocols"
    assert client.handler.take() == [("open",)]
    assert client.protocol.peer_address == "192.0.2.1"
    assert len(client.listener.handshakes) == 0
    assert len(client.listener.keep_alive) == 1


def test_frames_right_after_the_request() -> None:
    client = Client(upgraded=False)
    client.send(HEAD + b"\r\n" + masked(TEXT, b"a") + masked(TEXT, b"b"))
    assert client.handler.take() == [("open",), ("message", b"a", True), ("message", b"b", True)]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"rubbish\r\n\r\n", 400),
        (HEAD.replace(b"/ws", b"/other") + b"\r\n", 404),
        (HEAD.replace(b"Version: 13", b"Version: 12") + b"\r\n", 426),
        (HEAD + b"Origin: https://evil.example\r\n\r\n", 403),
        (HEAD + b"X: " + b"x" * 40000 + b"\r\n\r\n", 431),
        (HEAD + b"X: " + b"x" * 40000, 431),
    ],
)
def test_refusals_reach_the_peer_and_end(request_: bytes, status: int) -> None:
    client = Client(upgraded=False, allowed_origins=["https://chat.example"])
    client.send(request_)
    assert client.answer().split()[1] == str(status).encode()
    assert client.transport.eof_written
    client.send(b"more")
    assert not client.has_ended()
    client.transport.peer_ends()
    client.loop.turn()
    assert client.has_ended()
    assert client.handler.events == []


def test_admit_is_asked_about_the_real_address() -> None:
    asked: list[str] = []

    def admit(address: str) -> str | None:
        asked.append(address)
        return "too many connections" if len(asked) == 1 else None

    for expected in (b"HTTP/1.1 503 Service Unavailable", b"HTTP/1.1 101 Switching Protocols"):
        client = Client(upgraded=False, admit=admit, trusted_proxies=["192.0.2.0/24"])
        client.send(HEAD + b"X-Forwarded-For: 198.51.100.9\r\n\r\n")
        assert client.answer() == expected
        assert client.protocol.peer_address == "198.51.100.9"
    assert asked == ["198.51.100.9"] * 2


def test_half_a_handshake_is_cut() -> None:
    client = Client(upgraded=False, handshake_timeout_s=10, close_timeout_s=5)
    client.send(HEAD)
    client.loop.advance(9.9)
    assert client.transport.take() == b""
    client.loop.advance(0.2)
    assert client.answer() == b"HTTP/1.1 408 Request Timeout"
    client.loop.advance(5.1)
    assert client.has_ended()
    assert client.handler.events == []
    assert client.loop.timers == 0


def test_a_peer_that_leaves_during_the_handshake() -> None:
    for leave in (FakeTransport.peer_ends, FakeTransport.peer_resets):
        client = Client(upgraded=False)
        client.send(HEAD)
        leave(client.transport)
        client.loop.turn()
        assert client.has_ended()
        assert client.handler.events == []
        assert len(client.listener.handshakes) == 0


# Messages ---------------------------------------------------------------------------------------


def test_messages() -> None:
    client = Client()
    client.send(masked(TEXT, b"a"), masked(BINARY, b"\xff"), masked(TEXT, b"c", fin=False))
    assert client.handler.take() == [("message", b"a", True), ("message", b"\xff", False)]
    client.send(masked(PONG, b"unasked"), masked(CONTINUATION, b"d"))
    assert client.handler.take() == [("message", b"cd", True)]
    assert client.frames() == []


def test_a_message_longer_than_the_shared_buffer() -> None:
    client = Client(max_message_bytes=300000)
    client.send(masked(BINARY, b"x" * 300000), masked(TEXT, b"next"))
    assert client.handler.take() == [("message", b"x" * 300000, False), ("message", b"next", True)]


def test_no_message_comes_after_pause_reading() -> None:
    def pause_at_b(handler: RecordingHandler, event: tuple[object, ...]) -> None:
        if event == ("message", b"b", True):
            handler.stream.pause_reading()

    client = Client(pause_at_b)
    client.send(*(masked(TEXT, letter) for letter in (b"a", b"b", b"c", b"b", b"d")))
    client.send(masked(TEXT, b"e"))
    assert client.handler.take() == [("message", b"a", True), ("message", b"b", True)]
    assert client.transport.unread > 0
    client.handler.stream.resume_reading()
    assert client.handler.take() == []
    client.loop.turn()
    assert client.handler.take() == [("message", b"c", True), ("message", b"b", True)]
    client.handler.stream.resume_reading()
    client.loop.turn()
    assert client.handler.take() == [("message", b"d", True), ("message", b"e", True)]


def is_read(client: Client) -> bool:
    return client.transport.reading


def test_the_socket_is_paused_when_something_comes_that_has_to_wait() -> None:
    client = Client()
    client.handler.stream.pause_reading()
    assert is_read(client), "nobody has said anything"
    client.handler.stream.resume_reading()
    client.send(masked(TEXT, b"a"))
    assert client.handler.take() == [("message", b"a", True)]
    client.handler.stream.pause_reading()
    client.send(masked(TEXT, b"b"))
    assert not is_read(client)
    client.handler.stream.resume_reading()
    client.handler.stream.pause_reading()
    client.loop.turn()
    assert not is_read(client)
    assert client.handler.take() == []
    client.handler.stream.resume_reading()
    client.loop.turn()
    assert is_read(client)
    assert client.handler.take() == [("message", b"b", True)]


def test_pausing_in_on_open_holds_what_came_with_the_request() -> None:
    def pause(handler: RecordingHandler, event: tuple[object, ...]) -> None:
        if event == ("open",):
            handler.stream.pause_reading()

    client = Client(pause, upgraded=False)
    client.send(HEAD + b"\r\n" + masked(TEXT, b"a"))
    assert client.handler.take() == [("open",)]
    client.handler.stream.resume_reading()
    client.handler.stream.pause_reading()
    client.handler.stream.resume_reading()
    client.loop.turn()
    assert client.handler.take() == [("message", b"a", True)]


def test_resuming_within_on_message_does_not_recurse() -> None:
    depth = 0

    def bounce(handler: RecordingHandler, event: tuple[object, ...]) -> None:
        nonlocal depth
        depth += 1
        assert depth == 1
        if event[0] == "message":
            handler.stream.pause_reading()
            handler.stream.resume_reading()
        depth -= 1

    client = Client(bounce)
    client.send(*(masked(TEXT, bytes([65 + i])) for i in range(20)))
    assert [event[1] for event in client.handler.take()] == [bytes([65 + i]) for i in range(20)]


def test_pause_and_resume_writing_are_told() -> None:
    client = Client()
    client.transport.set_write_buffer_limits(1000, 500)
    client.transport.stop_peer()
    client.transport.write(encode_frame(TEXT, b"x" * 2000))
    assert client.handler.take() == [("pause",)]
    client.transport.start_peer()
    assert client.handler.take() == [("resume",)]


# Ping and pong ----------------------------------------------------------------------------------


def test_pings_are_answered_in_order_and_before_a_later_message() -> None:
    order: list[bytes] = []
    client = Client(
        lambda handler, event: order.append(client.transport.take()) if event[0] == "message" else None
    )
    client.send(masked(PING, b"1"), masked(PING, b"2"), masked(TEXT, b"a"), masked(PING, b"3"))
    assert order == [encode_frame(PONG, b"1") + encode_frame(PONG, b"2")]
    assert client.frames() == [(PONG, b"3")]


def test_pings_of_one_read_are_answered_with_one_write() -> None:
    client = Client()
    before = client.transport.writes
    client.send(masked(PING) * 5000)
    assert client.frames() == [(PONG, b"")] * 5000
    assert client.transport.writes == before + 1


def test_a_ping_flood_without_reading_is_bounded() -> None:
    client = Client()
    client.transport.set_write_buffer_limits(1000, 500)
    client.transport.stop_peer()
    for number in range(5000):
        client.send(masked(PING, number.to_bytes(2, "big") + b"x" * 100))
    assert client.transport.get_write_buffer_size() < 1200
    assert client.transport.unread > 400_000
    assert not client.transport.reading
    client.transport.start_peer()
    client.loop.turn()
    pongs = client.frames()
    assert pongs[-1] == (PONG, (4999).to_bytes(2, "big") + b"x" * 100)
    assert client.transport.unread == 0


def test_a_waiting_pong_holds_messages_back_but_loses_none() -> None:
    client = Client()
    client.transport.set_write_buffer_limits(10, 5)
    client.transport.stop_peer()
    client.transport.write(encode_frame(TEXT, b"x" * 20))
    client.send(masked(TEXT, b"a"), masked(PING, b"1"), masked(TEXT, b"b"))
    assert client.handler.take() == [("pause",), ("message", b"a", True)]
    client.transport.start_peer()
    client.loop.turn()
    assert client.handler.take() == [("resume",), ("message", b"b", True)]
    assert client.frames() == [(TEXT, b"x" * 20), (PONG, b"1")]


def test_keep_alive_ends_a_silent_peer() -> None:
    client = Client(ping_interval_s=20, ping_timeout_s=10)
    client.loop.advance(21)
    assert client.frames() == [(PING, b"")]
    client.loop.advance(11)
    assert client.has_ended()
    assert client.handler.take() == [("close", 1006, "the peer did not answer a ping")]
    client.loop.advance(1)
    assert client.loop.timers == 0


def test_keep_alive_takes_anything_for_an_answer() -> None:
    client = Client(ping_interval_s=20, ping_timeout_s=10)
    client.loop.advance(1)
    for byte in masked(TEXT, b"slowly"):
        client.loop.advance(20)
        assert client.frames() == [(PING, b"")]
        client.send(bytes([byte]))
    assert not client.has_ended()


def test_keep_alive_spares_who_cannot_get_the_ping_and_who_is_not_read_from() -> None:
    client = Client(ping_interval_s=20, ping_timeout_s=10)
    client.transport.set_write_buffer_limits(10, 5)
    client.transport.stop_peer()
    client.transport.write(encode_frame(TEXT, b"x" * 20))
    client.loop.advance(100)
    client.transport.start_peer()
    assert client.frames() == [(TEXT, b"x" * 20)]
    client.protocol.pause_reading()
    client.loop.advance(100)
    assert not client.has_ended()
    assert client.frames() == []


# Closing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "told", "echo"),
    [
        (close(1000, "bye"), (1000, "bye"), b"\x03\xe8"),
        (close(4321), (4321, ""), b"\x10\xe1"),
        (masked(CLOSE), (1005, ""), b""),
    ],
)
def test_the_peers_close_is_echoed(frame: bytes, told: tuple[int, str], echo: bytes) -> None:
    client = Client()
    client.send(masked(TEXT, b"last"), frame, masked(TEXT, b"too late"), masked(PING))
    assert client.handler.take() == [("message", b"last", True), ("close", *told)]
    assert client.frames() == [(CLOSE, echo)]
    assert client.transport.eof_written
    assert not client.has_ended()
    client.transport.peer_ends()
    client.loop.turn()
    assert client.has_ended()
    assert client.handler.take() == []


def test_our_close_waits_for_the_peers() -> None:
    client = Client(close_timeout_s=5)
    client.handler.stream.close(4001, "enough")
    client.handler.stream.close(4002, "again")
    client.send(masked(TEXT, b"ignored"), masked(PING), masked(BINARY, b"x" * 500))
    assert client.frames() == [(CLOSE, b"\x0f\xa1enough")]
    assert client.handler.take() == []
    client.send(close(4001, "enough"))
    assert client.handler.take() == [("close", 4001, "enough")]
    client.loop.turn()
    assert client.has_ended()
    assert client.frames() == []
    client.loop.advance(10)
    assert client.loop.timers == 0


def test_our_close_does_not_wait_for_ever() -> None:
    client = Client(close_timeout_s=5)
    client.handler.stream.close(1001, "going")
    client.loop.advance(4.9)
    client.send(masked(TEXT, b"still here"))
    assert not client.has_ended()
    client.loop.advance(0.2)
    assert client.has_ended()
    assert client.handler.take() == [("close", 1006, "the connection was lost")]


def test_our_close_sees_the_peers_although_reading_was_paused() -> None:
    client = Client()
    client.handler.stream.pause_reading()
    client.send(masked(TEXT, b"unread"))
    client.handler.stream.close(1000, "")
    client.handler.stream.pause_reading()
    client.send(close(1000))
    assert client.handler.take() == [("close", 1000, "")]


def test_close_from_within_on_message_and_on_open() -> None:
    def close_at_once(handler: RecordingHandler, event: tuple[object, ...]) -> None:
        if event[0] in ("open", "message"):
            handler.stream.close(4000, "")

    client = Client(close_at_once, upgraded=False)
    client.send(HEAD + b"\r\n" + masked(TEXT, b"a") + masked(TEXT, b"b"))
    assert client.handler.take() == [("open",)]
    client.send(close(4000))
    assert client.handler.take() == [("close", 4000, "")]


def test_a_stuck_reader_does_not_hold_up_the_end() -> None:
    client = Client(close_timeout_s=5)
    client.transport.stop_peer()
    client.transport.write(encode_frame(TEXT, b"x" * 1000))
    client.send(close(1000))
    client.transport.peer_ends()
    client.loop.advance(4)
    assert not client.has_ended()
    client.loop.advance(2)
    assert client.has_ended()
    assert client.handler.take() == [("close", 1000, "")]


@pytest.mark.parametrize(
    ("rubbish", "code"),
    [
        (encode_frame(TEXT, b"not masked"), 1002),
        (masked(CONTINUATION, b"x"), 1002),
        (masked(TEXT, b"\xff"), 1007),
        (bytes([0x82, 0xFF]) + b"\x7f" + b"\xff" * 7, 1009),
        (masked(CLOSE, b"\x01"), 1002),
    ],
)
def test_who_breaks_the_protocol_is_told_before_the_end(rubbish: bytes, code: int) -> None:
    client = Client()
    client.send(masked(TEXT, b"fine"), masked(PING, b"p"), rubbish, masked(TEXT, b"never seen"))
    first, (_, told, reason) = client.handler.take()
    assert first == ("message", b"fine", True)
    assert told == code
    assert client.frames()[-1] == (CLOSE, code.to_bytes(2, "big") + str(reason).encode())
    assert client.transport.eof_written
    # Its remaining bytes are read, so that no reset destroys the answer.
    client.send(b"\x00" * 100_000)
    assert client.transport.unread == 0
    assert not client.has_ended()
    client.loop.advance(6)
    assert client.has_ended()
    assert client.handler.take() == []


def test_breaking_the_protocol_while_closing() -> None:
    client = Client()
    client.handler.stream.close(1000, "")
    client.send(b"\xff\xff\xff")
    assert client.handler.take() == [("close", 1006, "reserved bit is set")]
    assert client.frames() == [(CLOSE, b"\x03\xe8")]


def test_where_the_sending_side_cannot_be_ended_alone() -> None:
    client = Client(half_close=False)
    client.send(masked(TEXT, b"\xff"))
    client.loop.turn()
    assert client.has_ended()
    assert client.frames()[-1][0] == CLOSE


def test_an_end_without_a_close_frame() -> None:
    for leave in (FakeTransport.peer_ends, FakeTransport.peer_resets):
        client = Client()
        client.send(masked(TEXT, b"half")[:-1])
        leave(client.transport)
        client.loop.turn()
        assert client.has_ended()
        ((kind, code, _),) = client.handler.take()
        assert (kind, code) == ("close", 1006)
        assert len(client.listener.keep_alive) == 0


def test_abort() -> None:
    client = Client()
    client.handler.stream.abort()
    client.handler.stream.abort()
    assert client.handler.take() == []
    client.loop.turn()
    assert client.handler.take() == [("close", 1006, "the connection was lost")]
    client.handler.stream.close(1000, "")
    client.handler.stream.pause_reading()
    client.handler.stream.resume_reading()
    client.loop.turn()
    assert client.handler.take() == []


def test_a_message_may_abort_its_own_connection() -> None:
    client = Client(lambda handler, event: handler.stream.abort() if event[0] == "message" else None)
    client.send(masked(TEXT, b"a"), masked(TEXT, b"b"))
    assert [event[0] for event in client.handler.take()] == ["message", "close"]


# Beside HTTP ------------------------------------------------------------------------------------


class Web(asyncio.Protocol):
    """Takes what is no request for a WebSocket."""

    def __init__(self) -> None:
        self.transport: asyncio.BaseTransport | None = None
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data


def test_taking_a_socket_over() -> None:
    client = Client(upgraded=False)
    other = WebSocketProtocol(client.listener)
    transport = FakeTransport(client.loop)
    transport.protocol = object()
    other.take_over(transport, HEAD + b"\r\n" + masked(TEXT, b"came with the request"))
    assert transport.protocol is other
    assert client.handler.take() == [("open",), ("message", b"came with the request", True)]
    assert len(client.listener.handshakes) == 1  # the one that has not been said anything on


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        HEAD,
        b"G",
        HEAD.replace(b"GET", b"PUT") + b"\r\n",
        b"GET / HTTP/1.1\r\n\r\n" + HEAD + b"\r\n",
        HEAD.replace(b"Upgrade: websocket", b"Upgrade: h2c, websocket") + b"\r\n",
    ],
)
def test_what_is_no_request_for_a_websocket_goes_elsewhere(data: bytes) -> None:
    web = Web()
    client = Client(upgraded=False, otherwise=lambda: web)
    client.send(data)
    assert web.received == data
    assert web.transport is client.transport
    assert client.transport.protocol is web
    assert client.transport.take() == b""
    assert len(client.listener.handshakes) == 0


def test_a_request_for_a_websocket_stays() -> None:
    client = Client(otherwise=Web)
    client.send(masked(TEXT, b"a"))
    assert client.handler.take() == [("message", b"a", True)]


def test_who_says_nothing_is_cut_silently_beside_http() -> None:
    client = Client(upgraded=False, otherwise=Web, handshake_timeout_s=10)
    client.loop.advance(10)
    assert client.transport.take() == b""
    assert client.has_ended()


def test_a_stop_ends_handshakes() -> None:
    client = Client(upgraded=False, handshake_timeout_s=0)
    client.listener.stop()
    client.loop.turn()
    assert client.has_ended()


# Memory -----------------------------------------------------------------------------------------


def test_a_connection_that_is_over_holds_its_handler_no_more() -> None:
    client = Client()
    assert client.handler in gc.get_referents(client.protocol)
    client.handler.stream.abort()
    client.loop.turn()
    assert client.handler not in gc.get_referents(client.protocol)


def test_an_idle_connection_is_small() -> None:
    client = Client()
    client.send(masked(TEXT, b"has been read"))
    assert not any(isinstance(part, FrameParser) for part in gc.get_referents(client.protocol))
    assert sys.getsizeof(client.protocol) <= 128
    assert not hasattr(client.protocol, "__dict__")
