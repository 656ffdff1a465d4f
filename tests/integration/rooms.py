"""Names that no other test uses, so that tests can share a server."""

import itertools
import os

from tests.clients import Client, Document

_numbers = itertools.count(1)


def fresh_name(prefix: str) -> str:
    """A name for a room or a user."""
    return f"{prefix}-{os.getpid()}-{next(_numbers)}"


async def enter(client: Client, room: str, user: str | None = None) -> Document:
    """Says hello, as a guest without `user`, joins the room and returns `joined`."""
    await client.hello(user)
    return await client.join(room)


async def say(client: Client, room: str, text: str) -> int:
    """Sends a message and returns its seq."""
    sent = await client.ask("send", room=room, text=text)
    assert sent["type"] == "sent", sent
    return int(sent["seq"])


def check_no_hole(documents: list[Document], room: str, after: int) -> int:
    """Asserts that each event of the room's log came once and in order, or was said to be missed.

    Returns the last one's seq; `after` is the one before the first.
    """
    for document in documents:
        if document.get("room") != room:
            continue
        if document["type"] == "message":
            assert document["seq"] == after + 1
            after += 1
        elif document["type"] == "lagged":
            assert document["from"] == after + 1
            assert document["missed"] == document["to"] - after
            after = document["to"]
    return after


async def hear(client: Client, room: str, last: int) -> list[int]:
    """The seqs of the room's messages that arrive, up to and with `last`."""
    heard: list[int] = []
    while not heard or heard[-1] < last:
        heard.append(int((await client.expect("message", room=room))["seq"]))
    return heard
