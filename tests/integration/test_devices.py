"""Accounts on several devices, rooms of two, and what outlives a kill, on a running server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.clients import Client, Document, JsonLinesClient, WebSocketClient
from tests.server_process import ServerProcess

SECRET = "correct horse battery staple"
OTHER = "an even longer one than that"

OpenLines = Callable[..., Awaitable[JsonLinesClient]]
OpenWebSocket = Callable[..., Awaitable[WebSocketClient]]

pytestmark = pytest.mark.settings("store.url=sqlite:", "rooms.presence_interval_ms=0")


async def register(client: Client, user: str) -> None:
    answer = await client.ask("register", user=user, password=SECRET)
    assert (answer["type"], answer["user"], answer["guest"]) == ("welcome", user, False)


async def log_in(client: Client, user: str, **fields: object) -> Document:
    answer = await client.ask("hello", user=user, password=SECRET, **fields)
    assert answer["type"] == "welcome", answer
    return answer


async def test_both_devices_of_both_hear_everything(
    json_client: OpenLines, websocket_client: OpenWebSocket
) -> None:
    alice, phone = await json_client(), await websocket_client()
    bob, laptop = await websocket_client(), await json_client()
    await register(alice, "alice")
    await register(bob, "bob")
    await log_in(phone, "ALICE")
    await log_in(laptop, "bob")
    assert (await alice.ask("direct", to="bob", text="hi", id="1"))["room"] == "@alice,bob"
    for each in (alice, phone, bob, laptop):
        assert (await each.expect("message", room="@alice,bob"))["from"] == "alice"
    await laptop.ask("send", room="@alice,bob", text="hello")
    for each in (alice, phone, bob, laptop):
        assert (await each.expect("message", seq=2))["from"] == "bob"
    await phone.send("ack", room="@alice,bob", seq=2)
    assert (await alice.expect("receipt"))["receipts"] == {"alice": 2}
    for each in (alice, phone):
        await each.join("lobby")
    await bob.join("lobby")
    await phone.close()
    members = await bob.ask("members", room="lobby")
    assert members["members"] == ["alice", "bob"]


async def test_a_stranger_learns_nothing(json_client: OpenLines, websocket_client: OpenWebSocket) -> None:
    alice, bob, eve = await json_client(), await json_client(), await websocket_client()
    await register(alice, "alice")
    await register(bob, "bob")
    await register(eve, "eve")
    await alice.ask("direct", to="bob", text="psst")
    for kind, fields in (("join", {}), ("history", {}), ("members", {}), ("send", {"text": "x"})):
        answer = await eve.ask(kind, room="@alice,bob", **fields)
        other = await eve.ask(kind, room="@alice,zed", **fields)
        assert answer["code"] == other["code"] == "no_such_room"
    assert (await eve.ask("rooms"))["directs"] == []
    assert (await eve.ask("search", query="psst"))["messages"] == []
    assert (await bob.ask("block", user="alice"))["type"] == "blocked"
    assert (await alice.ask("direct", to="bob", text="x"))["code"] == "refused"
    assert (await alice.ask("direct", to="Alice", text="x"))["code"] == "bad_field"
    assert (await alice.ask("direct", to="nobody", text="x"))["code"] == "no_such_user"


async def test_who_was_away_finds_it_unread_after_a_kill(
    start_server: Callable[..., ServerProcess],
) -> None:
    first = start_server("store.url=sqlite:")
    async with await JsonLinesClient.open(first.line) as bob:
        await register(bob, "bob")
    async with await JsonLinesClient.open(first.line) as alice:
        await register(alice, "alice")
        for number in range(3):
            sent = await alice.ask("direct", to="bob", text=str(number), id=f"{number}")
            assert sent["type"] == "sent"
        await alice.ask("block", user="bob")
        await alice.ask("unblock", user="bob")
        first.kill()
    second = start_server("store.url=sqlite:")
    async with await WebSocketClient.open(second.http) as bob:
        await log_in(bob, "bob")
        joined = await bob.expect("joined", room="@alice,bob")
        assert (joined["unread"], joined["cursor"]) == (3, 0)
        assert [(await bob.expect("message"))["text"] for _ in range(3)] == ["0", "1", "2"]
        async with await JsonLinesClient.open(second.line) as alice:
            await log_in(alice, "alice")
            again = await alice.ask("direct", to="bob", text="2", id="2")
            assert (again["seq"], again["repeated"]) == (3, True)
            await alice.ask("direct", to="bob", text="3")
        assert (await bob.expect("message"))["seq"] == 4


async def test_signing_out_and_a_new_password_end_the_other_devices(
    json_client: OpenLines, websocket_client: OpenWebSocket
) -> None:
    here, phone, laptop = await json_client(), await websocket_client(), await json_client()
    await register(here, "alice")
    await log_in(phone, "alice")
    assert (await here.ask("password", old=SECRET, new=OTHER))["type"] == "password_changed"
    assert (await phone.expect_closed()).code == 4500
    assert (await laptop.ask("hello", user="alice", password=SECRET))["code"] == "unauthorized"
    assert (await laptop.ask("hello", user="alice", password=OTHER))["type"] == "welcome"
    await here.send("sign_out")
    await laptop.expect("bye", code=4500)
    await here.expect("signed_out")
    await here.expect("bye", code=4500)


async def test_a_guest_s_conversation_goes_with_the_guest(json_client: OpenLines) -> None:
    alice, bob = await json_client("alice"), await json_client("bob")
    assert (await bob.ask("direct", to="alice", text="secret"))["room"] == "@~alice,~bob"
    await alice.expect("message", room="@~alice,~bob")
    await bob.close()
    await alice.expect("left", room="@~alice,~bob")
    later = await json_client("bob")
    assert (await later.ask("join", room="@~alice,~bob", after=0))["code"] == "no_such_room"


@pytest.mark.settings("limits.connections_per_user=2")
async def test_an_account_has_only_so_many_connections(json_client: OpenLines) -> None:
    first, second, third = await json_client(), await json_client(), await json_client()
    await register(first, "alice")
    await log_in(second, "alice")
    refused = await third.ask("hello", user="alice", password=SECRET)
    assert refused["code"] == "too_many_connections"
    await second.close()
    async with asyncio.timeout(10):
        while (await third.ask("hello", user="alice", password=SECRET))["type"] == "error":
            pass
