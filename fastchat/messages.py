"""The wire contract: commands, replies and events, codes. Pure: no sockets, clock or await.

Everything that passes between a client and the server is a JSON object with a ``type``. What a client may
send is the table ``COMMANDS``; events are made by the functions ``encode_*``, replies by the session.
Protocol version 1; docs/protocol.md is its prose, docs/asyncapi.yaml its schema.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from enum import IntEnum, StrEnum
from typing import Any

import orjson

from fastchat._checks import Either, Fields, Instance, Integer, Pattern, Table, Text
from fastchat._events import encode_event as encode_event
from fastchat._events import encode_sent as encode_sent

PROTOCOL_VERSION = 1

NAME_LENGTH_MAX = 32
ROOM_PATTERN = "[a-z0-9][a-z0-9._-]{0,63}"
PAIR_PATTERN = "@~?[^,~@]{1,32},~?[^,~@]{1,32}"
SEQ_MAX = 2**53 - 1  # the largest integer that every JSON reader keeps exact
ID_LENGTH_MAX = 64
REACTION_LENGTH_MAX = 32
AWAY_LENGTH_MAX = 200
WORDS_LENGTH_MAX = 250
"""Of a topic, or of a moderator's reason."""
INTERVAL_MAX_S = 6 * 3600
SANCTION_MAX_S = 10 * 365 * 24 * 3600


class Code(StrEnum):
    """What went wrong with one command; the connection lives."""

    BAD_JSON = "bad_json"
    BAD_FIELD = "bad_field"
    UNKNOWN_TYPE = "unknown_type"
    TOO_LARGE = "too_large"
    NOT_WELCOME = "not_welcome"
    NAME_TAKEN = "name_taken"
    NOT_JOINED = "not_joined"
    ALREADY_JOINED = "already_joined"
    NO_SUCH_ROOM = "no_such_room"
    NO_SUCH_MESSAGE = "no_such_message"
    FORBIDDEN = "forbidden"
    UNAUTHORIZED = "unauthorized"
    NO_SUCH_USER = "no_such_user"
    MUTED = "muted"
    BANNED = "banned"
    REFUSED = "refused"
    TOO_MANY_ROOMS = "too_many_rooms"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"


class Close(IntEnum):
    """Why the server ends a connection: 4000-4499 come back, 4500-4999 don't."""

    RESTART = 1012
    SLOW_READER = 4000
    HELLO_TIMEOUT = 4001
    TOKEN_EXPIRED = 4002
    SIGNED_OUT = 4500
    DISABLED = 4501


class WireError(Exception):
    """A command that cannot be carried out; becomes an ``error`` reply."""

    def __init__(
        self, code: Code, message: str, *, field: str | None = None, retry_after_ms: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.retry_after_ms = retry_after_ms


_ROOM = Pattern(
    f"must be a string that matches {ROOM_PATTERN}",
    re.compile(f"{ROOM_PATTERN}|{PAIR_PATTERN}"),
)
_NEW_ROOM = Pattern(f"must be a string that matches {ROOM_PATTERN}", re.compile(ROOM_PATTERN))
# ``auth.names`` knows which of these are names.
_NAME = Text(f"must be a string of 1 to {NAME_LENGTH_MAX} characters", 1, NAME_LENGTH_MAX)
_SEQ = Integer("must be an integer from 0 to 2^53 - 1", 0, SEQ_MAX)
_LIMIT = Integer("must be an integer of at least 1", 1, None)
_ID = Text(f"must be a string of 1 to {ID_LENGTH_MAX} characters", 1, ID_LENGTH_MAX)
_TEXT = Text("must be a string that is not empty", 1, sys.maxsize)
_SECRET = Text("must be a string of 1 to 1024 characters", 1, 1024)
_TOKEN = Text("must be a string that is not empty", 1, sys.maxsize)  # bounded by limits.command_bytes
_REACTION = Text(f"must be a string of 1 to {REACTION_LENGTH_MAX} characters", 1, REACTION_LENGTH_MAX)
_AWAY = Text(f"must be a string of 1 to {AWAY_LENGTH_MAX} characters", 1, AWAY_LENGTH_MAX)
_ACCESS = Pattern("must be public, private or invite", re.compile("public|private|invite"))
_ROLE = Pattern("must be owner, moderator, member or reader", re.compile("owner|moderator|member|reader"))
_TOPIC = Text(f"must be a string of at most {WORDS_LENGTH_MAX} characters", 0, WORDS_LENGTH_MAX)
_REASON = Text(f"must be a string of 1 to {WORDS_LENGTH_MAX} characters", 1, WORDS_LENGTH_MAX)
_INTERVAL_S = Integer(f"must be an integer from 0 to {INTERVAL_MAX_S}", 0, INTERVAL_MAX_S)
_FOR_S = Integer(f"must be an integer from 1 to {SANCTION_MAX_S}", 1, SANCTION_MAX_S)
_FLAG = Instance("must be true or false", bool)
_OBJECT = Instance("must be an object", dict)
_RESUME = Table('must be an object of rooms and the seq to go on after, like {"lobby": 41}', _ROOM, _SEQ)
_EPOCHS = Table("must be an object of rooms and their epochs", _ROOM, _ID)
_REF = Either(
    f"must be a string of at most {ID_LENGTH_MAX} characters or an integer within ±(2^53 - 1)",
    Text("", 0, ID_LENGTH_MAX),
    Integer("", -SEQ_MAX, SEQ_MAX),
)

COMMANDS: Mapping[str, Fields] = {
    # The fields beside ``type`` and ``ref``: those that have to be there, and those that may.
    "hello": Fields(
        {}, {"user": _NAME, "password": _SECRET, "token": _TOKEN, "resume": _RESUME, "epochs": _EPOCHS}
    ),
    "join": Fields({"room": _ROOM}, {"after": _SEQ, "epoch": _ID}),
    "leave": Fields({"room": _ROOM}, {}),
    "send": Fields({"room": _ROOM, "text": _TEXT}, {"id": _ID, "data": _OBJECT}),
    "edit": Fields({"room": _ROOM, "seq": _SEQ, "text": _TEXT}, {"id": _ID, "data": _OBJECT}),
    "delete": Fields({"room": _ROOM, "seq": _SEQ}, {"id": _ID}),
    "react": Fields({"room": _ROOM, "seq": _SEQ, "reaction": _REACTION}, {"id": _ID, "remove": _FLAG}),
    "ack": Fields({"room": _ROOM, "seq": _SEQ}, {}),
    "search": Fields({"query": _TEXT}, {"room": _ROOM, "before": _SEQ, "limit": _LIMIT}),
    "members": Fields({"room": _ROOM}, {"after": _NAME, "limit": _LIMIT, "sample": _LIMIT}),
    "away": Fields({"away": _FLAG}, {"text": _AWAY}),
    "whois": Fields({"user": _NAME}, {}),
    "create": Fields({"room": _NEW_ROOM}, {"access": _ACCESS, "topic": _TOPIC, "id": _ID}),
    "topic": Fields({"room": _ROOM, "topic": _TOPIC}, {"id": _ID}),
    "access": Fields({"room": _ROOM, "access": _ACCESS}, {"id": _ID}),
    "slow": Fields({"room": _ROOM, "interval_s": _INTERVAL_S}, {"id": _ID}),
    "role": Fields({"room": _ROOM, "user": _NAME, "role": _ROLE}, {"id": _ID}),
    "invite": Fields({"room": _ROOM, "user": _NAME}, {"id": _ID}),
    "kick": Fields({"room": _ROOM, "user": _NAME}, {"reason": _REASON, "id": _ID}),
    "ban": Fields({"room": _ROOM, "user": _NAME}, {"for_s": _FOR_S, "reason": _REASON, "id": _ID}),
    "unban": Fields({"room": _ROOM, "user": _NAME}, {"id": _ID}),
    "mute": Fields({"room": _ROOM, "user": _NAME}, {"for_s": _FOR_S, "reason": _REASON, "id": _ID}),
    "unmute": Fields({"room": _ROOM, "user": _NAME}, {"id": _ID}),
    "rooms": Fields({}, {}),
    "room": Fields({"room": _ROOM}, {}),
    "history": Fields({"room": _ROOM}, {"before": _SEQ, "after": _SEQ, "limit": _LIMIT}),
    "typing": Fields({"room": _ROOM}, {}),
    "direct": Fields({"to": _NAME, "text": _TEXT}, {"id": _ID, "data": _OBJECT}),
    "block": Fields({"user": _NAME}, {}),
    "unblock": Fields({"user": _NAME}, {}),
    "register": Fields({"user": _NAME, "password": _SECRET}, {}),
    "password": Fields({"old": _SECRET, "new": _SECRET}, {}),
    "refresh": Fields({"token": _TOKEN}, {}),
    "sign_out": Fields({}, {}),
    # Of operators alone.
    "user_add": Fields({"user": _NAME}, {"password": _SECRET, "operator": _FLAG}),
    "user_password": Fields({"user": _NAME, "password": _SECRET}, {}),
    "user_disable": Fields({"user": _NAME}, {}),
    "user_enable": Fields({"user": _NAME}, {}),
    "user_role": Fields({"user": _NAME, "operator": _FLAG}, {}),
    "users": Fields({}, {"after": _NAME, "limit": _LIMIT}),
    "room_list": Fields({}, {"after": _ROOM, "limit": _LIMIT}),
    "audit": Fields({}, {"before": _SEQ, "limit": _LIMIT}),
    "ping": Fields({}, {}),
}

Command = dict[str, Any]
Reply = dict[str, Any]


def parse_object(raw: bytes) -> Command:
    """One JSON object with no key twice. Raises WireError."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise WireError(Code.BAD_JSON, f"not JSON: {error}") from None
    if type(value) is not dict:
        raise WireError(Code.BAD_JSON, 'a command is a JSON object, like {"type":"ping"}')
    # orjson keeps the last of two equal keys. With as many colons as keys there can be no second one.
    if raw.count(b":") != len(value):
        _refuse_duplicates(raw)
    return value


def _refuse_duplicates(raw: bytes) -> None:
    def check(pairs: list[tuple[str, Any]]) -> None:
        seen = set()
        for key, _ in pairs:
            if key in seen:
                # The answer must not grow with the question.
                name = key[:64]
                raise WireError(Code.BAD_FIELD, f"{name} is there twice", field=name)
            seen.add(key)

    try:
        json.loads(raw, object_pairs_hook=check, parse_int=str, parse_float=str)
    except RecursionError:
        raise WireError(Code.BAD_JSON, "the JSON is nested too deeply") from None


def check_command(command: Command) -> None:
    """Checks the type and the form of every known field. Raises WireError; unknown fields are let pass."""
    ref = command.get("ref")
    if ref is not None and (problem := _REF(ref)):
        del command["ref"]
        raise _bad_field("ref", problem)
    kind = command.get("type")
    fields = COMMANDS.get(kind) if type(kind) is str else None
    if fields is None:
        if type(kind) is not str:
            raise _bad_field("type", f"must be one of {', '.join(COMMANDS)}")
        raise WireError(
            Code.UNKNOWN_TYPE, f"unknown type {kind[:64]!r}; use one of {', '.join(COMMANDS)}", field="type"
        )
    if (wrong := fields.find_problem(command)) is not None:
        raise _bad_field(*wrong)


def _bad_field(name: str, problem: str) -> WireError:
    return WireError(Code.BAD_FIELD, f"{name} {problem}", field=name)


# Replies and events

dumps = orjson.dumps


def error_reply(error: WireError, ref: str | int | None, room: str | None = None) -> Reply:
    """An ``error``, with ``field``, ``room``, ``ref`` and ``retry_after_ms`` where there are any."""
    reply: Reply = {"type": "error", "code": error.code.value, "message": error.message}
    if error.field is not None:
        reply["field"] = error.field
    if room is not None:
        reply["room"] = room
    if error.retry_after_ms is not None:
        reply["retry_after_ms"] = error.retry_after_ms
    if ref is not None:
        reply["ref"] = ref
    return reply


def encode_presence(
    room: str,
    joined: Sequence[str],
    left: Sequence[str],
    members: int,
    away: Mapping[str, str] | None = None,
    back: Sequence[str] = (),
    *,
    partial: bool = False,
) -> bytes:
    """Who came, went, is away or back since the last ``presence`` event, and how many are there now.

    ``partial`` says that not everybody who has changed is named.
    """
    event: Reply = {"type": "presence", "room": room, "joined": joined, "left": left, "members": members}
    if away:
        event["away"] = away
    if back:
        event["back"] = back
    if partial:
        event["partial"] = True
    return dumps(event)


def encode_typing(room: str, author: str, expires_in_ms: int) -> bytes:
    """Somebody is writing a message, and will say so again within that time; not in the log."""
    return dumps({"type": "typing", "room": room, "from": author, "expires_in_ms": expires_in_ms})


def encode_receipts(room: str, receipts: Mapping[str, int]) -> bytes:
    """How far members have read, as far as that has changed since the last ``receipt`` event."""
    return dumps({"type": "receipt", "room": room, "receipts": receipts})


def encode_lagged(room: str, first: int, last: int) -> bytes:
    """The events ``first`` … ``last`` are gone: the reader was too slow, or returned too late."""
    return dumps({"type": "lagged", "room": room, "from": first, "to": last, "missed": last - first + 1})


def bye(
    code: int, reason: str, reconnect_after_ms: int | None = None, cursors: Mapping[str, int] | None = None
) -> Reply:
    """Announces a close; ``cursors`` are the ``after`` values to come back with."""
    reply: Reply = {"type": "bye", "code": code, "reason": reason}
    if reconnect_after_ms is not None:
        reply["reconnect_after_ms"] = reconnect_after_ms
    if cursors is not None:
        reply["cursors"] = dict(cursors)
    return reply
