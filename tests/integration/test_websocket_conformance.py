"""RFC 6455 over real sockets in the Autobahn test suite's categories, and with `websockets` as a peer."""

import asyncio
import contextlib
import itertools
import os
import socket
import struct
from collections.abc import AsyncIterator

import pytest
import websockets
from websockets.asyncio.client import connect

from fastchat._websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    FrameParser,
    encode_frame,
)
from fastchat.protocols.websocket import WebSocketListener, WebSocketProtocol
from tests.echo_server import EchoHandler

MASK = b"\xa5\x5a\x00\xff"
LIMIT = 1 << 20
HEAD = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0) -> bytes:
    data = bytearray(encode_frame(opcode, payload, MASK, fin))
    data[0] |= reserved << 4
    return bytes(data)


def close_frame(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack(">H", code) + reason)


class Peer:
    """A client that may send what it wants, and sees all that comes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._parser = FrameParser(1 << 30, require_mask=False)

    def send(self, *data: bytes) -> None:
        self.writer.write(b"".join(data))

    async def send_chopped(self, data: bytes, size: int) -> None:
        for start in range(0, len(data), size):
            self.writer.write(data[start : start + size])
            await self.writer.drain()

    async def receive(self) -> tuple[int, bytes] | None:
        """Returns the next message, control frame, or None at the end of the stream."""
        while (message := self._parser.next()) is None:
            data = await self.reader.read(1 << 16)
            if not data:
                return None
            self._parser.feed(data)
        return message

    async def ends(self, code: int | None) -> bytes:
        """Receives the close frame and the end of the stream after it; returns the reason."""
        message = await self.receive()
        assert message is not None, "the connection ended without a close frame"
        opcode, payload = message
        assert opcode == CLOSE
        assert payload[:2] == (b"" if code is None else struct.pack(">H", code))
        # FrameParser ignores what follows a close frame, but nothing must.
        assert await self.reader.read() == b""
        return payload[2:]


class Echo:
    """The echo server; `connect()` returns a peer after its opening handshake."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def url(self) -> str:
        return f"ws://{self.address[0]}:{self.address[1]}/"

    async def connect(self) -> Peer:
        reader, writer = await asyncio.open_connection(*self.address, limit=1 << 24)
        self._writers.append(writer)
        writer.write(HEAD)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        return Peer(reader, writer)

    async def close(self) -> None:
        for writer in self._writers:
            writer.close()
        for writer in self._writers:
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    loop = asyncio.get_running_loop()
    problems: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: problems.append(context))
    listener = WebSocketListener(EchoHandler, path="/", max_message_bytes=LIMIT, close_timeout_s=2)
    protocols: list[WebSocketProtocol] = []

    def make() -> WebSocketProtocol:
        protocols.append(WebSocketProtocol(listener))
        return protocols[-1]

    server = await loop.create_server(make, "127.0.0.1", 0)
    instance = Echo(server.sockets[0].getsockname())
    try:
        yield instance
    finally:
        await instance.close()
        server.close()
        for protocol in protocols:
            protocol.transport.abort()
        await server.wait_closed()
        listener.stop()
    assert problems == []


# 1 Framing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 125, 126, 127, 128, 65535, 65536, LIMIT])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_1_framing(echo: Echo, opcode: int, size: int) -> None:
    peer = await echo.connect()
    payload = b"*" * size if opcode == TEXT else os.urandom(size)
    peer.send(frame(opcode, payload))
    assert await peer.receive() == (opcode, payload)


@pytest.mark.parametrize("chop", [1, 997])
async def test_1_framing_chopped(echo: Echo, chop: int) -> None:
    peer = await echo.connect()
    await peer.send_chopped(frame(TEXT, b"*" * 2000) + frame(BINARY, b"\xfe" * 126), chop)
    assert await peer.receive() == (TEXT, b"*" * 2000)
    assert await peer.receive() == (BINARY, b"\xfe" * 126)


# 2 Pings and pongs ------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"", b"Hello", b"\x00\xff\xfe\xfd", b"x" * 125])
@pytest.mark.parametrize("chop", [1, 1000])
async def test_2_ping(echo: Echo, payload: bytes, chop: int) -> None:
    peer = await echo.connect()
    await peer.send_chopped(frame(PING, payload), chop)
    assert await peer.receive() == (PONG, payload)


async def test_2_unasked_pongs_are_ignored(echo: Echo) -> None:
    peer = await echo.connect()
    peer.send(frame(PONG), frame(PONG, b"unasked"), frame(PING, b"asked"))
    assert await peer.receive() == (PONG, b"asked")


async def test_2_ten_pings(echo: Echo) -> None:
    peer = await echo.connect()
    for number in range(10):
        peer.send(frame(PING, b"payload-%d" % number))
    assert [await peer.receive() for _ in range(10)] == [(PONG, b"payload-%d" % i) for i in range(10)]


async def test_2_a_ping_of_126_bytes(echo: Echo) -> None:
    peer = await echo.connect()
    peer.send(frame(PING, b"x" * 126))
    await peer.ends(1002)


# 3 Reserved bits --------------------------------------------------------------------------------


@pytest.mark.parametrize("reserved", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
async def test_3_reserved_bits(echo: Echo, reserved: int, opcode: int) -> None:
    peer = await echo.connect()
    peer.send(frame(TEXT, b"before"), frame(opcode, b"", reserved=reserved), frame(PING))
    assert await peer.receive() == (TEXT, b"before")
    await peer.ends(1002)


# 4 Opcodes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("payload", [b"", b"reserved opcode payload"])
async def test_4_reserved_opcodes(echo: Echo, opcode: int, payload: bytes) -> None:
    peer = await echo.connect()
    peer.send(frame(TEXT, b"before"), frame(opcode, payload), frame(PING))
    assert await peer.receive() == (TEXT, b"before")
    await peer.ends(1002)


# 5 Fragmentation --------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
async def test_5_fragmented_control_frames(echo: Echo, opcode: int) -> None:
    peer = await echo.connect()
    peer.send(frame(opcode, b"ab", fin=False), frame(CONTINUATION, b"cd"))
    await peer.ends(1002)


@pytest.mark.parametrize("chop", [1, 1000])
async def test_5_pings_amid_fragments(echo: Echo, chop: int) -> None:
    peer = await echo.connect()
    await peer.send_chopped(
        frame(TEXT, b"fragment1", fin=False)
        + frame(PING, b"ping1")
        + frame(CONTINUATION, b"", fin=False)
        + frame(CONTINUATION, b"fragment2", fin=False)
        + frame(PING, b"ping2")
        + frame(CONTINUATION, b"fragment3"),
        chop,
    )
    assert await peer.receive() == (PONG, b"ping1")
    assert await peer.receive() == (PONG, b"ping2")
    assert await peer.receive() == (TEXT, b"fragment1fragment2fragment3")


@pytest.mark.parametrize("fin", [True, False])
async def test_5_continuation_of_nothing(echo: Echo, fin: bool) -> None:
    peer = await echo.connect()
    peer.send(frame(TEXT, b"a", fin=False), frame(CONTINUATION, b"b"), frame(CONTINUATION, b"c", fin=fin))
    assert await peer.receive() == (TEXT, b"ab")
    await peer.ends(1002)


async def test_5_a_message_within_a_message(echo: Echo) -> None:
    peer = await echo.connect()
    peer.send(frame(TEXT, b"a", fin=False), frame(TEXT, b"b"))
    await peer.ends(1002)


# 6 UTF-8 ----------------------------------------------------------------------------------------

VALID = [
    "Hello-µ@ßöäüàá-UTF-8!!",
    "κόσμε",
    "\x00",
    "\x7f\u0080\u07ff\u0800\uffff\U00010000\U0010ffff",
    "\ud7ff\ue000\ufffd\ufffe",
]
INVALID = [
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xf4\x90\x80\x80",
    b"\x80",
    b"\xbf",
    b"\x80\xbf\x80",
    b"\xc0 \xc1 ",
    b"\xe0 ",
    b"\xc0",
    b"\xe0\x80",
    b"\xfe",
    b"\xff",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
]


@pytest.mark.parametrize("text", VALID)
async def test_6_valid_utf8(echo: Echo, text: str) -> None:
    peer = await echo.connect()
    payload = text.encode()
    peer.send(frame(TEXT, payload))
    assert await peer.receive() == (TEXT, payload)
    # Every byte in a fragment of its own.
    pieces = [payload[i : i + 1] for i in range(len(payload))]
    peer.send(frame(TEXT, b"", fin=False), *(frame(CONTINUATION, piece, fin=False) for piece in pieces))
    peer.send(frame(CONTINUATION))
    assert await peer.receive() == (TEXT, payload)


@pytest.mark.parametrize("payload", INVALID)
@pytest.mark.parametrize("fragmented", [False, True])
async def test_6_invalid_utf8(echo: Echo, payload: bytes, fragmented: bool) -> None:
    peer = await echo.connect()
    if fragmented:
        for number, byte in enumerate(payload):
            peer.send(frame(CONTINUATION if number else TEXT, bytes([byte]), fin=False))
        peer.send(frame(CONTINUATION))
    else:
        peer.send(frame(TEXT, payload))
    await peer.ends(1007)


async def test_6_fails_fast_within_a_frame(echo: Echo) -> None:
    peer = await echo.connect()
    data = frame(TEXT, b"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80" + b"never sent")
    peer.send(data[: 6 + 7])
    await peer.ends(1007)


# 7 Close handling -------------------------------------------------------------------------------


async def test_7_close_without_a_code(echo: Echo) -> None:
    peer = await echo.connect()
    peer.send(frame(CLOSE))
    await peer.ends(None)


async def test_7_what_follows_a_close_is_ignored(echo: Echo) -> None:
    peer = await echo.connect()
    peer.send(frame(TEXT, b"a"), close_frame(1000), frame(TEXT, b"b"), frame(PING), close_frame(1000))
    assert await peer.receive() == (TEXT, b"a")
    await peer.ends(1000)


async def test_7_a_close_amid_fragments(echo: Echo) -> None:
    peer = await echo.connect()
    peer.send(frame(TEXT, b"a", fin=False), close_frame(1000), frame(CONTINUATION, b"b"))
    await peer.ends(1000)


@pytest.mark.parametrize(
    ("payload", "answer"),
    [
        (b"\x03", 1002),
        (b"\x03\xe8" + b"*" * 123, 1000),
        (b"\x03\xe8" + b"*" * 124, 1002),
        (b"\x03\xe8\xce\xba\xe1\xbd\xb9\xed\xa0\x80", 1007),
        *((struct.pack(">H", code), code) for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011)),
        *((struct.pack(">H", code), code) for code in (3000, 3999, 4000, 4999)),
        *(
            (struct.pack(">H", code), 1002)
            for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000)
        ),
    ],
)
async def test_7_close_payloads(echo: Echo, payload: bytes, answer: int) -> None:
    peer = await echo.connect()
    peer.send(frame(CLOSE, payload))
    await peer.ends(answer)


async def test_7_the_close_frame_survives_bytes_that_nobody_reads(echo: Echo) -> None:
    peer = await echo.connect()
    # A server that closed its socket with this unread would reset the connection.
    peer.send(frame(TEXT, b"\xff"), b"\x00" * 500_000)
    await peer.ends(1007)


async def test_7_a_reset_in_the_middle(echo: Echo) -> None:
    peer = await echo.connect()
    peer.send(frame(TEXT, b"a"), frame(TEXT, b"b" * 1000)[:-500])
    assert await peer.receive() == (TEXT, b"a")
    sock: socket.socket = peer.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.writer.transport.abort()
    other = await echo.connect()
    other.send(frame(TEXT, b"still there"))
    assert await other.receive() == (TEXT, b"still there")


# 9 Limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [LIMIT + 1, 1 << 32, (1 << 63) - 1])
async def test_9_a_length_over_the_limit_fails_before_the_payload(echo: Echo, length: int) -> None:
    peer = await echo.connect()
    peer.send(bytes([0x82, 0xFF]) + struct.pack(">Q", length))
    await peer.ends(1009)


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1])
async def test_9_a_length_with_its_highest_bit(echo: Echo, length: int) -> None:
    peer = await echo.connect()
    peer.send(bytes([0x82, 0xFF]) + struct.pack(">Q", length) + MASK)
    await peer.ends(1002)


@pytest.mark.parametrize("size", [64, 4096, 65536])
async def test_9_a_big_message_in_fragments(echo: Echo, size: int) -> None:
    peer = await echo.connect()
    payload = os.urandom(1 << 18)
    pieces = [payload[start : start + size] for start in range(0, len(payload), size)]
    for number, piece in enumerate(pieces):
        peer.send(frame(CONTINUATION if number else BINARY, piece, fin=number == len(pieces) - 1))
    assert await peer.receive() == (BINARY, payload)


async def test_9_many_small_messages(echo: Echo) -> None:
    peer = await echo.connect()
    peer.send(*(frame(TEXT, b"%d" % number) for number in range(2000)))
    for number in range(2000):
        assert await peer.receive() == (TEXT, b"%d" % number)


async def test_9_fragments_over_the_limit(echo: Echo) -> None:
    peer = await echo.connect()
    peer.send(frame(BINARY, b"x" * LIMIT, fin=False), frame(CONTINUATION, b"y"))
    await peer.ends(1009)


async def test_9_empty_fragments_without_end(echo: Echo) -> None:
    peer = await echo.connect()
    peer.send(frame(TEXT, fin=False), *itertools.repeat(frame(CONTINUATION, fin=False), 1000))
    await peer.ends(1008)


# 10 Auto-fragmentation --------------------------------------------------------------------------


async def test_10_fragments_of_1300_bytes(echo: Echo) -> None:
    async with connect(echo.url, compression=None) as client:
        text = "ä" * 32768
        await client.send(text[start : start + 650] for start in range(0, len(text), 650))
        assert await client.recv() == text


# An independent peer ----------------------------------------------------------------------------


async def test_websockets_talks_with_it(echo: Echo) -> None:
    async with connect(echo.url, subprotocols=[websockets.Subprotocol("fastchat.v1")]) as client:
        assert client.subprotocol == "fastchat.v1"
        # It offers permessage-deflate, and is not given it.
        assert client.protocol.extensions == []
        for message in ("", "häl😀", b"", b"\x00\xff", "x" * 70000):
            await client.send(message)
            assert await client.recv() == message
        await (await client.ping(b"are you there"))
        await client.close(4000, "enough")
    assert (client.close_code, client.close_reason) == (4000, "")


async def test_websockets_is_told_why_it_ends(echo: Echo) -> None:
    async with connect(echo.url, max_size=None) as client:
        await client.send(b"x" * (LIMIT + 1))
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await client.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


async def test_websockets_hears_of_a_refusal(echo: Echo) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        await connect(echo.url + "elsewhere")
    assert refused.value.response.status_code == 404
    assert refused.value.response.body is not None
    assert b"there is nothing here" in refused.value.response.body
