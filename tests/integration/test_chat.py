"""A room shared by every kind of client: the same events in the same order for all of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from fastchat._websocket import CLOSE, TEXT, encode_frame
from tests.clients import Client, JsonLinesClient, TextClient, WebSocketClient
from tests.integration.raw_clients import RawClient, RawLinesClient, RawWebSocketClient
from tests.integration.rooms import enter, fresh_name, hear, say
from tests.server_process import ServerProcess


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess("limits.messages_per_s=0", "rooms.presence_interval_ms=0") as running:
        yield running


@pytest.fixture
def room() -> str:
    return fresh_name("room")


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as entered:
        yield entered


@pytest.fixture(params=["websocket", "lines"])
async def client(request: pytest.FixtureRequest, server: ServerProcess) -> AsyncIterator[Client]:
    """A JSON client of either transport, which has said nothing yet."""
    opened: Client
    if request.param == "websocket":
        opened = await WebSocketClient.open(server.http)
    else:
        opened = await JsonLinesClient.open(server.line)
    async with opened:
        yield opened


async def open_person(stack: AsyncExitStack, server: ServerProcess, name: str, room: str) -> TextClient:
    person = await stack.enter_async_context(await TextClient.open(server.line))
    await person.type(f"/nick {name}")
    await person.expect(f"Welcome, {name}!")
    await person.type(f"/join {room}")
    await person.expect(f"you are in {room}")
    return person


async def test_everyone_sees_the_same_events_in_the_same_order(
    server: ServerProcess, stack: AsyncExitStack, room: str
) -> None:
    rounds = 30
    names = [fresh_name(name) for name in ("ann", "ben", "web", "prog")]
    people = [await open_person(stack, server, name, room) for name in names[:2]]
    browser = await stack.enter_async_context(await WebSocketClient.open(server.http))
    program = await stack.enter_async_context(await JsonLinesClient.open(server.line))
    for client, name in zip((browser, program), names[2:], strict=True):
        await enter(client, room, name)

    async def talk() -> None:
        for number in range(rounds):
            for person in people:
                await person.type(f"text {number}")
            for client in (browser, program):
                await client.send("send", room=room, text=f"json {number}")

    async def read_json(client: Client) -> list[tuple[int, str, str]]:
        messages = [await client.expect("message", room=room) for _ in range(4 * rounds)]
        return [(message["seq"], message["from"], message["text"]) for message in messages]

    async def read_text(person: TextClient) -> list[str]:
        return [(await person.expect(f"[{room}]")) for _ in range(3 * rounds)]

    async with asyncio.TaskGroup() as group:
        group.create_task(talk())
        json_views = [group.create_task(read_json(client)) for client in (browser, program)]
        text_views = [group.create_task(read_text(person)) for person in people]
    events = json_views[0].result()
    assert json_views[1].result() == events
    assert [seq for seq, _, _ in events] == list(range(1, 4 * rounds + 1))
    for name, view in zip(names[:2], text_views, strict=True):
        # One's own lines are not echoed to a person.
        assert view.result() == [f"[{room}] {author}: {text}" for _, author, text in events if author != name]
    for name in names:
        said = [text for _, author, text in events if author == name]
        assert [text.split()[1] for text in said] == [str(number) for number in range(rounds)]


async def test_commands_in_one_packet_are_all_answered_in_order(
    server: ServerProcess, room: str, stack: AsyncExitStack
) -> None:
    opened: tuple[RawClient, ...]
    opened = (await RawWebSocketClient.open(server.http), await RawLinesClient.open(server.line))
    for client in [await stack.enter_async_context(client) for client in opened]:
        await client.send_commands(
            {"type": "hello", "user": fresh_name("quick"), "ref": 1},
            {"type": "join", "room": room, "ref": 2},
            {"type": "send", "room": room, "id": "first", "text": "all at once", "ref": 3},
            {"type": "ping", "ref": 4},
        )
        message = await client.expect("message", id="first")
        replies = [document for document in client.skipped if "ref" in document]
        while len(replies) < 4:
            replies.append(await client.receive())
        assert [(reply["type"], reply["ref"]) for reply in replies] == [
            ("welcome", 1),
            ("joined", 2),
            ("sent", 3),
            ("pong", 4),
        ]
        assert message["seq"] == replies[2]["seq"]


async def test_sent_and_the_event_agree(client: Client, room: str) -> None:
    user = fresh_name("author")
    await enter(client, room, user)
    sent = await client.ask("send", room=room, id="x1", text="héllo", data={"k": [1, None]})
    message = next((d for d in client.skipped if d["type"] == "message"), None) or await client.expect(
        "message"
    )
    assert message == {
        "type": "message",
        "room": room,
        "seq": 1,
        "id": "x1",
        "from": user,
        "at": sent["at"],
        "text": "héllo",
        "data": {"k": [1, None]},
    }
    assert sent.items() >= {"type": "sent", "room": room, "seq": 1, "id": "x1"}.items()


async def test_the_same_id_again_appears_once(client: Client, room: str) -> None:
    await enter(client, room)
    first = await client.ask("send", room=room, id="once", text="hi")
    again = await client.ask("send", room=room, id="once", text="hi")
    assert again["repeated"] is True
    assert (again["seq"], again["at"]) == (first["seq"], first["at"])
    assert await say(client, room, "next") == first["seq"] + 1


async def test_a_user_of_two_transports_in_many_rooms_hears_each_room_once(
    server: ServerProcess, stack: AsyncExitStack, client: Client
) -> None:
    rooms = [fresh_name("room") for _ in range(5)]
    talker = await stack.enter_async_context(await JsonLinesClient.open(server.line))
    await talker.hello()
    await client.hello()
    for room in rooms:
        await talker.join(room)
        await client.join(room)
    for number in range(10):
        for room in rooms:
            await talker.send("send", room=room, text=str(number))
    heard: dict[str, list[int]] = {room: [] for room in rooms}
    while sum(map(len, heard.values())) < 50:
        message = await client.expect("message")
        heard[message["room"]].append(message["seq"])
    assert heard == {room: list(range(1, 11)) for room in rooms}


async def test_a_second_device_needs_a_name_of_its_own_and_may_try_again(
    server: ServerProcess, client: Client, stack: AsyncExitStack, room: str
) -> None:
    name = fresh_name("Alice")
    await enter(client, room, name)
    other = await stack.enter_async_context(await WebSocketClient.open(server.http))
    refused = await other.ask("hello", user=name.upper())
    assert refused.items() >= {"type": "error", "code": "name_taken", "field": "user"}.items()
    assert (await other.ask("join", room=room))["code"] == "not_welcome"
    second = fresh_name("alice")
    assert (await enter(other, room, second))["members"] == 2
    await client.expect("presence", joined=[second], members=2)
    await other.close()
    await client.expect("presence", left=[second], members=1)


async def test_a_guest_gets_a_name_and_may_take_another(client: Client, room: str) -> None:
    welcome = await client.hello()
    assert welcome["user"].startswith("guest-")
    await client.join(room)
    name = fresh_name("renamed")
    assert (await client.ask("hello", user=name))["user"] == name
    assert (await client.ask("members", room=room))["members"] == [name]
    await client.ask("send", room=room, text="who am I")
    assert (await client.ask("history", room=room))["messages"][0]["from"] == name


async def test_typing_is_told_to_the_others_only(
    server: ServerProcess, client: Client, stack: AsyncExitStack, room: str
) -> None:
    name = fresh_name("typist")
    other = await stack.enter_async_context(await JsonLinesClient.open(server.line))
    await enter(other, room)
    await enter(client, room, name)
    await client.send("typing", room=room)
    await other.expect("typing", room=room, **{"from": name})
    await say(other, room, "go on")
    await client.expect("message", text="go on")
    assert "typing" not in [document["type"] for document in client.skipped]
    # It is not in the log.
    assert [m["seq"] for m in (await client.ask("history", room=room))["messages"]] == [1]


async def test_members_and_rooms_say_who_is_where(client: Client, room: str) -> None:
    name = fresh_name("member")
    await enter(client, room, name)
    await say(client, room, "hi")
    members = await client.ask("members", room=room)
    assert members.items() >= {"type": "members", "room": room, "members": [name], "count": 1}.items()
    rooms = (await client.ask("rooms"))["rooms"]
    own = {"room": room, "members": 1, "head": 1, "joined": True, "cursor": 1, "unread": 0}
    assert own in rooms
    assert (await client.ask("leave", room=room))["type"] == "left"
    rooms = (await client.ask("rooms"))["rooms"]
    assert {"room": room, "members": 0, "head": 1, "joined": False} in rooms
    assert (await client.ask("send", room=room, text="still here?"))["code"] == "not_joined"


async def test_history_is_read_in_pages_in_both_directions(client: Client, room: str) -> None:
    await enter(client, room)
    for number in range(1, 8):
        assert await say(client, room, f"message {number}") == number

    async def page(**fields: int) -> tuple[list[int], bool]:
        answer = await client.ask("history", room=room, **fields)
        return [message["seq"] for message in answer["messages"]], answer["more"]

    assert await page() == ([1, 2, 3, 4, 5, 6, 7], False)
    assert await page(limit=3) == ([5, 6, 7], True)
    assert await page(limit=3, before=5) == ([2, 3, 4], True)
    assert await page(limit=3, before=2) == ([1], False)
    assert await page(limit=3, after=0) == ([1, 2, 3], True)
    assert await page(limit=3, after=4) == ([5, 6, 7], False)
    assert await page(after=7) == ([], False)
    assert (await client.ask("history", room=room, before=3, after=1))["field"] == "before"


async def test_a_newcomer_sees_nothing_from_before(
    server: ServerProcess, client: Client, stack: AsyncExitStack, room: str
) -> None:
    early = await stack.enter_async_context(await JsonLinesClient.open(server.line))
    await enter(early, room)
    await say(early, room, "before")
    assert (await enter(client, room))["head"] == 1
    last = await say(early, room, "after")
    assert await hear(client, room, last) == [last]


async def test_leaving_ends_the_events_at_once(
    server: ServerProcess, client: Client, stack: AsyncExitStack, room: str
) -> None:
    other = await stack.enter_async_context(await JsonLinesClient.open(server.line))
    await enter(other, room)
    await enter(client, room)
    await client.ask("leave", room=room)
    await say(other, room, "nobody hears this")
    assert (await client.ask("ping"))["type"] == "pong"
    assert "message" not in [document["type"] for document in client.skipped]
    back = await client.join(room, after=0)
    assert (back["head"], back["reset"]) == (1, False)
    await client.expect("message", text="nobody hears this")


async def test_commands_and_the_close_frame_in_one_packet_are_answered(server: ServerProcess) -> None:
    mask = b"\1\2\3\4"
    commands = [
        {"type": "hello", "user": fresh_name("script")},
        {"type": "join", "room": fresh_name("room")},
        {"type": "ping"},
    ]
    frames = [encode_frame(TEXT, json.dumps(command).encode(), mask) for command in commands]
    async with await RawWebSocketClient.open(server.http) as script:
        await script.connection.send(b"".join([*frames, encode_frame(CLOSE, b"\x03\xe8", mask)]))
        for expected in ("welcome", "joined", "pong"):
            assert (await script.receive())["type"] == expected
