"""Hooks that say who may come in and do what, and hooks that are told who comes and goes."""

import asyncio
from typing import Any

import pytest

from fastchat import Refuse, User
from fastchat.auth import Credentials
from fastchat.server import Server
from tests.clients import JsonLinesClient
from tests.integration.embedded import member, settings


class Doors:
    """Bob may look, but not talk, in the lobby; nobody but alice may enter the attic."""

    async def authorize(self, user: User, action: str, room: str) -> bool | None:
        await asyncio.sleep(0)
        if room == "attic" and user.name != "alice":
            raise Refuse("the attic is alice's")
        return not (user.name == "bob" and action in ("send", "edit", "react"))


class QuickDoors(Doors):
    def authorize(self, user: User, action: str, room: str) -> bool | None:  # type: ignore[override]
        if room == "attic" and user.name != "alice":
            raise Refuse("the attic is alice's")
        return not (user.name == "bob" and action in ("send", "edit", "react"))


@pytest.mark.parametrize("doors", [Doors(), QuickDoors()], ids=["async def", "def"])
async def test_authorize_forbids_what_it_says_no_to(doors: Doors) -> None:
    async with (
        Server(settings(), hooks=[doors]) as server,
        member(server, "alice", "lobby", "attic") as alice,
        member(server, "bob") as bob,
    ):
        assert (await alice.ask("send", room="lobby", text="hi"))["type"] == "sent"
        no = await bob.ask("send", room="lobby", text="hi")
        assert (no["code"], no["message"]) == ("forbidden", "you may not send in lobby")
        no = await bob.ask("join", room="attic")
        assert (no["code"], no["message"]) == ("refused", "the attic is alice's")
        assert (await bob.ask("history", room="lobby"))["type"] == "history"
        assert (await bob.ask("members", room="attic"))["code"] == "refused"
        await bob.send("hello", user="bob", resume={"attic": 0}, ref=1)
        assert (await bob.expect("error", ref=1))["room"] == "attic"


async def test_commands_keep_their_order_while_authorize_thinks() -> None:
    async with Server(settings(), hooks=[Doors()]) as server, member(server, "alice") as alice:
        for ref in range(20):
            await alice.send("send" if ref % 3 else "history", room="lobby", text="hi", ref=ref)
        assert [(await alice.expect("sent" if ref % 3 else "history"))["ref"] for ref in range(20)] == [
            *range(20)
        ]


async def test_authenticate_knows_an_apps_own_people() -> None:
    class OwnLogin:
        async def authenticate(self, credentials: Credentials) -> Any:
            if credentials.token == "s3cr3t":
                return User("Carol", guest=False, operator=True)
            if credentials.token is not None:
                raise Refuse("this session has ended; sign in again")
            return "dave" if credentials.password == "dave's" else None

    async with Server(settings(), hooks=[OwnLogin()]) as server:
        async with await JsonLinesClient.open(server.addresses["line"]) as client:
            no = await client.ask("hello", token="old")
            assert (no["code"], no["message"]) == ("unauthorized", "this session has ended; sign in again")
            welcome = await client.ask("hello", token="s3cr3t")
            assert (welcome["user"], welcome["guest"], welcome["operator"]) == ("Carol", False, True)
        async with await JsonLinesClient.open(server.addresses["line"]) as client:
            assert (await client.ask("hello", user="dave", password="dave's"))["guest"] is False
        async with await JsonLinesClient.open(server.addresses["line"]) as client:
            assert (await client.ask("hello", user="erin"))["guest"] is True


class Diary:
    def __init__(self) -> None:
        self.entries: list[tuple[str, str, str]] = []
        self.complete = asyncio.Event()

    def note(self, what: str, user: User, where: str) -> None:
        self.entries.append((what, user.name, where))
        if what == "disconnect":
            self.complete.set()


async def test_who_comes_and_goes_is_told_in_order() -> None:
    diary = Diary()

    class Told:
        async def on_connect(self, user: User, address: str) -> None:
            diary.note("connect", user, address)

        async def on_join(self, user: User, room: str) -> None:
            diary.note("join", user, room)

        async def on_leave(self, user: User, room: str) -> None:
            diary.note("leave", user, room)
            raise RuntimeError("this is nobody's business")

        async def on_disconnect(self, user: User, address: str) -> None:
            diary.note("disconnect", user, address)

    async with Server(settings(), hooks=[Told()]) as server:
        async with member(server, "alice", "lobby", "attic") as alice:
            await alice.ask("leave", room="attic")
        async with asyncio.timeout(10):
            await diary.complete.wait()
        assert server.hooks is not None
        assert [hook.counters.failed for hook in server.hooks.hooks] == [0, 2, 0, 0]
    assert diary.entries == [
        ("connect", "alice", "127.0.0.1"),
        ("join", "alice", "lobby"),
        ("join", "alice", "attic"),
        ("leave", "alice", "attic"),
        ("leave", "alice", "lobby"),
        ("disconnect", "alice", "127.0.0.1"),
    ]


async def test_on_start_runs_as_long_as_the_server() -> None:
    ended = []

    class Bot:
        async def on_start(self, server: Server) -> None:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                ended.append(server)

    async with Server(settings(), hooks=[Bot()]) as server:
        await asyncio.sleep(0)
        assert ended == []
    assert ended == [server]
