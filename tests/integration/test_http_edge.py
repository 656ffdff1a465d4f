"""The HTTP edge over real sockets: heads that come slowly, are too long or no HTTP, and the hand-over."""

import asyncio
import contextlib
import functools
import gc
import typing
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvicorn
from uvicorn.server import ServerState

from fastchat._websocket import TEXT, encode_frame
from fastchat.protocols.http import HttpProtocol
from fastchat.protocols.websocket import WebSocketListener, WebSocketProtocol
from tests.echo_server import EchoHandler

MASK = b"mask"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Site:
    """uvicorn's protocol in front of a small application; `state.connections` is what it keeps."""

    def __init__(self) -> None:
        self.state = ServerState()
        self.address: tuple[str, int] = ("", 0)
        self.hold = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []

    async def app(
        self,
        scope: dict[str, typing.Any],
        receive: Callable[[], Awaitable[object]],
        send: Callable[[dict[str, object]], Awaitable[None]],
    ) -> None:
        if scope["path"] == "/held":
            await self.hold.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        if scope["path"] == "/begun":
            await self.hold.wait()
        await send({"type": "http.response.body", "body": b"ok"})

    async def connect(self) -> Streams:
        streams = await asyncio.open_connection(*self.address)
        self._writers.append(streams[1])
        return streams

    async def close(self) -> None:
        for writer in self._writers:
            writer.close()
        for writer in self._writers:
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def serve(handshake_timeout_s: float) -> AsyncIterator[Site]:
    loop = asyncio.get_running_loop()
    problems: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: problems.append(context))
    site = Site()
    listener = WebSocketListener(EchoHandler, handshake_timeout_s=handshake_timeout_s)
    make_websocket = typing.cast("typing.Any", functools.partial(WebSocketProtocol, listener))
    config = uvicorn.Config(
        typing.cast("typing.Any", site.app),
        ws=make_websocket,
        interface="asgi3",
        log_config=None,
        lifespan="off",
    )
    config.load()
    listener.otherwise = functools.partial(
        HttpProtocol, config, site.state, {}, handshake_timeout_s=handshake_timeout_s
    )
    server = await loop.create_server(make_websocket, "127.0.0.1", 0)
    site.address = server.sockets[0].getsockname()
    try:
        yield site
    finally:
        await site.close()
        server.close()
        listener.stop()
        for connection in list(site.state.connections):
            typing.cast("typing.Any", connection).transport.abort()
        await server.wait_closed()
        if site.state.tasks:
            await asyncio.wait(site.state.tasks)
    assert problems == []


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serve(handshake_timeout_s=30) as instance:
        yield instance


@pytest.fixture
async def hasty_site() -> AsyncIterator[Site]:
    async with serve(handshake_timeout_s=0.05) as instance:
        yield instance


async def status_and_end(reader: asyncio.StreamReader) -> int:
    """Returns the status of a response with which the connection ends."""
    return int((await reader.read()).split()[1])


async def test_requests_are_answered_and_the_connection_kept(site: Site) -> None:
    reader, writer = await site.connect()
    for _ in range(3):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("earlier", [0, 2])
async def test_the_socket_is_handed_over_with_what_came_after_the_request(site: Site, earlier: int) -> None:
    reader, writer = await site.connect()
    gc.disable()
    try:
        for _ in range(earlier):
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await reader.readuntil(b"\r\n\r\nok")
        writer.write(UPGRADE + encode_frame(TEXT, b"early", MASK) + encode_frame(TEXT, b"half", MASK)[:3])
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert await reader.readexactly(7) == encode_frame(TEXT, b"early")
        if not earlier:
            # uvicorn's part has not even been made.
            assert [thing for thing in gc.get_objects() if type(thing) is HttpProtocol] == []
    finally:
        gc.enable()
    writer.write(encode_frame(TEXT, b"half", MASK)[3:])
    assert await reader.readexactly(6) == encode_frame(TEXT, b"half")
    assert not site.state.connections


async def test_an_upgrade_on_another_path_is_refused(site: Site) -> None:
    reader, writer = await site.connect()
    writer.write(UPGRADE.replace(b"/ws", b"/other"))
    assert await status_and_end(reader) == 404


async def test_an_upgrade_before_an_earlier_answer_is_refused(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await site.connect()
    writer.write(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n" + UPGRADE)
    assert await status_and_end(reader) == 400
    site.hold.set()
    await asyncio.wait(site.state.tasks)
    assert caplog.records == []


async def test_a_refusal_does_not_get_into_an_answer_that_has_begun(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await site.connect()
    writer.write(b"GET /begun HTTP/1.1\r\nhost: x\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"rubbish\r\n\r\n")
    assert await reader.read() == b""
    site.hold.set()
    await asyncio.wait(site.state.tasks)
    assert caplog.records == []


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nx: " + b"x" * 40000,
        b"GET /" + b"x" * 40000,
        b"GET / HTTP/1.1\r\nx: " + b"x" * 40000 + b"\r\n\r\n",
        UPGRADE[:-2] + b"x: " + b"x" * 40000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 500_000,
    ],
)
async def test_a_long_head_is_refused_audibly(site: Site, request_: bytes) -> None:
    reader, writer = await site.connect()
    writer.write(request_)
    assert await status_and_end(reader) == 431


async def test_a_long_body_is_none_of_its_business(site: Site) -> None:
    reader, writer = await site.connect()
    writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n" + b"x" * 60000)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    for _ in range(2):
        assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "rubbish", [b"\x16\x03\x01\x02\x00\r\n", b"rubbish\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"]
)
async def test_what_is_no_http_is_told_so(site: Site, rubbish: bytes) -> None:
    reader, writer = await site.connect()
    writer.write(rubbish)
    assert await status_and_end(reader) == 400


@pytest.mark.parametrize("begun", [b"G", b"GET /ws HTTP/1.1\r\nhost: x\r\n"])
async def test_a_slow_head_is_cut(hasty_site: Site, begun: bytes) -> None:
    reader, writer = await hasty_site.connect()
    writer.write(begun)
    assert await status_and_end(reader) == 408


async def test_a_connection_without_a_request_is_cut_silently(hasty_site: Site) -> None:
    reader, _ = await hasty_site.connect()
    assert await reader.read() == b""


async def test_a_slow_second_head_is_cut(hasty_site: Site) -> None:
    reader, writer = await hasty_site.connect()
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    await reader.readuntil(b"\r\n\r\nok")
    writer.write(b"GET / HTTP/1.1\r\n")
    writer.write(b"host")
    # Silent or not: the connection ends long before uvicorn's own timeout.
    async with asyncio.timeout(2):
        await reader.read()


async def test_an_upgraded_connection_is_not_cut(hasty_site: Site) -> None:
    reader, writer = await hasty_site.connect()
    writer.write(UPGRADE)
    await reader.readuntil(b"\r\n\r\n")
    other, _ = await hasty_site.connect()
    await other.read()
    writer.write(encode_frame(TEXT, b"alive", MASK))
    assert await reader.readexactly(7) == encode_frame(TEXT, b"alive")
