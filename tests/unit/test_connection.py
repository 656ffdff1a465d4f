"""Between an edge and a session: reading stops while replies wait, people are slowed down, and the end."""

from collections.abc import Callable
from typing import Any

import pytest

from fastchat.messages import Close, dumps
from fastchat.session import Limits
from tests.parties import Client, JsonClient, Party, Person, Program, parse_lines

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


def greet(client: JsonClient, user: str, *rooms: str) -> None:
    client.say("hello", user=user)
    for room in rooms:
        client.say("join", room=room)
    client.party.pass_time(5)
    client.heard()


def say(program: Program, times: int = 1, room: str = "lobby", text: str = "hi") -> None:
    for _ in range(times):
        program.say("send", room=room, text=text)
    program.party.settle()


def types(documents: list[dict[str, Any]]) -> list[str]:
    return [document["type"] for document in documents]


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
    client.connection.on_oversize(65536)
    (error,) = client.heard()
    assert (error["type"], error["code"]) == ("error", "too_large")
    assert "65536 bytes" in error["message"]


def test_a_first_line_that_is_too_long_is_a_persons(party: Party) -> None:
    person = party.person()
    person.connection.on_oversize(65536)
    assert person.reads() == ["* that line is longer than 65536 bytes, so it was not read"]
    person.type("hi")
    assert person.reads()[0].startswith("* Welcome, guest-")


def test_a_line_that_is_too_long_after_the_end_is_not_answered(party: Party) -> None:
    person = party.person()
    person.type("/quit")
    person.reads()
    person.connection.on_oversize(65536)
    assert person.reads() == []


# Replies that cannot drain


def test_reading_stops_while_replies_have_nowhere_to_go_and_goes_on_when_they_have(
    client: JsonClient,
) -> None:
    greet(client, "alice", "lobby")
    client.transport.stop_peer()
    for i in range(100):
        client.say("ping", ref=i)
        client.party.settle()
    assert not client.stream.is_reading()
    assert client.stream.unread >= 97
    assert client.transport.get_write_buffer_size() < 1000
    client.transport.start_peer()
    assert [document["ref"] for document in client.heard("pong")] == list(range(100))
    assert client.stream.is_reading()


def test_replies_of_one_turn_stay_below_the_watermark_and_one_reply() -> None:
    party = Party(watermarks=(1000, 500))
    client = party.websocket()
    client.send_raw(*[dumps({"type": "ping", "ref": "r" * 60})] * 200)
    assert not client.stream.is_reading() or client.stream.unread
    assert len(client.transport.received) < 1200
    party.settle()  # what waits is written, and so the rest is read in pieces
    assert len(client.heard("pong")) == 200
    assert client.stream.is_reading()
    assert client.stream.unread == 0


def test_who_does_not_read_gets_no_more_than_a_watermark_of_a_rooms_messages(client: JsonClient) -> None:
    party = client.party
    greet(client, "alice", "lobby")
    bob = party.program("bob", "lobby")
    client.transport.stop_peer()
    party.pass_time(5)
    for _ in range(50):
        say(bob, text="x" * 4000)
    high = party.chat.profiles.line.high_water_bytes
    assert client.transport.get_write_buffer_size() <= high + 5000
    client.transport.start_peer()
    assert [message["seq"] for message in client.heard("message")] == list(range(1, 51))


def test_events_alone_do_not_stop_reading(client: JsonClient) -> None:
    greet(client, "alice", "lobby")
    bob = client.party.program("bob", "lobby")
    client.transport.stop_peer()
    say(bob, 10)
    assert client.stream.is_reading()


# A person who types too fast


@pytest.fixture
def limited() -> Party:
    return Party(limits=Limits(messages_per_s=2, burst=4))


def test_a_person_is_slowed_down_and_not_refused(limited: Party) -> None:
    alice = limited.program("alice", "lobby")
    person = limited.person()
    for i in range(10):
        person.type(f"line {i}")
    limited.settle()
    assert not person.stream.is_reading()
    heard: list[str] = []
    for _ in range(100):
        limited.pass_time(0.1)
        heard += [message["text"] for message in alice.heard("message")]
    assert heard == [f"line {i}" for i in range(10)]
    assert person.stream.is_reading()
    assert not any("wait" in line for line in person.reads())


def test_the_pace_is_that_of_the_limit(limited: Party) -> None:
    person = limited.person()
    for i in range(100):
        person.type(f"line {i}")
    limited.settle()
    before = person.stream.unread
    limited.pass_time(10)
    assert before - person.stream.unread in (20, 21)


@pytest.mark.parametrize("early_s", [0.0005, 0.1])
def test_a_timer_that_runs_early_lets_nobody_be_refused(limited: Party, early_s: float) -> None:
    exact = limited.chat.call_later

    def early(delay_s: float, callback: Callable[[], None]) -> object:
        return exact(delay_s - early_s if delay_s > 2 * early_s else delay_s, callback)

    limited.chat.call_later = early
    person = limited.person()
    for i in range(20):
        person.type(f"line {i}")
    limited.pass_time(20)
    assert person.stream.unread == 0
    assert not any("wait" in line for line in person.reads())


def test_a_person_who_reads_slowly_is_slowed_down_too(limited: Party) -> None:
    alice = limited.program("alice", "lobby")
    person = limited.person()
    person.type("hi")
    limited.settle()
    person.transport.stop_peer()
    limited.pass_time(0.1)
    for i in range(5):
        person.type(f"/nick bob{i}")
        limited.settle()
    assert not person.stream.is_reading()
    person.transport.start_peer()
    limited.pass_time(10)
    assert person.stream.unread == 0
    assert not any("wait" in line for line in person.reads())
    assert "bob4" in alice.ask("members", room="lobby")["members"]


def test_waiting_is_over_only_when_replies_have_drained_too(limited: Party) -> None:
    person = limited.person()
    for _ in range(6):
        person.type("/who")
    limited.settle()
    person.transport.stop_peer()
    limited.pass_time(100)
    unread = person.stream.unread
    assert unread > 0
    assert not person.stream.is_reading()
    person.transport.start_peer()
    limited.pass_time(10)
    assert person.stream.unread == 0


def test_a_person_whose_replies_have_drained_still_waits_for_the_rest_of_the_time(limited: Party) -> None:
    alice = limited.program("alice", "lobby")
    person = limited.person()
    person.type("hi")
    limited.settle()
    person.transport.stop_peer()
    say(alice)
    person.type("/who")  # takes the last token, and its answer has nowhere to go
    person.transport.start_peer()
    limited.settle()
    assert not person.stream.is_reading()
    limited.pass_time(0.5)
    assert person.stream.is_reading()


def test_a_program_is_told_to_wait(limited: Party) -> None:
    client = limited.websocket()
    client.say("hello")
    for _ in range(5):
        client.say("rooms")
    heard = client.heard()
    assert types(heard) == ["welcome", "rooms", "rooms", "rooms", "error", "error"]
    assert client.stream.is_reading()
    limited.pass_time(heard[-1]["retry_after_ms"] / 1000)
    client.say("rooms")
    assert types(client.heard()) == ["rooms"]


@pytest.mark.parametrize("ends", ["end", "lose"])
def test_who_goes_while_slowed_down_is_not_read_from_again(limited: Party, ends: str) -> None:
    person = limited.person()
    for i in range(10):
        person.type(f"line {i}")
    limited.settle()
    unread = person.stream.unread
    if ends == "end":
        person.connection.end(1012, "restart")
    else:
        person.lose()
    limited.pass_time(100)
    assert person.stream.unread == unread
    assert not person.stream.is_reading()
    assert limited.loop.timers == 0


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


def test_the_census_counts_who_is_open_and_who_has_said_hello(client: JsonClient) -> None:
    members = client.party.chat.census.members
    assert members == {client.connection}
    assert client.connection.opened_at == client.party.loop.now
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
