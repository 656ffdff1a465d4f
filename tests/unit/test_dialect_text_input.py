"""Whatever is typed and whatever others say, a person's screen gets whole and harmless lines."""

import json
import unicodedata
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fastchat.dialects import TextDialect, encode_event
from fastchat.dialects.text import COMMANDS as WORDS
from fastchat.messages import COMMANDS, WireError, encode_typing
from fastchat.messages import encode_event as encode_json
from fastchat.session import Limits
from tests.parties import Party

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def dialect(said: list[bytes]) -> TextDialect:
    return TextDialect("lobby", said.append, lambda: None)


def assert_harmless(written: bytes) -> None:
    """Whole lines of visible text, each told apart from what a user wrote by how it begins."""
    assert not written or written.endswith(b"\n")
    for line in written.decode().split("\n")[:-1]:
        assert not [c for c in line if unicodedata.category(c) == "Cc" or c in BIDI], repr(line)
        assert line.startswith(("* ", "["))


characters = st.sampled_from(
    "ab/\\{}[]* \n\r\t\0\x07\x08\x1b\x7f\x85\x9b\u2028\u202e\u2066é日\U0001f600\x0b\x1c"
)
any_text = st.text(characters, max_size=12)
words = st.sampled_from(
    [
        *(f"{word} " for word in WORDS if word not in ("/users", "/adduser", "/audit")),
        "/x",
        "//",
        "/help",
        "/help room",
        "",
        "/msg bob ",
        "/login bob ",
        "/ban bob 5m ",
    ]
)


@given(
    st.lists(st.binary(max_size=20) | st.builds(lambda w, t: (w + t).encode(), words, any_text), max_size=6)
)
def test_whatever_is_typed_the_screen_stays_clean(lines: list[bytes]) -> None:
    party = Party(limits=Limits(messages_per_s=0, text_bytes=30))
    person = party.person()
    screen = b""
    for line in lines:
        person.send_raw(line.replace(b"\n", b"") if not line.startswith(b"{") else b"")
        party.settle()
        screen += person.transport.take()
    assert_harmless(screen)


@given(st.binary(max_size=40) | st.builds(lambda w, t: (w + t).encode(), words, any_text))
def test_whatever_is_typed_becomes_commands_of_the_contract(line: bytes) -> None:
    said: list[bytes] = []
    try:
        commands = dialect(said).parse(line)
    except WireError:
        return
    assert all(command["type"] in COMMANDS for command in commands)
    assert_harmless(b"".join(said))


@given(any_text, any_text)
def test_whatever_others_write_the_screen_stays_clean(text: str, author: str) -> None:
    for kind in ("message", "edited", "deleted", "reacted"):
        body = encode_json(kind, "lobby", 2, author, 0, {"text": text, "reaction": text}, of=1)
        written = encode_event(body)
        assert_harmless(written)
        assert written.count(b"[lobby] ") >= written.count(b"\n") >= 1


@given(
    st.sampled_from(
        [
            "welcome",
            "joined",
            "left",
            "members",
            "away",
            "whois",
            "rooms",
            "history",
            "found",
            "error",
            "bye",
            "sent",
            "pong",
            "typing",
            "banner",
        ]
    ),
    any_text,
)
def test_whatever_is_replied_the_screen_stays_clean(kind: str, text: str) -> None:
    speaker = dialect([])
    reply: dict[str, Any] = {
        "type": kind, "user": text, "room": text, "members": [text, text], "count": 5, "message": text,
        "reason": text, "head": 3, "joined": True, "cursor": 1, "unread": 2, "more": True,
        "messages": [
            {"room": text, "from": text, "text": text},
            {"room": text, "from": text, "text": text, "edited": 5, "reactions": {text: [text]}},
            {"room": text, "from": text, "deleted": 5},
        ],
        "rooms": [{"room": text, "members": 3, "head": 2, "joined": True}],
    }  # fmt: skip
    away: dict[str, Any] = {"members": {text: text}, "away": True, "whois": text}
    reply |= {"away": away.get(kind), "online": True}
    speaker.encode({"type": "joined", "room": text, "head": 0, "members": 3})
    written = speaker.encode(reply if kind != "joined" else {**reply, "members": 2})
    assert not written or written.endswith(b"\n")
    assert not [c for c in written.decode().replace("\n", "") if unicodedata.category(c) == "Cc" or c in BIDI]
    assert bool(written) == (kind not in ("sent", "pong", "typing", "banner"))


def test_events_that_a_person_need_not_see_are_nothing() -> None:
    assert encode_event(encode_typing("lobby", "alice", 6000)) == b""
    assert encode_event(json.dumps({"type": "later"}).encode()) == b""


def test_a_person_is_slowed_down_and_not_refused() -> None:
    assert TextDialect.patient
    assert not TextDialect.echo
