"""Clients that send more than they read, or more than they may: held back or refused, never buffered."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from fastchat._websocket import PING, PONG, encode_frame
from tests.clients import Document, JsonLinesClient
from tests.integration.raw_clients import (
    SMALL_BUFFER_BYTES,
    RawClient,
    RawLinesClient,
    RawWebSocketClient,
    encode_commands,
)
from tests.integration.rooms import enter, say
from tests.server_process import ServerProcess

BURST = 20
PINGS = 30_000
GROWTH_BYTES_MAX = 4_000_000
MASK = b"\1\2\3\4"

pytestmark = pytest.mark.settings(
    f"limits.burst={BURST}", "limits.messages_per_s=5", "fanout.send_buffer_bytes=16384"
)


async def open_greedy(server: ServerProcess, transport: str) -> RawClient:
    """A client with little room between it and the server."""
    client: RawClient
    if transport == "websocket":
        client = await RawWebSocketClient.open(server.http, SMALL_BUFFER_BYTES)
    else:
        client = await RawLinesClient.open(server.line, SMALL_BUFFER_BYTES)
    client.connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER_BYTES)
    return client


@pytest.fixture(params=["websocket", "lines"])
async def greedy(request: pytest.FixtureRequest, server: ServerProcess, clients: AsyncExitStack) -> RawClient:
    return await clients.enter_async_context(await open_greedy(server, request.param))


def resident_bytes(server: ServerProcess) -> int:
    status = Path(f"/proc/{server.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


async def send_until_held_back(client: RawClient, data: bytes, other: JsonLinesClient) -> int:
    """Sends and reads nothing, until the server no longer takes anything; returns how much it took.

    While it answers hundreds of another client's commands it would have taken more if it wanted to.
    """
    sent = refusals = 0
    while refusals < 20 and sent < len(data):
        try:
            sent += client.connection.socket.send(data[sent : sent + 65536])
            refusals = 0
        except BlockingIOError:
            refusals += 1
            for _ in range(20):
                assert (await other.ask("ping"))["type"] == "pong"
    assert sent < len(data), "the server has read everything"
    return sent


async def test_who_reads_no_replies_is_not_read_from(
    server: ServerProcess, greedy: RawClient, json_client: Callable[..., Awaitable[JsonLinesClient]]
) -> None:
    other = await json_client("other")
    data = encode_commands(*({"type": "ping", "ref": ref} for ref in range(PINGS)), frames=greedy.frames)
    before = await asyncio.to_thread(resident_bytes, server)
    sent = await send_until_held_back(greedy, data, other)
    assert await asyncio.to_thread(resident_bytes, server) - before < GROWTH_BYTES_MAX
    # Once it reads, it gets every single answer.
    async with asyncio.TaskGroup() as group:
        group.create_task(greedy.send_raw(data[sent:]))
        refs = [(await greedy.expect("pong"))["ref"] for _ in range(PINGS)]
    assert refs == list(range(PINGS))


async def test_who_reads_no_pongs_is_not_read_from(
    server: ServerProcess, clients: AsyncExitStack, json_client: Callable[..., Awaitable[JsonLinesClient]]
) -> None:
    other = await json_client("other")
    greedy = await clients.enter_async_context(await open_greedy(server, "websocket"))
    assert isinstance(greedy, RawWebSocketClient)
    payloads = [b"%0100d" % number for number in range(PINGS)]
    data = b"".join(encode_frame(PING, payload, MASK) for payload in payloads)
    before = await asyncio.to_thread(resident_bytes, server)
    sent = await send_until_held_back(greedy, data, other)
    assert await asyncio.to_thread(resident_bytes, server) - before < GROWTH_BYTES_MAX
    async with asyncio.TaskGroup() as group:
        group.create_task(greedy.send_raw(data[sent:]))
        # RFC 6455, section 5.5.3: of several pings that wait the latest one may be answered alone.
        pongs: list[bytes] = []
        while not pongs or pongs[-1] != payloads[-1]:
            opcode, payload = await greedy.read_frame()
            assert opcode == PONG
            pongs.append(payload)
    assert pongs == sorted(set(pongs))


async def test_a_flood_of_sends_is_refused_with_the_time_to_wait(
    greedy: RawClient, json_client: Callable[..., Awaitable[JsonLinesClient]]
) -> None:
    other = await json_client("other")
    await enter(greedy, "lobby")
    sends = [{"type": "send", "room": "lobby", "text": str(n), "ref": n} for n in range(3 * BURST)]
    await greedy.send_commands(*sends)
    answers: list[Document] = []
    while len(answers) < len(sends):
        if "ref" in (document := await greedy.receive()):
            answers.append(document)
    assert [answer["ref"] for answer in answers] == list(range(len(sends)))
    kinds = [answer.get("code", answer["type"]) for answer in answers]
    # hello and join have cost one each.
    assert BURST - 2 <= kinds.count("sent") <= BURST
    assert set(kinds[BURST:]) == {"rate_limited"}
    # A ping is never refused, and others have budgets of their own.
    assert (await greedy.ask("ping"))["type"] == "pong"
    await say(other, "lobby", "not limited")
    for number in range(3):
        await wait_ms(answers[-1]["retry_after_ms"])
        answer = await greedy.ask("send", room="lobby", text=f"again {number}")
        assert answer["type"] == "sent"
        answers.append(await greedy.ask("send", room="lobby", text="too early"))
        assert answers[-1]["code"] == "rate_limited"


async def wait_ms(delay_ms: int) -> None:
    """Does as the server has told: this time is part of the protocol."""
    assert 0 < delay_ms <= 201
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    loop.call_later(delay_ms / 1000, over.set_result, None)
    await over
