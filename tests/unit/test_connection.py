"""Between an edge and a session: who speaks what, and what is answered."""

from collections.abc import Callable

import pytest

from tests.answers import greet, types
from tests.parties import JsonClient, Party

CLIENTS: dict[str, Callable[[Party], JsonClient]] = {
    "websocket": Party.websocket,
    "json_lines": Party.json_lines,
}


@pytest.fixture
def party() -> Party:
    return Party(banner_after_s=1.0)


@pytest.fixture(params=CLIENTS)
def client(party: Party, request: pytest.FixtureRequest) -> JsonClient:
    """A program that has not said anything, on either port."""
    return CLIENTS[request.param](party)


# Talking


def test_answers_come_in_the_order_of_the_commands(client: JsonClient) -> None:
    client.say("hello", user="alice", ref=1)
    client.say("join", room="lobby", ref=2)
    client.say("send", room="lobby", text="hi", ref=3)
    heard = client.heard("welcome", "joined", "sent", "message")
    assert [document.get("ref") for document in heard] == [1, 2, 3, None]


@pytest.mark.parametrize(
    "payload", [b"nonsense", b"[]", b"\xff\xfe", b'{"type":"ping","type":"ping"}', b'{"type":1}', b"{", b"{}"]
)
def test_what_is_no_command_is_answered_and_the_connection_lives(client: JsonClient, payload: bytes) -> None:
    client.say("ping")
    client.send_raw(payload)
    client.say("ping")
    assert types(client.heard()) == ["pong", "error", "pong"]


def test_all_sorts_of_clients_share_a_room(party: Party) -> None:
    websocket, lines, person = party.websocket(), party.json_lines(), party.person()
    greet(websocket, "alice", "lobby")
    greet(lines, "bob", "lobby")
    person.type("/nick carol")
    party.pass_time(5)
    for speaker in (websocket, lines, person):
        speaker.heard() if isinstance(speaker, JsonClient) else speaker.reads()
    websocket.say("send", room="lobby", text="one")
    lines.say("send", room="lobby", text="two")
    person.type("three")
    expected = [("alice", "one"), ("bob", "two"), ("carol", "three")]
    for program in (websocket, lines):
        assert [(m["from"], m["text"]) for m in program.heard("message")] == expected
    assert person.reads() == ["[lobby] alice: one", "[lobby] bob: two"]


def test_an_answer_that_no_event_follows_does_not_wait_for_the_tick(client: JsonClient) -> None:
    greet(client, "alice", "lobby")
    client.say("ping")
    assert b"pong" in client.transport.take()
    assert client.heard() == []


def test_an_answer_and_the_events_behind_it_are_one_write(client: JsonClient) -> None:
    greet(client, "alice", "lobby")
    writes = client.transport.writes
    client.say("send", room="lobby", text="hi")
    assert client.transport.take() == b""
    assert types(client.heard()) == ["sent", "message"]
    assert client.transport.writes == writes + 1


# Which dialect


@pytest.mark.parametrize("first", [b'{"type":"ping"}', b"{", b"{hello"])
def test_a_first_line_with_a_brace_is_a_programs(party: Party, first: bytes) -> None:
    client = party.json_lines()
    client.send_raw(first)
    client.send_raw(b"hello")
    assert types(client.heard())[-1] == "error"


@pytest.mark.parametrize("first", ["", "hello", " {", "\ufeff{", "[]", "/help"])
def test_any_other_first_line_is_a_persons(party: Party, first: str) -> None:
    person = party.person()
    person.type(first)
    assert all(line.startswith("*") for line in person.reads())
    person.type('{"type":"ping"}')
    assert not any("pong" in line for line in person.reads())


def test_a_websocket_speaks_nothing_but_json(party: Party) -> None:
    client = party.websocket()
    client.send_raw(b"/help")
    assert types(client.heard()) == ["error"]


# The banner


def test_who_stays_silent_is_greeted_once(party: Party) -> None:
    client = party.json_lines()
    party.pass_time(0.99)
    assert client.heard() == []
    party.pass_time(0.01)
    (banner,) = client.heard()
    assert banner["type"] == "banner"
    assert "/help" in banner["text"]
    party.pass_time(100)
    assert client.heard() == []
    client.say("ping")
    assert types(client.heard()) == ["pong"]


def test_a_person_who_was_greeted_can_chat(party: Party) -> None:
    person = party.person()
    party.pass_time(2)
    person.reads()
    person.type("/nick alice")
    assert person.reads()[0].startswith("* Welcome, alice!")


@pytest.mark.parametrize("first", [b'{"type":"ping"}', b"hello"])
def test_who_speaks_in_time_is_not_greeted(party: Party, first: bytes) -> None:
    client = party.json_lines()
    client.send_raw(first)
    party.settle()
    client.transport.take()
    party.pass_time(100)
    assert client.transport.take() == b""


def test_a_websocket_is_not_greeted(party: Party) -> None:
    client = party.websocket()
    party.pass_time(100)
    assert client.heard() == []


def test_no_banner() -> None:
    party = Party(banner_after_s=0)
    client = party.json_lines()
    party.pass_time(100)
    assert client.heard() == []
    assert party.loop.timers == 0


@pytest.mark.parametrize("ends", ["end", "lose"])
def test_who_has_gone_is_not_greeted(party: Party, ends: str) -> None:
    client = party.json_lines()
    if ends == "end":
        client.connection.end(1012, "restart")
        client.heard()
    else:
        client.lose()
    party.pass_time(100)
    assert client.transport.take() == b""


# A line that is too long


def test_a_line_that_is_too_long_is_answered(party: Party) -> None:
    client = party.json_lines()
    client.say("ping")
    client.heard()
    client.connection.on_oversize(65536, b"x")
    (error,) = client.heard()
    assert (error["type"], error["code"]) == ("error", "too_large")
    assert "65536 bytes" in error["message"]


def test_a_first_line_that_is_too_long_is_a_programs_where_it_begins_with_a_brace(party: Party) -> None:
    client = party.json_lines()
    client.connection.on_oversize(65536, b'{"type":"send"')
    assert [document["code"] for document in client.heard()] == ["too_large"]
    client.say("ping")
    assert types(client.heard()) == ["pong"]


@pytest.mark.parametrize("start", [b"x", b" {", b"\xff"])
def test_any_other_first_line_that_is_too_long_is_a_persons(party: Party, start: bytes) -> None:
    person = party.person()
    person.connection.on_oversize(65536, start)
    assert person.reads() == ["* that line is longer than 65536 bytes, so it was not read"]
    person.type("hi")
    assert person.reads()[0].startswith("* Welcome, guest-")


def test_a_line_that_is_too_long_after_the_end_is_not_answered(party: Party) -> None:
    person = party.person()
    person.type("/quit")
    person.reads()
    person.connection.on_oversize(65536, b"x")
    assert person.reads() == []
