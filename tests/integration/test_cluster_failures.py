"""What becomes of a chat of several nodes when one of them, the broker or PostgreSQL goes away."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import pytest

from tests.clients import Document, JsonLinesClient, get
from tests.event_readers import NatsReader
from tests.integration.cluster import BROKERS, Nodes, account, chat_of_nodes, guest
from tests.integration.rooms import check_no_hole, fresh_name, hear, say
from tests.server_process import ServerProcess
from tests.services import postgres
from tests.services.proxy import Proxy

TIMEOUT_S = 20.0


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with chat_of_nodes(BROKERS["nats"](), "cluster.node_timeout_s=1") as chat:
        yield chat


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as clients:
        yield clients


async def until(client: JsonLinesClient, wanted: str, type: str, **fields: object) -> Document:
    """Asks until this is answered: ``wanted`` is a code, or a reply's type."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            answer = await client.ask(type, **fields)
            if wanted in (answer["type"], answer.get("code")):
                return answer


async def test_a_killed_nodes_people_leave_and_its_guests_names_are_free(
    nodes: Nodes, stack: AsyncExitStack
) -> None:
    here, there = nodes.start_pair()
    room, name = fresh_name("room"), fresh_name("gone")
    alice = await stack.enter_async_context(await guest(here, fresh_name("alice"), room))
    gone = await stack.enter_async_context(await guest(there, name, room))
    await alice.expect("presence", joined=[name], members=2)
    last = await say(gone, room, "farewell")
    await alice.expect("message", seq=last)
    await asyncio.to_thread(there.kill)
    await alice.expect("presence", left=[name], members=1)
    again = await stack.enter_async_context(await JsonLinesClient.open(here.line))
    await until(again, "welcome", "hello", user=name)
    await again.join(room)
    assert await say(alice, room, "it goes on") == last + 1
    await again.expect("message", seq=last + 1)


async def test_what_a_killed_node_had_not_told_other_services_another_one_tells(
    nodes: Nodes, stack: AsyncExitStack
) -> None:
    with Proxy(urlsplit(nodes.broker).port or 0) as proxy:
        here, there = nodes.start(), nodes.start(broker=proxy.url(nodes.broker))
        rooms = [fresh_name("room") for _ in range(8)]  # some of them are each node's to tell of
        alice = await stack.enter_async_context(await guest(there, fresh_name("alice"), *rooms))
        bob = await stack.enter_async_context(await guest(here, fresh_name("bob"), *rooms))
        proxy.cut()
        await ready(there, False)
        for room in rooms:
            for i in range(5):
                await say(alice, room, f"alice {i}")
        await asyncio.to_thread(there.kill)
        for room in rooms:
            await say(bob, room, "bob")
    reader = NatsReader(nodes.broker, nodes.name)
    texts = [*(f"alice {i}" for i in range(5)), "bob"]
    async with asyncio.timeout(TIMEOUT_S):
        while any([data["text"] for data in reader.log(room)] != texts for room in rooms):
            await reader.read()


async def test_a_stopped_nodes_people_leave_at_once(nodes: Nodes, stack: AsyncExitStack) -> None:
    here, there = nodes.start_pair("cluster.node_timeout_s=600")
    room, name = fresh_name("room"), fresh_name("gone")
    alice = await stack.enter_async_context(await guest(here, fresh_name("alice"), room))
    gone = await stack.enter_async_context(await guest(there, name, room))
    await alice.expect("presence", joined=[name], members=2)
    there.signal(signal.SIGTERM)
    assert (await gone.expect("bye"))["code"] == 1012
    await alice.expect("presence", left=[name], members=1)
    await gone.close()
    assert await asyncio.to_thread(there.wait) == 0
    again = await stack.enter_async_context(await JsonLinesClient.open(here.line))
    await until(again, "welcome", "hello", user=name)


async def test_a_node_that_stood_still_catches_up(nodes: Nodes, stack: AsyncExitStack) -> None:
    here, there = nodes.start_pair()
    room, name, bob = fresh_name("room"), fresh_name("slept"), fresh_name("bob")
    alice = await stack.enter_async_context(await guest(here, fresh_name("alice"), room))
    slept = await stack.enter_async_context(await guest(there, name))
    reader = await stack.enter_async_context(await account(there, bob, room, new=True))
    await alice.expect("presence", joined=[bob], members=2)

    there.signal(signal.SIGSTOP)
    try:
        await alice.expect("presence", left=[bob], members=1)
        taker = await stack.enter_async_context(await JsonLinesClient.open(here.line))
        await until(taker, "welcome", "hello", user=name)
        last = [await say(alice, room, str(i)) for i in range(200)][-1]
    finally:
        there.signal(signal.SIGCONT)

    assert await hear(reader, room, last) == list(range(1, last + 1))
    await alice.expect("presence", joined=[bob], members=2)
    assert (await slept.expect("bye"))["code"] == 4500  # its name is somebody else's
    answer = await until(reader, "sent", "send", room=room, text="awake", id="awake")
    await alice.expect("message", seq=answer["seq"], text="awake")


async def test_without_a_way_to_the_broker_all_is_sent_and_heard(nodes: Nodes, stack: AsyncExitStack) -> None:
    with Proxy(urlsplit(nodes.broker).port or 0) as proxy:
        here, there = nodes.start(), nodes.start(broker=proxy.url(nodes.broker))
        room = fresh_name("room")
        alice = await stack.enter_async_context(await guest(here, fresh_name("alice"), room))
        bob_name = fresh_name("bob")
        bob = await stack.enter_async_context(await guest(there, bob_name, room))
        await alice.expect("presence", joined=[bob_name], members=2)

        proxy.cut()
        await ready(there, False)
        for i in range(20):
            await say(alice, room, f"alice {i}")
            await say(bob, room, f"bob {i}")
        # Each hears the other's from the store.
        await alice.expect("message", text="bob 19")
        await bob.expect("message", text="alice 19")
        left = [each for each in alice.skipped if each["type"] == "presence" and each["left"]]
        assert left == []  # his node lives, by its lease

        proxy.restore()
        await ready(there, True)
        carl_name = fresh_name("carl")
        carl = await stack.enter_async_context(await guest(there, carl_name, room))
        await alice.expect("presence", joined=[carl_name], members=3)
        last = await say(carl, room, "the end")
        await alice.expect("message", seq=last)
        await bob.expect("message", seq=last)
        for client in (alice, bob):
            # Of what is said at one's own node the own is not echoed.
            heard = [each["seq"] for each in client.skipped if each["type"] == "message"]
            assert heard == sorted(set(heard))
        own = {each["seq"] for each in alice.skipped if each["type"] == "message"}
        assert own | {each["seq"] for each in bob.skipped if each["type"] == "message"} == set(range(1, last))


async def ready(node: ServerProcess, wanted: bool) -> None:
    """Waits until the node's ``/readyz`` says so."""
    async with asyncio.timeout(TIMEOUT_S):
        while ((await get(node.http, "/readyz"))[0] == 200) is not wanted:
            pass  # asked again


async def test_while_postgresql_restarts_nothing_that_was_sent_is_lost(stack: AsyncExitStack) -> None:
    database = await asyncio.to_thread(postgres.Postgres)
    try:
        await asyncio.to_thread(database.start)
        with chat_of_nodes(BROKERS["nats"](), "cluster.node_timeout_s=5", database=database) as nodes:
            await restart_while_talking(nodes, database, stack)
            await stack.aclose()
    finally:
        await asyncio.to_thread(database.close)


async def restart_while_talking(nodes: Nodes, database: postgres.Postgres, stack: AsyncExitStack) -> None:
    room, going_on = fresh_name("room"), True
    codes: set[str] = set()
    pair = nodes.start_pair()

    async def enter(node: ServerProcess, prefix: str) -> JsonLinesClient:
        return await stack.enter_async_context(await guest(node, fresh_name(prefix), room))

    async def talk(client: JsonLinesClient, who: str) -> list[str]:
        """Says one thing after the other, each again until it is acknowledged."""
        said: list[str] = []
        while going_on:
            text = f"{who} {len(said)}"
            while (answer := await client.ask("send", room=room, text=text, id=text))["type"] == "error":
                codes.add(answer["code"])
                await asyncio.sleep(answer["retry_after_ms"] / 1000)
            said.append(text)
        return said

    readers = [await enter(node, "reader") for node in pair]
    talking = [asyncio.create_task(talk(await enter(node, "talker"), f"t{i}")) for i, node in enumerate(pair)]
    heard = await readers[0].expect("message", text="t1 5")
    readers[0].skipped.append(heard)
    await asyncio.to_thread(database.stop)
    # Whoever says something now is told so; what was on its way waits until it is known what became of it.
    await until(readers[1], "unavailable", "send", room=room, text="?", id="?")
    await asyncio.to_thread(database.start)
    await until(readers[1], "sent", "send", room=room, text="?", id="?")
    going_on = False
    said = ["?", *(text for each in await asyncio.gather(*talking) for text in each)]
    assert codes <= {"unavailable"}
    for reader in readers:
        while len(events := [each for each in reader.skipped if each["type"] == "message"]) < len(said):
            reader.skipped.append(await reader.receive())
        assert check_no_hole(events, room, 0) == len(said)
        assert sorted(each["text"] for each in events) == sorted(said)
