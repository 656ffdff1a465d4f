"""Rooms: who is announced and when, which rooms are kept, and who has which name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastchat._fanout import Writer
from fastchat.messages import WireError
from fastchat.room import Membership, Room, RoomSettings
from fastchat.store import Draft, Kind, Stored
from tests.fakes import FakeTransport
from tests.parties import Party, parse_lines

INTERVAL_S = RoomSettings().presence_interval_s


@pytest.fixture
def party() -> Party:
    return Party()


class Observer:
    """Hears what happens in one room and is never announced itself."""

    def __init__(self, party: Party, room: str = "lobby") -> None:
        self._party = party
        self._transport = FakeTransport(party.loop)
        writer = Writer(party.hub.fanout, party.chat.profiles.line, self._transport)
        writer.subscribe(party.hub.rooms[room].channel)

    def heard(self) -> list[tuple[list[str], list[str], int]]:
        """Who came, who went and how many there are, by every presence event since the last time."""
        self._party.settle()
        events = parse_lines(self._transport.take())
        assert {event["type"] for event in events} <= {"presence"}
        return [(event["joined"], event["left"], event["members"]) for event in events]


def enter(
    party: Party,
    user: str,
    room: str = "lobby",
    *,
    after: int | None = None,
    epoch: str | None = None,
    cursor: int = 0,
) -> Membership:
    writer = Writer(party.hub.fanout, party.chat.profiles.line, FakeTransport(party.loop))
    memberships: list[Membership] = []

    def on_open(opened: Room | WireError) -> None:
        assert isinstance(opened, Room)
        memberships.append(party.hub.enter(opened, writer, user, after, epoch, cursor))

    party.hub.open(room, on_open)
    (membership,) = memberships
    return membership


def leave(party: Party, membership: Membership, user: str) -> None:
    party.hub.leave(membership.room, membership.subscription.writer, user)


def say(party: Party, room: str = "lobby", text: str = "hi", author: str = "alice") -> None:
    answers: list[Stored | WireError] = []
    party.hub.rooms[room].post(Draft(Kind.MESSAGE, author, 0, {"text": text}), None, answers.append)
    (answer,) = answers
    assert isinstance(answer, Stored)


@pytest.fixture
def observer(party: Party) -> Observer:
    """In ``lobby``, where alice has been for a while."""
    enter(party, "alice")
    observer = Observer(party)
    party.pass_time(10)
    observer.heard()
    return observer


# Presence


def test_the_first_to_come_is_announced_at_once(party: Party, observer: Observer) -> None:
    enter(party, "bob")
    assert observer.heard() == [(["bob"], [], 2)]


def test_those_who_come_next_are_announced_together_an_interval_later(
    party: Party, observer: Observer
) -> None:
    enter(party, "bob")
    observer.heard()
    enter(party, "carol")
    party.pass_time(INTERVAL_S / 2)
    enter(party, "dave")
    assert observer.heard() == []
    party.pass_time(INTERVAL_S / 2)
    assert observer.heard() == [(["carol", "dave"], [], 4)]
    party.pass_time(INTERVAL_S)
    enter(party, "eve")
    assert observer.heard() == [(["eve"], [], 5)]


def test_those_who_come_in_the_same_turn_are_announced_together(party: Party, observer: Observer) -> None:
    for user in ("bob", "carol"):
        enter(party, user)
    assert observer.heard() == [(["bob", "carol"], [], 3)]


def test_who_comes_and_goes_between_two_announcements_is_not_announced(
    party: Party, observer: Observer
) -> None:
    enter(party, "bob")
    observer.heard()
    carol = enter(party, "carol")
    leave(party, carol, "carol")
    party.pass_time(3 * INTERVAL_S)
    assert observer.heard() == []


def test_who_goes_and_comes_back_between_two_announcements_is_not_announced(
    party: Party, observer: Observer
) -> None:
    bob = enter(party, "bob")
    observer.heard()
    leave(party, bob, "bob")
    enter(party, "bob")
    enter(party, "carol")
    party.pass_time(INTERVAL_S)
    assert observer.heard() == [(["carol"], [], 3)]


def test_what_was_not_announced_puts_off_nobody(party: Party, observer: Observer) -> None:
    bob = enter(party, "bob")
    leave(party, bob, "bob")
    assert observer.heard() == []
    enter(party, "carol")
    assert observer.heard() == [(["carol"], [], 2)]


def test_however_many_come_one_timer_waits(party: Party, observer: Observer) -> None:
    for i in range(100):
        enter(party, f"user-{i}")
    assert party.loop.timers == 1


def test_who_goes_is_announced(party: Party, observer: Observer) -> None:
    bob = enter(party, "bob")
    party.pass_time(INTERVAL_S)
    observer.heard()
    leave(party, bob, "bob")
    assert observer.heard() == [([], ["bob"], 1)]


def test_a_user_with_several_connections_comes_once_and_goes_once(party: Party, observer: Observer) -> None:
    connections = [enter(party, "bob") for _ in range(3)]
    party.pass_time(INTERVAL_S)
    assert observer.heard() == [(["bob"], [], 2)]
    for membership in connections[:2]:
        leave(party, membership, "bob")
        party.pass_time(INTERVAL_S)
    assert observer.heard() == []
    leave(party, connections[2], "bob")
    assert observer.heard() == [([], ["bob"], 1)]


def test_a_large_room_is_told_how_many_there_are_and_not_who() -> None:
    party = Party(rooms=RoomSettings(presence_names=3))
    for user in ("alice", "bob"):
        enter(party, user)
    observer = Observer(party)
    party.pass_time(INTERVAL_S)
    observer.heard()
    memberships: dict[str, Membership] = {}
    none: list[str] = []
    for user, joined, members in (("carol", ["carol"], 3), ("dave", none, 4), ("eve", none, 5)):
        memberships[user] = enter(party, user)
        party.pass_time(INTERVAL_S)
        assert observer.heard() == [(joined, [], members)]
    leave(party, memberships["eve"], "eve")
    party.pass_time(INTERVAL_S)
    assert observer.heard() == [([], [], 4)]
    leave(party, memberships["dave"], "dave")
    party.pass_time(INTERVAL_S)
    assert observer.heard() == [([], ["dave"], 3)]


@pytest.mark.parametrize("comers", [4, 5, 50])
def test_names_in_one_announcement_are_bounded_however_many_come_and_go(comers: int) -> None:
    party = Party(rooms=RoomSettings(presence_names=4))
    regulars = [enter(party, f"regular-{i}") for i in range(3)]
    observer = Observer(party)
    party.pass_time(INTERVAL_S)
    observer.heard()
    enter(party, "someone")
    observer.heard()
    party.pass_time(INTERVAL_S / 2)
    for i, regular in enumerate(regulars):
        leave(party, regular, f"regular-{i}")
    for i in range(comers - 3):
        enter(party, f"guest-{i}")
    party.pass_time(INTERVAL_S)
    ((joined, left, members),) = observer.heard()
    assert members == comers - 2
    assert len(joined) + len(left) == (4 if comers == 4 else 0)


def test_nothing_is_announced_in_an_empty_room(party: Party, observer: Observer) -> None:
    say(party)
    room = party.hub.rooms["lobby"]
    bob = enter(party, "bob")
    room.presence.exit("alice")
    leave(party, bob, "bob")
    announced = room.channel.ephemeral.head_seq
    party.pass_time(3 * INTERVAL_S)
    assert room.channel.ephemeral.head_seq == announced


def test_presence_is_not_in_the_log(party: Party, observer: Observer) -> None:
    enter(party, "bob")
    observer.heard()
    assert party.hub.rooms["lobby"].head == 0


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.sampled_from([0, 0, 0.3, 1.0])), max_size=40)
)
def test_who_believes_the_announcements_knows_who_is_there(steps: list[tuple[str, bool, float]]) -> None:
    party = Party()
    enter(party, "alice")
    observer = Observer(party)
    party.pass_time(INTERVAL_S)
    observer.heard()
    there = {"alice"}
    connections: dict[str, list[Membership]] = {user: [] for user in "abc"}
    for user, comes, delay_s in [*steps, ("a", True, INTERVAL_S)]:
        if comes:
            connections[user].append(enter(party, user))
        elif connections[user]:
            leave(party, connections[user].pop(), user)
        party.pass_time(delay_s)
        for joined, left, members in observer.heard():
            assert not there & {*joined}
            assert {*left} <= there
            there = (there | {*joined}) - {*left}
            assert members >= 1
    assert there == {*party.hub.rooms["lobby"].members}
    assert there == {"alice"} | {user for user, memberships in connections.items() if memberships}


# Empty rooms


def test_a_room_in_which_nothing_was_said_vanishes_with_its_last_member(party: Party) -> None:
    bob, carol = enter(party, "bob"), enter(party, "carol")
    party.settle()
    leave(party, bob, "bob")
    assert "lobby" in party.hub.rooms
    leave(party, carol, "carol")
    assert "lobby" not in party.hub.rooms


def test_an_empty_room_keeps_what_was_said(party: Party) -> None:
    bob = enter(party, "bob")
    say(party)
    room = bob.room
    leave(party, bob, "bob")
    assert enter(party, "carol").room is room
    assert room.head == 1


def fill(party: Party, *rooms: str) -> None:
    """Something is said in each, then everyone leaves: the first named is empty for the longest time."""
    memberships = [(enter(party, "bob", room), room) for room in rooms]
    for membership, room in memberships:
        say(party, room)
        leave(party, membership, "bob")


def test_of_too_many_empty_rooms_the_longest_empty_is_forgotten() -> None:
    party = Party(rooms=RoomSettings(empty_kept=2))
    fill(party, "first", "second")
    assert [*party.hub.rooms] == ["first", "second"]
    visit = enter(party, "carol", "first")
    leave(party, visit, "carol")
    fill(party, "third")
    assert {*party.hub.rooms} == {"first", "third"}


def test_a_room_with_members_is_not_among_the_empty_ones() -> None:
    party = Party(rooms=RoomSettings(empty_kept=1))
    fill(party, "first")
    enter(party, "carol", "first")
    fill(party, "second")
    assert {*party.hub.rooms} == {"first", "second"}
    fill(party, "third")
    assert {*party.hub.rooms} == {"first", "third"}


def test_no_empty_room_is_kept_where_none_may_be() -> None:
    party = Party(rooms=RoomSettings(empty_kept=0))
    fill(party, "first", "second")
    assert not party.hub.rooms


def test_a_room_that_was_forgotten_begins_in_a_new_epoch() -> None:
    party = Party(rooms=RoomSettings(empty_kept=0))
    before = enter(party, "bob")
    say(party)
    leave(party, before, "bob")
    epoch = before.room.log.epoch
    del before
    party.pass_time(3 * INTERVAL_S)  # its last timer
    after = enter(party, "bob", after=1, epoch=epoch)
    assert after.reset
    assert after.room.log.epoch != epoch
    assert after.room.head == 0


def test_a_timer_of_a_forgotten_room_is_harmless() -> None:
    party = Party(rooms=RoomSettings(empty_kept=0))
    bob = enter(party, "bob")
    party.settle()
    leave(party, bob, "bob")
    observer_of_the_next = enter(party, "carol")
    party.pass_time(3 * INTERVAL_S)
    assert observer_of_the_next.room.members == {"carol": 1}


# Settings that change


def test_every_rooms_ring_is_shrunk_at_once(party: Party) -> None:
    for room in ("lobby", "games"):
        enter(party, "bob", room)
        for _ in range(10):
            say(party, room, "x" * 1000)
    party.hub.set_ring_bytes(4096)
    enter(party, "carol", "later")
    rings = [room.channel.ring for room in party.hub.rooms.values()]
    assert [ring.limit_bytes for ring in rings] == [4096] * 3
    assert all(ring.size_bytes <= 4096 for ring in rings)
