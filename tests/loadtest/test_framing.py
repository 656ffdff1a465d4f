"""The load test's WebSocket frames, against those of the `websockets` library."""

import base64
import hashlib
import itertools
from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from loadtest.framing import (
    CLOSE,
    PING,
    TEXT,
    LineFraming,
    Malformed,
    Upgrade,
    WebSocketFraming,
    encode_frame,
)

PAYLOADS = st.one_of(st.binary(max_size=300), st.sampled_from([125, 126, 127, 65535, 65536]).map(bytes))


def parse(data: bytes) -> Frame:
    """What a server makes of a client's frame. Raises when there is anything wrong with it."""
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    parser: Generator[None, None, Frame] = Frame.parse(reader.read_exact, mask=True)
    with pytest.raises(StopIteration) as finished:
        next(parser)
    frame = finished.value.value
    assert isinstance(frame, Frame)
    frame.check()
    assert reader.buffer == b""
    return frame


def from_server(opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=False)


@given(PAYLOADS)
def test_what_it_sends_is_a_masked_frame(payload: bytes) -> None:
    frame = parse(WebSocketFraming().encode(payload))
    assert (frame.opcode, frame.data, frame.fin) == (Opcode.TEXT, payload, True)


@given(st.lists(PAYLOADS, max_size=6), st.lists(st.integers(0, 200_000), max_size=6))
def test_messages_come_out_whole_however_they_are_cut(payloads: list[bytes], cuts: list[int]) -> None:
    data = b"".join(from_server(Opcode.TEXT, payload) for payload in payloads)
    framing, received = WebSocketFraming(), []
    places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    for start, end in itertools.pairwise(places):
        received += framing.feed(data[start:end])
    assert received == payloads


def test_byte_by_byte() -> None:
    payloads = [b"", b"x", b"y" * 126, b"z" * 70000]
    framing, received = WebSocketFraming(), []
    for byte in b"".join(from_server(Opcode.TEXT, payload) for payload in payloads[:3]):
        received += framing.feed(bytes([byte]))
    assert received == payloads[:3]


def test_fragments_with_a_ping_between_them() -> None:
    framing = WebSocketFraming()
    data = from_server(Opcode.TEXT, b"one ", fin=False) + from_server(Opcode.PING, b"still there?")
    assert framing.feed(data + from_server(Opcode.CONT, b"message")) == [b"one message"]
    pong = parse(bytes(framing.replies))
    assert (pong.opcode, pong.data) == (Opcode.PONG, b"still there?")


def test_a_close_frame_ends_it_and_is_answered() -> None:
    framing = WebSocketFraming()
    data = from_server(Opcode.TEXT, b"last") + from_server(Opcode.CLOSE, b"\x03\xf4restart")
    assert framing.feed(data + from_server(Opcode.TEXT, b"too late")) == [b"last"]
    assert framing.close_code == 1012
    assert parse(bytes(framing.replies)).data == b"\x03\xf4"


def test_a_close_frame_without_a_code() -> None:
    framing = WebSocketFraming()
    assert framing.feed(from_server(Opcode.CLOSE, b"")) == []
    assert framing.close_code == 1005


@pytest.mark.parametrize(
    "data",
    [
        encode_frame(TEXT, b"masked"),
        b"\xc1\x01x",  # a reserved bit
        b"\x80\x01x",  # a continuation of nothing
        b"\x83\x01x",  # an opcode that does not exist
        b"\x01\x01x\x81\x01y",  # a message inside another one
    ],
)
def test_what_no_server_may_send(data: bytes) -> None:
    with pytest.raises(Malformed):
        WebSocketFraming().feed(data)


def test_control_frames_of_ours_are_valid() -> None:
    assert parse(encode_frame(PING, b"a")).opcode is Opcode.PING
    assert parse(encode_frame(CLOSE, b"\x03\xe8")).data == b"\x03\xe8"
    assert parse(WebSocketFraming().encode_close()).opcode is Opcode.CLOSE


def accept(request: bytes) -> bytes:
    (key,) = [line[19:] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key: ")]
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
    return base64.b64encode(digest)


def test_the_handshake_leaves_what_came_behind_it() -> None:
    upgrade = Upgrade("127.0.0.1:8080")
    head = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: " + accept(upgrade.request)
    assert upgrade.feed(head) is None
    assert upgrade.feed(b"\r\n\r") is None
    assert upgrade.feed(b"\n\x81\x00") == b"\x81\x00"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_a_handshake_that_is_refused(answer: bytes) -> None:
    with pytest.raises(Malformed):
        Upgrade("127.0.0.1:8080").feed(answer)


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line)), st.integers(0, 50))
def test_lines_come_out_whole(lines: list[bytes], cut: int) -> None:
    framing = LineFraming()
    data = b"".join(framing.encode(line) for line in lines)
    assert framing.feed(data[:cut]) + framing.feed(data[cut:]) == lines
