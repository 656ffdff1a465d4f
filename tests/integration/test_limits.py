"""Limits: who is one too many, says too much or says it too slowly is told so; everyone else is served."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from websockets.exceptions import InvalidStatus

from tests.clients import Closed, JsonLinesClient, WebSocketClient
from tests.integration.raw_clients import (
    RawClient,
    RawConnection,
    RawLinesClient,
    RawWebSocketClient,
    encode_request,
)
from tests.integration.rooms import enter, say
from tests.server_process import ServerProcess


async def expect_refused_line(server: ServerProcess) -> None:
    async with await JsonLinesClient.open(server.line) as refused:
        assert (await refused.receive())["code"] == "too_many_connections"
        await refused.expect_closed()


async def expect_refused_websocket(server: ServerProcess) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await WebSocketClient.open(server.http)
    assert refused.value.response.status_code == 503
    assert refused.value.response.body


@pytest.mark.settings("limits.connections_per_address=2")
async def test_connections_per_address_count_on_both_listeners(
    server: ServerProcess,
    json_client: Callable[..., Awaitable[JsonLinesClient]],
    websocket_client: Callable[..., Awaitable[WebSocketClient]],
) -> None:
    program = await json_client("program")
    browser = await websocket_client("browser")
    await expect_refused_line(server)
    await expect_refused_websocket(server)
    # Nobody who is in has noticed, and health is still told.
    await say(program, "lobby", "hi")
    await browser.expect("message", text="hi")
    async with await RawConnection.open(server.http) as health:
        await health.send(b"GET /healthz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        assert b'"connections":2' in await health.read_to_end()
    # Who leaves makes room; a closed WebSocket has left when its close is answered.
    await browser.close()
    await json_client("next")


@pytest.mark.settings("limits.connections=2", "limits.connections_per_address=0")
async def test_connections_count_on_both_listeners(
    server: ServerProcess,
    json_client: Callable[..., Awaitable[JsonLinesClient]],
    websocket_client: Callable[..., Awaitable[WebSocketClient]],
) -> None:
    await json_client("program")
    browser = await websocket_client("browser")
    await expect_refused_line(server)
    await expect_refused_websocket(server)
    await browser.close()
    await websocket_client("next")


@pytest.mark.settings("limits.messages_per_s=0", "limits.rooms_per_connection=7")
@pytest.mark.parametrize("transport", ["websocket", "lines"])
async def test_10_000_joins_at_once(server: ServerProcess, transport: str, clients: AsyncExitStack) -> None:
    opened: RawClient = await open_raw(server, transport)
    client = await clients.enter_async_context(opened)
    other = await clients.enter_async_context(await JsonLinesClient.open(server.line))
    joins = [{"type": "join", "room": f"room-{number}", "ref": number} for number in range(10_000)]
    await client.hello()
    async with asyncio.TaskGroup() as group:
        group.create_task(client.send_commands(*joins))
        # Meanwhile others chat.
        await enter(other, "lobby")
        await say(other, "lobby", "undisturbed")
        answers = [await next_answer(client) for _ in joins]
    assert [answer["ref"] for answer in answers] == list(range(10_000))
    assert [answer["type"] for answer in answers[:7]] == ["joined"] * 7
    assert {(answer.get("code"), answer.get("field")) for answer in answers[7:]} == {
        ("too_many_rooms", "room")
    }
    rooms = await other.ask("rooms")
    assert rooms["count"] == 8  # what was refused has left no room behind
    # Leaving one makes room for another.
    assert (await client.ask("leave", room="room-0"))["type"] == "left"
    assert (await client.ask("join", room="another"))["type"] == "joined"


async def open_raw(server: ServerProcess, transport: str) -> RawClient:
    if transport == "websocket":
        return await RawWebSocketClient.open(server.http)
    return await RawLinesClient.open(server.line)


async def next_answer(client: RawClient) -> dict[str, object]:
    """The next document that answers a command."""
    while "ref" not in (document := await client.receive()):
        pass
    return document


@pytest.mark.settings("limits.text_bytes=10", "limits.command_bytes=300", "limits.messages_per_s=0")
async def test_sizes(
    server: ServerProcess,
    json_client: Callable[..., Awaitable[JsonLinesClient]],
    websocket_client: Callable[..., Awaitable[WebSocketClient]],
) -> None:
    for open_client, name in ((json_client, "program"), (websocket_client, "browser")):
        client = await open_client(name)
        await say(client, "lobby", "x" * 10)
        await say(client, "lobby", "é" * 5)
        for text in ("x" * 11, "é" * 6):
            error = await client.ask("send", room="lobby", text=text)
            assert (error["code"], error["field"]) == ("too_large", "text")
        await client.send_raw('{"type":"ping","ref":1}'.ljust(300))
        await client.expect("pong", ref=1)
        await client.send_raw('{"type":"ping","ref":2}'.ljust(301))
        if name == "program":
            assert (await client.expect("error"))["code"] == "too_large"
            await client.ask("ping")
        else:
            assert (await client.expect_closed()).code == 1009


@pytest.mark.settings("limits.handshake_timeout_s=0.3")
async def test_slow_senders_of_a_handshake_are_cut(server: ServerProcess, clients: AsyncExitStack) -> None:
    request = encode_request()
    other = await clients.enter_async_context(await WebSocketClient.open(server.http))
    await enter(other, "lobby")
    starts = (b"", request[:1], request[: len(request) // 2], request[:-1], b"\r\n")
    slow = [await clients.enter_async_context(await RawConnection.open(server.http)) for _ in starts]
    for connection, start in zip(slow, starts, strict=True):
        await connection.send(start)
    for connection, start in zip(slow, starts, strict=True):
        answer = await connection.read_to_end()
        assert answer.startswith(b"HTTP/1.1 408 ") if start.strip() else answer[:12] in (b"", b"HTTP/1.1 408")
    # Whoever has shaken hands may be silent for as long as they like.
    assert (await other.ask("ping"))["type"] == "pong"


@pytest.mark.settings("limits.handshake_timeout_s=0.3")
async def test_a_sender_that_goes_on_and_on_is_cut(server: ServerProcess) -> None:
    async with await RawConnection.open(server.http) as connection:
        await connection.send(b"GET /ws HTTP/1.1\r\nHost: test\r\n")

        async def drip() -> None:
            """A byte for every byte of an answer from elsewhere, so that the server sees time pass."""
            async with await JsonLinesClient.open(server.line) as clock:
                while True:
                    await clock.ask("ping")
                    await connection.send(b"X")

        dripping = asyncio.create_task(drip())
        try:
            assert (await connection.read_to_end()).startswith(b"HTTP/1.1 ")
        finally:
            dripping.cancel()
            await asyncio.gather(dripping, return_exceptions=True)


@pytest.mark.settings("limits.hello_timeout_s=0.5", "line.banner_after_ms=0")
async def test_who_never_says_hello_is_sent_away(server: ServerProcess, clients: AsyncExitStack) -> None:
    greeted = await clients.enter_async_context(await JsonLinesClient.open(server.line))
    await greeted.hello("polite")
    silent = await clients.enter_async_context(await WebSocketClient.open(server.http))
    program = await clients.enter_async_context(await JsonLinesClient.open(server.line))
    assert (await silent.expect("bye"))["code"] == 4001
    closed: Closed = await silent.expect_closed()
    assert (closed.code, "hello" in closed.reason) == (4001, True)
    assert "hello" in (await program.expect("bye"))["reason"]
    await program.expect_closed()
    assert (await greeted.ask("ping"))["type"] == "pong"
