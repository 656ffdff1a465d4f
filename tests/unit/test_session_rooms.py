"""Coming in, going out, and who else is there."""

import re
from typing import Any

import pytest

from fastchat.messages import SEQ_MAX
from fastchat.room import RoomSettings
from fastchat.session import Limits
from tests.answers import refusal, said, seqs
from tests.parties import Party


@pytest.fixture
def party() -> Party:
    return Party()


# join


def test_joined_tells_where_one_starts(party: Party) -> None:
    alice = party.program("alice")
    joined = alice.ask("join", room="lobby")
    assert re.fullmatch("[0-9a-f]{12}", joined["epoch"])
    assert {**joined, "epoch": ""} == {
        "type": "joined", "room": "lobby", "head": 0, "epoch": "", "members": 1, "reset": False,
        "cursor": 0, "unread": 0,
    }  # fmt: skip
    said(alice, times=3)
    again = party.program("bob").ask("join", room="lobby")
    assert (again["head"], again["members"], again["epoch"]) == (3, 2, joined["epoch"])


def test_without_after_only_what_comes_next_is_heard(party: Party) -> None:
    alice = party.program("alice", "lobby")
    said(alice, times=3)
    bob = party.program("bob", "lobby")
    said(alice)
    assert seqs(bob.heard()) == [4]


@pytest.mark.parametrize("after", range(6))
def test_with_after_every_later_message_comes_once_behind_joined(party: Party, after: int) -> None:
    alice = party.program("alice", "lobby")
    said(alice, times=5)
    bob = party.program("bob")
    bob.say("join", room="lobby", after=after)
    alice.say("send", room="lobby", text="live")
    heard = bob.heard("joined", "message", "lagged")
    assert heard[0]["type"] == "joined"
    assert seqs(heard) == list(range(after + 1, 7))


def test_what_the_ring_forgot_is_told_before_what_it_has() -> None:
    party = Party(rooms=RoomSettings(ring_bytes=4096))
    alice = party.program("alice", "lobby")
    said(alice, times=100)
    bob = party.program("bob")
    bob.say("join", room="lobby", after=10)
    joined, lagged, *rest = bob.heard("joined", "lagged", "message")
    first = lagged["to"] + 1
    assert first > 12
    assert joined["reset"] is False
    assert lagged == {"type": "lagged", "room": "lobby", "from": 11, "to": first - 1, "missed": first - 11}
    assert seqs(rest) == list(range(first, 101))


def test_after_in_the_future_is_refused_and_leaves_nothing(party: Party) -> None:
    alice = party.program("alice", "lobby")
    said(alice, times=3)
    bob = party.program("bob")
    assert bob.ask("join", room="lobby", after=4) == refusal("bad_field", "after")
    assert bob.ask("join", room="new", after=1) == refusal("bad_field", "after")
    assert alice.ask("members", room="lobby")["members"] == ["alice"]
    assert list(party.hub.rooms) == ["lobby"]
    assert bob.ask("join", room="lobby", after=3)["type"] == "joined"


@pytest.mark.parametrize("after", [-1, 1.0, True, "1", SEQ_MAX + 1, None])
def test_an_after_that_is_no_seq_is_named(party: Party, after: Any) -> None:
    program = party.program("alice")
    assert program.ask("join", room="lobby", after=after) == refusal("bad_field", "after")
    assert not party.hub.rooms


def test_the_right_epoch_is_as_none(party: Party) -> None:
    alice = party.program("alice", "lobby")
    said(alice, times=3)
    epoch = party.hub.rooms["lobby"].log.epoch
    bob = party.program("bob")
    assert bob.ask("join", room="lobby", after=2, epoch=epoch)["reset"] is False
    assert seqs(bob.heard()) == [3]
    carol = party.program("carol")
    assert carol.ask("join", room="lobby", after=9, epoch=epoch) == refusal("bad_field", "after")


@pytest.mark.parametrize("fields", [{"after": 99}, {"after": 2}, {"after": 0}, {}])
def test_in_another_epoch_everything_that_is_held_comes(party: Party, fields: dict[str, int]) -> None:
    alice = party.program("alice", "lobby")
    said(alice, times=3)
    bob = party.program("bob")
    assert bob.ask("join", room="lobby", epoch="another", **fields)["reset"] is True
    assert seqs(bob.heard()) == [1, 2, 3]


def test_a_room_is_joined_once(party: Party) -> None:
    program = party.program("alice", "lobby")
    assert program.ask("join", room="lobby") == refusal("already_joined", "room")
    assert program.ask("members", room="lobby")["count"] == 1
    said(program)
    program.ask("leave", room="lobby")
    assert program.ask("join", room="lobby")["type"] == "joined"


def test_rooms_per_connection_are_limited() -> None:
    party = Party(limits=Limits(messages_per_s=0, rooms_per_connection=3))
    program = party.program("alice", "r1", "r2", "r3")
    for _ in range(3):
        assert program.ask("join", room="r4") == refusal("too_many_rooms", "room")
    assert program.ask("join", room="r1") == refusal("already_joined", "room")
    program.ask("leave", room="r2")
    assert program.ask("join", room="r4")["type"] == "joined"
    assert "r2" not in party.hub.rooms


def test_no_limit_of_rooms() -> None:
    party = Party(limits=Limits(messages_per_s=0, rooms_per_connection=0))
    program = party.program("alice")
    for i in range(1000):
        program.say("join", room=f"r{i}")
    assert {document["type"] for document in program.heard()} == {"joined", "presence"}


# leave


def test_who_left_hears_no_more(party: Party) -> None:
    alice, bob = party.program("alice", "lobby"), party.program("bob", "lobby")
    assert bob.ask("leave", room="lobby") == {"type": "left", "room": "lobby"}
    said(alice)
    assert bob.heard() == []
    assert bob.ask("send", room="lobby", text="hi") == refusal("not_joined", "room")


@pytest.mark.parametrize(("type", "fields"), [("leave", {}), ("send", {"text": "hi"}), ("typing", {})])
def test_only_members_speak_and_leave(party: Party, type: str, fields: dict[str, str]) -> None:
    party.program("alice", "lobby")
    program = party.program("bob")
    assert program.ask(type, room="lobby", **fields) == refusal("not_joined", "room")
    assert program.ask(type, room="nowhere", **fields) == refusal("not_joined", "room")


# members and rooms


def test_members_are_listed_in_order_whatever_their_case(party: Party) -> None:
    for name in ("bob", "Carol", "alice", "not"):
        party.program(name, "lobby")
    outsider = party.program("zoe")
    assert outsider.ask("members", room="lobby") == {
        "type": "members", "room": "lobby", "members": ["alice", "bob", "Carol", "not"], "count": 4,
        "more": False,
    }  # fmt: skip


def test_many_members_are_counted_and_not_all_listed(party: Party) -> None:
    room = party.program("alice", "lobby")
    for i in range(1200):
        party.hub.rooms["lobby"].presence.enter(f"user-{i}")
    answer = room.ask("members", room="lobby")
    assert (len(answer["members"]), answer["count"], answer["more"]) == (1000, 1201, True)


def test_rooms_come_largest_first(party: Party) -> None:
    alice = party.program("alice", "small", "large")
    party.program("bob", "large", "also-small")
    said(alice, "large", times=2)
    assert alice.ask("rooms") == {
        "type": "rooms",
        "rooms": [
            {"room": "large", "members": 2, "head": 2, "joined": True, "cursor": 2, "unread": 0},
            {"room": "also-small", "members": 1, "head": 0, "joined": False},
            {"room": "small", "members": 1, "head": 0, "joined": True, "cursor": 0, "unread": 0},
        ],
        "count": 3,
        "directs": [],
    }


def test_many_rooms_are_counted_and_not_all_listed() -> None:
    party = Party(limits=Limits(messages_per_s=0, rooms_per_connection=0))
    program = party.program("alice", *(f"r{i}" for i in range(600)))
    answer = program.ask("rooms")
    assert (len(answer["rooms"]), answer["count"]) == (500, 600)


@pytest.mark.parametrize("type", ["members", "history"])
def test_a_room_that_is_not_there(party: Party, type: str) -> None:
    assert party.program("alice").ask(type, room="nowhere") == refusal("no_such_room", "room")
    assert not party.hub.rooms
