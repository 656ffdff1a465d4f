"""Reading stops while replies wait, and people who type too fast are slowed down."""

from collections.abc import Callable

import pytest

from fastchat.messages import dumps
from fastchat.session import Limits
from tests.answers import greet, say, types
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


@pytest.mark.parametrize("line", ["/nonsense", "/join", b"\xc3", "/nick no/name", "/help", ""])
def test_a_person_who_is_not_understood_is_slowed_down_too(limited: Party, line: str | bytes) -> None:
    person = limited.person()
    person.type("hi")
    for _ in range(100):
        person.send_raw(line if isinstance(line, bytes) else line.encode())
    limited.settle()
    assert person.stream.unread >= 98
    limited.pass_time(100)
    assert person.stream.unread == 0
    assert not any("wait" in text for text in person.reads())


def test_lines_that_are_too_long_slow_a_person_down(limited: Party) -> None:
    person = limited.person()
    person.type("hi")
    limited.settle()
    assert person.stream.is_reading()
    person.connection.on_oversize(65536, b"x")
    assert not person.stream.is_reading()
    limited.pass_time(1)
    assert person.stream.is_reading()


def test_a_newcomer_who_tries_taken_names_still_gets_in(limited: Party) -> None:
    limited.program("alice", "lobby")
    person = limited.person()
    for name in ("alice", "Alice", "ALICE", "bob"):
        person.type(f"/nick {name}")
    limited.pass_time(100)
    *refused, welcome, joined = person.reads()[:5]
    assert len(refused) == 3
    assert welcome.startswith("* Welcome, bob!")
    assert joined == "* you are in lobby with one other"


def test_a_program_that_sends_rubbish_is_told_to_wait(limited: Party) -> None:
    client = limited.websocket()
    client.send_raw(*[b"{"] * 6)
    assert [document["code"] for document in client.heard()] == ["bad_json"] * 4 + ["rate_limited"] * 2
