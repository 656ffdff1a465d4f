"""The server does what docs/asyncapi.yaml and docs/protocol.md say, and nothing else."""

import asyncio
import copy
import json
import re
import shlex
import signal
import socket
import sqlite3
import string
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from fastchat.messages import COMMANDS, Close, Code, WireError, check_command
from tests.clients import (
    TIMEOUT_S,
    Client,
    Document,
    JsonLinesClient,
    TextClient,
    WebSocketClient,
    split_address,
)
from tests.protocol_document import DOCS, ProtocolDocument
from tests.server_process import ServerProcess

DOCUMENT = ProtocolDocument()
PROSE = (DOCS / "protocol.md").read_text()

# The schemas


def is_accepted(command: Document) -> bool:
    """Whether the server takes the form of a command."""
    try:
        check_command(copy.deepcopy(command))
    except WireError:
        return False
    return True


@pytest.mark.parametrize("key", DOCUMENT.root["components"]["messages"])
def test_examples_are_as_their_schema_says(key: str) -> None:
    assert DOCUMENT.examples(key)
    for example in DOCUMENT.examples(key):
        assert DOCUMENT.problems(key, example) == []


def test_every_message_is_used() -> None:
    assert set(DOCUMENT.root["components"]["messages"]) == {
        *DOCUMENT.commands.values(),
        *DOCUMENT.from_server.values(),
    }
    assert set(DOCUMENT.root["channels"]["chat"]["messages"]) == set(DOCUMENT.root["components"]["messages"])


def test_the_commands_are_the_ones_of_the_code() -> None:
    assert set(DOCUMENT.commands) == set(COMMANDS)


@pytest.mark.parametrize("kind", COMMANDS)
def test_example_commands_are_accepted(kind: str) -> None:
    for example in DOCUMENT.examples(DOCUMENT.commands[kind]):
        assert is_accepted(example)


@pytest.mark.parametrize("kind", COMMANDS)
def test_commands_have_the_fields_of_the_code(kind: str) -> None:
    payload = DOCUMENT.message(DOCUMENT.commands[kind])["payload"]
    fields = COMMANDS[kind]
    assert set(payload["required"]) == {"type", *fields.required}
    assert set(payload["properties"]) == {"type", "ref", *fields.required, *fields.optional}


FIELDS = [
    (kind, field)
    for kind, fields in COMMANDS.items()
    for field in ("ref", *fields.required, *fields.optional)
]
# fmt: off
VALUES: list[Any] = [
    None, False, True, [], ["a"], {}, {"a": 1}, 0.5,
    "", "a", "A", "0", "a" * 32, "a" * 33, "a" * 64, "a" * 65, "a.b_c-d", "-a", ".a", "_a", "a b", "a\n",
    "\n", "a/b", "é", "a" * 63 + "é", "\N{GRINNING FACE}" * 64, "\N{GRINNING FACE}" * 65, "\0",
    0, 1, -1, 2**53 - 1, 2**53, -(2**53) + 1, -(2**53), 2**63,
    {"lobby": 1}, {"lobby": "a"}, {"lobby": True}, {"lobby": -1}, {"lobby": 2**53}, {"": 1}, {"a b": "a"},
    {"lobby\n": 1}, {"lobby\n": "a"}, {"lobby": ""}, {"lobby": "a" * 64}, {"lobby": "a" * 65},
    {"lobby": 1, "games": 2}, {"lobby": 1, "games": None}, {"a" * 64: 1}, {"a" * 65: 1},
]
# fmt: on


def make_command(kind: str) -> Document:
    """A command that is right, with its required fields only."""
    values: dict[str, Any] = {"room": "lobby", "text": "hi", "seq": 1, "reaction": "+1", "query": "hi"}
    values |= {"user": "bob", "role": "reader", "access": "public", "topic": "tea", "interval_s": 0}
    values |= {"password": "secret", "old": "secret", "new": "another", "token": "x.y.z", "to": "bob"}
    values |= {"away": True, "operator": True}
    return {"type": kind, **{field: values[field] for field in COMMANDS[kind].required}}


@pytest.mark.parametrize(("kind", "field"), FIELDS)
def test_schema_and_code_accept_the_same_values(kind: str, field: str) -> None:
    for value in VALUES:
        command = {**make_command(kind), field: value}
        assert DOCUMENT.accepts(DOCUMENT.commands[kind], command) == is_accepted(command), value


# An integer with a fraction of zero is one to JSON Schema and none to the server: the schema's prose says so.
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False).filter(lambda number: not number.is_integer())
    | st.text()
    | st.text(string.ascii_letters + string.digits + "._-"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(which=st.sampled_from(FIELDS), value=json_values)
def test_schema_and_code_agree_on_any_value(which: tuple[str, str], value: Any) -> None:
    kind, field = which
    command = {**make_command(kind), field: value}
    assert DOCUMENT.accepts(DOCUMENT.commands[kind], command) == is_accepted(command)


@pytest.mark.parametrize("kind", COMMANDS)
def test_schema_and_code_want_the_same_fields_and_ignore_others(kind: str) -> None:
    command = make_command(kind)
    for missing in command:
        less = {field: value for field, value in command.items() if field != missing}
        assert not DOCUMENT.accepts(DOCUMENT.commands[kind], less)
        assert not is_accepted(less)
    assert DOCUMENT.accepts(DOCUMENT.commands[kind], {**command, "later": 1})
    assert is_accepted({**command, "later": 1})


# Codes


def test_every_error_code_has_its_meaning() -> None:
    codes = {code.value for code in Code}
    assert set(DOCUMENT.schema("error_code")["enum"]) == codes
    assert set(DOCUMENT.error_meanings) == codes
    assert set(re.findall(r"^\| `([a-z_]+)` \|", section("Errors"), re.MULTILINE)) == codes


def test_every_close_code_has_its_meaning() -> None:
    # 1000 ends a person's connection after /quit.
    assert set(DOCUMENT.close_meanings) == {1000, *Close}
    source = (DOCS.parent / "fastchat" / "_websocket.pyx").read_text()
    raised = {int(code) for code in re.findall(r"WebSocketError\(([0-9]{4}),", source)}
    assert set(DOCUMENT.silent_close_meanings) == {1000, *raised}
    documented = {*DOCUMENT.close_meanings, *DOCUMENT.silent_close_meanings}
    rows = re.findall(r"^\| ([0-9]{4}) \|", section("How a connection ends"), re.MULTILINE)
    assert set(map(int, rows)) == documented


def section(title: str) -> str:
    """A chapter of docs/protocol.md."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PROSE, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def test_the_prose_has_every_message_and_field() -> None:
    for key, message in DOCUMENT.root["components"]["messages"].items():
        for field in message["payload"]["properties"]:
            assert f"`{field}`" in PROSE or f"`{field}?`" in PROSE, (key, field)
        assert f"`{message['payload']['properties']['type']['const']}`" in PROSE, key


# The server: whatever it sends is read by clients that compare it with the document.


class CheckedLines(JsonLinesClient):
    """A program on the line port that knows the document."""

    async def _read(self) -> bytes:
        raw = await super()._read()
        DOCUMENT.check_from_server(raw)
        return raw


class CheckedWebSocket(WebSocketClient):
    """A WebSocket client that knows the document."""

    async def _read(self) -> str | bytes:
        raw = await super()._read()
        DOCUMENT.check_from_server(raw)
        return raw


OpenClient = Callable[[], Awaitable[Client]]


@pytest.fixture(params=["line", "websocket"])
async def open_client(
    request: pytest.FixtureRequest, server: ServerProcess, clients: AsyncExitStack
) -> OpenClient:
    """`await open_client()`: a client of one kind that has said nothing yet."""

    async def open_one() -> Client:
        client: Client
        if request.param == "line":
            client = await CheckedLines.open(server.line)
        else:
            client = await CheckedWebSocket.open(server.http)
        return await clients.enter_async_context(client)

    return open_one


# What has to do with accounts and with what people may do has tests of its own.
OF_PEOPLE = {"token_expiring", "password_changed", "refreshed", "signed_out", "blocked", "unblocked"}
OF_PEOPLE |= {"account", "users", "room_list", "audit"}
CODES_OF_PEOPLE = {Code.NO_SUCH_USER, Code.MUTED, Code.BANNED, Code.REFUSED}


@pytest.mark.settings(
    "fanout.high_water_bytes=1024",
    "fanout.low_water_bytes=512",
    "fanout.ring_bytes=2048",
    "limits.rooms_per_connection=2",
    "limits.messages_per_s=1",
    "limits.burst=60",
    "rooms.presence_interval_ms=0",
    "rooms.history_page=3",
)
async def test_everything_that_is_sent_is_documented(server: ServerProcess, open_client: OpenClient) -> None:
    alice, bob = await open_client(), await open_client()
    seen = [await alice.ask("ping"), await alice.hello("alice"), await bob.hello("bob")]
    seen += [await alice.join("lobby"), await bob.join("lobby")]
    seen.append(await alice.expect("presence", joined=["bob"]))
    seen.append(await alice.ask("send", room="lobby", id="a-1", text="hi", data={"x": [1, None]}))
    seen.append(await bob.expect("message", text="hi"))
    again = await alice.ask("send", room="lobby", id="a-1", text="hi")
    assert again["repeated"] is True
    await bob.send("typing", room="lobby")
    seen.append(await alice.expect("typing"))
    seen += [
        await bob.ask("away", away=True, text="at lunch"),
        await alice.expect("presence", away={"bob": "at lunch"}),
    ]
    seen += [
        await alice.ask("members", room="lobby"),
        await alice.ask("rooms"),
        await alice.ask("room", room="lobby"),
        await alice.ask("whois", user="bob"),
    ]
    seen += [await bob.ask("away", away=False), await alice.expect("presence", back=["bob"])]
    seen += [await alice.ask("history", room="lobby"), await alice.ask("history", room="lobby", after=0)]
    seen += await change_messages(alice, bob)
    seen += [await alice.ask("create", room="den", topic="tea"), await alice.join("den", after=0)]
    seen.append(await alice.expect("moderated", action="create", topic="tea"))
    assert (await alice.ask("leave", room="den"))["type"] == "left"
    seen += [await alice.hello("alicia"), await bob.expect("presence", left=["alice"])]

    seen.append(await bob.ask("leave", room="lobby"))
    for number in range(6):
        await alice.ask("send", room="lobby", text=f"{number}" * 300)
    await bob.join("lobby", after=0)
    lagged = await bob.expect("lagged")
    assert lagged["missed"] == lagged["to"] - lagged["from"] + 1
    first = await bob.expect("message")
    assert first["seq"] == lagged["to"] + 1
    assert (await bob.ask("leave", room="lobby"))["type"] == "left"
    assert (await bob.join("lobby", after=100, epoch="another"))["reset"] is True

    server.signal(signal.SIGTERM)
    seen += [lagged, await alice.expect("bye"), await bob.expect("bye")]
    closed = await alice.expect_closed()
    if isinstance(alice, WebSocketClient):
        assert closed.code == Close.RESTART
    # An error and the banner have tests of their own.
    types = {document["type"] for document in [*seen, *alice.skipped, *bob.skipped]}
    assert types == set(DOCUMENT.from_server) - {"error", "banner"} - OF_PEOPLE


async def change_messages(alice: Client, bob: Client) -> list[Document]:
    """Both are in the lobby, where bob reads along what alice makes of her message 1."""
    seen = [
        await alice.ask("react", room="lobby", seq=1, reaction="👍"),
        await bob.expect("reacted", of=1, reaction="👍"),
        await alice.ask("edit", room="lobby", seq=1, text="hi, all", data={"x": 2}, id="a-2"),
        await bob.expect("edited", of=1, text="hi, all", data={"x": 2}, id="a-2"),
        await alice.ask("search", query="ALL hi"),
    ]
    found = seen[-1]["messages"][0]
    assert (found["text"], found["reactions"]) == ("hi, all", {"👍": ["alice"]})
    assert found["edited"] >= found["at"]
    await alice.ask("react", room="lobby", seq=1, reaction="👍", remove=True)
    seen.append(await bob.expect("reacted", of=1, reaction="👍", remove=True))
    seen.append(await alice.ask("delete", room="lobby", seq=1))
    seen.append(await bob.expect("deleted", of=1))
    (deleted,) = (await bob.ask("history", room="lobby"))["messages"]
    assert "text" not in deleted
    assert deleted["deleted"] >= deleted["at"]
    await bob.send("ack", room="lobby", seq=5)
    seen.append(await alice.expect("receipt", receipts={"bob": 5}))
    (entry,) = (await bob.ask("rooms"))["rooms"]
    assert (entry["cursor"], entry["unread"]) == (5, 0)
    return seen


@pytest.mark.settings("store.url=sqlite:", "rooms.presence_interval_ms=0")
async def test_a_durable_room_speaks_the_same_and_never_lags(open_client: OpenClient) -> None:
    alice, bob = await open_client(), await open_client()
    await alice.hello("alice")
    await bob.hello("bob")
    joined = await alice.join("lobby")
    await bob.join("lobby")
    await alice.ask("send", room="lobby", id="a-1", text="hi")
    await change_messages(alice, bob)
    await bob.close()

    returned = await open_client()
    await returned.send(
        "hello",
        user="bob-again",
        resume={"games": 0, "lobby": 1},
        epochs={"lobby": joined["epoch"], "games": "another"},
        ref="back",
    )
    await returned.expect("welcome", ref="back")
    assert (await returned.expect("joined", room="games", ref="back"))["reset"] is True
    assert (await returned.expect("joined", room="lobby", ref="back"))["reset"] is False
    kinds = [(await returned.expect(kind))["seq"] for kind in ("reacted", "edited", "reacted", "deleted")]
    assert kinds == [2, 3, 4, 5]
    again = await returned.ask("hello", resume={"lobby": 1})
    assert again["type"] == "welcome"
    assert (await returned.expect("error", ref=again["ref"]))["room"] == "lobby"
    assert "lagged" not in [document["type"] for document in returned.skipped]


@pytest.mark.settings("store.url=sqlite:")
async def test_a_store_that_cannot_store_says_so(
    server: ServerProcess, open_client: OpenClient, tmp_path: Path
) -> None:
    alice = await open_client()
    await alice.hello("alice")
    await alice.join("lobby")
    other = sqlite3.connect(tmp_path / "fastchat" / "fastchat.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # as a backup program may that is careless
    refused = await alice.ask("send", room="lobby", id="a-1", text="hi")
    assert refused["code"] == "unavailable"
    assert refused["retry_after_ms"] >= 1
    other.execute("ROLLBACK")
    other.close()
    sent = await alice.ask("send", room="lobby", id="a-1", text="hi")
    assert (sent["seq"], "repeated" in sent) == (1, False)
    assert (await alice.expect("message"))["seq"] == 1


@pytest.mark.settings("limits.rooms_per_connection=1", "limits.messages_per_s=0.001", "limits.burst=30")
async def test_errors_are_as_documented(open_client: OpenClient) -> None:
    alice, bob = await open_client(), await open_client()
    await bob.hello("bob")
    await bob.join("lobby")
    sent = await bob.ask("send", room="lobby", text="bob's own")
    errors = [await alice.ask("rooms"), await alice.ask("dance"), await alice.ask("hello", user="-")]
    errors.append(await alice.ask("hello", user="BOB"))
    errors.append(await alice.ask("hello", user="bob", password="guess"))
    await alice.send_raw("[]")
    errors.append(await alice.expect("error"))
    await alice.hello("alice")
    errors += [await alice.ask("send", room="lobby", text="hi"), await alice.ask("members", room="nowhere")]
    await alice.join("lobby")
    errors += [await alice.ask("join", room="lobby"), await alice.ask("join", room="another")]
    errors.append(await alice.ask("history", room="lobby", before=1, after=1))
    errors.append(await alice.ask("send", room="lobby", text="x" * 4097))
    errors += [
        await alice.ask("edit", room="lobby", seq=sent["seq"], text="alice's"),
        await alice.ask("delete", room="lobby", seq=sent["seq"]),
        await alice.ask("react", room="lobby", seq=sent["seq"] + 1, reaction="👍"),
        await alice.ask("ack", room="lobby", seq=sent["seq"] + 1),
        await alice.ask("search", query="own", room="another"),
    ]
    while (answer := await alice.ask("rooms"))["type"] != "error":
        pass
    assert answer["retry_after_ms"] >= 1
    codes = {error["code"] for error in [*errors, answer]}
    assert codes == set(Code) - {Code.TOO_MANY_CONNECTIONS, Code.UNAVAILABLE} - CODES_OF_PEOPLE


@pytest.mark.settings("line.banner_after_ms=1")
async def test_the_banner_is_as_documented(server: ServerProcess, clients: AsyncExitStack) -> None:
    client = await clients.enter_async_context(await CheckedLines.open(server.line))
    await client.expect("banner")
    await client.hello("alice")


@pytest.mark.settings("limits.command_bytes=512", "limits.text_bytes=100")
async def test_a_line_that_is_too_long_is_skipped(server: ServerProcess, clients: AsyncExitStack) -> None:
    client = await clients.enter_async_context(await CheckedLines.open(server.line))
    await client.hello("alice")
    await client.send_raw('{"type":"ping","ref":"' + "x" * 512 + '"}')
    assert (await client.expect("error"))["code"] == "too_large"
    assert (await client.ask("ping"))["type"] == "pong"


@pytest.mark.settings("limits.connections=1")
async def test_one_connection_too_many_is_refused(server: ServerProcess, clients: AsyncExitStack) -> None:
    await (await clients.enter_async_context(await CheckedLines.open(server.line))).hello("alice")
    late = await clients.enter_async_context(await CheckedLines.open(server.line))
    assert (await late.expect("error"))["code"] == "too_many_connections"
    await late.expect_closed()
    with pytest.raises(InvalidStatus) as refused:
        await WebSocketClient.open(server.http)
    assert refused.value.response.status_code == 503


@pytest.mark.settings("limits.hello_timeout_s=0.1")
async def test_who_never_says_hello_is_sent_away(open_client: OpenClient) -> None:
    client = await open_client()
    assert await client.expect("bye") == {
        "type": "bye",
        "code": Close.HELLO_TIMEOUT,
        "reason": "no hello within 0.1 s",
        "cursors": {},
    }
    closed = await client.expect_closed()
    if isinstance(client, WebSocketClient):
        assert closed.code == Close.HELLO_TIMEOUT


async def read_to_the_end(connection: ClientConnection) -> tuple[Document, int | None]:
    """The last document before the close frame, and its code."""
    last: Document = {}
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                last = DOCUMENT.check_from_server(await connection.recv())
    except ConnectionClosed as closed:
        return last, closed.rcvd.code if closed.rcvd is not None else None


@pytest.mark.settings(
    "fanout.slow_reader=disconnect",
    "fanout.slow_reader_timeout_s=0.1",
    "fanout.send_buffer_bytes=4096",
    "limits.messages_per_s=0",
    "rooms.presence_interval_ms=0",
)
async def test_a_slow_reader_is_sent_away_and_may_come_back(
    server: ServerProcess, clients: AsyncExitStack
) -> None:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, split_address(server.http))
    # It takes one message and then no more before it is read again.
    slow = await clients.enter_async_context(
        connect(
            f"ws://{server.http}/ws",
            sock=connection,
            max_queue=1,
            ping_interval=None,
            close_timeout=TIMEOUT_S,
        )
    )
    await slow.send('{"type":"hello","user":"slow"}')
    await slow.send('{"type":"join","room":"lobby"}')
    quick = await clients.enter_async_context(await CheckedLines.open(server.line))
    await quick.hello("quick")
    await quick.join("lobby")
    for _ in range(200):
        await quick.ask("send", room="lobby", text="x" * 4000)
    await quick.expect("presence", left=["slow"])
    bye, close_code = await read_to_the_end(slow)
    assert bye["code"] == close_code == Close.SLOW_READER

    back = await clients.enter_async_context(await CheckedLines.open(server.line))
    await back.hello("slow")
    await back.join("lobby", after=bye["cursors"]["lobby"])
    assert (await back.expect("message"))["seq"] == bye["cursors"]["lobby"] + 1


# The sessions in docs/protocol.md, as they are written there


def block(label: str) -> str:
    """The code block whose opening fence ends in this word."""
    found = re.search(rf"^```[a-z]+ {label}\n(.*?)^```$", PROSE, re.MULTILINE | re.DOTALL)
    assert found, label
    return found[1]


def on(server: ServerProcess, text: str) -> str:
    """The text with the addresses that the server really has."""
    host, port = split_address(server.line)
    return (
        text.replace("127.0.0.1:8080", server.http)
        .replace("127.0.0.1:8081", server.line)
        .replace("127.0.0.1 8081", f"{host} {port}")
    )


def without_chance(document: Document) -> Document:
    """The document with the values that differ each time replaced by their types."""
    by_chance = ("session", "epoch", "at", "server")
    return {key: type(value).__name__ if key in by_chance else value for key, value in document.items()}


@pytest.mark.settings("line.banner_after_ms=0")
async def test_the_session_with_nc_is_as_written(
    server: ServerProcess, text_client: Callable[[], Awaitable[TextClient]]
) -> None:
    command, *lines = block("person").splitlines()
    assert on(server, command) == f"$ nc {server.line.replace(':', ' ')}"
    person = await text_client()
    for line in lines:
        if line.startswith(("*", "[")):
            assert await person.receive() == line
        else:
            await person.type(line)
    await person.expect_closed()
    assert person.skipped == []


async def test_the_session_with_lines_is_as_written(server: ServerProcess) -> None:
    command = block("lines").replace("\\\n", "")
    said, nc = on(server, command).split("|")
    printf, pattern, *documents = shlex.split(said)
    assert (printf, pattern) == ("printf", "%s\\n")
    assert shlex.split(nc) == ["nc", "-N", *server.line.split(":")]
    reader, writer = await asyncio.open_connection(*split_address(server.line))
    writer.write(b"".join(document.encode() + b"\n" for document in documents))
    writer.write_eof()
    async with asyncio.timeout(TIMEOUT_S):
        answers = [DOCUMENT.check_from_server(line) for line in (await reader.read()).splitlines()]
    writer.close()
    await writer.wait_closed()
    expected = [json.loads(line) for line in block("answers").splitlines()]
    # Whether the room's list of members comes before the end of input is up to the network.
    told = [without_chance(answer) for answer in answers if answer["type"] != "presence"]
    assert told == [without_chance(answer) for answer in expected]


async def test_the_session_over_websocket_is_as_written(server: ServerProcess, tmp_path: Path) -> None:
    program = tmp_path / "session.py"
    program.write_text(on(server, block("websocket")))
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(program), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(2 * TIMEOUT_S):
        printed, _ = await process.communicate()
    assert printed.decode() == block("printed")
