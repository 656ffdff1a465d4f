"""A person with `nc`: everything that a terminal, a clipboard or a pipe may send."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from tests.clients import JsonLinesClient, TextClient
from tests.integration.raw_clients import RawConnection
from tests.integration.rooms import enter, fresh_name
from tests.server_process import ServerProcess

COMMAND_BYTES = 65536


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    # At this rate what is pasted has to wait, but not for long.
    with ServerProcess(
        "limits.messages_per_s=2000", "limits.burst=10", f"limits.command_bytes={COMMAND_BYTES}"
    ) as running:
        yield running


@pytest.fixture
def room() -> str:
    return fresh_name("room")


@pytest.fixture
async def listener(server: ServerProcess, room: str) -> AsyncIterator[JsonLinesClient]:
    """A program in the room, which tells what really was sent."""
    async with await JsonLinesClient.open(server.line) as client:
        await enter(client, room)
        yield client


@pytest.fixture
async def person(server: ServerProcess, room: str, listener: JsonLinesClient) -> AsyncIterator[TextClient]:
    """A person who talks in the room."""
    async with await TextClient.open(server.line) as client:
        await client.type(f"/join {room}")
        await client.expect(f"you are in {room}")
        yield client


async def hear_text(listener: JsonLinesClient, room: str) -> str:
    return str((await listener.expect("message", room=room))["text"])


async def test_the_first_line_is_a_greeting_and_a_message(server: ServerProcess) -> None:
    async with await TextClient.open(server.line) as first, await TextClient.open(server.line) as second:
        await first.type("hello?")
        await first.expect("Welcome, guest-")
        await first.expect("you are in lobby")
        await second.type(text := fresh_name("hi there"))
        await first.expect(text)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
async def test_line_ends(listener: JsonLinesClient, person: TextClient, room: str, end: str) -> None:
    await person.type("one", end)
    await person.type("", end)
    await person.type("two  ", end)
    assert await hear_text(listener, room) == "one"
    assert await hear_text(listener, room) == "two  "


async def test_half_a_character_at_the_edge_of_a_packet(
    listener: JsonLinesClient, person: TextClient, room: str
) -> None:
    text = "zoë € 😀 ok"
    for byte in text.encode():
        await person.send_raw(bytes([byte]))
    await person.send_raw(b"\r")
    await person.send_raw(b"\n")
    assert await hear_text(listener, room) == text


async def test_a_pasted_wall_of_text_arrives_whole_and_in_order(
    listener: JsonLinesClient, person: TextClient, room: str
) -> None:
    wall = [f"line {number} of what was pasted" for number in range(500)]
    await person.send_raw("".join(f"{line}\n" for line in wall).encode())
    assert [await hear_text(listener, room) for _ in wall] == wall
    await person.type("/who")
    await person.expect(f"in {room}")
    # It was held back, not refused.
    assert [line for line in person.skipped if "second" in line] == []


async def test_a_megabyte_without_a_newline(listener: JsonLinesClient, person: TextClient, room: str) -> None:
    await person.send_raw(b"x" * 1_000_000)
    assert str(COMMAND_BYTES) in await person.expect("longer than")
    await person.send_raw(b"the end of it\nnext\n")
    assert await hear_text(listener, room) == "next"
    assert [line for line in person.skipped if "longer" in line] == []


async def test_a_megabyte_as_the_first_line(server: ServerProcess) -> None:
    async with await TextClient.open(server.line) as person:
        await person.send_raw(b"x" * 1_000_000 + b"\n")
        await person.expect("longer than")
        await person.type("hello")
        await person.expect("Welcome")


async def test_a_text_over_the_limit_is_refused_and_said(
    listener: JsonLinesClient, person: TextClient, room: str
) -> None:
    await person.type("x" * 5000)
    await person.expect("4096 are allowed")
    await person.type("short")
    assert await hear_text(listener, room) == "short"


@pytest.mark.parametrize(
    "rubbish",
    [
        bytes(range(256)),
        b"\xff\xfe\xfd\n",
        b"\x80\n",
        b"\0\0\0\0\n",
        b"\x1b[2J\x1b]0;owned\x07\n",
        b"\xff\xf4\xff\xfd\x06\n",
        bytes(range(255, -1, -1)) * 100,
    ],
)
async def test_binary_rubbish_disturbs_nobody(
    server: ServerProcess, listener: JsonLinesClient, person: TextClient, room: str, rubbish: bytes
) -> None:
    async with await RawConnection.open(server.line) as stranger:
        await stranger.send(rubbish + b"\n")
        stranger.end_input()
        answer = await stranger.read_to_end()
    await person.send_raw(rubbish + b"\n")
    await person.type("still here")
    while (await hear_text(listener, room)) != "still here":
        pass
    # No control character passes from one terminal to another.
    shown = answer + "\n".join(person.skipped).encode()
    assert not set(shown) & ({*range(32), 127} - {10})
    assert "Traceback" not in server.log


async def test_no_escape_sequence_passes_to_another_terminal(
    server: ServerProcess, listener: JsonLinesClient, person: TextClient, room: str
) -> None:
    hostile = "\x1b[31mred\x07\x9b2J\u202edetrever\r[lobby] boss: pay me\n* you are fired"
    await listener.ask("send", room=room, text=hostile)
    shown = [await person.expect(room) for _ in range(3)]
    name = shown[0].split()[1]
    assert shown == [
        f"[{room}] {name} [31mred2Jdetrever",
        f"[{room}] {name} [lobby] boss: pay me",
        f"[{room}] {name} * you are fired",
    ]


async def test_a_pipe_that_ends_gets_its_answers(
    server: ServerProcess, listener: JsonLinesClient, room: str
) -> None:
    """`printf '...' | nc -N HOST PORT`"""
    async with await RawConnection.open(server.line) as pipe:
        lines = [f"/join {room}", *(f"piped {number}" for number in range(50)), "/who", "unfinished"]
        await pipe.send("\n".join(lines).encode())
        pipe.end_input()
        answer = (await pipe.read_to_end()).decode()
    assert f"you are in {room}" in answer
    assert f"* in {room}: " in answer
    heard = [await hear_text(listener, room) for _ in range(51)]
    assert heard == [*(f"piped {number}" for number in range(50)), "unfinished"]


async def test_json_through_a_pipe_that_ends_gets_its_answers(
    server: ServerProcess, listener: JsonLinesClient, room: str
) -> None:
    async with await RawConnection.open(server.line) as pipe:
        await pipe.send(
            b'{"type":"hello"}\n{"type":"join","room":"%(room)s"}\n'
            b'{"type":"send","room":"%(room)s","text":"piped"}' % {b"room": room.encode()}
        )
        pipe.end_input()
        answer = await pipe.read_to_end()
    for kind in (b"welcome", b"joined", b"sent", b"message"):
        assert b'{"type":"%s"' % kind in answer
    assert await hear_text(listener, room) == "piped"


async def test_an_end_of_input_without_a_word(server: ServerProcess) -> None:
    async with await RawConnection.open(server.line) as pipe:
        pipe.end_input()
        assert await pipe.read_to_end() == b""


async def test_quit_says_good_bye_and_nothing_after_it(person: TextClient) -> None:
    await person.send_raw(b"/quit\nunread\n")
    await person.expect("Good-bye")
    before = len(person.skipped)
    await person.expect_closed()
    assert person.skipped[before:] == []


async def test_quit_as_the_first_line(server: ServerProcess) -> None:
    async with await TextClient.open(server.line) as person:
        await person.type("/quit")
        await person.expect_closed()
        assert [line for line in person.skipped if "Good-bye" not in line] == []


async def test_commands_and_their_mistakes(
    server: ServerProcess, listener: JsonLinesClient, person: TextClient, room: str
) -> None:
    for line, answer in (
        ("/help", "/history [N]"),
        ("/dance", "no command /dance"),
        ("/nick", "say which name"),
        ("/nick no spaces", "must be letters and digits"),
        ("/join", "say which room"),
        ("/join No Room", "must be a string that matches"),
        ("/leave nowhere", "not in room nowhere"),
        ("/history none", "say how many"),
        ("/history -1", "say how many"),
        ("/history " + "9" * 5000, "say how many"),
        ("/history ²", "say how many"),
        ("/rooms", f"{room}: 2 here"),
        (f"/who {room}", f"in {room}: "),
    ):
        await person.type(line)
        await person.expect(answer)
    await person.type("//shrug")
    assert await hear_text(listener, room) == "/shrug"
    name = fresh_name("nick")
    await person.type(f"/nick {name}")
    await person.expect(f"you are {name} now")
    await person.type("/history")
    await person.expect(f"[{room}] ")
    await person.type("/leave")
    await person.expect(f"you left {room}")
    await person.type("/leave")
    await person.expect("you left lobby; you are in no room")
    await person.type("to nobody")
    await person.expect("you are in no room")


async def test_a_name_that_is_taken_may_be_tried_again(
    server: ServerProcess, listener: JsonLinesClient
) -> None:
    name = fresh_name("twice")
    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(await TextClient.open(server.line)) for _ in range(2)
        ]
        await first.type(f"/nick {name}")
        await first.expect(f"Welcome, {name}!")
        await second.type(f"/nick {name.upper()}")
        await second.expect("is taken")
        await second.type(f"/nick {name}-2")
        await second.expect(f"Welcome, {name}-2!")
        assert [line for line in second.skipped if "hello" in line] == []
