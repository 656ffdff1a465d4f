"""How a connection ends, and what is left of it: nothing."""

from collections.abc import Callable

import pytest

from fastchat._fanout import Writer
from fastchat.connection import Connection
from fastchat.dialects import TextDialect
from fastchat.messages import Close, dumps
from fastchat.session import Limits, Session
from tests.answers import greet, say, types
from tests.living import living
from tests.parties import Client, JsonClient, Party, Person, parse_lines

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


# The end


def test_bye_comes_last_with_the_cursors_of_what_was_written(client: JsonClient) -> None:
    party = client.party
    greet(client, "alice", "lobby", "games", "quiet")
    bob = party.program("bob", "lobby", "games")
    say(bob, 3)
    for _ in range(2):
        bob.say("send", room="games", text="in the same turn as the end")
    client.connection.end(Close.RESTART, "restart", 250)
    heard = client.heard()
    assert heard[-1] == {
        "type": "bye", "code": 1012, "reason": "restart", "reconnect_after_ms": 250,
        "cursors": {"lobby": 3, "games": 2, "quiet": 0},
    }  # fmt: skip
    last = {m["room"]: m["seq"] for m in heard if m["type"] == "message"}
    assert last == {"lobby": 3, "games": 2}
    assert client.stream.closed == (1012, "restart")


def test_the_cursors_of_a_stuck_reader_are_those_of_what_it_will_read(client: JsonClient) -> None:
    party = client.party
    greet(client, "alice", "lobby")
    bob = party.program("bob", "lobby")
    client.transport.stop_peer()
    say(bob)
    for _ in range(50):
        say(bob)
    client.connection.end(Close.SLOW_READER, "too slow")
    client.transport.start_peer()
    heard = client.heard()
    (bye,) = [document for document in heard if document["type"] == "bye"]
    assert heard[-1] is bye
    read = [m["seq"] for m in heard if m["type"] == "message"]
    assert bye["cursors"] == {"lobby": read[-1] if read else 0}
    assert bye["cursors"]["lobby"] < 51

    again = party.websocket()
    again.say("hello")
    again.say("join", room="lobby", after=bye["cursors"]["lobby"])
    assert read + [m["seq"] for m in again.heard("message")] == list(range(1, 52))


def test_what_is_left_to_say_at_the_end_is_written_before_the_close(party: Party) -> None:
    client = party.json_lines()
    greet(client, "alice", "lobby")
    client.send_raw(dumps({"type": "send", "room": "lobby", "text": "hi"}))
    client.connection.end(1012, "restart")
    assert types(parse_lines(client.transport.take())) == ["sent", "message", "bye"]


def test_who_drains_after_the_end_is_not_read_from_again(client: JsonClient) -> None:
    client.transport.stop_peer()
    for _ in range(5):
        client.say("ping")
        client.party.settle()
    assert not client.stream.is_reading()
    client.connection.end(1012, "restart")
    client.transport.start_peer()
    client.party.settle()
    assert not client.stream.is_reading()


def test_a_person_reads_good_bye(party: Party) -> None:
    person = party.person()
    person.type("/nick alice")
    person.reads()
    person.connection.end(1012, "the server restarts", 10)
    assert person.reads() == ["* Good-bye: the server restarts."]


@pytest.mark.parametrize("said", [False, True])
def test_one_ends_only_once(client: JsonClient, said: bool) -> None:
    if said:
        greet(client, "alice", "lobby")
    client.connection.end(1012, "restart")
    client.connection.end(4000, "again")
    assert types(client.heard()) == ["bye"]
    assert client.stream.closed == (1012, "restart")


def test_after_the_end_nothing_is_carried_out(client: JsonClient) -> None:
    greet(client, "alice", "lobby")
    bob = client.party.program("bob", "lobby")
    client.connection.end(1012, "restart")
    client.heard()
    client.connection.on_message(b'{"type":"send","room":"lobby","text":"hi"}', True)
    client.connection.on_message(b"nonsense", True)
    assert client.heard() == []
    assert bob.heard("message") == []


def test_after_the_end_nothing_of_the_room_arrives(client: JsonClient) -> None:
    greet(client, "alice", "lobby")
    bob = client.party.program("bob", "lobby")
    client.connection.end(1012, "restart")
    say(bob)
    assert types(client.heard())[-1] == "bye"


def test_after_the_end_the_name_is_free_and_the_others_know(client: JsonClient) -> None:
    party = client.party
    greet(client, "alice", "lobby")
    bob = party.program("bob", "lobby")
    party.pass_time(5)
    bob.heard()
    client.connection.end(1012, "restart")
    assert bob.heard("presence")[0]["left"] == ["alice"]
    assert party.program("alice").ask("ping")["type"] == "pong"


def test_abort_closes_at_once(client: JsonClient) -> None:
    greet(client, "alice", "lobby")
    client.connection.abort()
    client.party.settle()
    assert client.transport.aborted
    assert not client.party.chat.census.members


def nothing_said(client: Client) -> None: ...


def greeted(client: Client) -> None:
    client.send_raw(b'{"type":"hello","user":"alice"}')


def in_a_room(client: Client) -> None:
    greeted(client)
    client.send_raw(b'{"type":"join","room":"lobby"}')


def stuck(client: Client) -> None:
    in_a_room(client)
    client.party.settle()
    client.transport.stop_peer()
    for _ in range(5):
        client.send_raw(b'{"type":"ping"}')
        client.party.settle()


def a_person(client: Client) -> None:
    client.send_raw(b"/nick alice")


def ended(client: Client) -> None:
    in_a_room(client)
    client.connection.end(1012, "restart")


def ended_in_silence(client: Client) -> None:
    client.connection.end(4001, "no hello")


def at_its_end_of_input(client: Client) -> None:
    in_a_room(client)
    client.connection.on_eof()


def broken(client: Client) -> None:
    in_a_room(client)
    client.party.settle()
    client.transport.lost = True
    client.send_raw(b'{"type":"ping"}')
    client.party.settle()
    client.send_raw(b'{"type":"join","room":"games"}')
    client.transport.lost = False


STAGES = [
    nothing_said, greeted, in_a_room, stuck, a_person, ended, ended_in_silence, at_its_end_of_input, broken,
]  # fmt: skip


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize("kind", ["websocket", "json_lines"])
def test_whenever_a_connection_is_lost_nothing_is_left(
    party: Party, stage: Callable[[Client], None], settled: bool, kind: str
) -> None:
    client = CLIENTS[kind](party)
    stage(client)
    if settled:
        party.settle()
    client.lose()
    party.pass_time(100)
    assert not party.chat.census.members
    assert not party.hub.rooms
    assert not party.hub.fanout.stalled
    assert party.loop.timers == 0
    assert party.program("alice", "lobby").ask("send", room="lobby", text="hi")["seq"] == 1
    client.connection.end(1012, "too late")
    client.connection.on_pause_writing()
    client.connection.on_resume_writing()
    party.settle()
    assert not party.hub.fanout.stalled


KINDS = (Connection, Session, Writer, TextDialect)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("kind", ["websocket", "json_lines"])
def test_what_a_connection_was_is_freed_without_the_collector(
    party: Party, stage: Callable[[Client], None], kind: str, no_collector: None
) -> None:
    before = living(*KINDS)
    client = CLIENTS[kind](party)
    stage(client)
    party.settle()
    assert living(*KINDS) > before
    client.lose()
    party.pass_time(100)
    del client
    assert living(*KINDS) == before


def test_who_is_lost_while_typing_too_fast_is_not_read_from_again() -> None:
    party = Party(limits=Limits(messages_per_s=1, burst=4))
    person = party.person()
    for word in ("/nick alice", "one", "two", "three", "four"):
        person.type(word)
    assert not person.stream.is_reading()
    person.lose()
    party.pass_time(100)
    assert not person.stream.is_reading()
    assert party.loop.timers == 0


def test_the_census_counts_who_is_open_and_who_has_said_hello(client: JsonClient) -> None:
    census = client.party.chat.census
    assert census.members == {client.connection}
    assert census.silent(client.party.loop.now) == []
    assert census.silent(client.party.loop.now + 1) == [client.connection]
    assert not client.connection.greeted
    client.say("ping")
    assert not client.connection.greeted
    client.say("hello")
    assert client.connection.greeted


# End of input


def test_at_the_end_of_input_what_waits_is_still_written(party: Party) -> None:
    client = party.json_lines()
    in_a_room(client)
    client.say("send", room="lobby", text="hi")
    client.connection.on_eof()
    assert client.stream.closed == (1000, "end of input")
    written_before_the_close = parse_lines(client.transport.take())
    assert types(written_before_the_close) == ["welcome", "joined", "sent", "message"]


def test_at_the_end_of_input_a_reader_that_is_stuck_gets_its_answers_later(party: Party) -> None:
    client = party.json_lines()
    client.say("ping")
    client.heard()
    client.transport.stop_peer()
    client.say("ping", ref=1)
    party.settle()
    client.say("ping", ref=2)
    client.connection.on_eof()
    assert client.transport.get_write_buffer_size() == 2 * len(
        b'{"type":"pong","at":1700000000000,"ref":1}\n'
    )
    client.transport.start_peer()
    assert [document["ref"] for document in client.heard("pong")] == [1, 2]


@pytest.mark.parametrize("first", ["", "/help"])
def test_at_the_end_of_input_a_person_reads_the_answers(party: Party, first: str) -> None:
    person: Person = party.person()
    person.type(first)
    person.connection.on_eof()
    assert person.reads()
    assert person.stream.closed is not None


def test_the_end_of_input_before_any_input(party: Party) -> None:
    client = party.json_lines()
    client.connection.on_eof()
    assert client.stream.closed == (1000, "end of input")
    assert client.heard() == []
