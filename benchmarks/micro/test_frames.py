"""WebSocket frames: encoding one, and parsing what a client that does not wait for answers sends."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence

import pytest
from websockets.protocol import Protocol, Side, State
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from benchmarks.micro.connections import PicowsConnections
from benchmarks.micro.measure import Measure
from benchmarks.micro.transports import make_payload
from fastchat._websocket import TEXT, FrameParser, encode_frame
from tests.twins.ring import frame_text_message
from tests.twins.websocket import FrameParserTwin

PAYLOADS_BYTES = (16, 256, 1024, 4096, 16_384, 65_536)
TWIN_MOST_BYTES = 1024  # its parser's time grows with the square
MESSAGES = 64
READ_BYTES = 65_536
LIMIT_BYTES = 1 << 20


def encode_with_fastchat(payload: bytes) -> Callable[[], bytes]:
    return lambda: encode_frame(TEXT, payload)


def encode_with_twin(payload: bytes) -> Callable[[], bytes]:
    return lambda: frame_text_message(payload)


def encode_with_websockets(payload: bytes) -> Callable[[], bytes]:
    protocol = Protocol(Side.SERVER, state=State.OPEN)

    def encode() -> bytes:
        protocol.send_text(payload)
        return b"".join(protocol.data_to_send())

    return encode


def encode_with_wsproto(payload: bytes) -> Callable[[], bytes]:
    connection, text = Connection(ConnectionType.SERVER), payload.decode()
    return lambda: connection.send(TextMessage(data=text))


ENCODERS = {
    "fastchat": encode_with_fastchat,
    "its twin": encode_with_twin,
    "websockets": encode_with_websockets,
    "wsproto": encode_with_wsproto,
}


@pytest.mark.parametrize("payload_bytes", PAYLOADS_BYTES)
@pytest.mark.parametrize("name", ENCODERS)
def test_encode(measure: Measure, name: str, payload_bytes: int) -> None:
    payload = make_payload(payload_bytes)
    encode = ENCODERS[name](payload)
    assert encode() == frame_text_message(payload)
    measure("encode", name, payload_bytes, encode, units=1)


# Parsing: every one of them is to say that a message is text, so that its UTF-8 has been looked at.


def parse_with_fastchat(reads: Sequence[bytes]) -> int:
    return _parse(FrameParser(LIMIT_BYTES), reads)


def parse_with_twin(reads: Sequence[bytes]) -> int:
    return _parse(FrameParserTwin(LIMIT_BYTES), reads)


def _parse(parser: FrameParser | FrameParserTwin, reads: Sequence[bytes]) -> int:
    count = 0
    for read in reads:
        parser.feed(read)
        while parser.next() is not None:
            count += 1
        if isinstance(parser, FrameParser):
            parser.keep()  # what has not arrived whole, as the connection does before the next read
    return count


def parse_with_websockets(reads: Sequence[bytes]) -> int:
    server = Protocol(Side.SERVER, state=State.OPEN, max_size=LIMIT_BYTES)
    count = 0
    for read in reads:
        server.receive_data(read)
        for frame in server.events_received():
            str(frame.data, "utf-8")  # type: ignore[union-attr]  # of text there are frames alone
            count += 1
    return count


def parse_with_wsproto(reads: Sequence[bytes]) -> int:
    connection = Connection(ConnectionType.SERVER)
    count = 0
    for read in reads:
        connection.receive_data(read)
        count += sum(
            event.message_finished for event in connection.events() if isinstance(event, TextMessage)
        )
    return count


PARSERS = {
    "fastchat": parse_with_fastchat,
    "its twin": parse_with_twin,
    "websockets": parse_with_websockets,
    "wsproto": parse_with_wsproto,
}


def make_reads(payload_bytes: int) -> list[bytes]:
    """The messages as a client sends them, in pieces as a loop reads them."""
    data = encode_frame(TEXT, make_payload(payload_bytes), mask=b"\1\2\3\4") * MESSAGES
    return [data[start : start + READ_BYTES] for start in range(0, len(data), READ_BYTES)]


@pytest.mark.parametrize(
    ("payload_bytes", "name"),
    [
        (size, name)
        for size, name in itertools.product(PAYLOADS_BYTES, PARSERS)
        if name != "its twin" or size <= TWIN_MOST_BYTES
    ],
)
def test_parse(measure: Measure, name: str, payload_bytes: int) -> None:
    parse, reads = PARSERS[name], make_reads(payload_bytes)
    assert parse(reads) == MESSAGES
    measure("parse", name, payload_bytes, lambda: parse(reads), units=MESSAGES)


@pytest.mark.parametrize("payload_bytes", PAYLOADS_BYTES)
def test_parse_with_picows(measure: Measure, runner: asyncio.Runner, payload_bytes: int) -> None:
    """picows' parser is a part of its protocol class: it is given reads as an event loop gives them."""
    reads = make_reads(payload_bytes)
    texts = 0

    def on_text(text: str) -> None:
        nonlocal texts
        texts += 1

    async def run() -> None:
        connections = PicowsConnections(on_text)
        await connections.grow(1)
        protocol = connections.transports[0].underlying_transport.get_protocol()

        def parse() -> None:
            for read in reads:
                left = memoryview(read)
                while left:
                    buffer = protocol.get_buffer(-1)
                    size = min(len(buffer), len(left))
                    buffer[:size] = left[:size]
                    protocol.buffer_updated(size)
                    left = left[size:]

        parse()
        assert texts == MESSAGES
        measure("parse", "picows", payload_bytes, parse, units=MESSAGES)
        await connections.close()

    runner.run(run())
