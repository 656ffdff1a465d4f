"""Commands on their way in: parsing and checking one, and carrying out what one read brings. No sockets.

There is no twin of the session. Beside it stands what the tutorials of `websockets` make of a chat: the
standard library's JSON, a number, and ``broadcast``; no checks, no ids that are remembered, no history.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any, Literal

import orjson
import pydantic
import pytest
from websockets.asyncio.server import broadcast

from benchmarks.micro.broadcasters import open_server_connections
from benchmarks.micro.measure import Measure
from benchmarks.micro.transports import NullTransport
from fastchat.messages import check_command, parse_object
from fastchat.session import Limits
from tests.parties import JsonClient, Party

TEXTS_BYTES = (16, 256, 1024, 4096, 16_384, 65_536)
COMMANDS = 64  # in one read
PAGE = 50


class Send(pydantic.BaseModel):
    """The command as one would declare it for FastAPI."""

    type: Literal["send"]
    room: str = pydantic.Field(pattern="^[a-z0-9][a-z0-9._-]{0,63}$")
    id: str | None = pydantic.Field(None, min_length=1, max_length=64)
    text: str = pydantic.Field(min_length=1)
    ref: str | int | None = None


def refuse_double_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For the standard library's parser, which takes the last of two equal keys."""
    command = dict(pairs)
    if len(command) != len(pairs):
        raise ValueError("a key is there twice")
    return command


PARSERS: dict[str, Callable[[bytes], object]] = {
    "fastchat": lambda line: check_command(parse_object(line)),
    "json, the same checks": lambda line: check_command(
        json.loads(line, object_pairs_hook=refuse_double_keys)
    ),
    "pydantic": Send.model_validate_json,
    "orjson, no checks": orjson.loads,
}


def encode_send(text: str, id: str) -> bytes:  # noqa: A002  (the wire's own name)
    return orjson.dumps({"type": "send", "room": "lobby", "id": id, "text": text})


@pytest.mark.parametrize("text_bytes", TEXTS_BYTES)
@pytest.mark.parametrize("name", PARSERS)
def test_parse_and_check(measure: Measure, name: str, text_bytes: int) -> None:
    parse, line = PARSERS[name], encode_send("x" * text_bytes, "a1")
    measure("commands", name, text_bytes, lambda: parse(line), units=1)


class OneMember:
    """A room with one member, who gets `sent` and the event for all that it sends."""

    def __init__(self, client: Callable[[Party], JsonClient]) -> None:
        self._party = Party(limits=Limits(messages_per_s=0, text_bytes=0))
        self._client = client(self._party)
        self._client.say("hello", user="alice")
        self._client.say("join", room="lobby")
        self._client.heard()

    def receive(self, payloads: Sequence[bytes]) -> int:
        """Carries out what has come in one read; returns how many bytes that was worth."""
        self._client.send_raw(*payloads)
        self._party.settle()
        return len(self._client.transport.take())

    def ask(self, type: str, **fields: Any) -> list[dict[str, Any]]:  # noqa: A002  (the wire's own name)
        """The answers to one command."""
        self._client.say(type, **fields)
        return self._client.heard()


class TutorialChat:
    """The same with `websockets`. Needs a running loop."""

    def __init__(self) -> None:
        self._connections = open_server_connections([NullTransport()])
        self._seq = 0

    def receive(self, payloads: Sequence[bytes]) -> None:
        (connection,) = self._connections
        for payload in payloads:
            command = json.loads(payload)
            self._seq += 1
            event = {"type": "message", "seq": self._seq, "from": "alice", "at": 1_700_000_000_000}
            broadcast(self._connections, json.dumps(event | {"id": command["id"], "text": command["text"]}))
            reply = {"type": "sent", "room": command["room"], "id": command["id"], "seq": self._seq}
            connection.protocol.send_text(json.dumps(reply).encode())
            connection.send_data()


CHATS: dict[str, Callable[[], OneMember | TutorialChat]] = {
    "fastchat": lambda: OneMember(Party.websocket),
    "fastchat, lines": lambda: OneMember(Party.json_lines),
    "websockets, a tutorial's chat": TutorialChat,
}


class Reads:
    """What comes in one read after the other: commands with an id that is never the same."""

    def __init__(self, make: Callable[[str], bytes], commands: int = COMMANDS) -> None:
        self._make = make
        self._commands = commands
        self._ids = itertools.count(1)
        self.payloads: list[bytes] = []

    def prepare(self) -> None:
        """Makes the next read."""
        self.payloads = [self._make(f"id-{next(self._ids)}") for _ in range(self._commands)]


@pytest.mark.parametrize("text_bytes", TEXTS_BYTES)
@pytest.mark.parametrize("name", CHATS)
def test_dispatch(measure: Measure, runner: asyncio.Runner, name: str, text_bytes: int) -> None:
    text = "x" * text_bytes

    async def run() -> None:
        chat = CHATS[name]()
        reads = Reads(lambda new_id: encode_send(text, new_id))
        measure(
            "dispatch",
            name,
            text_bytes,
            lambda: chat.receive(reads.payloads),
            units=COMMANDS,
            prepare=reads.prepare,
        )

    runner.run(run())


KINDS: dict[str, dict[str, Any]] = {
    "ping": {},
    "send": {"room": "lobby", "text": "x" * 64},
    "edit": {"room": "lobby", "seq": 1, "text": "y" * 64},
    "react": {"room": "lobby", "seq": 1, "reaction": "+1"},
    "typing": {"room": "lobby"},
    "members": {"room": "lobby"},
    "history": {"room": "lobby", "limit": PAGE},
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(measure: Measure, kind: str) -> None:
    member = OneMember(Party.websocket)
    for number in range(PAGE):
        member.ask("send", room="lobby", id=f"old-{number}", text="x" * 64)
    stored = kind in ("send", "edit", "react")

    def make(new_id: str) -> bytes:
        return orjson.dumps({"type": kind, **KINDS[kind], **({"id": new_id} if stored else {})})

    reads = Reads(make)
    answers = [answer["type"] for answer in member.ask(**json.loads(make("first")))]
    assert "error" not in answers
    measure(
        "kinds",
        "fastchat",
        kind,
        lambda: member.receive(reads.payloads),
        units=COMMANDS,
        prepare=reads.prepare,
    )
