"""What is said, and what can be read of it."""

from typing import Any

import pytest

from fastchat.messages import SEQ_MAX
from fastchat.room import RoomSettings
from fastchat.session import Limits
from tests.answers import refusal, said, seqs
from tests.parties import STARTED_AT_MS, Party, Program


@pytest.fixture
def party() -> Party:
    return Party()


# send


def test_a_message_reaches_everyone_and_its_author_last(party: Party) -> None:
    alice, bob = party.program("alice", "lobby"), party.program("bob", "lobby")
    sent = alice.ask("send", room="lobby", text="hi", id="x", data={"mood": ["good"]})
    assert sent == {"type": "sent", "room": "lobby", "seq": 1, "at": STARTED_AT_MS, "id": "x"}
    message = {
        "type": "message", "room": "lobby", "seq": 1, "id": "x", "from": "alice", "at": STARTED_AT_MS,
        "text": "hi", "data": {"mood": ["good"]},
    }  # fmt: skip
    assert bob.heard() == [message]
    assert alice.heard() == [message]


def test_sent_comes_before_the_echo(party: Party) -> None:
    alice = party.program("alice", "lobby")
    alice.say("send", room="lobby", text="hi")
    assert [document["type"] for document in alice.heard()] == ["sent", "message"]


def test_who_wants_no_echo_hears_everyone_else(party: Party) -> None:
    alice, bob = party.program("alice", "lobby", echo=False), party.program("bob", "lobby")
    alice.say("send", room="lobby", text="mine")
    bob.say("send", room="lobby", text="yours")
    alice.say("send", room="lobby", text="mine again")
    assert seqs(alice.heard()) == [2]
    assert seqs(bob.heard()) == [1, 2, 3]


def test_a_message_without_id_has_none(party: Party) -> None:
    alice = party.program("alice", "lobby")
    assert alice.ask("send", room="lobby", text="hi").keys() == {"type", "room", "seq", "at"}
    (message,) = alice.heard()
    assert message.keys() == {"type", "room", "seq", "from", "at", "text"}


def test_commands_may_be_sent_without_waiting(party: Party) -> None:
    program = Program(party)
    program.say("hello", user="alice")
    program.say("join", room="lobby")
    program.say("send", room="lobby", text="hi")
    types = [document["type"] for document in program.heard()]
    assert types[:3] == ["welcome", "joined", "sent"]
    assert sorted(types[3:]) == ["message", "presence"]


@pytest.mark.parametrize("character", ["x", "é", "€", "\U0001f600"])
def test_text_is_limited_in_bytes(character: str) -> None:
    party = Party(limits=Limits(messages_per_s=0, text_bytes=120))
    program = party.program("alice", "lobby")
    fits = 120 // len(character.encode())
    assert program.ask("send", room="lobby", text=character * fits)["type"] == "sent"
    for count in (fits + 1, 1000):
        answer = program.ask("send", room="lobby", text=character * count)
        assert answer == refusal("too_large", "text")
        assert "120 are allowed" in answer["message"]
    assert party.hub.rooms["lobby"].head == 1


def test_data_is_limited_in_bytes() -> None:
    party = Party(limits=Limits(messages_per_s=0, text_bytes=120))
    program = party.program("alice", "lobby")
    assert program.ask("send", room="lobby", text="hi", data={"a": "x" * 112})["type"] == "sent"
    assert program.ask("send", room="lobby", text="hi", data={"a": "x" * 113}) == refusal("too_large", "data")


def test_no_limit_of_bytes() -> None:
    party = Party(limits=Limits(messages_per_s=0, text_bytes=0))
    program = party.program("alice", "lobby")
    sent = program.ask("send", room="lobby", text="x" * 50_000, data={"a": "x" * 50_000})
    assert sent["type"] == "sent"


@pytest.mark.parametrize("text_bytes", [0, 4096])
def test_data_that_cannot_be_written_again_is_refused(text_bytes: int) -> None:
    party = Party(limits=Limits(messages_per_s=0, text_bytes=text_bytes))
    program = party.program("alice", "lobby")
    refused = 0
    for depth in range(230, 270):
        data: dict[str, Any] = {}
        for _ in range(depth):
            data = {"a": data}
        answer = program.ask("send", room="lobby", text="hi", data=data)
        refused += answer["type"] == "error"
        assert answer["type"] == "sent" or answer == refusal("bad_field", "data")
    assert 0 < refused < 40
    assert program.ask("history", room="lobby")["messages"]


def test_the_same_id_again_is_the_first_message(party: Party) -> None:
    alice, bob = party.program("alice", "lobby"), party.program("bob", "lobby")
    first = alice.ask("send", room="lobby", text="hi", id="x")
    bob.heard()
    party.pass_time(1)
    again = alice.ask("send", room="lobby", text="hi", id="x")
    assert again == {**first, "repeated": True}
    assert bob.heard("message") == []


def test_the_same_id_after_coming_back_is_the_first_message(party: Party) -> None:
    party.program("bob", "lobby")
    alice = party.program("alice", "lobby")
    first = alice.ask("send", room="lobby", text="hi", id="x")
    alice.leave_the_server()
    alice = party.program("alice", "lobby")
    assert alice.ask("send", room="lobby", text="hi", id="x") == {**first, "repeated": True}


def test_the_same_id_of_somebody_else_is_another_message(party: Party) -> None:
    alice, bob = party.program("alice", "lobby"), party.program("bob", "lobby")
    assert alice.ask("send", room="lobby", text="hi", id="x")["seq"] == 1
    sent = bob.ask("send", room="lobby", text="hi", id="x")
    assert sent["seq"] == 2
    assert "repeated" not in sent


# history


@pytest.fixture
def reader() -> Program:
    """In ``lobby`` with ten messages, where a page has at most five."""
    party = Party(limits=Limits(messages_per_s=0, history_page=5))
    said(party.program("alice", "lobby"), times=10)
    return party.program("bob")


@pytest.mark.parametrize(
    ("fields", "expected", "more"),
    [
        ({}, [6, 7, 8, 9, 10], True),
        ({"limit": 2}, [9, 10], True),
        ({"limit": 100}, [6, 7, 8, 9, 10], True),
        ({"limit": 2**64 - 1}, [6, 7, 8, 9, 10], True),
        ({"before": 6}, [1, 2, 3, 4, 5], False),
        ({"before": 7}, [2, 3, 4, 5, 6], True),
        ({"before": 3}, [1, 2], False),
        ({"before": 3, "limit": 1}, [2], True),
        ({"before": 1}, [], False),
        ({"before": 0}, [], False),
        ({"before": 11, "limit": 1}, [10], True),
        ({"before": SEQ_MAX, "limit": 1}, [10], True),
        ({"after": 0}, [1, 2, 3, 4, 5], True),
        ({"after": 4}, [5, 6, 7, 8, 9], True),
        ({"after": 5}, [6, 7, 8, 9, 10], False),
        ({"after": 8}, [9, 10], False),
        ({"after": 8, "limit": 1}, [9], True),
        ({"after": 10}, [], False),
        ({"after": SEQ_MAX}, [], False),
    ],
)
def test_history(reader: Program, fields: dict[str, int], expected: list[int], more: bool) -> None:
    page = reader.ask("history", room="lobby", **fields)
    assert (page["type"], page["room"]) == ("history", "lobby")
    assert (seqs(page["messages"]), page["more"]) == (expected, more)
    assert page["first"] == 1


def test_history_tells_what_is_the_oldest_that_is_left() -> None:
    party = Party(rooms=RoomSettings(ring_bytes=4096))
    alice = party.program("alice", "lobby")
    assert alice.ask("history", room="lobby") == {
        "type": "history", "room": "lobby", "messages": [], "more": False, "first": 1,
    }  # fmt: skip
    said(alice, times=100)
    page = alice.ask("history", room="lobby", after=0, limit=1)
    assert page["first"] == page["messages"][0]["seq"] > 12


def test_history_has_the_messages_as_they_were_heard(party: Party) -> None:
    alice = party.program("alice", "lobby")
    alice.say("send", room="lobby", text="é", id="x", data={"a": None})
    alice.say("typing", room="lobby")
    heard = alice.heard("message")
    assert alice.ask("history", room="lobby")["messages"] == heard


def test_history_goes_in_one_direction(reader: Program) -> None:
    answer = reader.ask("history", room="lobby", before=5, after=1)
    assert answer == refusal("bad_field", "before")


def test_a_page_of_history_is_bounded_in_bytes() -> None:
    party = Party(limits=Limits(messages_per_s=0, text_bytes=0))
    alice = party.program("alice", "lobby")
    said(alice, times=20, text="x" * 10_000)
    page = alice.ask("history", room="lobby")
    assert seqs(page["messages"]) == [17, 18, 19, 20]
    assert page["more"] is True
