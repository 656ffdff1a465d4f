"""Bad input: the offender is told what is wrong, lives where the protocol allows, and nobody else notices."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from fastchat._websocket import BINARY, CLOSE, CONTINUATION, PING, TEXT, encode_frame
from tests.clients import TIMEOUT_S, Client, Document, JsonLinesClient, WebSocketClient
from tests.integration.bystanders import Bystanders
from tests.integration.raw_clients import (
    RawClient,
    RawConnection,
    RawLinesClient,
    RawWebSocketClient,
    encode_request,
    encode_text,
)
from tests.integration.rooms import enter, fresh_name, say
from tests.server_process import ServerProcess

TEXT_BYTES = 4096
COMMAND_BYTES = 65536
ALLOWED_ORIGIN = "https://chat.example"
MASK = b"\1\2\3\4"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(
        "limits.messages_per_s=0",
        f"limits.text_bytes={TEXT_BYTES}",
        f"limits.command_bytes={COMMAND_BYTES}",
        f"http.allowed_origins={ALLOWED_ORIGIN}",
    ) as running:
        yield running


@pytest.fixture
async def bystanders(server: ServerProcess) -> AsyncIterator[Bystanders]:
    room = fresh_name("room")
    async with AsyncExitStack() as stack:
        clients: list[Client] = [
            await stack.enter_async_context(await WebSocketClient.open(server.http)),
            await stack.enter_async_context(await JsonLinesClient.open(server.line)),
        ]
        for client in clients:
            await enter(client, room)
        yield Bystanders(server, room, clients)


@pytest.fixture
async def websocket(server: ServerProcess, bystanders: Bystanders) -> AsyncIterator[RawWebSocketClient]:
    """An offender who is in the bystanders' room."""
    async with await RawWebSocketClient.open(server.http) as client:
        await enter(client, bystanders.room)
        yield client


@pytest.fixture
async def lines(server: ServerProcess, bystanders: Bystanders) -> AsyncIterator[RawLinesClient]:
    async with await RawLinesClient.open(server.line) as client:
        await enter(client, bystanders.room)
        yield client


@pytest.fixture(params=["websocket", "lines"])
def offender(request: pytest.FixtureRequest) -> RawClient:
    client = request.getfixturevalue(request.param)
    assert isinstance(client, RawClient)
    return client


async def refuse(
    offender: RawClient, payload: str | Document, code: str, field: str | None = None
) -> Document:
    """Sends the payload and asserts that it is answered with this error, and that the connection lives."""
    await offender.send_raw(payload if isinstance(payload, str) else json.dumps(payload))
    error = await offender.expect("error")
    assert (error["code"], error.get("field")) == (code, field), error
    assert error["message"]
    assert (await offender.ask("ping"))["type"] == "pong"
    return error


async def expect_close(websocket: RawWebSocketClient, code: int) -> str:
    """Asserts that the server closes with this code, and ends the connection; returns the reason."""
    closed = await websocket.expect_closed()
    assert closed.code == code, closed
    assert await websocket.connection.read_to_end() == b""
    return closed.reason


# JSON that is no command


@pytest.mark.parametrize("payload", ["[]", "1", "null", '"ping"', "true", '[{"type":"ping"}]'])
async def test_json_that_is_no_object(offender: RawClient, bystanders: Bystanders, payload: str) -> None:
    await refuse(offender, payload, "bad_json")
    await bystanders.chat()


@pytest.mark.parametrize(
    "payload",
    ["", "hello", '{"type":"ping"', "{'type':'ping'}", '{"type":"ping"}{"type":"ping"}', '{"at":NaN}'],
)
async def test_what_is_not_json(offender: RawClient, bystanders: Bystanders, payload: str) -> None:
    await refuse(offender, payload, "bad_json")
    await bystanders.chat()


async def test_json_that_is_nested_too_deeply(offender: RawClient, bystanders: Bystanders) -> None:
    deep = "[" * 900 + "]" * 900
    for payload in (
        '{"type":"ping","x":' + "[" * 20_000 + "]" * 20_000 + "}",
        '{"type":"ping","x":' + '{"a":' * 5_000 + "1" + "}" * 5_000 + "}",
        '{"type":"ping","x":{"a":' + '{"a":' * 900 + deep + "}" * 900 + "}}",
    ):
        await refuse(offender, payload, "bad_json")
    await bystanders.chat()


async def test_numbers_without_end(offender: RawClient, bystanders: Bystanders) -> None:
    for digits in ("9" * 10_000, "-" + "9" * 10_000, "0." + "9" * 10_000 + "e9999"):
        await refuse(offender, f'{{"type":"join","room":"other","after":{digits}}}', "bad_json")
    await refuse(offender, f'{{"type":"join","room":"other","after":{"9" * 30}}}', "bad_field", "after")
    await bystanders.chat()


# Commands with wrong fields


@pytest.mark.parametrize(
    "payload", [{"type": "shout"}, {"type": ""}, {"type": "welcome"}, {"type": "x" * 60_000}, {"type": "\0"}]
)
async def test_unknown_type(offender: RawClient, bystanders: Bystanders, payload: Document) -> None:
    error = await refuse(offender, payload, "unknown_type", "type")
    assert "hello" in error["message"]
    assert len(error["message"]) < 500
    await bystanders.chat()


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "type"),
        ({"room": "lobby"}, "type"),
        ({"type": "join"}, "room"),
        ({"type": "leave"}, "room"),
        ({"type": "send", "text": "x"}, "room"),
        ({"type": "send", "room": "ROOM"}, "text"),
        ({"type": "members"}, "room"),
        ({"type": "history"}, "room"),
        ({"type": "typing"}, "room"),
    ],
)
async def test_missing_fields(
    offender: RawClient, bystanders: Bystanders, payload: Document, field: str
) -> None:
    payload = {key: bystanders.room if value == "ROOM" else value for key, value in payload.items()}
    await refuse(offender, payload, "bad_field", field)
    await bystanders.chat()


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"type": 1}, "type"),
        ({"type": None}, "type"),
        ({"type": ["ping"]}, "type"),
        ({"type": "ping", "ref": 1.5}, "ref"),
        ({"type": "ping", "ref": {}}, "ref"),
        ({"type": "ping", "ref": "r" * 65}, "ref"),
        ({"type": "ping", "ref": 2**53}, "ref"),
        ({"type": "hello", "user": 1}, "user"),
        ({"type": "hello", "user": ""}, "user"),
        ({"type": "hello", "user": "with space"}, "user"),
        ({"type": "hello", "user": "x" * 33}, "user"),
        ({"type": "hello", "user": "zoe\u0308\u202e"}, "user"),
        ({"type": "join", "room": 7}, "room"),
        ({"type": "join", "room": "ok", "epoch": 5}, "epoch"),
        ({"type": "send", "room": "ROOM", "text": 5}, "text"),
        ({"type": "send", "room": "ROOM", "text": ""}, "text"),
        ({"type": "send", "room": "ROOM", "text": None}, "text"),
        ({"type": "send", "room": "ROOM", "text": "x", "id": 5}, "id"),
        ({"type": "send", "room": "ROOM", "text": "x", "id": ""}, "id"),
        ({"type": "send", "room": "ROOM", "text": "x", "data": []}, "data"),
        ({"type": "history", "room": "ROOM", "limit": 0}, "limit"),
        ({"type": "history", "room": "ROOM", "limit": "10"}, "limit"),
        ({"type": "history", "room": "ROOM", "before": True}, "before"),
    ],
)
async def test_wrongly_typed_fields(
    offender: RawClient, bystanders: Bystanders, payload: Document, field: str
) -> None:
    payload = {key: bystanders.room if value == "ROOM" else value for key, value in payload.items()}
    error = await refuse(offender, payload, "bad_field", field)
    assert field in error["message"]
    await bystanders.chat()


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ('{"type":"join","room":"a1","room":"b1"}', "room"),
        ('{"type":"ping","type":"rooms"}', "type"),
        ('{"type":"ping","ref":1,"\\u0072ef":2}', "ref"),
        ('{"type":"send","room":"a1","text":"x","data":{"k":1,"k":2}}', "k"),
    ],
)
async def test_duplicated_keys(offender: RawClient, bystanders: Bystanders, payload: str, field: str) -> None:
    await refuse(offender, payload, "bad_field", field)
    await bystanders.chat()


@pytest.mark.parametrize("seq", ["1.0", "1.5", "1e3", "0.0", "1e999"])
async def test_seq_as_float(offender: RawClient, bystanders: Bystanders, seq: str) -> None:
    room = bystanders.room
    if seq == "1e999":
        await refuse(offender, f'{{"type":"join","room":"other","after":{seq}}}', "bad_json")
    else:
        await refuse(offender, f'{{"type":"join","room":"other","after":{seq}}}', "bad_field", "after")
        for field in ("before", "after"):
            command = f'{{"type":"history","room":"{room}","{field}":{seq}}}'
            await refuse(offender, command, "bad_field", field)
    await bystanders.chat()


@pytest.mark.parametrize(
    "room",
    [
        "",
        "A",
        "Lobby",
        "-x",
        ".x",
        "_x",
        "a b",
        "a/b",
        "zoë",
        "a\n",
        "a\0",
        "x" * 65,
        "#x",
        "..",
        "\u0661",
    ],
)
async def test_room_names_outside_the_pattern(offender: RawClient, bystanders: Bystanders, room: str) -> None:
    for kind in ("join", "leave", "members", "history", "typing"):
        await refuse(offender, {"type": kind, "room": room}, "bad_field", "room")
    await refuse(offender, {"type": "send", "room": room, "text": "x"}, "bad_field", "room")
    await bystanders.chat()


async def test_after_in_the_future(offender: RawClient, bystanders: Bystanders) -> None:
    await bystanders.chat()
    await offender.ask("leave", room=bystanders.room)
    for after in (3, 2**53 - 1):
        error = await refuse(
            offender, {"type": "join", "room": bystanders.room, "after": after}, "bad_field", "after"
        )
        assert "2" in error["message"]  # the newest seq there is
    # The refusal has left nothing behind: the same room can be joined right away.
    assert (await offender.join(bystanders.room, after=2))["head"] == 2
    await refuse(offender, {"type": "join", "room": fresh_name("new"), "after": 1}, "bad_field", "after")
    await bystanders.chat()


async def test_after_that_is_negative(offender: RawClient, bystanders: Bystanders) -> None:
    await offender.ask("leave", room=bystanders.room)
    for after in (-1, -(2**53), -(2**63)):
        await refuse(
            offender, {"type": "join", "room": bystanders.room, "after": after}, "bad_field", "after"
        )
    assert (await offender.join(bystanders.room))["type"] == "joined"
    await bystanders.chat()


# Sizes and encodings


@pytest.mark.parametrize("text", ["x" * (TEXT_BYTES + 1), "€" * (TEXT_BYTES // 3 + 1), "x" * 60_000])
async def test_text_over_the_limit(offender: RawClient, bystanders: Bystanders, text: str) -> None:
    command = {"type": "send", "room": bystanders.room, "text": text}
    error = await refuse(offender, command, "too_large", "text")
    assert str(TEXT_BYTES) in error["message"]
    await say(offender, bystanders.room, "x" * TEXT_BYTES)
    await bystanders.chat()


async def test_data_over_the_limit(offender: RawClient, bystanders: Bystanders) -> None:
    command = {"type": "send", "room": bystanders.room, "text": "x", "data": {"k": "x" * TEXT_BYTES}}
    await refuse(offender, command, "too_large", "data")
    await bystanders.chat()


async def test_a_message_over_the_limit_ends_a_websocket(
    websocket: RawWebSocketClient, bystanders: Bystanders
) -> None:
    await websocket.send_raw(" " * (COMMAND_BYTES + 1))
    assert str(COMMAND_BYTES) in await expect_close(websocket, 1009)
    await bystanders.chat()


async def test_a_line_over_the_limit_is_skipped(lines: RawLinesClient, bystanders: Bystanders) -> None:
    error = await refuse(lines, "x" * (COMMAND_BYTES + 1), "too_large")
    assert str(COMMAND_BYTES) in error["message"]
    await refuse(lines, '{"type":"send","text":"' + "x" * 1_000_000 + '"}', "too_large")
    await bystanders.chat()


@pytest.mark.parametrize(
    "payload",
    [b"\xff", b'{"type":"ping","ref":"\xc3\x28"}', b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"],
)
async def test_invalid_utf_8(
    websocket: RawWebSocketClient, lines: RawLinesClient, bystanders: Bystanders, payload: bytes
) -> None:
    await websocket.send_raw(encode_text(payload))
    assert "UTF-8" in await expect_close(websocket, 1007)
    await lines.send_raw(payload + b"\n")
    assert (await lines.expect("error"))["code"] == "bad_json"
    assert (await lines.ask("ping"))["type"] == "pong"
    await bystanders.chat()


async def test_a_surrogate_without_its_half(offender: RawClient, bystanders: Bystanders) -> None:
    for text in ("\\ud800", "\\udfff", "\\ud800x"):
        command = f'{{"type":"send","room":"{bystanders.room}","text":"{text}"}}'
        await refuse(offender, command, "bad_json")
    await bystanders.chat()


# WebSocket frames


@pytest.mark.parametrize("payload", [b"", b'{"type":"ping"}', b"x" * 200])
async def test_unmasked_frames(websocket: RawWebSocketClient, bystanders: Bystanders, payload: bytes) -> None:
    await websocket.send_raw(encode_frame(TEXT, payload))
    assert "masked" in await expect_close(websocket, 1002)
    await bystanders.chat()


@pytest.mark.parametrize("bit", [0x40, 0x20, 0x10])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
async def test_reserved_bits(
    websocket: RawWebSocketClient, bystanders: Bystanders, bit: int, opcode: int
) -> None:
    frame = bytearray(encode_frame(opcode, b"", MASK))
    frame[0] |= bit
    await websocket.send_raw(bytes(frame))
    assert "reserved" in await expect_close(websocket, 1002)
    await bystanders.chat()


@pytest.mark.parametrize("opcode", [3, 7, 11, 15])
async def test_reserved_opcodes(websocket: RawWebSocketClient, bystanders: Bystanders, opcode: int) -> None:
    await websocket.send_raw(bytes([0x80 | opcode, 0x80]) + MASK)
    assert "opcode" in await expect_close(websocket, 1002)
    await bystanders.chat()


@pytest.mark.parametrize(
    ("length", "code"),
    [
        (COMMAND_BYTES + 1, 1009),
        (2**31, 1009),
        (2**32 + 5, 1009),
        (2**63 - 1, 1009),
        (2**63, 1002),  # RFC 6455, section 5.2: the most significant bit MUST be 0
        (2**64 - 1, 1002),
        (5, 1002),  # not in its shortest form
    ],
)
async def test_lying_lengths(
    websocket: RawWebSocketClient, bystanders: Bystanders, length: int, code: int
) -> None:
    await websocket.send_raw(bytes([0x81, 0xFF]) + length.to_bytes(8, "big") + MASK + b"x" * 100)
    await expect_close(websocket, code)
    await bystanders.chat()


async def test_a_length_that_is_never_filled(websocket: RawWebSocketClient, bystanders: Bystanders) -> None:
    frame = encode_text(b"x" * 1000)
    await websocket.send_raw(frame[:-1])
    await bystanders.chat()
    # What follows belongs to the frame, so it is the end of the text that is told to be no JSON.
    await websocket.send_raw(frame[-1:])
    assert (await websocket.expect("error"))["code"] == "bad_json"


@pytest.mark.parametrize("opcode", [PING, CLOSE])
async def test_control_frames_over_125_bytes(
    websocket: RawWebSocketClient, bystanders: Bystanders, opcode: int
) -> None:
    await websocket.send_raw(bytes([0x80 | opcode, 0xFE, 0, 126]) + MASK + b"x" * 126)
    assert "125" in await expect_close(websocket, 1002)
    await bystanders.chat()


async def test_control_frames_in_fragments(websocket: RawWebSocketClient, bystanders: Bystanders) -> None:
    await websocket.send_raw(encode_frame(PING, b"x", MASK, fin=False))
    await expect_close(websocket, 1002)
    await bystanders.chat()


@pytest.mark.parametrize("fragment", [b"x" * 1000, b"x"])
async def test_fragments_without_end(
    websocket: RawWebSocketClient, bystanders: Bystanders, fragment: bytes
) -> None:
    await websocket.send_raw(encode_frame(TEXT, fragment, MASK, fin=False))
    follow = encode_frame(CONTINUATION, fragment, MASK, fin=False)
    await websocket.send_raw(follow * (COMMAND_BYTES // len(fragment) - 1))
    # So far it may end well, and control frames pass between the fragments.
    await websocket.send_raw(encode_frame(PING, b"still there", MASK))
    while (frame := await websocket.read_frame())[1] != b"still there":
        assert frame[0] == TEXT
    await websocket.send_raw(follow * 2)
    assert str(COMMAND_BYTES) in await expect_close(websocket, 1009)
    await bystanders.chat()


async def test_empty_fragments_without_end(websocket: RawWebSocketClient, bystanders: Bystanders) -> None:
    await websocket.send_raw(encode_frame(TEXT, b"", MASK, fin=False))
    await websocket.send_raw(encode_frame(CONTINUATION, b"", MASK, fin=False) * 20_000)
    assert "fragments" in await expect_close(websocket, 1008)
    await bystanders.chat()


@pytest.mark.parametrize(
    "frames",
    [
        encode_frame(CONTINUATION, b"x", MASK),
        encode_frame(TEXT, b"x", MASK, fin=False) + encode_frame(TEXT, b"x", MASK),
        encode_frame(CLOSE, b"\3", MASK),
        encode_frame(CLOSE, (1005).to_bytes(2, "big"), MASK),
        encode_frame(CLOSE, (999).to_bytes(2, "big"), MASK),
    ],
    ids=["continuation of nothing", "message in a message", "half a code", "code 1005", "code 999"],
)
async def test_frames_out_of_place(
    websocket: RawWebSocketClient, bystanders: Bystanders, frames: bytes
) -> None:
    await websocket.send_raw(frames)
    await expect_close(websocket, 1002)
    await bystanders.chat()


async def test_what_came_before_the_fault_is_carried_out(
    websocket: RawWebSocketClient, bystanders: Bystanders
) -> None:
    command = {"type": "send", "room": bystanders.room, "text": "last words"}
    await websocket.send_raw(encode_text(json.dumps(command).encode()) + b"\xff" * 100)
    await expect_close(websocket, 1002)
    await bystanders.hear("last words")
    await bystanders.chat()


# HTTP


async def ask_http(server: ServerProcess, request: bytes) -> bytes:
    """What the server answers, up to the end of the head."""
    async with await RawConnection.open(server.http) as connection, asyncio.timeout(TIMEOUT_S):
        await connection.send(request)
        return await connection.read_until(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Upgrade": None, "Connection": None}, 426),
        ({"Upgrade": "h2c"}, 426),
        ({"Connection": "keep-alive"}, 426),
        ({"Sec_WebSocket_Version": "8"}, 426),
        ({"Sec_WebSocket_Version": None}, 426),
        ({"Sec_WebSocket_Key": None}, 400),
        ({"Sec_WebSocket_Key": "short"}, 400),
        ({"Host": None}, 400),
    ],
)
async def test_http_that_is_no_upgrade_on_ws(
    server: ServerProcess, bystanders: Bystanders, changes: dict[str, str | None], status: int
) -> None:
    head = await ask_http(server, encode_request("/ws", **changes))
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), head
    await bystanders.chat()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_other_methods_on_ws(server: ServerProcess, bystanders: Bystanders, method: str) -> None:
    head = await ask_http(server, encode_request("/ws").replace(b"GET", method.encode(), 1))
    assert head.startswith(b"HTTP/1.1 405 "), head
    assert b"allow:" in head.lower()
    await bystanders.chat()


async def test_an_upgrade_elsewhere(server: ServerProcess, bystanders: Bystanders) -> None:
    head = await ask_http(server, encode_request("/chat"))
    assert head.startswith(b"HTTP/1.1 404 "), head
    await bystanders.chat()


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://chat.example", "null", "https://chat.example.evil"]
)
async def test_an_upgrade_with_a_foreign_origin(
    server: ServerProcess, bystanders: Bystanders, origin: str
) -> None:
    head = await ask_http(server, encode_request(Origin=origin))
    assert head.startswith(b"HTTP/1.1 403 "), head
    assert (await ask_http(server, encode_request(Origin=ALLOWED_ORIGIN))).startswith(b"HTTP/1.1 101 ")
    await bystanders.chat()


@pytest.mark.parametrize(
    "rubbish", [b"\0" * 64, b"hello\r\n\r\n", b'{"type":"hello"}\n', b"\x16\x03\x01\x02\x00\x01"]
)
async def test_what_is_no_http(server: ServerProcess, bystanders: Bystanders, rubbish: bytes) -> None:
    head = await ask_http(server, rubbish)
    assert head.startswith(b"HTTP/1.1 400 "), head
    await bystanders.chat()


async def test_a_head_over_32_kib(server: ServerProcess, bystanders: Bystanders) -> None:
    head = await ask_http(server, encode_request(X_Long="x" * 40_000))
    assert head.startswith(b"HTTP/1.1 431 "), head
    await bystanders.chat()
