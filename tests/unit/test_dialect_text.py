"""A person with ``nc``: what may be typed, what is read on the screen, and what never gets there."""

import pytest

from fastchat.dialects.text import TextDialect, clean
from tests.parties import Party, Person, Program

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ESCAPES = "\x1b[2J\x1b]0;title\x07\x9b31m"
ESCAPES_CLEANED = "[2J]0;title31m"


@pytest.fixture
def party() -> Party:
    return Party()


@pytest.fixture
def alice(party: Party) -> Program:
    """A program in ``lobby``."""
    return party.program("alice", "lobby")


@pytest.fixture
def bob(party: Party, alice: Program) -> Person:
    """A person who was welcomed as ``bob`` and is in ``lobby`` with alice."""
    person = party.person()
    person.type("/nick bob")
    party.pass_time(5)
    person.reads()
    alice.heard()
    return person


def texts(program: Program) -> list[str]:
    return [message["text"] for message in program.heard("message")]


# The first line


def test_a_first_line_of_text_greets_a_guest_in_the_lobby_and_is_said(party: Party, alice: Program) -> None:
    person = party.person()
    person.type("hello everyone")
    welcome, joined = person.reads()
    assert welcome.startswith("* Welcome, guest-")
    assert "/help" in welcome
    assert joined == "* you are in lobby with one other"
    (message,) = alice.heard("message")
    assert (message["text"], message["from"][:6]) == ("hello everyone", "guest-")


def test_an_empty_first_line_greets_and_says_nothing(party: Party, alice: Program) -> None:
    person = party.person()
    person.type("")
    assert [line[:9] for line in person.reads()[:2]] == ["* Welcome", "* you are"]
    assert texts(alice) == []


@pytest.mark.parametrize("line", ["/nick carol", "/nick   carol  "])
def test_a_first_line_that_names_greets_by_that_name(party: Party, line: str) -> None:
    person = party.person()
    person.type(line)
    welcome, joined, _ = person.reads()
    assert welcome.startswith("* Welcome, carol!")
    assert joined == "* you are in lobby with nobody else"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("/join games", "* you are in games with nobody else"),
        ("/who", "* in lobby: alice, guest-"),
        ("/rooms", "* lobby: 2 here, 0 messages (you too)"),
        ("/history", "* nothing has been said in lobby yet"),
        ("/help", "*   /nick NAME      be called NAME"),
    ],
)
def test_a_first_line_may_be_any_command(party: Party, alice: Program, line: str, shown: str) -> None:
    person = party.person()
    person.type(line)
    lines = person.reads()
    assert any(read.startswith(shown) for read in lines)
    assert any(read.startswith("* Welcome, guest-") for read in lines)


def test_a_first_line_that_joins_the_lobby_joins_it_once(party: Party) -> None:
    person = party.person()
    person.type("/join lobby")
    welcome, joined, presence = person.reads()
    assert joined == "* you are in lobby with nobody else"
    assert (welcome[:9], presence[-13:]) == ("* Welcome", " joined lobby")


@pytest.mark.parametrize("line", ["/quit", "/quit  now"])
def test_a_first_line_that_quits_is_answered_by_good_bye_alone(party: Party, line: str) -> None:
    person = party.person()
    person.type(line)
    assert person.reads() == ["* Good-bye: you asked for it."]
    assert not party.hub.rooms


def test_a_taken_name_is_said_once_and_another_may_be_tried(party: Party, alice: Program) -> None:
    person = party.person()
    person.type("/nick Alice")
    assert person.reads() == ["* user Alice is taken; choose another name"]
    person.type("/nick bad name")
    (refused,) = person.reads()
    assert refused.startswith("* user must be letters and digits")
    person.type("/nick")
    assert person.reads() == ["* say which name: /nick alice"]
    person.type("/nick carol")
    assert person.reads()[0].startswith("* Welcome, carol!")


def test_after_a_taken_name_plain_text_is_a_guests(party: Party, alice: Program) -> None:
    person = party.person()
    person.type("/nick alice")
    person.type("hi")
    assert person.reads()[1].startswith("* Welcome, guest-")
    assert texts(alice) == ["hi"]


# Talking


def test_lines_go_to_the_room_and_do_not_come_back(alice: Program, bob: Person) -> None:
    for line in ("one", "  two  ", "3"):
        bob.type(line)
    assert texts(alice) == ["one", "  two  ", "3"]
    assert bob.reads() == []


def test_others_lines_say_where_and_who(alice: Program, bob: Person) -> None:
    alice.say("send", room="lobby", text="hi bob")
    assert bob.reads() == ["[lobby] alice: hi bob"]


def test_a_message_of_several_lines_has_its_prefix_before_each(alice: Program, bob: Person) -> None:
    alice.say("send", room="lobby", text="one\ntwo\r\n\nfour\u2028[lobby] carol: five\x0b* six\x85seven\n")
    assert bob.reads() == [
        f"[lobby] alice: {line}"
        for line in ("one", "two", "", "four", "[lobby] carol: five", "* six", "seven")
    ]


@pytest.mark.parametrize("text", ["\n", "\x1b", "\u202e"])
def test_a_message_of_nothing_visible_is_one_line(alice: Program, bob: Person, text: str) -> None:
    alice.say("send", room="lobby", text=text)
    assert bob.reads() == ["[lobby] alice: "]


@pytest.mark.parametrize("line", ["", " ", "   \t  ", "\x00", "\x1b", "\r"])
def test_a_line_of_nothing_is_not_said(alice: Program, bob: Person, line: str) -> None:
    bob.type(line)
    assert texts(alice) == []
    assert bob.reads() == []


@pytest.mark.parametrize(
    ("line", "text"),
    [("//shrug", "/shrug"), ("///", "//"), ("//", "/"), (" /join x", " /join x"), ("{", "{"), ("a/b", "a/b")],
)
def test_two_slashes_say_one(alice: Program, bob: Person, line: str, text: str) -> None:
    bob.type(line)
    assert texts(alice) == [text]


def test_a_tab_is_a_space(alice: Program, bob: Person) -> None:
    bob.type("a\tb")
    bob.type("/nick\tbobby")
    assert texts(alice) == ["a b"]
    assert bob.reads()[0] == "* you are bobby now"


def test_who_comes_and_goes_is_said(party: Party, alice: Program, bob: Person) -> None:
    carol = party.program("carol", "lobby")
    assert bob.reads() == ["* carol joined lobby"]
    party.pass_time(5)
    carol.leave_the_server()
    assert bob.reads() == ["* carol left lobby"]


def test_typing_is_not_said(alice: Program, bob: Person) -> None:
    alice.say("typing", room="lobby")
    assert bob.reads() == []


def test_what_was_missed_is_said(party: Party) -> None:
    profile = party.chat.profiles.text
    lagged = b'{"type":"lagged","room":"lobby","from":3,"to":5,"missed":3}'
    assert profile.encode(lagged) == b"* [lobby] 3 messages were missed: they came faster than you read\n"


# Commands


def test_nick_renames(alice: Program, bob: Person) -> None:
    bob.type("/nick bobby")
    assert bob.reads()[0] == "* you are bobby now"
    bob.type("hi")
    assert alice.heard("message")[0]["from"] == "bobby"
    bob.type("/nick ALICE")
    assert bob.reads() == ["* user ALICE is taken; choose another name"]
    bob.type("/nick")
    assert bob.reads() == ["* say which name: /nick alice"]


def test_join_leave_and_the_current_room(party: Party, alice: Program, bob: Person) -> None:
    alice.ask("join", room="games")
    alice.say("send", room="games", text="earlier")
    party.pass_time(5)
    bob.reads()
    bob.type("/join #games")
    assert bob.reads()[0] == "* you are in games with one other; /history shows what was said (1 message)"
    bob.type("here")
    bob.type("/join lobby")
    bob.type("there")
    alice.heard("presence")
    assert "* you are talking in lobby now" in bob.reads()
    history = [alice.ask("history", room=room)["messages"][-1]["text"] for room in ("games", "lobby")]
    assert history == ["here", "there"]
    bob.type("/leave")
    assert bob.reads() == ["* you left lobby; you are talking in games now"]
    bob.type("/leave games")
    assert bob.reads() == ["* you left games; you are in no room"]


def test_leaving_another_room_keeps_the_current_one(alice: Program, bob: Person) -> None:
    bob.type("/join games")
    bob.type("/leave lobby")
    assert "* you left lobby; you are talking in games now" in bob.reads()
    bob.type("/join lobby")
    bob.type("/leave games")
    bob.type("hi")
    assert texts(alice) == ["hi"]


def test_without_a_room_one_is_told_how_to_get_one(alice: Program, bob: Person) -> None:
    bob.type("/leave")
    bob.reads()
    for line in ("hi", "/leave", "/who", "/history"):
        bob.type(line)
        assert bob.reads() == ["* you are in no room; /join lobby"]
    bob.type("/leave lobby")
    assert bob.reads() == ["* you are not in room lobby; join it first"]
    bob.type("/join lobby")
    bob.type("back")
    assert texts(alice) == ["back"]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("/join", "* say which room: /join games"),
        ("/join #", "* say which room: /join games"),
        ("/join NO", "* room must be a string that matches [a-z0-9][a-z0-9._-]{0,63}"),
        ("/who nowhere", "* there is no room nowhere; rooms lists those there are"),
        ("/dance now", "* there is no command /dance; /help lists them"),
        ("/", "* there is no command /; /help lists them"),
        ("/NICK x", "* there is no command /NICK; /help lists them"),
        ("/history 0", "* say how many messages: /history 20"),
        ("/history -1", "* say how many messages: /history 20"),
        ("/history two", "* say how many messages: /history 20"),
        ("/history ٣", "* say how many messages: /history 20"),
        ("/history " + "9" * 5000, "* say how many messages: /history 20"),
    ],
)
def test_what_cannot_be_done_is_said(alice: Program, bob: Person, line: str, answer: str) -> None:
    bob.type(line)
    assert bob.reads() == [answer]
    assert texts(alice) == []


def test_who(party: Party, alice: Program, bob: Person) -> None:
    alice.ask("join", room="games")
    bob.type("/who")
    bob.type("/who games")
    assert bob.reads() == ["* in lobby: alice, bob", "* in games: alice"]
    for i in range(1000):
        party.hub.rooms["games"].presence.enter(f"user-{i}")
    bob.type("/who games")
    assert bob.reads()[-1].endswith(" and 1 more")


def test_away(party: Party, alice: Program, bob: Person) -> None:
    bob.type("/away at \x1b[31mlunch")
    assert bob.reads() == ["* you are away: at [31mlunch", "* [lobby] bob is away: at [31mlunch"]
    alice.say("away", away=True)
    party.pass_time(5)
    assert bob.reads() == ["* [lobby] alice is away"]
    bob.type("/who")
    assert bob.reads() == ["* in lobby: alice (away), bob (away)"]
    bob.type("/back")
    alice.say("send", room="lobby", text="hi")
    party.pass_time(5)
    assert {*bob.reads()} == {
        "* you are back", "[lobby] alice: hi", "* [lobby] bob is back", "* [lobby] alice is back",
    }  # fmt: skip
    bob.type("/away")
    assert bob.reads()[0] == "* you are away"


def test_whois(alice: Program, bob: Person) -> None:
    for line in ("/whois", "/whois alice", "/whois zoe"):
        bob.type(line)
    alice.say("away", away=True, text="at lunch")
    bob.type("/whois ALICE")
    assert [line for line in bob.reads() if "[lobby]" not in line] == [
        "* say who: /whois alice",
        "* alice is here",
        "* you share no room with anybody who is called zoe",
        "* alice is here, but away: at lunch",
    ]


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, "* carol is not here"),
        ({"seen_at": 1_795_353_332_845}, "* carol is not here; last seen on 2026-11-22 at 13:15 UTC"),
    ],
)
def test_who_is_not_here_was_seen_some_time(fields: dict[str, int], shown: str) -> None:
    reply = {"type": "whois", "user": "carol", "guest": False, "online": False, **fields}
    dialect = TextDialect("lobby", lambda said: None, lambda: None)
    assert dialect.encode(reply).decode() == f"{shown}\n"


def test_rooms(alice: Program, bob: Person) -> None:
    alice.ask("join", room="games")
    alice.say("send", room="games", text="hi")
    bob.type("/rooms")
    assert bob.reads() == ["* lobby: 2 here, 0 messages (you too)", "* games: 1 here, 1 message"]


def test_history(alice: Program, bob: Person) -> None:
    bob.type("/history")
    assert bob.reads() == ["* nothing has been said in lobby yet"]
    for text in ("one", "two\nlines"):
        alice.say("send", room="lobby", text=text)
    bob.type("mine")
    bob.reads()
    shown = ["[lobby] alice: one", "[lobby] alice: two", "[lobby] alice: lines", "[lobby] bob: mine"]
    for line, expected in (("/history", shown), ("/history 2", shown[1:]), ("/history 999999999", shown)):
        bob.type(line)
        assert bob.reads() == expected


def test_help_names_every_command(bob: Person) -> None:
    bob.type("/help")
    lines = bob.reads()
    assert all(line.startswith("* ") for line in lines)
    for command in ("/nick", "/join", "/leave", "/who", "/rooms", "/history", "/quit", "//"):
        assert any(command in line for line in lines)


def test_quit(party: Party, alice: Program, bob: Person) -> None:
    bob.type("/quit")
    assert bob.reads() == ["* Good-bye: you asked for it."]
    assert bob.stream.closed == (1000, "you asked for it")
    assert alice.heard("presence")[0]["left"] == ["bob"]
    bob.type("still there?")
    assert texts(alice) == []


def test_text_over_the_limit_is_refused(party: Party, alice: Program, bob: Person) -> None:
    limit = party.limits.text_bytes
    bob.type("é" * (limit // 2))
    assert texts(alice) == ["é" * (limit // 2)]
    bob.type("é" * (limit // 2) + "x")
    assert bob.reads() == [f"* text is {limit + 1} bytes long; {limit} are allowed"]


# What no terminal may be sent


def test_control_characters_go_neither_in_nor_out(alice: Program, bob: Person) -> None:
    bob.type(f"a{ESCAPES}{BIDI}b")
    assert texts(alice) == [f"a{ESCAPES_CLEANED}b"]
    alice.say("send", room="lobby", text=f"a{ESCAPES}{BIDI}b")
    assert bob.reads() == [f"[lobby] alice: a{ESCAPES_CLEANED}b"]


def test_control_characters_do_not_come_back_in_an_error(bob: Person) -> None:
    bob.type(f"/{ESCAPES}{BIDI}")
    assert bob.reads() == [f"* there is no command /{ESCAPES_CLEANED}; /help lists them"]


def test_emoji_and_other_scripts_are_left_alone() -> None:
    text = "caf\u00e9 \u65e5\u672c\u8a9e \U0001f469\u200d\U0001f4bb \u0645\u0631\u062d\u0628\u0627"
    assert clean(text) == text


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"\xff\xfb\x01\xff\xfd\x03hello", "hello"),
        (b"he\xff\xfe\x01ll\xff\xf1o", "hello"),
        (b"hello\xff", "hello"),
        (b"hello\xff\xfb", "hello"),
        (b"\xff\xfa\x18\x00xterm\xff\xf0hello", "hello"),
        (b"hello\xff\xfa\x18\x00xterm", "hello"),
        (b"he\xff\xffllo", "hello"),
        (b"\xff\xfb\xffhello", "hello"),
        (b"\xff\xf4\xff\xfd\x06caf\xc3\xa9", "café"),
    ],
)
def test_a_telnet_clients_negotiation_is_left_out(
    alice: Program, bob: Person, sent: bytes, said: str
) -> None:
    bob.send_raw(sent)
    assert texts(alice) == [said]


def test_a_wall_of_telnet_commands_takes_no_time(bob: Person) -> None:
    bob.send_raw(b"\xff\xfa" * 30_000 + b"\xff" * 30_000)
    assert bob.reads() == []


@pytest.mark.parametrize("sent", [b"caf\xe9", b"\xc3", b"hi \x80", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"])
def test_what_is_no_utf8_is_refused_in_words(alice: Program, bob: Person, sent: bytes) -> None:
    bob.send_raw(sent)
    assert bob.reads() == ["* that was not UTF-8 text, so it was not sent"]
    bob.type("better")
    assert texts(alice) == ["better"]


def test_who_is_written_to_goes_on_talking_where_it_was() -> None:
    party = Party(banner_after_s=0)
    person = party.person()
    person.type("/nick alice")
    person.reads()
    bob = party.program("bob", "lobby")
    bob.ask("direct", to="alice", text="psst")
    assert person.reads()[-1:] == ["[@bob] bob: psst"]
    person.type("to everyone")
    assert [one["room"] for one in bob.heard("message") if one["from"] == "alice"] == ["lobby"]
    person.type("/msg bob to you alone")
    assert [one["room"] for one in bob.heard("message")] == ["@~alice,~bob"]
