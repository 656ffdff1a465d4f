"""Moderation over real connections: several devices, both listeners, and a restart."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from tests.clients import Client, Document, JsonLinesClient, WebSocketClient
from tests.server_process import ServerProcess

PASSWORD = "correct horse battery"
SETTINGS = ("store.url=sqlite:", "auth.registration=on", "limits.messages_per_s=0")


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as clients:
        yield clients


async def arrive(stack: AsyncExitStack, client: Client, user: str, *rooms: str, new: bool = False) -> Client:
    """Registers or logs in, and joins."""
    await stack.enter_async_context(client)
    if new:
        assert (await client.ask("register", user=user, password=PASSWORD))["type"] != "error"
    else:
        assert (await client.ask("hello", user=user, password=PASSWORD))["type"] == "welcome"
    for room in rooms:
        assert (await client.join(room))["type"] == "joined"
    return client


async def code_of(client: Client, type: str, **fields: object) -> str:
    """``yes``, or the code of the refusal."""
    answer: Document = await client.ask(type, **fields)
    return str(answer["code"]) if answer["type"] == "error" else "yes"


async def test_a_ban_is_at_once_on_all_devices_and_outlives_a_restart(
    start_server: Callable[..., ServerProcess], stack: AsyncExitStack
) -> None:
    first = start_server(*SETTINGS)
    olga = await arrive(stack, await WebSocketClient.open(first.http), "olga", new=True)
    laptop = await arrive(stack, await WebSocketClient.open(first.http), "bob", new=True)
    assert await code_of(olga, "create", room="club", topic="tea") == "yes"
    assert (await olga.join("club"))["role"] == "owner"
    await laptop.join("club")
    phone = await arrive(stack, await JsonLinesClient.open(first.line), "bob", "club")
    carl = await arrive(stack, await JsonLinesClient.open(first.line), "carl", "club", new=True)
    assert await code_of(olga, "role", room="club", user="carl", role="moderator") == "yes"
    assert await code_of(laptop, "kick", room="club", user="carl") == "forbidden"

    assert await code_of(carl, "ban", room="club", user="BOB", for_s=3600, reason="spam") == "yes"
    for device in (laptop, phone):
        assert (await device.expect("left"))["by"] == "carl"
        assert await code_of(device, "send", room="club", text="hm") == "banned"
        assert await code_of(device, "join", room="club") == "banned"
    event = await olga.expect("moderated", action="ban")
    assert (event["user"], event["reason"]) == ("bob", "spam")
    assert await code_of(carl, "mute", room="club", user="dora") == "yes"
    assert await code_of(olga, "access", room="club", access="private") == "yes"
    assert await code_of(olga, "slow", room="club", interval_s=600) == "yes"
    before = await olga.ask("history", room="club")
    first.stop()

    second = start_server(*SETTINGS)
    bob = await arrive(stack, await WebSocketClient.open(second.http), "bob")
    guest = await stack.enter_async_context(await WebSocketClient.open(second.http))
    await guest.hello("gast")
    assert await code_of(bob, "join", room="club") == "banned"
    assert await code_of(guest, "join", room="club") == "no_such_room"
    assert (await bob.ask("rooms"))["rooms"] == []
    again = await arrive(stack, await WebSocketClient.open(second.http), "carl")
    joined = await again.join("club")
    assert (joined["role"], joined["access"], joined["topic"], joined["interval_s"]) == (
        "moderator", "private", "tea", 600,
    )  # fmt: skip
    assert await code_of(again, "access", room="club", access="public") == "forbidden"
    assert (await again.ask("history", room="club"))["messages"] == before["messages"]
    assert await code_of(again, "unban", room="club", user="bob") == "yes"
    assert await code_of(bob, "join", room="club") == "no_such_room"
    assert await code_of(again, "invite", room="club", user="bob") == "yes"
    assert await code_of(bob, "join", room="club") == "yes"
    assert await code_of(bob, "send", room="club", text="hello again") == "yes"
    assert await code_of(bob, "send", room="club", text="too soon") == "rate_limited"


async def test_everybody_who_is_let_down_hears_nothing_more(
    start_server: Callable[..., ServerProcess], stack: AsyncExitStack
) -> None:
    server = start_server(*SETTINGS)
    olga = await arrive(stack, await WebSocketClient.open(server.http), "olga", new=True)
    await olga.ask("create", room="club")
    await olga.join("club")
    guests = [await stack.enter_async_context(await WebSocketClient.open(server.http)) for _ in range(20)]
    for number, guest in enumerate(guests):
        await guest.hello(f"guest{number}")
        await guest.join("club")
    assert await code_of(olga, "access", room="club", access="private") == "yes"
    assert await code_of(olga, "send", room="club", text="among ourselves") == "yes"
    for guest in guests:
        await guest.expect("left", room="club", by="olga")
        assert (await guest.ask("ping"))["type"] == "pong"
        assert "among ourselves" not in str(guest.skipped)
    assert (await olga.ask("members", room="club"))["members"] == ["olga"]
