"""Coming back: every later event once and in order, whatever happened meanwhile."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from tests.clients import Client, JsonLinesClient
from tests.integration.raw_clients import RawClient, RawLinesClient, RawWebSocketClient
from tests.integration.rooms import check_no_hole, enter, fresh_name, hear, say
from tests.server_process import ServerProcess

# Holds some 1000 short messages, or 200 long ones.
SETTINGS = (
    "limits.messages_per_s=0",
    "fanout.ring_bytes=262144",
    "fanout.high_water_bytes=16384",
    "fanout.low_water_bytes=8192",
)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(*SETTINGS) as running:
        yield running


@pytest.fixture
def room() -> str:
    return fresh_name("room")


@pytest.fixture(params=["websocket", "lines"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def open_client(server: ServerProcess, transport: str) -> RawClient:
    """A client that goes away in the middle of what it is being sent."""
    if transport == "websocket":
        return await RawWebSocketClient.open(server.http)
    return await RawLinesClient.open(server.line)


@pytest.fixture
async def talker(server: ServerProcess, room: str) -> AsyncIterator[Client]:
    async with await JsonLinesClient.open(server.line) as client:
        await enter(client, room)
        yield client


async def test_return_to_a_busy_room_has_no_gap_and_no_repeat(
    server: ServerProcess, transport: str, talker: Client, room: str
) -> None:
    returns, batch = 25, 20

    async def talk() -> None:
        for number in range(returns * batch):
            await talker.send("send", room=room, text=f"message {number}")
            if number % 10 == 0:
                await talker.ask("ping")

    after = 0
    epoch: dict[str, str] = {}
    seen: list[int] = []
    async with asyncio.TaskGroup() as group:
        talking = group.create_task(talk())
        while not talking.done() or after < returns * batch:
            async with await open_client(server, transport) as client:
                await client.hello()
                joined = await client.join(room, after=after, **epoch)
                assert joined["reset"] is False
                epoch = {"epoch": joined["epoch"]}
                wanted = range(min(batch, returns * batch - after))
                seen += [(await client.expect("message", room=room))["seq"] for _ in wanted]
                assert "lagged" not in [document["type"] for document in client.skipped]
                after = seen[-1]
    assert seen == list(range(1, returns * batch + 1))


async def test_return_after_the_ring_moved_on_says_exactly_what_is_gone(
    server: ServerProcess, transport: str, talker: Client, room: str
) -> None:
    for number in range(5):
        await say(talker, room, f"message {number}")
    for _ in range(400):
        await talker.send("send", room=room, text="x" * 1000)
    head = await say(talker, room, "the newest")
    oldest = (await talker.ask("history", room=room, after=0, limit=1))["messages"][0]["seq"]
    assert oldest > 5
    async with await open_client(server, transport) as client:
        await client.hello()
        joined = await client.join(room, after=5)
        assert joined["head"] == head
        lagged = await client.expect("lagged", room=room)
        assert lagged == {"type": "lagged", "room": room, "from": 6, "to": oldest - 1, "missed": oldest - 6}
        assert await hear(client, room, head) == list(range(oldest, head + 1))
        last = await say(talker, room, "live")
        assert await hear(client, room, last) == [head + 1]
    # At the edge of what is held nothing is missed.
    async with await open_client(server, transport) as client:
        await client.hello()
        oldest = (await talker.ask("history", room=room, after=0, limit=1))["messages"][0]["seq"]
        await client.join(room, after=oldest - 1)
        assert await hear(client, room, last) == list(range(oldest, last + 1))
        assert "lagged" not in [document["type"] for document in client.skipped]


async def test_return_at_the_head_brings_only_what_is_new(
    server: ServerProcess, transport: str, talker: Client, room: str
) -> None:
    head = await say(talker, room, "known")
    async with await open_client(server, transport) as client:
        await client.hello()
        await client.join(room, after=head)
        last = await say(talker, room, "new")
        assert await hear(client, room, last) == [last]


async def test_cursors_of_bye_bring_back_everything_after_a_restart(
    server: ServerProcess, transport: str, room: str, clients: AsyncExitStack
) -> None:
    async with await open_client(server, transport) as client:
        await client.hello()
        epoch = (await client.join(room))["epoch"]
    # Another process knows neither the room nor its numbers.
    other = clients.enter_context(await asyncio.to_thread(ServerProcess, *SETTINGS))
    talker = await clients.enter_async_context(await open_client(other, transport))
    await enter(talker, room)
    for number in range(3):
        await say(talker, room, f"message {number}")
    returned = await clients.enter_async_context(await open_client(other, transport))
    await returned.hello()
    assert (await returned.ask("join", room=room, after=41))["field"] == "after"
    joined = await returned.join(room, after=41, epoch=epoch)
    assert joined["reset"] is True
    assert joined["epoch"] != epoch
    assert await hear(returned, room, 3) == [1, 2, 3]
    # The new epoch counts from then on.
    await returned.ask("leave", room=room)
    joined = await returned.join(room, after=2, epoch=joined["epoch"])
    assert joined["reset"] is False
    assert await hear(returned, room, 3) == [3]
    # Its own stop is announced to those who are in now.
    await asyncio.to_thread(other.signal, signal.SIGTERM)
    farewell = await returned.expect("bye")
    assert farewell["cursors"] == {room: 3}
    await returned.expect_closed()
    assert await asyncio.to_thread(other.wait) == 0


async def test_many_return_at_once(server: ServerProcess, talker: Client, room: str) -> None:
    for number in range(50):
        await say(talker, room, f"message {number}")

    async def come_back(after: int) -> None:
        async with await open_client(server, "websocket" if after % 2 else "lines") as client:
            await client.hello()
            await client.join(room, after=after)
            await client.expect("message", room=room, text="the end")
            last = {"type": "message", "room": room, "seq": 51}
            assert check_no_hole([*client.skipped, last], room, after) == 51

    async with asyncio.TaskGroup() as group:
        returning = [group.create_task(come_back(after)) for after in range(0, 50, 5)]
        while (await talker.ask("members", room=room))["count"] <= len(returning):
            pass
        await say(talker, room, "the end")
