"""Moderation as people with ``nc`` see it."""

import orjson
import pytest

from fastchat.dialects import encode_event
from tests.parties import Document, Party, Person, Program
from tests.people import Doorkeeper


@pytest.fixture
def party() -> Party:
    party = Party()
    party.hub.authenticator = Doorkeeper({"root": "secret"}, operators={"root"})
    return party


@pytest.fixture
def root(party: Party) -> Program:
    root = Program(party)
    root.ask("hello", user="root", password="secret")
    return root


@pytest.fixture
def bob(party: Party, root: Program) -> Person:
    bob = party.person()
    bob.type("/nick bob")
    bob.reads()
    return bob


@pytest.mark.parametrize(
    ("act", "line"),
    [
        ({"type": "topic", "topic": "tea"}, "says what this room is about: tea"),
        ({"type": "slow", "interval_s": 5}, "has set the time between two messages to 5 s"),
        ({"type": "mute", "user": "bob", "for_s": 5, "reason": "spam"}, "has muted bob for 5s (spam)"),
        ({"type": "unmute", "user": "bob"}, "lets bob talk again"),
        ({"type": "ban", "user": "eve"}, "has banned eve"),
        ({"type": "unban", "user": "eve"}, "lets eve in again"),
        ({"type": "kick", "user": "eve"}, "has taken eve out"),
        ({"type": "access", "access": "public"}, "has made this room public"),
    ],
)
def test_acts_are_told_in_words(root: Program, bob: Person, act: Document, line: str) -> None:
    assert root.ask(**act, room="lobby")["type"] == "sent"
    assert bob.reads() == [f"* [lobby] root {line}"]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"action": "role", "user": "bob", "role": "moderator"}, "* [den] al has made bob moderator\n"),
        ({"action": "invite", "user": "bob"}, "* [den] al has invited bob\n"),
        ({"action": "create", "access": "private"}, "* [den] al has made this room\n"),
        ({"action": "what comes later"}, ""),
    ],
)
def test_other_acts(fields: Document, line: str) -> None:
    event = {"type": "moderated", "room": "den", "seq": 1, "from": "al", "at": 1, **fields}
    assert encode_event(orjson.dumps(event)).decode() == line


def test_who_is_taken_out_is_told_where_the_words_go_now(party: Party, root: Program, bob: Person) -> None:
    bob.type("/join games")
    root.ask("kick", room="games", user="bob", reason="enough")
    assert "* you were taken out of games by root (enough); you are talking in lobby now" in bob.reads()
    root.ask("ban", room="lobby", user="bob")
    assert bob.reads()[-1] == "* you were taken out of lobby by root; you are in no room"
    bob.type("/join lobby")
    assert bob.reads() == ["* bob is banned from room lobby"]
