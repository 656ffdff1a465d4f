"""What users have read: acknowledgements, receipts, cursors and unread counts."""

import pytest

from fastchat.room import RoomSettings
from tests.answers import refusal, said
from tests.parties import Document, Party, Program
from tests.slow_store import SlowStore

INTERVAL_S = RoomSettings().presence_interval_s


@pytest.fixture
def party() -> Party:
    return Party()


@pytest.fixture
def alice(party: Party) -> Program:
    """Has said five messages in ``lobby``."""
    alice = party.program("alice", "lobby")
    said(alice, times=5)
    return alice


@pytest.fixture
def bob(party: Party, alice: Program) -> Program:
    return party.program("bob", "lobby")


def receipts(program: Program) -> list[dict[str, int]]:
    """Those that came within the next interval."""
    program.party.pass_time(INTERVAL_S)
    return [document["receipts"] for document in program.heard("receipt")]


def reading(answer: Document) -> tuple[int, int]:
    """The cursor and how much is unread."""
    return answer["cursor"], answer["unread"]


def in_rooms(program: Program, room: str = "lobby") -> tuple[int, int]:
    (entry,) = [entry for entry in program.ask("rooms")["rooms"] if entry["room"] == room]
    return reading(entry)


def test_the_room_is_told_how_far_one_has_read(alice: Program, bob: Program) -> None:
    bob.say("ack", room="lobby", seq=3)
    assert receipts(alice) == [{"bob": 3}]
    assert in_rooms(bob) == (3, 2)


def test_receipts_are_cumulative_and_come_together(alice: Program, bob: Program) -> None:
    receipts(alice)
    for seq in (1, 2, 4):
        bob.say("ack", room="lobby", seq=seq)
    alice.party.program("carol", "lobby").say("ack", room="lobby", seq=5)
    assert receipts(alice) == [{"bob": 4, "carol": 5}]


def test_nothing_read_is_ever_unread_again(alice: Program, bob: Program) -> None:
    bob.say("ack", room="lobby", seq=4)
    assert receipts(alice) == [{"bob": 4}]
    for seq in (3, 4, 0):
        bob.say("ack", room="lobby", seq=seq)
    assert receipts(alice) == []
    assert in_rooms(bob) == (4, 1)
    bob.leave_the_server()
    assert reading(alice.party.program("bob").ask("join", room="lobby")) == (4, 1)


def test_a_lower_mark_does_not_replace_one_that_is_not_stored_yet(alice: Program, bob: Program) -> None:
    bob.say("ack", room="lobby", seq=4)
    bob.ask("leave", room="lobby")
    bob.ask("join", room="lobby")
    bob.say("ack", room="lobby", seq=2)
    assert receipts(alice) == [{"bob": 4}]
    assert in_rooms(bob) == (4, 1)


def test_the_future_cannot_be_read(alice: Program, bob: Program) -> None:
    assert bob.ask("ack", room="lobby", seq=6) == refusal("bad_field", "seq")
    assert bob.ask("ack", room="games", seq=0) == refusal("not_joined", "room")
    assert receipts(alice) == []


def test_joined_tells_where_one_was_and_how_much_is_new(alice: Program, bob: Program) -> None:
    bob.say("ack", room="lobby", seq=2)
    bob.ask("leave", room="lobby")
    said(alice)
    assert reading(bob.ask("join", room="lobby")) == (2, 4)
    assert reading(alice.party.program("carol").ask("join", room="lobby")) == (0, 6)


def test_ones_own_messages_are_read_where_everything_before_them_is(alice: Program, bob: Program) -> None:
    assert in_rooms(alice) == (5, 0)
    said(bob)
    assert in_rooms(alice) == (5, 1)
    said(alice)
    assert in_rooms(alice) == (5, 2)  # what bob said is not read because alice spoke
    alice.say("ack", room="lobby", seq=6)
    assert in_rooms(alice) == (6, 1)
    alice.say("ack", room="lobby", seq=7)
    said(alice, times=2)
    alice.ask("edit", room="lobby", seq=1, text="hello")
    assert in_rooms(alice) == (10, 0)
    alice.leave_the_server()
    assert reading(bob.party.program("alice").ask("join", room="lobby")) == (10, 0)


def test_of_ones_own_messages_nobody_is_told_that_one_has_read_them(alice: Program, bob: Program) -> None:
    said(alice)
    assert receipts(bob) == []


def test_only_marks_of_small_rooms_are_told() -> None:
    party = Party(rooms=RoomSettings(presence_names=2))
    alice, bob = party.program("alice", "lobby"), party.program("bob", "lobby")
    said(alice)
    receipts(alice)
    bob.say("ack", room="lobby", seq=1)
    assert receipts(alice) == [{"bob": 1}]
    carol = party.program("carol", "lobby")
    carol.say("ack", room="lobby", seq=1)
    assert receipts(alice) == []
    assert in_rooms(carol) == (1, 0)


def test_who_goes_right_after_reading_has_read(alice: Program, bob: Program) -> None:
    receipts(alice)
    alice.party.program("carol", "lobby").say("ack", room="lobby", seq=1)
    bob.say("ack", room="lobby", seq=5)
    bob.leave_the_server()
    assert {"bob": 5}.items() <= receipts(alice)[0].items()


def test_one_receipt_is_bounded_however_many_read_and_go() -> None:
    party = Party(rooms=RoomSettings(presence_names=4))
    alice = party.program("alice", "lobby")
    said(alice)
    receipts(alice)
    party.program("zoe", "lobby")
    for i in range(10):
        guest = party.program(f"guest-{i}", "lobby")
        guest.say("ack", room="lobby", seq=1)
        guest.leave_the_server()
    (told,) = receipts(alice)
    assert len(told) <= 4


def test_a_new_name_has_its_own_cursor(party: Party, alice: Program) -> None:
    carol = party.program("carol", "lobby")
    carol.say("ack", room="lobby", seq=4)
    carol.leave_the_server()
    bob = party.program("bob", "lobby")
    bob.say("ack", room="lobby", seq=2)
    party.pass_time(INTERVAL_S)
    assert bob.ask("hello", user="carol")["user"] == "carol"
    assert in_rooms(bob) == (4, 1)
    alice.heard()
    bob.say("ack", room="lobby", seq=3)
    assert receipts(alice) == []
    assert bob.ask("hello", user="bob")["user"] == "bob"
    assert in_rooms(bob) == (2, 3)


# The store


def test_marks_are_stored_together_and_at_the_end() -> None:
    store = SlowStore(hold=False)
    party = Party(store=store)
    alice, bob = party.program("alice", "lobby"), party.program("bob", "lobby")
    said(bob)
    said(alice, times=2)
    party.pass_time(INTERVAL_S)
    store.told.clear()
    for seq in (2, 3):
        bob.say("ack", room="lobby", seq=seq)
    alice.say("ack", room="lobby", seq=1)
    assert store.told == []
    party.pass_time(INTERVAL_S)
    assert store.told == [{("bob", "lobby"): 3, ("alice", "lobby"): 1}]
    alice.say("ack", room="lobby", seq=3)
    party.hub.store_marks()  # as at the server's stop
    assert store.told[1:] == [{("alice", "lobby"): 3}]
    party.pass_time(10)
    assert len(store.told) == 2


def test_a_mark_that_is_not_stored_yet_is_known() -> None:
    store = SlowStore(hold=False)
    party = Party(store=store)
    alice, bob = party.program("alice", "lobby"), party.program("bob", "lobby")
    said(alice, times=3)
    bob.say("ack", room="lobby", seq=2)
    bob.leave_the_server()
    assert reading(party.program("bob").ask("join", room="lobby")) == (2, 1)
    assert store.told == []
