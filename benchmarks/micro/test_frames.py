"""Parsing a client's WebSocket messages: the compiled parser, its twin, and the `websockets` library's."""

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from websockets.protocol import Protocol, Side, State

from fastchat._websocket import TEXT, FrameParser, encode_frame
from tests.twins.websocket import FrameParserTwin

MESSAGES = 64  # in one read, as a client that does not wait for answers sends them
LIMIT = 1 << 20


def parse_with(parser: FrameParser | FrameParserTwin, data: bytes) -> int:
    parser.feed(data)
    count = 0
    while parser.next() is not None:
        count += 1
    return count


def parse_compiled(data: bytes) -> int:
    return parse_with(FrameParser(LIMIT), data)


def parse_twin(data: bytes) -> int:
    return parse_with(FrameParserTwin(LIMIT), data)


def parse_websockets(data: bytes) -> int:
    server = Protocol(Side.SERVER, state=State.OPEN, max_size=LIMIT)
    server.receive_data(data)
    return len(server.events_received())


@pytest.mark.parametrize("parse", [parse_compiled, parse_twin, parse_websockets])
@pytest.mark.benchmark(group="frames: 64 masked messages in one read")
def test_parse(benchmark: BenchmarkFixture, parse: Callable[[bytes], int], payload: bytes) -> None:
    data = encode_frame(TEXT, payload, mask=b"\1\2\3\4") * MESSAGES
    assert benchmark(parse, data) == MESSAGES
