"""Two servers on one database are one chat, whichever broker is between them.

Nothing is compared with the store meanwhile: what arrives has come over the bus.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from tests.clients import Document, JsonLinesClient
from tests.integration.cluster import BROKERS, PASSWORD, account, chat_of_nodes, guest, told
from tests.integration.rooms import fresh_name, hear, say
from tests.server_process import ServerProcess

Pair = tuple[ServerProcess, ServerProcess]


@pytest.fixture(scope="module", params=sorted(BROKERS))
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with chat_of_nodes(BROKERS[request.param](), "cluster.compare_interval_s=3600") as nodes:
        yield nodes.start_pair()


@pytest.fixture
async def stack(pair: Pair) -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as clients:
        yield clients


async def bring(
    stack: AsyncExitStack, pair: Pair, room: str, prefix: str = "guest"
) -> tuple[JsonLinesClient, JsonLinesClient]:
    """One guest at each node, both in the room; each knows of the other."""
    names = fresh_name(f"{prefix}-a"), fresh_name(f"{prefix}-b")
    here = await stack.enter_async_context(await guest(pair[0], names[0], room))
    there = await stack.enter_async_context(await guest(pair[1], names[1]))
    joined = await there.join(room)
    if joined["members"] == 1:
        await there.expect("presence", room=room, joined=[names[0]])
    await here.expect("presence", room=room, joined=[names[1]], members=2)
    return here, there


async def hear_messages(client: JsonLinesClient, room: str, count: int) -> list[Document]:
    return [await client.expect("message", room=room) for _ in range(count)]


async def name_of(client: JsonLinesClient) -> str:
    return str((await client.ask("hello"))["user"])


async def test_order_is_the_same_everywhere(pair: Pair, stack: AsyncExitStack) -> None:
    room, count = fresh_name("order"), 100
    here, there = await bring(stack, pair, room)
    watchers = [
        await stack.enter_async_context(await guest(node, fresh_name("watcher"), room)) for node in pair
    ]

    async def talk(client: JsonLinesClient, who: str) -> None:
        for i in range(count):
            await client.send("send", room=room, text=f"{who} {i}", id=f"{who}-{i}")

    await asyncio.gather(talk(here, "a"), talk(there, "b"))
    heard = [
        [(message["seq"], message["text"]) for message in await hear_messages(watcher, room, 2 * count)]
        for watcher in watchers
    ]
    assert heard[0] == heard[1]
    assert [seq for seq, _ in heard[0]] == list(range(1, 2 * count + 1))
    for who in "ab":
        assert [text for _, text in heard[0] if text[0] == who] == [f"{who} {i}" for i in range(count)]


async def test_a_message_sent_again_at_another_node_is_the_same(pair: Pair, stack: AsyncExitStack) -> None:
    room, user = fresh_name("again"), fresh_name("alice")
    first = await account(pair[0], user, room, new=True)
    seq = (await first.ask("send", room=room, text="hi", id="one"))["seq"]
    await first.reset()
    second = await stack.enter_async_context(await account(pair[1], user, room))
    assert (await second.ask("send", room=room, text="hi", id="one"))["seq"] == seq
    assert (await second.ask("send", room=room, text="there", id="two"))["seq"] == seq + 1


async def test_receipts_and_typing_and_absence(pair: Pair, stack: AsyncExitStack) -> None:
    room = fresh_name("lounge")
    here, there = await bring(stack, pair, room)
    name = await name_of(there)
    seq = await say(here, room, "hello")
    await there.expect("message", room=room, seq=seq)
    await there.send("ack", room=room, seq=seq)
    receipt = await here.expect("receipt", room=room)
    assert receipt["receipts"] == {name: seq} if "receipts" in receipt else name in str(receipt)
    await there.send("typing", room=room)
    await here.expect("typing", room=room)
    await there.ask("away", away=True, text="at lunch")
    await here.expect("presence", room=room, away={name: "at lunch"})
    assert (await here.ask("whois", user=name))["away"] == "at lunch"
    await there.close()
    left = await here.expect("presence", room=room, left=[name])
    assert left["members"] == 1
    assert (await here.ask("whois", user=name))["code"] == "no_such_user"


async def test_people_write_to_each_other(pair: Pair, stack: AsyncExitStack) -> None:
    alice, bob, carl = fresh_name("alice"), fresh_name("bob"), fresh_name("carl")
    a = await stack.enter_async_context(await account(pair[0], alice, new=True))
    phone = await stack.enter_async_context(await account(pair[1], alice))
    b = await stack.enter_async_context(await account(pair[1], bob, new=True))
    c = await stack.enter_async_context(await guest(pair[1], carl))
    sent = await a.ask("direct", to=bob, text="psst", id="1")
    assert sent["type"] == "sent", sent
    assert (await b.expect("message", text="psst"))["from"] == alice
    assert (await phone.expect("message", text="psst"))["room"] == sent["room"]
    assert (await b.ask("direct", to=alice, text="yes?", id="2"))["seq"] == sent["seq"] + 1
    await a.expect("message", text="yes?")
    await phone.expect("message", text="yes?")

    seen = fresh_name("seen")  # a guest is found by who shares a room
    await a.join(seen)
    await c.join(seen)
    await a.expect("presence", room=seen, joined=[carl])
    answer = await a.ask("direct", to=carl, text="hello guest", id="3")
    assert answer["type"] == "sent", answer
    await c.expect("message", text="hello guest")
    await phone.expect("message", text="hello guest")
    assert (await c.ask("direct", to=alice, text="hello account", id="4"))["type"] == "sent"
    await a.expect("message", text="hello account")


async def insist(client: JsonLinesClient, room: str, text: str) -> Document:
    """Says it, and again as long as the room's rules have just changed on another node."""
    while (answer := await client.ask("send", room=room, text=text)).get("code") == "unavailable":
        assert "have just changed" in answer["message"]
    return answer


async def test_what_a_moderator_does_holds_on_the_other_node(pair: Pair, stack: AsyncExitStack) -> None:
    olga, bob, room = fresh_name("olga"), fresh_name("bob"), fresh_name("club")
    owner = await stack.enter_async_context(await account(pair[0], olga, new=True))
    answer = await owner.ask("create", room=room, topic="tea")
    assert answer["type"] != "error", answer
    await owner.join(room)
    member = await stack.enter_async_context(await account(pair[1], bob, room, new=True))
    await owner.expect("presence", room=room, joined=[bob])

    assert (await owner.ask("mute", room=room, user=bob))["type"] != "error"
    assert (await insist(member, room, "me?"))["code"] == "muted"
    assert (await owner.ask("unmute", room=room, user=bob))["type"] != "error"
    await member.expect("moderated", room=room, action="unmute")
    answer = await insist(member, room, "me!")
    assert answer["type"] == "sent", answer

    assert (await owner.ask("ban", room=room, user=bob, reason="tea leaves"))["type"] != "error"
    # Nothing of his is stored behind the ban, wherever he says it.
    assert (await member.ask("send", room=room, text="still here?"))["type"] == "error"
    assert (await told(member, "left", room=room))["reason"] == "tea leaves"
    assert (await member.ask("join", room=room))["code"] == "banned"


async def test_a_name_is_one_guests(pair: Pair, stack: AsyncExitStack) -> None:
    clients = [
        await stack.enter_async_context(await JsonLinesClient.open(pair[i % 2].line)) for i in range(20)
    ]
    name = fresh_name("zoe")
    answers: list[Document] = await asyncio.gather(*(client.ask("hello", user=name) for client in clients))
    assert sorted(answer["type"] for answer in answers) == ["error"] * 19 + ["welcome"]
    assert {answer["code"] for answer in answers if answer["type"] == "error"} == {"name_taken"}
    (winner,) = (client for client, answer in zip(clients, answers, strict=True) if "code" not in answer)
    await winner.close()
    other = pair[0] if clients.index(winner) % 2 else pair[1]
    await until_welcome(stack, other, name)


async def until_welcome(stack: AsyncExitStack, node: ServerProcess, name: str) -> JsonLinesClient:
    """The name is free as soon as its node knows that its guest has gone, and the store."""
    client = await stack.enter_async_context(await JsonLinesClient.open(node.line))
    async with asyncio.timeout(10):
        while (answer := await client.ask("hello", user=name))["type"] == "error":
            assert answer["code"] == "name_taken"
    return client


async def test_a_guest_takes_another_name_and_gives_back_the_first(pair: Pair, stack: AsyncExitStack) -> None:
    old, new = fresh_name("old"), fresh_name("new")
    here = await stack.enter_async_context(await guest(pair[0], old))
    there = await stack.enter_async_context(await JsonLinesClient.open(pair[1].line))
    assert (await there.ask("hello", user=old))["code"] == "name_taken"
    assert (await here.ask("hello", user=new))["user"] == new
    assert (await there.ask("hello", user=new))["code"] == "name_taken"
    await until_welcome(stack, pair[1], old)
    # To register a name is to have it for oneself alone.
    assert (await there.ask("register", user=new, password=PASSWORD))["code"] == "name_taken"
    assert (await here.ask("register", user=new, password=PASSWORD))["guest"] is False


async def test_coming_back_at_another_node_goes_on_with_the_cursor(pair: Pair, stack: AsyncExitStack) -> None:
    room, user = fresh_name("resume"), fresh_name("rita")
    here = await stack.enter_async_context(await guest(pair[0], fresh_name("talker"), room))
    reader = await account(pair[1], user, new=True)
    joined = await reader.join(room)
    first = await say(here, room, "one")
    await reader.expect("message", room=room, seq=first)
    await reader.reset()
    last = [await say(here, room, str(i)) for i in range(20)][-1]
    again = await stack.enter_async_context(await JsonLinesClient.open(pair[0].line))
    back = await again.ask(
        "hello",
        user=user,
        password=PASSWORD,
        resume={room: first},
        epochs={room: joined["epoch"]},
    )
    assert back["type"] == "welcome", back
    assert (await again.expect("joined", room=room))["reset"] is False
    assert await hear(again, room, last) == list(range(first + 1, last + 1))


async def test_a_user_has_the_limits_of_one() -> None:
    settings = ("limits.connections_per_user=2", "limits.rooms_per_user=2")
    with chat_of_nodes(BROKERS["nats"](), *settings) as nodes:
        pair = nodes.start_pair()
        user = fresh_name("lim")
        async with AsyncExitStack() as clients:
            watcher = await clients.enter_async_context(await guest(pair[1], fresh_name("watcher"), "one"))
            first = await clients.enter_async_context(await account(pair[0], user, "one", "two", new=True))
            await watcher.expect("presence", room="one", joined=[user])
            second = await clients.enter_async_context(await account(pair[1], user, "one"))
            assert (await second.ask("join", room="three"))["code"] == "too_many_rooms"
            third = await clients.enter_async_context(await JsonLinesClient.open(pair[1].line))
            refused = await third.ask("hello", user=user, password=PASSWORD)
            assert refused["code"] == "too_many_connections"
            assert (await first.ask("ping"))["type"] == "pong"
