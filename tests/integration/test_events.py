"""Events to other services, from a real server by real brokers: all of them, in order, whatever is killed."""

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from itertools import pairwise
from uuid import uuid4

import pytest

from tests.clients import Client, Document, JsonLinesClient
from tests.event_readers import KINDS, EventReader, RabbitReader, shared_reader
from tests.events_document import EventsDocument
from tests.integration.rooms import enter
from tests.server_process import ServerProcess
from tests.services import rabbitmq
from tests.services.proxy import Proxy
from tests.services.rabbitmq import RabbitMQ
from tests.services.service import running

Start = Callable[..., ServerProcess]

QUICK = ("store.url=sqlite:", "limits.messages_per_s=0")
WAIT_S = 50.0


@pytest.fixture(params=KINDS)
async def reader(request: pytest.FixtureRequest) -> EventReader:
    return await asyncio.to_thread(shared_reader, request.param, f"test{uuid4().hex[:12]}")


async def read_until(reader: EventReader, done: Callable[[], object]) -> None:
    try:
        async with asyncio.timeout(WAIT_S):
            while True:
                await reader.read()
                if done():
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        came = [(each.key, each.event["data"].get("seq")) for each in reader.received]
        raise AssertionError(f"within {WAIT_S:g} s only these came: {came}") from None


async def all_events(client: Client, room: str = "lobby") -> list[Document]:
    """The room's log, as somebody gets it who comes back to its beginning."""
    head = (await client.join(room, after=0))["head"]
    events: list[Document] = []
    while not events or events[-1]["seq"] < head:
        document = await client.receive()
        if "seq" in document and document["type"] != "receipt":
            events.append(document)
    return events


async def test_all_that_happens_is_told_as_documented(start_server: Start, reader: EventReader) -> None:
    server = await asyncio.to_thread(start_server, *QUICK, *reader.settings, "broker.directs=on")
    async with AsyncExitStack() as clients:
        alice, bob = [
            await clients.enter_async_context(await JsonLinesClient.open(server.line)) for _ in range(2)
        ]
        await enter(alice, "team.red", "alice")
        await enter(bob, "team.red", "bob")
        for kind, fields in (
            ("send", {"text": 'hi "there" 👋', "id": "a-1", "data": {"x": [1]}}),
            ("edit", {"seq": 1, "text": "ho"}),
            ("react", {"seq": 1, "reaction": "👍"}),
            ("delete", {"seq": 1}),
        ):
            assert (await alice.ask(kind, room="team.red", **fields))["type"] == "sent"
        await bob.send("ack", room="team.red", seq=4)
        await bob.ask("away", away=True, text="tea")
        made = await alice.ask("create", room="own", topic="tea")
        assert made["type"] == "sent", made
        await alice.ask("direct", to="bob", text="psst", id="a-2")
        await bob.ask("leave", room="team.red")
    # The stop sends what waits, but has a second for it.
    await read_until(reader, lambda: reader.types.count("session.disconnected") == 2)
    assert await asyncio.to_thread(server.stop) == 0
    await reader.read()
    assert {f"chat.fastchat.{name}" for name in reader.types} == EventsDocument().types
    assert [event["type"] for event in reader.log("team.red")] == ["message", "edited", "reacted", "deleted"]
    assert reader.log("team.red")[0]["text"] == 'hi "there" 👋'
    told = {
        (each.event["type"].removeprefix("chat.fastchat."), each.event["data"]["user"])
        for each in reader.received
        if "user" in each.event["data"] and "action" not in each.event["data"]
    }
    assert told == {
        (f"session.{what}", who) for what in ("connected", "disconnected") for who in ("alice", "bob")
    }
    assert {each.event["source"] for each in reader.received} == {"/fastchat/fastchat"}
    assert len({each.id for each in reader.received}) == len(reader.received)


async def test_what_is_not_wanted_is_not_told(start_server: Start, reader: EventReader) -> None:
    server = await asyncio.to_thread(start_server, *QUICK, *reader.settings, "broker.events=message,receipt")
    async with (
        await JsonLinesClient.open(server.line) as alice,
        await JsonLinesClient.open(server.line) as bob,
    ):
        await enter(alice, "lobby", "alice")
        await enter(bob, "lobby", "bob")
        await alice.ask("send", room="lobby", text="hi", id="a-1")
        await alice.ask("direct", to="bob", text="psst", id="a-2")
        await bob.send("ack", room="lobby", seq=1)
        await bob.ask("ping")
    await read_until(reader, lambda: len(reader.received) >= 2)
    assert await asyncio.to_thread(server.stop) == 0
    await reader.read()
    assert sorted(each.key for each in reader.received) == ["message.lobby", "receipt.lobby"]


@pytest.mark.timeout(180)
async def test_whenever_the_server_is_killed_every_event_arrives(
    start_server: Start, reader: EventReader
) -> None:
    choose = random.Random(7)
    sent: set[str] = set()
    for turn in range(3):
        server = await asyncio.to_thread(start_server, *QUICK, *reader.settings)
        async with await JsonLinesClient.open(server.line) as alice:
            await enter(alice, "lobby", "alice")
            count = choose.randint(20, 200)
            ids = [f"{turn}-{number}" for number in range(count)]
            for each in ids:
                await alice.send("send", room="lobby", id=each, text=f"message {each}")
            killed_after = choose.choice(ids)
            while (document := await alice.receive()).get("id") != killed_after or document["type"] != "sent":
                sent |= {document["id"]} if document["type"] == "sent" else set()
            await asyncio.to_thread(server.kill)
        await reader.read()
    server = await asyncio.to_thread(start_server, *QUICK, *reader.settings)
    async with await JsonLinesClient.open(server.line) as alice:
        await alice.hello("alice")
        log = await all_events(alice)
        assert sent <= {event["id"] for event in log}
        await read_until(reader, lambda: len(reader.log("lobby")) >= len(log))
    assert reader.log("lobby") == log
    # Repeats are the same again, and go on in order.
    seqs = [each.event["data"]["seq"] for each in reader.received if each.key == "message.lobby"]
    assert all(after <= before + 1 for before, after in pairwise(seqs))


@pytest.mark.timeout(180)
class TestABrokerThatIsAway:
    """RabbitMQ alone: how the others come back is their own tests' business."""

    async def say(self, client: Client, count: int) -> None:
        for number in range(count):
            await client.send("send", room="lobby", text=f"message {number}")
        for _ in range(count):
            await client.expect("sent")

    async def test_chat_goes_on_and_afterwards_everything_arrives(self, start_server: Start) -> None:
        with running(RabbitMQ()) as broker:
            reader = RabbitReader(broker.url, "away")
            server = await asyncio.to_thread(start_server, *QUICK, *reader.settings)
            async with await JsonLinesClient.open(server.line) as alice:
                await enter(alice, "lobby", "alice")
                await self.say(alice, 50)
                await asyncio.to_thread(broker.kill)
                await self.say(alice, 700)
                await asyncio.to_thread(broker.start)
                await self.say(alice, 50)
                await read_until(reader, lambda: len(reader.log("lobby")) >= 800)
                assert [event["seq"] for event in reader.log("lobby")] == [*range(1, 801)]

    async def test_a_server_that_starts_without_it_is_ready_all_the_same(self, start_server: Start) -> None:
        broker = RabbitMQ()
        try:
            reader = RabbitReader(broker.url, "away")
            server = await asyncio.to_thread(start_server, *QUICK, *reader.settings)
            async with await JsonLinesClient.open(server.line) as alice:
                await enter(alice, "lobby", "alice")
                await self.say(alice, 20)
                await asyncio.to_thread(broker.start)
                await read_until(reader, lambda: len(reader.log("lobby")) >= 20)
        finally:
            await asyncio.to_thread(broker.close)


@pytest.mark.timeout(180)
async def test_a_link_that_is_cut_costs_repeats_at_most(start_server: Start) -> None:
    reader = await asyncio.to_thread(shared_reader, "rabbitmq", f"test{uuid4().hex[:12]}")
    with Proxy(rabbitmq.SHARED.server().port) as proxy:
        settings = [setting.replace(reader.url, proxy.url(reader.url)) for setting in reader.settings]
        server = await asyncio.to_thread(start_server, *QUICK, *settings)
        async with await JsonLinesClient.open(server.line) as alice:
            await enter(alice, "lobby", "alice")
            for turn in range(4):
                for number in range(100):
                    await alice.send("send", room="lobby", text=f"message {turn} {number}")
                    if number == 50:
                        await asyncio.to_thread(proxy.cut)
                for _ in range(100):
                    await alice.expect("sent")
                await asyncio.to_thread(proxy.restore)
        await read_until(reader, lambda: len(reader.log("lobby")) >= 400)
        assert [event["seq"] for event in reader.log("lobby")] == [*range(1, 401)]
        await asyncio.to_thread(server.stop)
