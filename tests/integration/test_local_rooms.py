"""Programs inside of the server: what they hear, what they say, and what they cost."""

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster

from fastchat import Lagged, Server, WireError
from tests.clients import JsonLinesClient
from tests.desk import Desk
from tests.integration.embedded import member, settings

TINY = {"ring_bytes": 4096, "high_water_bytes": 2048, "low_water_bytes": 0}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server(settings()) as server:
        yield server


def counted(server: Server) -> tuple[int, int]:
    """How many subscriptions and holds the lobby has; both 0 where it isn't in use."""
    room = server.chat.hub.rooms.get("lobby")
    return (len(room.channel), room.awaited) if room is not None else (0, 0)


async def test_events_come_as_clients_get_them(server: Server) -> None:
    async with server.room("lobby") as room, member(server, "alice") as alice:
        sent = await alice.ask("send", room="lobby", text="hi", data={"a": [1]})
        event = await anext(room)
        while event["type"] == "presence":
            event = await anext(room)
        assert event == await alice.expect("message")
        assert (event["seq"], event["text"], event["data"]) == (sent["seq"], "hi", {"a": [1]})


async def test_what_it_says_is_stored_and_heard_by_others_only(server: Server) -> None:
    async with server.room("lobby") as room, member(server, "alice") as alice:
        assert await room.send("welcome", {"a": 1}, id="x") == 1
        assert await room.send("welcome", {"a": 1}, id="x") == 1
        assert await room.send("again") == 2
        first = await alice.expect("message")
        assert (first["from"], first["text"], first["data"]) == ("server", "welcome", {"a": 1})
        await alice.send("send", room="lobby", text="thanks")
        async for event in room:
            if event["type"] == "message":
                break
        assert (event["seq"], event["text"]) == (3, "thanks")


async def test_among_nodes_its_name_is_claimed_once_and_given_back(server: Server) -> None:
    desk = server.chat.hub.names = Desk()
    desk.elsewhere.add("carl")
    entering = [asyncio.create_task(server.room("lobby", name).send("hi")) for name in ("bot", "bot", "carl")]
    async with server.room("lobby") as silent:  # the server's own name is each node's
        await asyncio.sleep(0)
        assert len(desk.waiting) == 3
        desk.answer()
        one, other, refused = await asyncio.gather(*entering, return_exceptions=True)
        assert {one, other} == {1, 2}
        assert isinstance(refused, WireError)
        assert refused.code == "name_taken"
        assert silent.user == "server"
    del entering, one, other, refused
    gc.collect()  # rooms that nobody refers to are left
    await asyncio.sleep(0)
    assert desk.held == []


async def test_without_a_name_it_is_not_seen(server: Server) -> None:
    async with server.room("lobby"), member(server, "alice") as alice:
        assert (await alice.ask("members", room="lobby"))["count"] == 1


async def test_with_a_name_it_is_a_member_and_the_name_is_its_own(server: Server) -> None:
    async with server.room("lobby", user="bot"), server.room("attic", user="bot") as attic:
        async with await JsonLinesClient.open(server.addresses["line"]) as client:
            assert (await client.ask("hello", user="Bot"))["code"] == "name_taken"
            assert (await client.ask("hello", user="server"))["code"] == "name_taken"
            await client.hello("alice")
            await client.join("lobby")
            assert (await client.ask("members", room="lobby"))["members"] == ["alice", "bot"]
        attic.close()
        assert server.chat.hub.population.find("bot") is not None
    assert server.chat.hub.population.find("bot") is None
    async with member(server, "bot"):
        with pytest.raises(WireError, match="taken"):
            await server.room("lobby", user="bot").send("hi")


async def test_who_begins_behind_a_seq_gets_what_came_since(server: Server) -> None:
    async with server.room("lobby") as room:
        for number in range(5):
            await room.send(str(number))
    async with server.room("lobby", user="reader", after=2) as reader:
        assert [(await anext(reader))["seq"] for _ in range(3)] == [3, 4, 5]


async def test_the_slow_lose_what_the_room_forgets_and_are_told() -> None:
    async with Server(settings(fanout=TINY)) as server, server.room("lobby") as slow:
        room = server.room("lobby", user="talker")
        for number in range(500):
            await room.send(f"message {number}")
        missed = 0
        ranges: list[tuple[str, int, int]] = []
        heard: list[int] = []
        while not heard or heard[-1] < 500:
            try:
                event = await anext(slow)
            except Lagged as lagged:
                missed += lagged.missed
                ranges.append((lagged.room, lagged.first, lagged.last))
                continue
            if event["type"] == "message":
                heard.append(event["seq"])
        assert missed == sum(last - first + 1 for _, first, last in ranges) > 0
        assert {name for name, _, _ in ranges} == {"lobby"}
        assert missed + len(heard) == 500
        assert heard == sorted(heard)
        room.close()


async def test_a_bot_that_does_not_read_holds_one_span() -> None:
    async with Server(settings(fanout=TINY)) as server, server.room("lobby") as room:
        for number in range(500):
            await room.send(f"message {number}")
        assert server._rooms is not None
        (seat,) = server._rooms.seats
        assert seat.inbox is not None
        assert 0 < len(seat.inbox) <= TINY["high_water_bytes"]


async def test_in_a_durable_room_the_slow_miss_nothing(
    tmp_path: Path, no_blocking_calls: BlockBuster
) -> None:
    no_blocking_calls.deactivate()  # a server opens its file when it starts
    store = {"url": f"sqlite://{tmp_path}/chat.db"}
    async with Server(settings(fanout=TINY, store=store)) as server, server.room("lobby") as slow:
        async with server.room("lobby", user="talker") as room:
            sent = await asyncio.gather(*(room.send(f"message {number}") for number in range(600)))
        assert sorted(sent) == [*range(1, 601)]
        heard: list[int] = []
        while len(heard) < 600:
            event = await anext(slow)
            if event["type"] == "message":
                heard.append(event["seq"])
        assert heard == [*range(1, 601)]


async def test_the_end_of_the_server_ends_the_iteration() -> None:
    async with Server(settings()) as server:
        room = server.room("lobby")

        async def listen() -> list[str]:
            return [event["text"] async for event in room if event["type"] == "message"]

        listening = asyncio.create_task(listen())
        async with member(server, "alice") as alice:
            await alice.ask("send", room="lobby", text="hi")
    assert await listening == ["hi"]
    with pytest.raises(RuntimeError, match="has stopped"):
        await room.send("too late")
    with pytest.raises(RuntimeError, match="has stopped"):
        await server.room("attic").send("too late")


async def test_a_room_that_is_let_go_of_costs_nothing(server: Server) -> None:
    async with server.room("lobby"):
        assert counted(server) == (1, 1)
    assert counted(server) == (0, 0)
    room = server.room("lobby")
    await room.send("hi")
    reading = asyncio.ensure_future(anext(room))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    assert counted(server) == (1, 1)
    del room, reading
    async with asyncio.timeout(10):
        while counted(server) != (0, 0):
            gc.collect()
            await asyncio.sleep(0)


async def test_one_who_never_pauses_leaves_the_others_their_turns(server: Server) -> None:
    async with member(server, "alice") as alice, server.room("lobby") as room:
        talking = asyncio.create_task(_talk(room))
        assert (await alice.ask("ping"))["type"] == "pong"
        talking.cancel()
        await asyncio.wait([talking])


async def _talk(room: Any) -> None:
    while True:
        await room.send("and another thing")


async def test_what_cannot_be_sent_says_why(server: Server) -> None:
    async with server.room("lobby") as room:
        with pytest.raises(WireError, match="5000 bytes"):
            await room.send("x" * 5000)
        with pytest.raises(ValueError, match="no room's name"):
            server.room("Not A Room")


def test_a_server_that_does_not_run_has_no_rooms() -> None:
    with pytest.raises(RuntimeError, match="has not started"):
        Server(settings()).room("lobby")
