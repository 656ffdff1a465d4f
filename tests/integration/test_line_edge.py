"""The line edge over real sockets: the ends of a connection that only a kernel plays."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from fastchat.protocols.line import LineListener, LineProtocol
from tests.fakes import RecordingHandler


class Answering(RecordingHandler):
    """Answers every line with itself reversed, and what it has seen at the end of input."""

    def on_message(self, payload: bytes, text: bool) -> None:
        super().on_message(payload, text)
        if payload == b"bye":
            self.stream.close(1000, "bye")
        self.stream.transport.write(payload[::-1] + b"\n")

    def on_last_words(self) -> None:
        """There are none."""

    def on_settled(self) -> None:
        """Nothing was kept back."""

    def on_oversize(self, limit: int, start: bytes) -> None:
        self.stream.transport.write(b"over %d\n" % limit)

    def on_eof(self) -> None:
        self.stream.transport.write(b"that was all\n")
        self.stream.close(1000, "")


class Port:
    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.handlers: list[Answering] = []
        self.protocols: list[LineProtocol] = []


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    loop = asyncio.get_running_loop()
    problems: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: problems.append(context))

    def make_handler() -> Answering:
        instance.handlers.append(Answering())
        return instance.handlers[-1]

    def make_protocol() -> LineProtocol:
        instance.protocols.append(LineProtocol(listener))
        return instance.protocols[-1]

    listener = LineListener(make_handler, max_line_bytes=1000, close_timeout_s=2)
    server = await loop.create_server(make_protocol, "127.0.0.1", 0)
    instance = Port(server.sockets[0].getsockname())
    try:
        yield instance
    finally:
        server.close()
        for protocol in instance.protocols:
            protocol.transport.abort()
        await server.wait_closed()
        listener.stop()
    assert problems == []


async def test_half_closed_clients_get_their_answers(port: Port) -> None:
    reader, writer = await asyncio.open_connection(*port.address)
    writer.write(b"one\r\ntwo\n" + b"x" * 1_000_000 + b"\nlast")
    writer.write_eof()
    assert await reader.read() == b"eno\nowt\nover 1000\ntsal\nthat was all\n"
    writer.close()
    await writer.wait_closed()


async def test_last_words_survive_bytes_that_nobody_reads(port: Port) -> None:
    reader, writer = await asyncio.open_connection(*port.address)
    writer.write(b"bye\n" + b"never read\n" * 100_000)
    assert await reader.read() == b"eyb\n"
    writer.close()
    # The server may have had enough of it by now.
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_a_reset_is_the_end_of_one_connection_only(port: Port) -> None:
    reader, writer = await asyncio.open_connection(*port.address)
    other_reader, other_writer = await asyncio.open_connection(*port.address)
    writer.write(b"one\nhalf")
    assert await reader.readline() == b"eno\n"
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    other_writer.write(b"two\n")
    assert await other_reader.readline() == b"owt\n"
    other_writer.close()
    await other_writer.wait_closed()


async def test_the_kernel_is_asked_to_find_dead_peers(port: Port) -> None:
    reader, writer = await asyncio.open_connection(*port.address)
    writer.write(b"one\n")
    await reader.readline()
    sock = port.protocols[0].transport.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert port.handlers[0].stream.peer_address == "127.0.0.1"
    writer.close()
    await writer.wait_closed()
