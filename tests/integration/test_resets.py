"""Connections that are reset in the middle of something: nobody notices, and nothing is left of them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from fastchat._websocket import CLOSE, TEXT, encode_frame
from tests.clients import TIMEOUT_S, Client, JsonLinesClient, WebSocketClient
from tests.integration.bystanders import Bystanders
from tests.integration.raw_clients import (
    SMALL_BUFFER_BYTES,
    RawClient,
    RawConnection,
    RawLinesClient,
    RawWebSocketClient,
    encode_request,
    encode_text,
)
from tests.integration.rooms import enter, fresh_name
from tests.server_process import ServerProcess

MASK = b"\1\2\3\4"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(
        "limits.messages_per_s=0", "limits.connections_per_address=0", "fanout.send_buffer_bytes=16384"
    ) as running:
        yield running


class Survivors(Bystanders):
    """Bystanders who are the only ones left in the end."""

    async def chat(self) -> None:
        """As of bystanders, once nobody else is left."""
        async with asyncio.timeout(TIMEOUT_S):
            while (await self.clients[0].ask("members", room=self.room))["count"] > len(self.clients):
                pass
            while await self._count_connections() > len(self.clients):
                pass
        await super().chat()

    async def flood(self, count: int) -> None:
        for _ in range(count):
            await self.clients[0].send("send", room=self.room, text="x" * 1000)
        await self.clients[1].expect("message", room=self.room)

    async def _count_connections(self) -> int:
        async with await RawConnection.open(self.server.http) as health:
            await health.send(b"GET /healthz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            answer = await health.read_to_end()
        return int(answer.split(b'"connections":')[1].split(b",")[0])


@pytest.fixture
async def bystanders(server: ServerProcess) -> AsyncIterator[Survivors]:
    room = fresh_name("room")
    async with AsyncExitStack() as stack:
        clients: list[Client] = [
            await stack.enter_async_context(await JsonLinesClient.open(server.line)),
            await stack.enter_async_context(await RawWebSocketClient.open(server.http)),
        ]
        for client in clients:
            await enter(client, room)
        yield Survivors(server, room, clients)


@pytest.fixture(params=["websocket", "lines"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def open_member(server: ServerProcess, transport: str, room: str) -> RawClient:
    client: RawClient
    if transport == "websocket":
        client = await RawWebSocketClient.open(server.http, SMALL_BUFFER_BYTES)
    else:
        client = await RawLinesClient.open(server.line, SMALL_BUFFER_BYTES)
    await enter(client, room)
    return client


async def test_before_and_within_the_http_head(server: ServerProcess, bystanders: Survivors) -> None:
    request = encode_request()
    for size in (0, 1, len(request) // 2, len(request) - 1):
        connection = await RawConnection.open(server.http)
        await connection.send(request[:size])
        connection.reset()
    (await RawConnection.open(server.line)).reset()
    await bystanders.chat()


async def test_right_after_the_request(server: ServerProcess, bystanders: Survivors) -> None:
    for more in (b"", encode_text(b'{"type":"hello"}'), b"\x81"):
        for path in ("/ws", "/healthz", "/"):
            connection = await RawConnection.open(server.http)
            await connection.send(encode_request(path) + more)
            connection.reset()
    await bystanders.chat()


async def test_after_101(server: ServerProcess, bystanders: Survivors) -> None:
    for _ in range(5):
        (await RawWebSocketClient.open(server.http)).reset()
    await bystanders.chat()


@pytest.mark.parametrize(
    "part",
    [
        b"\x81",
        b"\x81\xfe",
        b"\x81\xff\0\0",
        encode_frame(TEXT, b"x" * 5000, MASK)[:3000],
        encode_frame(TEXT, b"x", MASK, fin=False),
        encode_frame(CLOSE, b"\3\xe8", MASK)[:-1],
    ],
)
async def test_within_a_frame(server: ServerProcess, bystanders: Survivors, part: bytes) -> None:
    client = await open_member(server, "websocket", bystanders.room)
    await client.send_raw(part)
    client.reset()
    await bystanders.chat()


@pytest.mark.parametrize("part", [b"{", b'{"type":"se', b"x" * 100_000])
async def test_within_a_line(server: ServerProcess, bystanders: Survivors, part: bytes) -> None:
    client = await open_member(server, "lines", bystanders.room)
    await client.send_raw(part)
    client.reset()
    stranger = await RawConnection.open(server.line)
    await stranger.send(part)
    stranger.reset()
    await bystanders.chat()


async def test_with_commands_on_their_way(
    server: ServerProcess, bystanders: Survivors, transport: str
) -> None:
    for _ in range(5):
        client = await open_member(server, transport, bystanders.room)
        await client.send_commands(
            *({"type": "send", "room": bystanders.room, "text": str(n)} for n in range(200)),
            *({"type": "join", "room": fresh_name("side")} for n in range(20)),
        )
        client.reset()
    await bystanders.chat()


async def test_while_a_sweep_writes_to_it(
    server: ServerProcess, bystanders: Survivors, transport: str
) -> None:
    members = [await open_member(server, transport, bystanders.room) for _ in range(40)]
    flooding = asyncio.create_task(bystanders.flood(400))
    for member in members[::2]:
        await member.expect("message")
        member.reset()
    await flooding
    # These have read nothing: the server holds what they did not take.
    for member in members[1::2]:
        member.reset()
    await bystanders.chat()


async def test_within_the_close_handshake(server: ServerProcess, bystanders: Survivors) -> None:
    # After its own close frame, with and without reading the answer.
    for read in (True, False):
        client = await open_member(server, "websocket", bystanders.room)
        await client.send_raw(encode_frame(CLOSE, b"\3\xe8", MASK))
        if read:
            assert (await client.expect_closed()).code == 1000
        client.reset()
    # After the server's.
    for read in (True, False):
        client = await open_member(server, "websocket", bystanders.room)
        await client.send_raw(b"\xff")
        if read:
            assert (await client.expect_closed()).code == 1002
        client.reset()
    # After a half close.
    for transport in ("websocket", "lines"):
        client = await open_member(server, transport, bystanders.room)
        client.connection.end_input()
        client.reset()
    await bystanders.chat()


async def test_a_browser_that_vanishes_leaves_its_name(server: ServerProcess, bystanders: Survivors) -> None:
    name = fresh_name("phoenix")
    client = await open_member(server, "websocket", bystanders.room)
    await client.ask("hello", user=name)
    client.reset()
    await bystanders.chat()
    async with await WebSocketClient.open(server.http) as again:
        await enter(again, bystanders.room, name)
