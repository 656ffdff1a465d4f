"""The log in a file: what was acknowledged is there, whatever happens to the server in between."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.clients import Client, Document, JsonLinesClient, TextClient, WebSocketClient
from tests.integration.rooms import check_no_hole, enter, hear, say
from tests.server_process import ServerProcess

Start = Callable[..., ServerProcess]

DURABLE = "store.url=sqlite:"  # in the test's own data folder, see `start_server`
QUICK = "rooms.presence_interval_ms=0"


async def open_lines(server: ServerProcess, clients: AsyncExitStack) -> JsonLinesClient:
    return await clients.enter_async_context(await JsonLinesClient.open(server.line))


async def restart(start_server: Start, server: ServerProcess, *settings: str, kill: bool) -> ServerProcess:
    """Ends a server, as a power cut does or in order, and starts another one on the same data."""
    if kill:
        await asyncio.to_thread(server.kill)
    else:
        assert await asyncio.to_thread(server.stop) == 0
    return await asyncio.to_thread(start_server, DURABLE, QUICK, *settings)


async def page_of(client: Client, room: str = "lobby") -> list[Document]:
    messages: list[Document] = (await client.ask("history", room=room))["messages"]
    return messages


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
async def test_a_restart_keeps_everything(start_server: Start, kill: bool) -> None:
    server = await asyncio.to_thread(start_server, DURABLE, QUICK)
    async with AsyncExitStack() as clients:
        alice, bob = await open_lines(server, clients), await open_lines(server, clients)
        joined = await enter(alice, "lobby", "alice")
        await enter(bob, "lobby", "bob")
        sent = await alice.ask("send", room="lobby", id="a-1", text="Grüße aus Ulm", data={"x": [1]})
        await say(bob, "lobby", "tow")
        await say(bob, "lobby", "never mind")
        for kind, fields in (
            ("edit", {"seq": 2, "text": "two"}),
            ("delete", {"seq": 3}),
            ("react", {"seq": 1, "reaction": "👍"}),
        ):
            assert (await bob.ask(kind, room="lobby", **fields))["type"] == "sent"
        await bob.send("ack", room="lobby", seq=4)
        await alice.expect("receipt", receipts={"bob": 4})
        before = await page_of(alice)
        await alice.ask("ping")

    server = await restart(start_server, server, kill=kill)
    async with AsyncExitStack() as clients:
        alice, bob = await open_lines(server, clients), await open_lines(server, clients)
        again = await enter(alice, "lobby", "alice")
        assert (again["epoch"], again["head"]) == (joined["epoch"], 6)
        assert await page_of(alice) == before
        assert [message.get("text") for message in before] == ["Grüße aus Ulm", "two", None]
        assert before[0]["reactions"] == {"👍": ["bob"]}
        # Ids are remembered, whatever else is sent with them.
        repeated = await alice.ask("send", room="lobby", id="a-1", text="again")
        assert (repeated["seq"], repeated["at"], repeated["repeated"]) == (1, sent["at"], True)
        # So are words: what a message says now is found, whatever it said before.
        found = (await alice.ask("search", query="gruße ULM"))["messages"]
        assert [message["seq"] for message in found] == [1]
        assert (await alice.ask("search", query="tow"))["messages"] == []
        # So is what was read, unless the server was killed before it told the disk.
        await bob.hello("bob")
        back = await bob.join("lobby", after=1, epoch=joined["epoch"])
        assert back["reset"] is False
        assert back["cursor"] + back["unread"] == 6
        if not kill:
            assert back["cursor"] == 4
        for seq, kind in enumerate(("message", "message", "edited", "deleted", "reacted"), 2):
            assert (await bob.expect(kind))["seq"] == seq
        assert await say(alice, "lobby", "and on") == 7
        assert (await bob.expect("message"))["seq"] == 7


async def test_two_devices_share_what_was_read(start_server: Start) -> None:
    server = await asyncio.to_thread(start_server, DURABLE, QUICK)
    async with AsyncExitStack() as clients:
        phone, bob = await open_lines(server, clients), await open_lines(server, clients)
        await enter(bob, "lobby", "bob")
        assert [await say(bob, "lobby", text) for text in ("one", "two", "three")] == [1, 2, 3]
        await phone.hello("alice")
        joined = await phone.join("lobby", after=0)
        assert (joined["cursor"], joined["unread"]) == (0, 3)
        await hear(phone, "lobby", 3)
        await phone.send("ack", room="lobby", seq=2)
        await bob.expect("receipt", receipts={"alice": 2})
        await phone.close()
        await bob.expect("presence", left=["alice"])
        desk = await clients.enter_async_context(await WebSocketClient.open(server.http))
        joined = await enter(desk, "lobby", "alice")
        assert (joined["cursor"], joined["unread"]) == (2, 1)
        (entry,) = (await desk.ask("rooms"))["rooms"]
        assert (entry["cursor"], entry["unread"]) == (2, 1)


async def test_the_same_id_in_every_dialect_and_many_at_once(start_server: Start) -> None:
    server = await asyncio.to_thread(start_server, DURABLE, "limits.messages_per_s=0")
    async with AsyncExitStack() as clients:
        lines = await open_lines(server, clients)
        await enter(lines, "lobby", "alice")
        for _ in range(20):
            await lines.send("send", room="lobby", id="a-1", text="once")
        answers = [await lines.expect("sent") for _ in range(20)]
        assert {answer["seq"] for answer in answers} == {1}
        assert [answer.get("repeated", False) for answer in answers] == [False] + 19 * [True]
        await lines.close()
    async with AsyncExitStack() as clients:
        browser = await clients.enter_async_context(await WebSocketClient.open(server.http))
        while (welcome := await browser.ask("hello", user="alice"))["type"] == "error":
            assert welcome["code"] == "name_taken"
        assert (await browser.join("lobby", after=0))["head"] == 1
        assert (await browser.ask("send", room="lobby", id="a-1", text="twice"))["seq"] == 1
        assert await say(browser, "lobby", "another") == 2
        assert [message["text"] for message in await page_of(browser)] == ["once", "another"]


SMALL_RING = ("fanout.ring_bytes=2048", "fanout.high_water_bytes=1024", "fanout.low_water_bytes=512")


async def test_who_comes_back_is_fed_from_the_file(start_server: Start) -> None:
    server = await asyncio.to_thread(start_server, DURABLE, "limits.messages_per_s=0", *SMALL_RING)
    async with AsyncExitStack() as clients:
        alice = await open_lines(server, clients)
        await enter(alice, "lobby", "alice")
        for number in range(1000):
            await alice.send("send", room="lobby", text=f"message {number}")
        await hear(alice, "lobby", 1000)
        returned = await open_lines(server, clients)
        await returned.hello("bob")
        await returned.join("lobby", after=3)
        # New ones come while the old ones are on their way.
        for number in range(100):
            await alice.send("send", room="lobby", text=f"later {number}")
        last = await returned.expect("message", seq=1100)
        assert check_no_hole([*returned.skipped, last], "lobby", 3) == 1100
        assert "lagged" not in [document["type"] for document in returned.skipped]


async def test_a_person_reads_what_became_of_messages(start_server: Start) -> None:
    server = await asyncio.to_thread(start_server, DURABLE, QUICK, "line.banner_after_ms=0")
    async with AsyncExitStack() as clients:
        person = await clients.enter_async_context(await TextClient.open(server.line))
        await person.type("/nick bob")
        await person.expect("you are in lobby")
        alice = await open_lines(server, clients)
        await enter(alice, "lobby", "alice")
        await say(alice, "lobby", "tow")
        await say(alice, "lobby", "never mind")
        await alice.ask("edit", room="lobby", seq=1, text="two")
        await alice.ask("react", room="lobby", seq=1, reaction="👍")
        await alice.ask("delete", room="lobby", seq=2)
        assert await person.expect("changed") == "* [lobby] alice changed message 1: two"
        assert await person.expect("deleted") == "* [lobby] alice deleted message 2"
        await person.type("/history")
        assert await person.receive() == "[lobby] alice: two (edited) (👍 1)"
        assert await person.receive() == "[lobby] alice: (deleted)"


# Room classes

TEMPORARY = 'rooms.classes=[{"pattern": "tmp-*", "store": "memory"}, {"pattern": "short", "keep_events": 10}]'


async def test_rooms_of_a_memory_class_are_not_kept(start_server: Start) -> None:
    server = await asyncio.to_thread(start_server, DURABLE, QUICK, TEMPORARY)
    async with AsyncExitStack() as clients:
        alice = await open_lines(server, clients)
        epochs = {}
        await alice.hello("alice")
        for room in ("tmp-1", "lobby"):
            epochs[room] = (await alice.join(room))["epoch"]
            await say(alice, room, f"in {room}")
        found = (await alice.ask("search", query="in"))["messages"]
        assert {message["room"] for message in found} == {"tmp-1", "lobby"}
    server = await restart(start_server, server, TEMPORARY, kill=False)
    async with AsyncExitStack() as clients:
        alice = await open_lines(server, clients)
        await alice.send("hello", user="alice", resume={"tmp-1": 1, "lobby": 1}, epochs=epochs)
        joined = await alice.expect("joined", room="tmp-1")
        assert (joined["reset"], joined["head"]) == (True, 0)
        joined = await alice.expect("joined", room="lobby")
        assert (joined["reset"], joined["head"]) == (False, 1)


# The file


def test_the_default_store_is_in_the_users_data_folder_and_is_told(
    start_server: Start, tmp_path: Path
) -> None:
    server = start_server(arguments=("--store", "sqlite:"))
    server.wait_for_log(f"  store      {tmp_path / 'fastchat' / 'fastchat.db'}\n")
    assert (tmp_path / "fastchat" / "fastchat.db").exists()


def refused(*arguments: str) -> str:
    """What `fastchat serve` says that cannot start."""
    result = subprocess.run(
        [sys.executable, "-m", "fastchat", "serve", "--http", "127.0.0.1:0", "--line", "off", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def test_a_second_server_on_the_same_file_is_refused(start_server: Start, tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/chat.db"
    start_server(arguments=("--store", url))
    assert f"{tmp_path}/chat.db is in use by another fastchat" in refused("--store", url)


@pytest.mark.parametrize("name", ["/proc/chat.db", "/dev/null/chat.db"])
def test_a_folder_that_cannot_be_written_is_one_line(name: str) -> None:
    error = refused("--store", f"sqlite://{name}")
    assert error.startswith(f"fastchat: cannot use {name}: ")
    assert "--store URL" in error


@pytest.mark.parametrize("content", [b"no database\n" * 100, b"\0" * 4096])
def test_a_file_of_another_kind_is_refused_and_left_alone(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    path.write_bytes(content)
    assert str(path) in refused("--store", f"sqlite://{path}")
    assert path.read_bytes() == content


async def test_a_stop_waits_for_what_was_sent(start_server: Start) -> None:
    server = await asyncio.to_thread(start_server, DURABLE, QUICK, "limits.messages_per_s=0")
    async with AsyncExitStack() as clients:
        alice = await open_lines(server, clients)
        await enter(alice, "lobby", "alice")
        for number in range(200):
            await alice.send("send", room="lobby", id=f"a-{number}", text=f"message {number}")
        await alice.expect("sent")
        server.signal(signal.SIGTERM)
        await alice.expect_closed()
        acknowledged = 1 + sum(document["type"] == "sent" for document in alice.skipped)
    server = await restart(start_server, server, kill=False)
    async with AsyncExitStack() as clients:
        bob = await open_lines(server, clients)
        assert (await enter(bob, "lobby", "bob"))["head"] >= acknowledged
