"""JSON: commands in, replies out, in each listener's framing."""

import orjson
import pytest

from fastchat._ring import Profile
from fastchat.dialects import JsonDialect
from fastchat.messages import Code, WireError
from tests.parties import parse_frames, parse_lines

line = JsonDialect(Profile("line", "lines", 65536, 32768))
websocket = JsonDialect(Profile("websocket", "websocket", 65536, 32768))


@pytest.mark.parametrize("dialect", [line, websocket])
def test_a_message_is_one_command(dialect: JsonDialect) -> None:
    assert list(dialect.parse(b' {"type":"ping","ref":"\xc3\xa9"} ')) == [{"type": "ping", "ref": "é"}]


@pytest.mark.parametrize("payload", [b"", b"hello", b"[]", b"\xff", b'{"type":"ping"}{"type":"ping"}'])
def test_anything_else_is_refused(payload: bytes) -> None:
    with pytest.raises(WireError) as caught:
        line.parse(payload)
    assert caught.value.code == Code.BAD_JSON


@pytest.mark.parametrize("size", [0, 1, 100, 125, 126, 65_535, 65_536, 200_000])
def test_a_reply_is_framed_for_its_listener(size: int) -> None:
    reply = {"type": "error", "message": "x" * size}
    assert parse_lines(line.encode(reply)) == [reply]
    assert parse_frames(websocket.encode(reply)) == [reply]


def test_a_reply_is_one_line_whatever_is_in_it() -> None:
    reply = {"type": "history", "messages": [orjson.Fragment(b'{"text":"a\\nb"}')], "ref": "\n\r\u2028"}
    assert line.encode(reply).count(b"\n") == 1


def test_programs_hear_themselves_and_are_told_to_wait() -> None:
    assert line.echo
    assert not line.patient
