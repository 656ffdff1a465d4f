"""What may be done how often."""

from typing import Any

import pytest

from fastchat.messages import COMMANDS, Code, WireError
from fastchat.room import RoomSettings
from fastchat.session import Limits
from tests.answers import refusal, shortest
from tests.parties import Party, Program


@pytest.fixture
def party() -> Party:
    return Party()


# The rate limit


@pytest.fixture
def limited() -> Program:
    """Has used up its burst."""
    party = Party(limits=Limits(messages_per_s=3, burst=4))
    program = party.program("alice", "lobby")
    for _ in range(2):
        assert program.ask("send", room="lobby", text="hi")["type"] == "sent"
    return program


def test_who_waits_as_long_as_told_is_served(limited: Program) -> None:
    for _ in range(10):
        refused = limited.ask("send", room="lobby", text="hi")
        assert refused == refusal("rate_limited")
        assert 0 < refused["retry_after_ms"] <= 334 + 1
        limited.party.pass_time(refused["retry_after_ms"] / 1000)
        assert limited.ask("send", room="lobby", text="hi")["type"] == "sent"


def test_who_waits_half_as_long_is_told_the_rest(limited: Program) -> None:
    first = limited.ask("members", room="lobby")["retry_after_ms"]
    limited.party.pass_time(first / 2000)
    second = limited.ask("members", room="lobby")["retry_after_ms"]
    assert abs(second - first / 2) <= 1


def test_a_refused_message_is_not_in_the_log(limited: Program) -> None:
    head = limited.party.hub.rooms["lobby"].head
    for _ in range(5):
        limited.ask("send", room="lobby", text="hi")
    assert limited.party.hub.rooms["lobby"].head == head


@pytest.mark.parametrize("type", [kind for kind in COMMANDS if kind != "ping"])
def test_every_command_but_ping_counts(limited: Program, type: str) -> None:
    assert limited.ask(type, **shortest(type)) == refusal("rate_limited")
    assert limited.ask("ping")["type"] == "pong"


def test_one_session_does_not_use_up_another_ones_rate(limited: Program) -> None:
    assert limited.party.program("bob", "lobby").ask("send", room="lobby", text="hi")["type"] == "sent"


@pytest.mark.parametrize(
    "command",
    [
        {"type": "jump"}, {}, {"type": 5}, {"type": "send", "room": "lobby"}, {"type": "ping", "ref": []},
        {"type": "join", "room": "NO"}, {"type": "send", "room": "nowhere", "text": "hi"},
    ],
)  # fmt: skip
def test_what_is_wrong_costs_as_much_as_what_is_right(command: dict[str, Any]) -> None:
    party = Party(limits=Limits(messages_per_s=3, burst=6))
    program = party.program("alice", "lobby")
    for _ in range(6):
        program.session.receive(dict(command), party.loop.time(), party.wall_ms())
    codes = [document["code"] for document in program.heard("error")]
    assert len(codes) == 6
    assert "rate_limited" not in codes[:4]
    assert codes[4:] == ["rate_limited"] * 2


def test_what_is_not_welcome_costs_as_much_as_what_is_right() -> None:
    party = Party(limits=Limits(messages_per_s=3, burst=4))
    program = Program(party)
    for _ in range(6):
        program.say("rooms")
    codes = [document["code"] for document in program.heard()]
    assert codes == ["not_welcome"] * 4 + ["rate_limited"] * 2


def test_what_cannot_be_read_costs_as_much_as_what_can() -> None:
    party = Party(limits=Limits(messages_per_s=3, burst=4))
    program = Program(party)
    for _ in range(6):
        program.session.reject(WireError(Code.BAD_JSON, "no"), party.loop.time())
    heard = program.heard()
    assert [document["code"] for document in heard] == ["bad_json"] * 4 + ["rate_limited"] * 2
    assert 0 < heard[-1]["retry_after_ms"] <= 335


def test_a_bad_ref_is_not_echoed_when_it_comes_too_fast(limited: Program) -> None:
    limited.heard()
    limited.say("rooms", ref={"a": "long one"})
    (answer,) = limited.heard()
    assert answer == refusal("rate_limited")
    assert "ref" not in answer


# A room's own limit


def test_a_room_takes_only_so_much_from_all_together() -> None:
    rooms = RoomSettings(messages_per_s=2, messages_per_s_of=lambda room: 0 if room == "busy" else None)
    party = Party(limits=Limits(messages_per_s=0), rooms=rooms)
    alice, bob = party.program("alice", "lobby", "busy"), party.program("bob", "lobby")
    assert alice.ask("send", room="lobby", text="1")["type"] == "sent"
    assert bob.ask("send", room="lobby", text="2")["type"] == "sent"
    for each in (alice, bob):
        refused = each.ask("send", room="lobby", text="3")
        assert refused["code"] == "rate_limited"
        assert "lobby" in refused["message"]
        assert refused["retry_after_ms"] == 501
    for _ in range(20):
        assert alice.ask("send", room="busy", text="x")["type"] == "sent"
    party.pass_time(refused["retry_after_ms"] / 1000)
    assert bob.ask("send", room="lobby", text="3")["type"] == "sent"
    assert alice.ask("send", room="lobby", text="4")["code"] == "rate_limited"
