"""Rooms that people of other nodes are in."""

import pytest

from fastchat.cluster.remote import RemoteRooms, RemoteSession
from fastchat.messages import Close
from fastchat.people import User
from tests.parties import Party


@pytest.fixture
def party() -> Party:
    return Party()


@pytest.fixture
def rooms(party: Party) -> RemoteRooms:
    return RemoteRooms(party.hub)


def session(number: int, user: str = "alice") -> RemoteSession:
    remote = RemoteSession("node2", number)
    remote.user, remote.person = user, User(user, guest=False)
    return remote


def test_members_are_counted_by_user(rooms: RemoteRooms) -> None:
    phone, laptop, bob = session(1), session(2), session(3, "bob")
    assert all(rooms.join(each, "lobby", 0) for each in (phone, laptop, bob))
    assert not rooms.join(phone, "lobby", 0)
    assert rooms.members("lobby") == {"alice": 2, "bob": 1}
    rooms.leave(phone, "lobby")
    rooms.leave(phone, "lobby")
    assert rooms.members("lobby") == {"alice": 1, "bob": 1}
    for each in (laptop, bob):
        rooms.leave(each, "lobby")
    assert not len(rooms)
    assert not rooms.members("lobby")


def test_how_far_somebody_has_read_is_known_until_the_last_one_leaves(rooms: RemoteRooms) -> None:
    phone, laptop = session(1), session(2)
    rooms.join(phone, "lobby", 3)
    rooms.join(laptop, "lobby", 5)
    rooms.read(phone, "lobby", 4)
    assert rooms.cursors("lobby") == {"alice": 5}
    rooms.leave(laptop, "lobby")
    assert rooms.cursors("lobby") == {"alice": 5}
    other = session(3, "bob")
    rooms.join(other, "lobby", 0)
    rooms.leave(phone, "lobby")
    assert rooms.cursors("lobby") == {}
    rooms.read(phone, "lobby", 9)
    assert rooms.cursors("lobby") == {}


def test_a_room_that_is_open_here_shows_them(party: Party, rooms: RemoteRooms) -> None:
    party.program("bob", "lobby")
    phone = session(1)
    rooms.join(phone, "lobby", 0)
    assert party.hub.rooms["lobby"].members == {"bob": 1, "alice": 1}
    rooms.leave(phone, "lobby")
    assert party.hub.rooms["lobby"].members == {"bob": 1}


def test_there_is_nothing_to_do_to_a_connection_that_is_elsewhere() -> None:
    remote = session(1)
    remote.end(Close.SIGNED_OUT, "away with you")
    remote.expel("lobby", "bob", None)
    remote.tell_expiry(1000)
    assert (remote.rooms, remote.user) == ([], "alice")
