"""The first minute with the real server: it starts, everyone chats, it stops; the tests' tools hold, too."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

import pytest

from tests.clients import JsonLinesClient, TextClient, WebSocketClient
from tests.server_process import ServerProcess


async def test_all_dialects_chat_in_one_room(
    json_client: Callable[..., Awaitable[JsonLinesClient]],
    websocket_client: Callable[..., Awaitable[WebSocketClient]],
    text_client: Callable[[], Awaitable[TextClient]],
) -> None:
    alice = await json_client("alice")
    bob = await websocket_client("bob")
    carol = await text_client()
    await carol.type("/nick carol")
    await carol.expect("carol")
    # Her first lines have put her into the lobby; what she says there proves it.
    await carol.type("hi from nc")
    await alice.expect("message", room="lobby", text="hi from nc", **{"from": "carol"})
    await bob.expect("message", room="lobby", text="hi from nc", **{"from": "carol"})

    sent = await alice.ask("send", room="lobby", id="a-1", text="hi from a program")
    assert sent["type"] == "sent"
    await bob.expect("message", text="hi from a program", seq=sent["seq"])
    await carol.expect("[lobby] alice: hi from a program")

    await bob.ask("send", room="lobby", id="b-1", text="hi from a browser")
    await alice.expect("message", text="hi from a browser")
    await carol.expect("[lobby] bob: hi from a browser")


async def test_stop_says_bye_and_closes_with_restart(
    server: ServerProcess,
    json_client: Callable[..., Awaitable[JsonLinesClient]],
    websocket_client: Callable[..., Awaitable[WebSocketClient]],
) -> None:
    alice = await json_client("alice")
    bob = await websocket_client("bob")
    server.signal(signal.SIGTERM)
    assert (await alice.expect("bye"))["cursors"] == {"lobby": 0}
    await bob.expect("bye")
    await alice.expect_closed()
    assert (await bob.expect_closed()).code == 1012
    assert await asyncio.to_thread(server.wait) == 0


@pytest.mark.settings("limits.text_bytes=10")
async def test_settings_of_a_test_reach_the_server(
    json_client: Callable[..., Awaitable[JsonLinesClient]],
) -> None:
    alice = await json_client()
    assert (await alice.hello("alice"))["limits"]["text_bytes"] == 10


def test_a_server_that_cannot_start_says_why(start_server: Callable[..., ServerProcess]) -> None:
    with pytest.raises(AssertionError, match="text_bytes"):
        start_server("limits.text_bytes=-1")


def test_a_killed_server_is_no_failure_of_its_test(server: ServerProcess) -> None:
    server.kill()
