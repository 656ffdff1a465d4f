"""Presence over real connections: two devices of one user, lost connections, many who come and go."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from fastchat.server import Server
from fastchat.store.interface import Account
from tests.clients import Client, Document, JsonLinesClient, WebSocketClient
from tests.integration.embedded import member, settings
from tests.people import Doorkeeper

PASSWORD = "correct horse battery"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Announces every turn of the loop; alice and carol have accounts."""
    async with Server(settings(rooms={"presence_interval_ms": 0}, limits={"messages_per_s": 0})) as running:
        yield running


@pytest.fixture
async def devices(server: Server) -> AsyncIterator[AsyncExitStack]:
    server.chat.hub.authenticator = Doorkeeper({"alice": PASSWORD, "carol": PASSWORD})
    async with AsyncExitStack() as stack:
        yield stack


async def log_in(devices: AsyncExitStack, client: Client, user: str, *rooms: str) -> None:
    await devices.enter_async_context(client)
    assert (await client.ask("hello", user=user, password=PASSWORD))["guest"] is False
    for room in rooms:
        await client.join(room)


async def test_two_devices_of_one_user(server: Server, devices: AsyncExitStack) -> None:
    bob = await devices.enter_async_context(member(server, "bob"))
    laptop = await WebSocketClient.open(server.addresses["http"])
    phone = await JsonLinesClient.open(server.addresses["line"])
    await log_in(devices, laptop, "alice", "lobby")
    await bob.expect("presence", joined=["alice"], members=2)
    await log_in(devices, phone, "alice", "lobby")
    await phone.ask("away", away=True, text="at lunch")
    await bob.expect("presence", away={"alice": "at lunch"}, members=2)
    assert (await bob.ask("members", room="lobby"))["away"] == {"alice": "at lunch"}

    await phone.reset()
    assert (await bob.ask("whois", user="alice"))["online"] is True
    assert (await laptop.ask("send", room="lobby", text="back again"))["type"] == "sent"
    await bob.expect("presence", back=["alice"])
    await laptop.close()
    await bob.expect("presence", left=["alice"], members=1)
    told = [name for event in bob.skipped if event["type"] == "presence" for name in event["left"]]
    assert told == []  # the lost phone was not alice


async def test_an_account_that_has_gone_was_seen_last_just_now(
    server: Server, devices: AsyncExitStack
) -> None:
    carol = await JsonLinesClient.open(server.addresses["line"])
    await log_in(devices, carol, "carol", "lobby")
    server.chat.hub.store.add_account(Account("alice", "alice"), lambda error: None)
    async with await JsonLinesClient.open(server.addresses["line"]) as alice:
        before_ms = time.time_ns() // 1_000_000
        await alice.ask("hello", user="alice", password=PASSWORD)
        await alice.join()
        await carol.expect("presence", joined=["alice"])
    await carol.expect("presence", left=["alice"])
    answer = await carol.ask("whois", user="alice")
    assert (answer["online"], answer["guest"]) == (False, False)
    assert before_ms <= answer["seen_at"] <= time.time_ns() // 1_000_000


class Onlooker:
    """Asks once who is there, and applies every announcement from then on."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.names: set[str] = set()
        self.away: dict[str, str] = {}
        self._applied = 0

    async def ask(self) -> None:
        page = await self.client.ask("members", room="lobby")
        self.names, self.away = {*page["members"]}, page.get("away", {})
        self._applied = len(self.client.skipped)  # what came before the page is older than it

    async def follow(self, names: set[str], away: dict[str, str]) -> None:
        """Applies what has come and what comes, until this is what is known."""
        for event in self.client.skipped[self._applied :]:
            if event["type"] == "presence":
                self._apply(event)
        while (self.names, self.away) != (names, away):
            self._apply(await self.client.expect("presence"))

    def _apply(self, event: Document) -> None:
        assert "partial" not in event
        self.names = (self.names | {*event["joined"]}) - {*event["left"]}
        for user in (*event["joined"], *event["left"], *event.get("back", ())):
            self.away.pop(user, None)
        self.away |= event.get("away", {})


async def come_and_go(server: Server, number: int, chance: random.Random) -> None:
    """Joins, leaves, is away, is back, loses the connection and comes back; is gone in the end."""
    for _ in range(chance.randrange(2, 5)):
        client = await JsonLinesClient.open(server.addresses["line"])
        while (await client.ask("hello", user=f"user-{number}"))["type"] != "welcome":
            pass  # the server has not noticed yet that the connection before was lost
        await client.join()
        for _ in range(chance.randrange(4)):
            await client.ask("away", away=chance.random() < 0.7)
            if chance.random() < 0.5:
                await client.ask("leave", room="lobby")
                await client.join()
        await client.reset()


async def test_who_follows_the_announcements_knows_who_is_there(
    server: Server, devices: AsyncExitStack
) -> None:
    names = {f"regular-{i}" for i in range(4)}
    onlookers = [Onlooker(await devices.enter_async_context(member(server, name))) for name in sorted(names)]
    chance = random.Random(5)
    for onlooker in onlookers[:2]:
        await onlooker.ask()
    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(come_and_go(server, number, chance))
        for onlooker in onlookers[2:]:
            group.create_task(onlooker.ask())
    await onlookers[0].client.ask("away", away=True, text="enough")
    await devices.enter_async_context(member(server, "last"))
    for onlooker in onlookers:
        await onlooker.follow({*names, "last"}, {"regular-0": "enough"})
    page = await onlookers[0].client.ask("members", room="lobby")
    assert {*page["members"]} == {*names, "last"}


async def test_a_large_room_over_the_wire() -> None:
    options: dict[str, Any] = {"presence_interval_ms": 0, "presence_names": 2}
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(Server(settings(rooms=options)))
        first, *_ = [await stack.enter_async_context(member(server, f"user-{i}")) for i in range(4)]
        await first.expect("presence", members=4, partial=True, joined=[], left=[])
        page = await first.ask("members", room="lobby", limit=3)
        assert (page["members"], page["more"]) == (["user-0", "user-1", "user-2"], True)
        assert len((await first.ask("members", room="lobby", sample=2))["members"]) == 2
