"""Readers that do not read: they cost little, nobody waits for them, and what they miss is said exactly."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.clients import Client, JsonLinesClient, WebSocketClient
from tests.integration.raw_clients import (
    SMALL_BUFFER_BYTES,
    RawClient,
    RawConnection,
    RawLinesClient,
    RawWebSocketClient,
)
from tests.integration.rooms import check_no_hole, enter, fresh_name, hear, say
from tests.server_process import ServerProcess

RING_BYTES = 262144
HIGH_WATER_BYTES = 32768
SETTINGS = (
    "limits.messages_per_s=0",
    f"fanout.ring_bytes={RING_BYTES}",
    f"fanout.high_water_bytes={HIGH_WATER_BYTES}",
    "fanout.low_water_bytes=8192",
    "fanout.send_buffer_bytes=16384",
)
TEXT = "x" * 2000
BATCH = 50

pytestmark = pytest.mark.settings(*SETTINGS)


async def open_stuck(server: ServerProcess, transport: str) -> RawClient:
    """A client whose kernel takes little while it does not read."""
    if transport == "websocket":
        return await RawWebSocketClient.open(server.http, SMALL_BUFFER_BYTES)
    return await RawLinesClient.open(server.line, SMALL_BUFFER_BYTES)


@pytest.fixture(params=["websocket", "lines"])
async def stuck(request: pytest.FixtureRequest, server: ServerProcess, clients: AsyncExitStack) -> RawClient:
    """Is in the lobby, and reads only in the test's own hands."""
    client = await clients.enter_async_context(await open_stuck(server, request.param))
    await enter(client, "lobby")
    return client


async def flood(talker: Client, count: int, room: str = "lobby") -> int:
    """Sends so many long messages, as fast as batches are acknowledged; returns the last one's seq."""
    for _ in range(count // BATCH):
        for _ in range(BATCH - 1):
            await talker.send("send", room=room, text=TEXT)
        last = await say(talker, room, TEXT)
    return last


def resident_bytes(server: ServerProcess) -> int:
    status = Path(f"/proc/{server.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


async def test_nobody_waits_and_what_is_missed_is_said(
    stuck: RawClient,
    json_client: Callable[..., Awaitable[JsonLinesClient]],
    websocket_client: Callable[..., Awaitable[WebSocketClient]],
) -> None:
    talker = await websocket_client("talker")
    healthy = await json_client("healthy")
    heard: list[int] = []
    for _ in range(500 // BATCH):
        # Batch by batch: a ring holds little, and this test's own reading must not be too slow for it.
        heard += await hear(healthy, "lobby", await flood(talker, BATCH))
    # All of it, although somebody reads nothing.
    assert heard == list(range(1, 501))
    assert "lagged" not in [document["type"] for document in healthy.skipped]
    # It reads again: what had been sent, what it missed, and then it is live.
    await stuck.expect("lagged")
    assert (await stuck.ask("ping"))["type"] == "pong"
    await say(talker, "lobby", "live again")
    await stuck.expect("message", text="live again")


async def test_the_missing_range_is_exact(
    stuck: RawClient, json_client: Callable[..., Awaitable[JsonLinesClient]]
) -> None:
    talker = await json_client("talker")
    read: list[dict[str, object]] = []
    for _ in range(3):
        last = await flood(talker, 300)
        while not read or read[-1].get("seq") != last:
            read.append(await stuck.receive())
        assert check_no_hole(read, "lobby", 0) == last
    assert 1 <= [document["type"] for document in read].count("lagged") <= 6
    live = await say(talker, "lobby", "live")
    assert await hear(stuck, "lobby", live) == [live]


async def test_a_reader_that_reads_a_little_now_and_then_has_no_hole_unsaid(
    stuck: RawClient, json_client: Callable[..., Awaitable[JsonLinesClient]]
) -> None:
    talker = await json_client("talker")
    read: list[dict[str, object]] = []
    for _ in range(20):
        last = await flood(talker, BATCH)
        read += [await stuck.receive() for _ in range(7)]
    while read[-1].get("seq") != last:
        read.append(await stuck.receive())
    assert check_no_hole(read, "lobby", 0) == last


async def test_other_rooms_of_a_stuck_reader_go_on_where_they_were(
    stuck: RawClient, json_client: Callable[..., Awaitable[JsonLinesClient]]
) -> None:
    talker = await json_client("talker")
    quiet = fresh_name("quiet")
    await talker.join(quiet)
    await stuck.join(quiet)
    await flood(talker, 300)
    for number in range(3):
        await say(talker, quiet, f"quiet {number}")
    while not stuck.skipped or stuck.skipped[-1].get("room") != quiet or stuck.skipped[-1].get("seq") != 3:
        stuck.skipped.append(await stuck.receive())
    assert check_no_hole(stuck.skipped, quiet, 0) == 3
    assert "lagged" not in [d["type"] for d in stuck.skipped if d.get("room") == quiet]


async def test_memory_stays_bounded(
    server: ServerProcess, clients: AsyncExitStack, json_client: Callable[..., Awaitable[JsonLinesClient]]
) -> None:
    count = 40
    talker = await json_client("talker")
    for number in range(count):
        client = await open_stuck(server, "websocket" if number % 2 else "lines")
        await clients.enter_async_context(client)
        await enter(client, "lobby")
    # Once around the ring, so that what grows from then on grows for the readers.
    await flood(talker, 200)
    before = await asyncio.to_thread(resident_bytes, server)
    last = await flood(talker, 4000)
    after = await asyncio.to_thread(resident_bytes, server)
    written = last * len(TEXT)
    assert written > 8_000_000
    allowed = count * (HIGH_WATER_BYTES + 4096) + RING_BYTES
    # What the allocator keeps for itself: far below what one queue per reader would take.
    assert after - before < allowed + 2_000_000 < written


@pytest.mark.settings("fanout.slow_reader=disconnect", "fanout.slow_reader_timeout_s=0.2")
async def test_disconnect_ends_who_stays_stuck(
    server: ServerProcess, stuck: RawClient, json_client: Callable[..., Awaitable[JsonLinesClient]]
) -> None:
    talker = await json_client("talker")
    last = await flood(talker, 300)
    # For everyone else it is as if the user had left.
    await talker.expect("presence", members=1)
    # A reader that comes back in time still gets the farewell, with where to go on.
    farewell = await stuck.expect("bye")
    assert farewell["code"] == 4000
    served = check_no_hole(stuck.skipped, "lobby", 0)
    assert farewell["cursors"] == {"lobby": served}
    assert served < last
    closed = await stuck.expect_closed()
    assert closed.code == (4000 if isinstance(stuck, RawWebSocketClient) else None)
    # Who reads stays.
    assert await say(talker, "lobby", "still here") == last + 1


@pytest.mark.settings(
    "fanout.slow_reader=disconnect", "fanout.slow_reader_timeout_s=0.2", "websocket.close_timeout_s=0.2"
)
async def test_disconnect_drops_who_never_reads_again(
    server: ServerProcess, stuck: RawClient, json_client: Callable[..., Awaitable[JsonLinesClient]]
) -> None:
    talker = await json_client("talker")
    await flood(talker, 300)
    while await count_connections(server) > 1:
        pass
    # The rest of it was thrown away with the connection.
    assert b'"bye"' not in await stuck.connection.read_to_end()
    assert (await talker.ask("ping"))["type"] == "pong"


@pytest.mark.settings(
    'rooms.classes=[{"pattern": "lob*", "slow_reader": "disconnect"}]', "fanout.slow_reader_timeout_s=0.2"
)
async def test_a_room_class_ends_who_stays_stuck_in_its_rooms(
    server: ServerProcess,
    stuck: RawClient,
    clients: AsyncExitStack,
    json_client: Callable[..., Awaitable[JsonLinesClient]],
) -> None:
    patient = await clients.enter_async_context(await open_stuck(server, "websocket"))
    await enter(patient, "games")
    talker = await json_client("talker")
    await talker.join("games")
    await flood(talker, 300, "games")
    await flood(talker, 300)
    await talker.expect("presence", room="lobby", members=1)
    assert (await stuck.expect("bye"))["code"] == 4000
    # Elsewhere the setting counts, which is to let them lag.
    await patient.send("ping", ref="still here")
    await patient.expect("pong")


async def count_connections(server: ServerProcess) -> int:
    async with await RawConnection.open(server.http) as health:
        await health.send(b"GET /healthz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        answer = await health.read_to_end()
    return int(answer.split(b'"connections":')[1].split(b",")[0])
