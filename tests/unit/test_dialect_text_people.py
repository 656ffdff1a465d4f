"""A person with ``nc`` and other people: accounts, who is away, what is typed by mistake."""

import orjson
import pytest

from fastchat.dialects import TextDialect, encode_event
from fastchat.dialects.text.lines import parse_duration_s, shown_duration
from fastchat.messages import Command, Reply, WireError
from tests.parties import Party, Person, Program
from tests.people import Doorkeeper


@pytest.fixture
def party() -> Party:
    party = Party()
    party.hub.authenticator = Doorkeeper({"root": "secret of root", "alice": "a"}, operators={"root"})
    return party


@pytest.fixture
def alice(party: Party) -> Program:
    """A program in ``lobby``, with an account."""
    alice = Program(party)
    alice.ask("hello", user="alice", password="a")
    alice.ask("join", room="lobby")
    party.pass_time(5)
    alice.heard()
    return alice


@pytest.fixture
def bob(party: Party, alice: Program) -> Person:
    """A guest in ``lobby`` with alice."""
    bob = party.person()
    bob.type("/nick bob")
    party.pass_time(5)
    bob.reads()
    alice.heard()
    return bob


def parse(line: str, place: TextDialect | None = None) -> list[Command]:
    """What a line becomes that is not the first one."""
    speaker = place or welcomed()
    return list(speaker.parse(line.encode()))


def welcomed(name: str = "bob") -> TextDialect:
    speaker = TextDialect("lobby", lambda data: None, lambda: None)
    speaker.encode({"type": "welcome", "user": name})
    speaker.encode({"type": "joined", "room": "lobby", "head": 0, "members": 1})
    return speaker


# Coming in with an account


def test_a_first_line_may_sign_in(party: Party, alice: Program) -> None:
    root = party.person()
    root.type("/login root secret of root")
    welcome, joined = root.reads()[:2]
    assert welcome == "* Welcome, root! Type to talk, /help for more."
    assert joined.startswith("* you are in lobby with one other")
    root.type("hi")
    assert [message["from"] for message in alice.heard("message")] == ["root"]


def test_a_wrong_password_is_said_once_and_may_be_tried_again(party: Party) -> None:
    root = party.person()
    root.type("/login root not-this-one")
    assert root.reads() == ["* wrong user or password"]
    root.type("/login root secret of root")
    assert root.reads()[0].startswith("* Welcome, root!")


def test_a_guest_may_sign_in_later(party: Party, bob: Person, alice: Program) -> None:
    bob.type("/login root secret of root")
    assert bob.reads()[0] == "* you are root now"


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("/login", "* say who you are: /login NAME PASSWORD"),
        ("/login root", "* say the password, too: /login NAME PASSWORD"),
        ("/register", "* say who you want to be: /register NAME PASSWORD"),
        ("/password old", "* say both passwords: /password OLD NEW"),
        ("/msg", "* say to whom: /msg alice hello"),
        ("/msg @alice", "* say what: /msg alice hello"),
        ("/whois", "* say who: /whois alice"),
        ("/kick", "* say who: /kick alice"),
        ("/role alice", "* say what: /role alice moderator"),
        ("/slow", "* say how slow: /slow 10s, or /slow off"),
        ("/slow 10", "* say how slow: /slow 10s, or /slow off"),
        ("/create", "* say which room: /create games"),
        ("/topic", "* say what the room is about: /topic tea; /topic - for nothing"),
        (
            "/help all",
            "* there is no help about that, but /help account, /help people, /help room, /help operator",
        ),
        (
            " /login root secret",
            "* that began with a space, so everybody would have read it; it was not sent",
        ),
        ("  /password a b", "* that began with a space, so everybody would have read it; it was not sent"),
    ],
)
def test_what_is_missing_is_said(alice: Program, bob: Person, line: str, answer: str) -> None:
    bob.type(line)
    assert bob.reads() == [answer]
    assert alice.heard("message") == []


@pytest.mark.parametrize("topic", ["account", "people", "room", "operator"])
def test_help_about_one_thing_is_short(bob: Person, topic: str) -> None:
    bob.type(f"/help {topic}")
    lines = bob.reads()
    assert 3 <= len(lines) <= 14
    assert all(line.startswith("*") for line in lines)


# Acts in words


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("/kick @eve", {"type": "kick", "user": "eve"}),
        ("/kick eve too loud", {"type": "kick", "user": "eve", "reason": "too loud"}),
        ("/ban eve", {"type": "ban", "user": "eve"}),
        ("/ban eve 10m", {"type": "ban", "user": "eve", "for_s": 600}),
        ("/ban eve 2h too  loud", {"type": "ban", "user": "eve", "for_s": 7200, "reason": "too  loud"}),
        ("/ban eve 10 times", {"type": "ban", "user": "eve", "reason": "10 times"}),
        ("/mute eve 7d", {"type": "mute", "user": "eve", "for_s": 604_800}),
        ("/unban eve", {"type": "unban", "user": "eve"}),
        ("/invite eve", {"type": "invite", "user": "eve"}),
        ("/role eve moderator", {"type": "role", "user": "eve", "role": "moderator"}),
        ("/topic tea and cake", {"type": "topic", "topic": "tea and cake"}),
        ("/topic -", {"type": "topic", "topic": ""}),
        ("/slow 30s", {"type": "slow", "interval_s": 30}),
        ("/slow off", {"type": "slow", "interval_s": 0}),
        ("/access invite", {"type": "access", "access": "invite"}),
    ],
)
def test_acts_are_in_the_room_where_one_talks(line: str, command: Command) -> None:
    assert parse(line) == [{"room": "lobby", **command}]


def test_creating_a_room_says_how_to_get_there() -> None:
    assert parse("/create #den private a den") == [
        {"type": "create", "room": "den", "access": "private", "topic": "a den", "ref": "create"}
    ]
    assert parse("/create den tea") == [{"type": "create", "room": "den", "topic": "tea", "ref": "create"}]


@pytest.mark.parametrize(
    ("text", "duration_s"),
    [
        ("1s", 1),
        ("10m", 600),
        ("2h", 7200),
        ("1d", 86_400),
        ("0s", None),
        ("5", None),
        ("", None),
        ("1w", None),
    ],
)
def test_durations(text: str, duration_s: int | None) -> None:
    assert parse_duration_s(text) == duration_s
    if duration_s is not None:
        assert shown_duration(duration_s) == text


def test_a_deletion_by_a_moderator_says_whose_it_was() -> None:
    event = {"type": "deleted", "room": "lobby", "seq": 9, "of": 3, "from": "root", "at": 1}
    moderated = {**event, "moderated": True, "user": "eve"}
    assert encode_event(orjson.dumps(event)) == b"* [lobby] root deleted message 3\n"
    assert encode_event(orjson.dumps(moderated)) == b"* [lobby] root deleted message 3 of eve\n"


# Rooms of two


def test_direct_messages_say_who_wrote_and_do_not_move_the_person() -> None:
    speaker = welcomed()
    event = {"type": "message", "room": "@alice,~bob", "seq": 1, "from": "alice", "at": 1, "text": "hi"}
    assert encode_event(orjson.dumps(event)) == b"[@alice] alice: hi\n"
    joined: Reply = {"type": "joined", "room": "@alice,~bob", "head": 3, "members": 2, "cursor": 0}
    assert speaker.encode({**joined, "unread": 0}) == b""
    # It may have been while the reader was away, or this moment on another node.
    assert speaker.encode({**joined, "unread": 3}) == b"* new from alice (3):\n"
    assert parse("hi", speaker)[0] == {"type": "send", "room": "lobby", "text": "hi"}
    assert parse("/msg ALICE", speaker)[0] == {"type": "history", "room": "@alice,~bob", "limit": 20}
    assert parse("/msg alice  how are you?", speaker)[0] == {
        "type": "direct",
        "to": "alice",
        "text": "how are you?",
    }
    history: Reply = {"type": "history", "room": "@alice,~bob", "messages": [event, {**event, "from": "bob"}]}
    assert speaker.encode(history) == b"[@alice] alice: hi\n[@alice] bob: hi\n"
    left: Reply = {"type": "left", "room": "@alice,~bob", "reason": "alice has gone"}
    assert speaker.encode(left) == b"* your conversation with alice is over (alice has gone)\n"
    with pytest.raises(WireError, match="say what"):
        parse("/msg alice", speaker)


def test_conversations_are_listed_with_the_rooms() -> None:
    speaker = welcomed()
    pair = {"room": "@alice,bob", "user": "alice", "head": 5, "joined": False, "cursor": 3, "unread": 2}
    listed = speaker.encode({"type": "rooms", "rooms": [], "count": 0, "directs": [pair]})
    assert listed == b"* with alice alone: 5 messages, 2 new; /msg alice\n"
    assert parse("/msg alice", speaker) == [{"type": "history", "room": "@alice,bob", "limit": 20}]


def test_who_types_has_read_what_others_wrote() -> None:
    cursors = {"lobby": 7, "@alice,bob": 2}
    speaker = TextDialect("lobby", lambda data: None, lambda: None, lambda: cursors)
    speaker.encode({"type": "welcome", "user": "bob"})
    assert parse("/rooms", speaker) == [{"type": "rooms"}]
    speaker.encode({"type": "joined", "room": "@alice,bob", "head": 2, "members": 2, "unread": 2})
    ack = {"type": "ack", "room": "@alice,bob", "seq": 2, "ref": "aside"}
    assert parse("/rooms", speaker) == [{"type": "rooms"}, ack]
    assert parse("/rooms", speaker) == [{"type": "rooms"}]
    cursors["@alice,bob"] = 3
    assert parse("", speaker) == [{**ack, "seq": 3}]
    assert speaker.encode({"type": "error", "code": "rate_limited", "message": "", "ref": "aside"}) == b""


# Operators


def test_operators_lists() -> None:
    speaker = welcomed("root")
    user = {"user": "al", "operator": True, "disabled": False, "online": 2}
    users: Reply = {"type": "users", "users": [user, {**user, "user": "b", "online": 0}], "more": True}
    assert speaker.encode(users).decode().splitlines() == [
        "* al: here on 2 connections, operator",
        "* b: not here, operator",
        "* there are more: /users b",
    ]
    entry = {
        "number": 1,
        "at": 1_700_000_000_000,
        "actor": "root",
        "action": "ban",
        "room": "den",
        "target": "eve",
    }
    audit: Reply = {"type": "audit", "entries": [entry], "more": False}
    assert speaker.encode(audit) == b"* 2023-11-14 22:13 [den] root: ban eve\n"
    assert parse("/adduser al secret") == [{"type": "user_add", "user": "al", "password": "secret"}]
    assert parse("/users al") == [{"type": "users", "after": "al"}]
    assert parse("/audit") == [{"type": "audit", "limit": 20}]


def test_on_the_operators_own_socket_nobody_is_taken_to_the_lobby() -> None:
    speaker = TextDialect("", lambda data: None, lambda: None)
    assert list(speaker.parse(b"/rooms")) == [{"type": "hello"}, {"type": "rooms"}]
    assert speaker.encode({"type": "welcome", "user": "operator", "guest": False}) == (
        b"* Welcome, operator! /help for more.\n"
    )
    with pytest.raises(WireError, match="/join ROOM"):
        parse("hello?", speaker)
