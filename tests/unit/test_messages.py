"""The wire contract line by line: what each command may be, and what is said about anything else."""

import contextlib
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastchat.messages import (
    COMMANDS,
    SEQ_MAX,
    Code,
    WireError,
    bye,
    check_command,
    encode_event,
    encode_lagged,
    encode_presence,
    encode_receipts,
    encode_typing,
    error_reply,
    parse_object,
)

NO_ROOM = [
    "", "Lobby", "lobby ", " lobby", "lobby\n", "-lobby", ".lobby", "_lobby", "lob/by", "lobby#",
    "l\u00f6bby", "@alice", "@a,b,c", "@,bob", "r" * 65, "l\u0660", "lo\0bby", None, True, 1, 1.5,
    ["lobby"], {"room": "lobby"},
]  # fmt: skip
ROOM = ["l", "0", "lobby", "a.b_c-d", "r" * 64, "1-", "@alice,bob", "@Alice,~\u00e4"]
NEW_ROOM = ROOM[:-2]
NO_NAME: list[Any] = [
    "", "a" * 33,
    None, False, 7, ["a"], {},
]  # fmt: skip
NAME = ["a", "Alice", "0", "a.b_c-D", "a" * 32, "\u00e4"]  # auth.names looks closer
NO_SEQ = [
    -1,
    1.0,
    41.5,
    True,
    False,
    "41",
    "",
    SEQ_MAX + 1,
    2**63,
    2**64 - 1,
    -(2**63),
    None,
    [],
    {},
    float(2**70),
]
SEQ = [0, 1, SEQ_MAX]
NO_LIMIT = [0, -1, 1.0, True, "5", None, []]
LIMIT = [1, 100, 2**64 - 1]
NO_ID = ["", "i" * 65, 1, True, None, [], {}]
ID = ["i", "i" * 64, "\u00e9" * 64, " ", "\u0000"]
NO_TEXT = ["", None, 1, True, [], ["hi"], {"text": "hi"}]
TEXT = ["h", " ", "\n", "\u0000", "x" * 100_000, "\U0001f600"]
NO_TYPE: list[Any] = [None, 1, True, 1.5, [], {}, ["ping"]]
NO_OBJECT: list[Any] = [None, [], "{}", 1, True, [{}]]
OBJECT: list[Any] = [{}, {"a": None}, {"type": "send", "room": "X"}]
NO_REF = ["r" * 65, 1.0, True, False, [], {}, SEQ_MAX + 1, -SEQ_MAX - 1]
REF = ["", "r", "r" * 64, 0, -1, SEQ_MAX, -SEQ_MAX, None]

SECRET = ["x", "x" * 1024, "pass word", "\0"]
NO_SECRET: list[Any] = ["", "x" * 1025, 1, None, []]
NO_REACTION: list[Any] = ["", "r" * 33, None, 1, []]
REACTION = ["+1", "\U0001f44d", "r" * 32]
NO_FLAG: list[Any] = [None, 0, 1, "true", []]
FLAG = [True, False]
NO_RESUME: list[Any] = [
    None,
    [],
    "lobby",
    {"Lobby": 1},
    {"lobby": -1},
    {"lobby": 1.0},
    {"a": 1, "b": None},
    {"": 0},
]
RESUME: list[Any] = [{}, {"lobby": 0}, {"lobby": SEQ_MAX, "games": 1}]
NO_ACCESS: list[Any] = ["", "open", "Public", "public ", None, 1, ["public"]]
ACCESS = ["public", "private", "invite"]
NO_ROLE: list[Any] = ["", "outsider", "Owner", "operator", None, 4]
ROLE = ["owner", "moderator", "member", "reader"]
NO_TOPIC: list[Any] = ["t" * 251, None, 1, []]
TOPIC = ["", "tea", "t" * 250, "\n"]
NO_REASON: list[Any] = ["", "r" * 251, None, 1, []]
REASON = ["spam", "r" * 250, "\n"]
NO_INTERVAL: list[Any] = [-1, 21_601, 1.0, True, "5", None]
INTERVAL = [0, 1, 21_600]
NO_FOR_S: list[Any] = [0, -1, 315_360_001, 1.5, False, "60", None]
FOR_S = [1, 315_360_000]
NO_EPOCHS: list[Any] = [None, [], {"Lobby": "e"}, {"lobby": ""}, {"lobby": 1}, {"lobby": "e" * 65}]
EPOCHS: list[Any] = [{}, {"lobby": "e"}, {"a": "e" * 64, "b": "f"}]

TOKEN = ["x", "x" * 9000]
NO_TOKEN: list[Any] = ["", 1, None, []]

VALID: dict[str, dict[str, Any]] = {
    "hello": {},
    "join": {"room": "lobby"},
    "leave": {"room": "lobby"},
    "send": {"room": "lobby", "text": "hi"},
    "edit": {"room": "lobby", "seq": 1, "text": "hi"},
    "delete": {"room": "lobby", "seq": 1},
    "react": {"room": "lobby", "seq": 1, "reaction": "+1"},
    "ack": {"room": "lobby", "seq": 1},
    "search": {"query": "hi"},
    "create": {"room": "lobby"},
    "topic": {"room": "lobby", "topic": "tea"},
    "access": {"room": "lobby", "access": "public"},
    "slow": {"room": "lobby", "interval_s": 5},
    "role": {"room": "lobby", "user": "bob", "role": "reader"},
    "invite": {"room": "lobby", "user": "bob"},
    "kick": {"room": "lobby", "user": "bob"},
    "ban": {"room": "lobby", "user": "bob"},
    "unban": {"room": "lobby", "user": "bob"},
    "mute": {"room": "lobby", "user": "bob"},
    "unmute": {"room": "lobby", "user": "bob"},
    "members": {"room": "lobby"},
    "away": {"away": True},
    "whois": {"user": "bob"},
    "rooms": {},
    "room": {"room": "lobby"},
    "history": {"room": "lobby"},
    "typing": {"room": "lobby"},
    "direct": {"to": "alice", "text": "hi"},
    "block": {"user": "alice"},
    "unblock": {"user": "alice"},
    "register": {"user": "alice", "password": "x"},
    "password": {"old": "x", "new": "y"},
    "refresh": {"token": "x"},
    "sign_out": {},
    "ping": {},
}

OF_OPERATORS: dict[str, dict[str, Any]] = {
    "user_add": {"user": "alice"},
    "user_password": {"user": "alice", "password": "secret"},
    "user_disable": {"user": "alice"},
    "user_enable": {"user": "alice"},
    "user_role": {"user": "alice", "operator": True},
    "users": {},
    "room_list": {},
    "audit": {},
}
VALID |= OF_OPERATORS

FORMS: list[tuple[str, str, list[Any], list[Any]]] = [
    ("hello", "user", NAME, NO_NAME),
    ("join", "room", ROOM, NO_ROOM),
    ("join", "after", SEQ, NO_SEQ),
    ("join", "epoch", ID, NO_ID),
    ("leave", "room", ROOM, NO_ROOM),
    ("send", "room", ROOM, NO_ROOM),
    ("send", "id", ID, NO_ID),
    ("send", "text", TEXT, NO_TEXT),
    ("send", "data", OBJECT, NO_OBJECT),
    ("hello", "password", SECRET, NO_SECRET),
    ("hello", "token", TOKEN, NO_TOKEN),
    ("direct", "to", NAME, NO_NAME),
    ("direct", "text", TEXT, NO_TEXT),
    ("direct", "id", ID, NO_ID),
    ("direct", "data", OBJECT, NO_OBJECT),
    ("block", "user", NAME, NO_NAME),
    ("unblock", "user", NAME, NO_NAME),
    ("register", "user", NAME, NO_NAME),
    ("register", "password", SECRET, NO_SECRET),
    ("password", "old", SECRET, NO_SECRET),
    ("password", "new", SECRET, NO_SECRET),
    ("refresh", "token", TOKEN, NO_TOKEN),
    ("hello", "resume", RESUME, NO_RESUME),
    ("hello", "epochs", EPOCHS, NO_EPOCHS),
    ("edit", "room", ROOM, NO_ROOM),
    ("edit", "seq", SEQ, NO_SEQ),
    ("edit", "text", TEXT, NO_TEXT),
    ("edit", "id", ID, NO_ID),
    ("edit", "data", OBJECT, NO_OBJECT),
    ("delete", "room", ROOM, NO_ROOM),
    ("delete", "seq", SEQ, NO_SEQ),
    ("delete", "id", ID, NO_ID),
    ("react", "room", ROOM, NO_ROOM),
    ("react", "seq", SEQ, NO_SEQ),
    ("react", "reaction", REACTION, NO_REACTION),
    ("react", "remove", FLAG, NO_FLAG),
    ("react", "id", ID, NO_ID),
    ("ack", "room", ROOM, NO_ROOM),
    ("ack", "seq", SEQ, NO_SEQ),
    ("search", "query", TEXT, NO_TEXT),
    ("search", "room", ROOM, NO_ROOM),
    ("search", "before", SEQ, NO_SEQ),
    ("search", "limit", LIMIT, NO_LIMIT),
    ("members", "room", ROOM, NO_ROOM),
    ("room", "room", ROOM, NO_ROOM),
    ("members", "after", NAME, NO_NAME),
    ("members", "limit", LIMIT, NO_LIMIT),
    ("members", "sample", LIMIT, NO_LIMIT),
    ("away", "away", FLAG, NO_FLAG),
    ("away", "text", ["x", "x" * 200], ["", "x" * 201, 1, None, []]),
    ("whois", "user", NAME, NO_NAME),
    ("history", "room", ROOM, NO_ROOM),
    ("history", "before", SEQ, NO_SEQ),
    ("history", "after", SEQ, NO_SEQ),
    ("history", "limit", LIMIT, NO_LIMIT),
    ("typing", "room", ROOM, NO_ROOM),
    ("create", "room", NEW_ROOM, [*NO_ROOM, *ROOM[-2:]]),
    ("create", "access", ACCESS, NO_ACCESS),
    ("create", "topic", TOPIC, NO_TOPIC),
    ("topic", "room", ROOM, NO_ROOM),
    ("topic", "topic", TOPIC, NO_TOPIC),
    ("access", "room", ROOM, NO_ROOM),
    ("access", "access", ACCESS, NO_ACCESS),
    ("slow", "room", ROOM, NO_ROOM),
    ("slow", "interval_s", INTERVAL, NO_INTERVAL),
    ("role", "role", ROLE, NO_ROLE),
    *[(kind, "id", ID, NO_ID) for kind in ("create", "topic", "access", "slow")],
    *[
        (kind, field, good, bad)
        for kind in ("role", "invite", "kick", "ban", "unban", "mute", "unmute")
        for field, good, bad in (("room", ROOM, NO_ROOM), ("user", NAME, NO_NAME), ("id", ID, NO_ID))
    ],
    *[(kind, "reason", REASON, NO_REASON) for kind in ("kick", "ban", "mute")],
    *[(kind, "for_s", FOR_S, NO_FOR_S) for kind in ("ban", "mute")],
    *[(kind, "user", NAME, NO_NAME) for kind in OF_OPERATORS if kind.startswith("user_")],
    ("user_add", "password", SECRET, NO_SECRET),
    ("user_add", "operator", FLAG, NO_FLAG),
    ("user_password", "password", SECRET, NO_SECRET),
    ("user_role", "operator", FLAG, NO_FLAG),
    ("users", "after", NAME, NO_NAME),
    ("users", "limit", LIMIT, NO_LIMIT),
    ("room_list", "after", ROOM, NO_ROOM),
    ("room_list", "limit", LIMIT, NO_LIMIT),
    ("audit", "before", SEQ, NO_SEQ),
    ("audit", "limit", LIMIT, NO_LIMIT),
]


def refusal_of(command: dict[str, Any]) -> WireError:
    with pytest.raises(WireError) as caught:
        check_command(command)
    return caught.value


def refusal_of_raw(raw: bytes) -> WireError:
    with pytest.raises(WireError) as caught:
        parse_object(raw)
    return caught.value


# Commands


def test_every_field_of_every_command_is_tried_here() -> None:
    tried = {(kind, field) for kind, field, _, _ in FORMS}
    assert tried == {(kind, name) for kind, f in COMMANDS.items() for name in (*f.required, *f.optional)}
    assert VALID.keys() == COMMANDS.keys()


@pytest.mark.parametrize("kind", COMMANDS)
def test_the_shortest_form_is_right(kind: str) -> None:
    check_command({"type": kind, **VALID[kind]})


@pytest.mark.parametrize(("kind", "field", "right", "wrong"), FORMS, ids=[f"{k}.{f}" for k, f, _, _ in FORMS])
def test_a_wrong_field_is_named(kind: str, field: str, right: list[Any], wrong: list[Any]) -> None:
    for value in right:
        check_command({"type": kind, **VALID[kind], field: value})
    for value in wrong:
        error = refusal_of({"type": kind, **VALID[kind], field: value})
        assert (error.code, error.field) == (Code.BAD_FIELD, field), value
        assert error.message.startswith(f"{field} must be "), value


@pytest.mark.parametrize(("kind", "field"), [(k, f) for k in COMMANDS for f in COMMANDS[k].required])
def test_a_missing_field_is_named(kind: str, field: str) -> None:
    command = {"type": kind, **VALID[kind]}
    del command[field]
    error = refusal_of(command)
    assert (error.code, error.field, error.message) == (Code.BAD_FIELD, field, f"{field} is missing")


@pytest.mark.parametrize("kind", COMMANDS)
def test_ref_may_be_a_short_string_or_an_exact_integer(kind: str) -> None:
    for ref in REF:
        check_command({"type": kind, **VALID[kind], "ref": ref})
    for ref in NO_REF:
        command = {"type": kind, **VALID[kind], "ref": ref}
        error = refusal_of(command)
        assert (error.code, error.field) == (Code.BAD_FIELD, "ref"), ref
        assert "ref" not in command, "a bad ref would be echoed"


@pytest.mark.parametrize("kind", COMMANDS)
def test_fields_that_are_not_known_are_let_pass(kind: str) -> None:
    check_command({"type": kind, **VALID[kind], "later": [1, {"a": None}]})


@pytest.mark.parametrize(
    "kind", ["", "Ping", "ping ", "message", "x" * 10_000, "\u0000", "welcome", "__class__"]
)
def test_an_unknown_type_is_answered_with_those_there_are(kind: str) -> None:
    error = refusal_of({"type": kind})
    assert (error.code, error.field) == (Code.UNKNOWN_TYPE, "type")
    assert "hello, join, leave, send" in error.message
    assert len(error.message) < 500


@pytest.mark.parametrize("command", [{}, *({"type": value} for value in NO_TYPE)])
def test_a_type_that_is_no_string(command: dict[str, Any]) -> None:
    error = refusal_of(command)
    assert (error.code, error.field) == (Code.BAD_FIELD, "type")


# JSON


@pytest.mark.parametrize(
    "raw",
    [
        b"", b" ", b"{", b"}", b"{}x", b'{"a":1}{"a":1}', b"{'a':1}", b'{"a":1,}', b'{a:1}', b'{"a":NaN}',
        b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":1e999}', b'{"a":01}', b'{"a":"\n"}', b'{"a":"\x00"}',
        b'{"a":"\xff"}', b'{"a":"\xc3"}', b'{"a":"\xed\xa0\x80"}', b'{"a":"\\ud800"}',
        b'{"a":"\\udc00\\ud800"}', b'{"\\ud800":1}', b"\xef\xbb\xbf{}",
        '{"type":"ping"}'.encode("utf-16"), b"\x80\x81",
        b"GET / HTTP/1.1",
    ],
)  # fmt: skip
def test_what_is_no_json(raw: bytes) -> None:
    assert refusal_of_raw(raw).code == Code.BAD_JSON


@pytest.mark.parametrize("raw", [b"[]", b"1", b"null", b"true", b'"ping"', b'[{"type":"ping"}]', b"-0.5"])
def test_json_that_is_no_object(raw: bytes) -> None:
    error = refusal_of_raw(raw)
    assert error.code == Code.BAD_JSON
    assert "object" in error.message


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b'{"type":"ping","type":"hello"}', "type"),
        (b'{"a":1,"b":2,"a":1}', "a"),
        (b'{"a":1,"\\u0061":1}', "a"),
        (b'{"":1,"":1}', ""),
        (b'{"data":{"a":1,"a":2}}', "a"),
        (b'{"data":[[{"b":{"a":1,"a":2}}]]}', "a"),
        (b'{"a":{"x":1},"a":2}', "a"),
        (b'{"a":%b,"a":-%b}' % (b"9" * 300, b"9" * 300), "a"),
    ],
)
def test_a_key_that_is_there_twice_is_named(raw: bytes, field: str) -> None:
    error = refusal_of_raw(raw)
    assert (error.code, error.field) == (Code.BAD_FIELD, field)
    assert "twice" in error.message


def test_the_answer_does_not_grow_with_a_long_key() -> None:
    key = b"k" * 60_000
    error = refusal_of_raw(b'{"%b":1,"%b":2}' % (key, key))
    assert error.field is not None
    assert len(error.message) + len(error.field) < 200


@pytest.mark.parametrize(
    "raw", [b'{"a":{"a":1},"b":{"a":1}}', b'{"a":":","b":"a:b:c"}', b'{"a":[{"x":1},{"x":1}]}', b'{"a:":1}']
)
def test_equal_keys_of_different_objects_are_fine(raw: bytes) -> None:
    assert parse_object(raw) == json.loads(raw)


@pytest.mark.parametrize("depth", [100, 900, 1_000, 1_023, 1_025, 30_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting_is_read_or_refused(depth: int, opening: bytes, closing: bytes) -> None:
    raw = b'{"b":1,"a":' + opening * depth + b"1" + closing * depth + b"}"
    try:
        parse_object(raw)
    except WireError as error:
        assert error.code == Code.BAD_JSON  # noqa: PT017 - either is right
        assert depth >= 900


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_a_wire_error(raw: bytes) -> None:
    with contextlib.suppress(WireError):
        assert type(parse_object(raw)) is dict


strings = st.text('a:"\\{}[]\n\x00\u00e9\u2028\ud800\udc00\U0001f600', max_size=4)
numbers = st.sampled_from(
    [0, -1, 1, 1.5, -0.0, 2**53, 2**64, -(2**63) - 1, 10**30, 1e308, float("inf"), float("nan")]
)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | strings,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(strings, inner, max_size=2),
    max_leaves=4,
)
keys = st.sampled_from(
    ["type", "ref", "user", "room", "text", "id", "data", "after", "before", "limit", "epoch"]
)


@given(st.dictionaries(keys | strings, st.sampled_from([*COMMANDS, 1, "lobby"]) | json_values, max_size=4))
def test_any_object_is_right_or_a_wire_error(command: dict[str, Any]) -> None:
    raw = json.dumps(command).encode()
    try:
        parsed = parse_object(raw)
        check_command(parsed)
    except WireError as error:
        json.dumps(error_reply(error, None))
    else:
        assert parsed["type"] in COMMANDS


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c", ":"]), json_values), max_size=4))
def test_keys_are_refused_exactly_when_one_is_there_twice(pairs: list[tuple[str, Any]]) -> None:
    body = ",".join(f"{json.dumps(key)}:{json.dumps(value)}" for key, value in pairs)
    raw = ("{" + body + "}").encode("utf-8", "surrogatepass")
    try:
        orjson.loads(raw)
    except orjson.JSONDecodeError:
        assert refusal_of_raw(raw).code == Code.BAD_JSON
        return
    if len(dict(pairs)) == len(pairs):
        assert parse_object(raw) == orjson.loads(raw)
    else:
        assert refusal_of_raw(raw).code == Code.BAD_FIELD


# Replies and events


def test_an_error_has_only_the_fields_that_help() -> None:
    bare = error_reply(WireError(Code.BAD_JSON, "no"), None)
    assert bare == {"type": "error", "code": "bad_json", "message": "no"}
    full = error_reply(WireError(Code.RATE_LIMITED, "no", field="f", retry_after_ms=0), 0)
    assert full == {
        "type": "error", "code": "rate_limited", "message": "no", "field": "f", "retry_after_ms": 0, "ref": 0,
    }  # fmt: skip
    of_a_room = error_reply(WireError(Code.UNAVAILABLE, "no"), None, "lobby")
    assert of_a_room == {"type": "error", "code": "unavailable", "message": "no", "room": "lobby"}


def test_events() -> None:
    assert orjson.loads(encode_event("message", "r", 1, "a", 5, {"text": "t"})) == {
        "type": "message", "room": "r", "seq": 1, "from": "a", "at": 5, "text": "t",
    }  # fmt: skip
    assert orjson.loads(encode_event("message", "r", 1, "a", 5, {"text": "t", "data": {}}, "i")) == {
        "type": "message", "room": "r", "seq": 1, "id": "i", "from": "a", "at": 5, "text": "t", "data": {},
    }  # fmt: skip
    assert orjson.loads(encode_event("reacted", "r", 2, "a", 5, {"reaction": "+1"}, of=1)) == {
        "type": "reacted", "room": "r", "seq": 2, "of": 1, "from": "a", "at": 5, "reaction": "+1",
    }  # fmt: skip
    assert orjson.loads(encode_receipts("r", {"a": 3})) == {
        "type": "receipt", "room": "r", "receipts": {"a": 3},
    }  # fmt: skip
    assert orjson.loads(encode_presence("r", ["a"], ["b"], 2)) == {
        "type": "presence", "room": "r", "joined": ["a"], "left": ["b"], "members": 2,
    }  # fmt: skip
    assert orjson.loads(encode_presence("r", [], [], 2, {"a": ""}, ["b"], partial=True)) == {
        "type": "presence", "room": "r", "joined": [], "left": [], "members": 2, "away": {"a": ""},
        "back": ["b"], "partial": True,
    }  # fmt: skip
    assert orjson.loads(encode_typing("r", "a", 5)) == {
        "type": "typing",
        "room": "r",
        "from": "a",
        "expires_in_ms": 5,
    }
    assert orjson.loads(encode_lagged("r", 3, 5)) == {
        "type": "lagged", "room": "r", "from": 3, "to": 5, "missed": 3,
    }  # fmt: skip


def test_an_event_is_one_line() -> None:
    body = encode_event(
        "message", "r", 1, "a", 5, {"text": "two\nlines\r\u2028", "data": {"k\n": "\n"}}, "\n"
    )
    assert b"\n" not in body
    assert b"\r" not in body


def test_bye() -> None:
    assert bye(4000, "why") == {"type": "bye", "code": 4000, "reason": "why"}
    assert bye(1012, "why", 0, {"r": 3}) == {
        "type": "bye", "code": 1012, "reason": "why", "reconnect_after_ms": 0, "cursors": {"r": 3},
    }  # fmt: skip
