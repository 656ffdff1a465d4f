"""What other services are told of people: sessions, presence and receipts, of what clients really do."""

from typing import Any

import pytest

from fastchat.cloudevents import EventEncoder, NoticeEncoder
from fastchat.notices import HOLD_S, Notices
from fastchat.store.sending import Notice
from tests.answers import said
from tests.events_document import EventsDocument
from tests.parties import Party, Program

DOCUMENT = EventsDocument()


class Services:
    """What services are told."""

    def __init__(self, party: Party) -> None:
        self.party = party
        self._kept: list[Notice] = []
        party.hub.notices = Notices(
            NoticeEncoder("chat", "p1", party.wall_ms),
            EventEncoder("chat").wants,
            self._kept.extend,
            party.loop.call_later,
        )

    def told(self) -> list[tuple[str, Any]]:
        """Of what was told since: what kind of event, and its data."""
        self.party.pass_time(HOLD_S)
        kept, self._kept[:] = [*self._kept], []
        events = [DOCUMENT.check(notice.body) for notice in kept]
        return [(event["type"].removeprefix("chat.fastchat."), event["data"]) for event in events]

    def presence(self) -> list[dict[str, Any]]:
        told = [data for kind, data in self.told() if kind == "presence"]
        return [{key: value for key, value in data.items() if value and key != "type"} for data in told]


@pytest.fixture
def party() -> Party:
    return Party()


@pytest.fixture
def services(party: Party) -> Services:
    return Services(party)


def test_who_comes_and_goes(party: Party, services: Services) -> None:
    alice = party.program("alice", "lobby")
    kinds = dict(services.told())
    assert kinds["session.connected"]["user"] == "alice"
    assert kinds["session.connected"]["guest"] is True
    assert kinds["presence"]["joined"] == ["alice"]
    alice.leave_the_server()
    kinds_then = dict(services.told())
    assert kinds_then["session.disconnected"] == kinds["session.connected"]
    assert (kinds_then["presence"]["left"], kinds_then["presence"]["members"]) == (["alice"], 0)


def test_who_never_says_hello_is_nobody(party: Party, services: Services) -> None:
    newcomer = Program(party)
    newcomer.ask("ping")
    newcomer.leave_the_server()
    assert services.told() == []


def test_who_joins_and_leaves_a_room(party: Party, services: Services) -> None:
    alice = party.program("alice", "lobby")
    services.told()
    alice.ask("join", room="games")
    assert services.presence() == [{"room": "games", "joined": ["alice"], "members": 1}]
    alice.ask("leave", room="games")
    assert services.presence() == [{"room": "games", "left": ["alice"]}]


def test_what_was_read(party: Party, services: Services) -> None:
    alice, bob = party.program("alice", "lobby"), party.program("bob", "lobby")
    said(alice, times=3)
    services.told()
    bob.say("ack", room="lobby", seq=2)
    bob.say("ack", room="lobby", seq=3)
    bob.say("ack", room="lobby", seq=1)
    assert services.told() == [("receipt", {"type": "receipt", "room": "lobby", "receipts": {"bob": 3}})]
    bob.say("ack", room="lobby", seq=3)
    assert services.told() == []


def test_who_is_away(party: Party, services: Services) -> None:
    alice = party.program("alice", "lobby")
    services.told()
    alice.ask("away", away=True, text="tea")
    assert services.presence() == [{"room": "lobby", "away": {"alice": "tea"}, "members": 1}]
    alice.ask("away", away=True, text="tea")
    assert services.presence() == []
    said(alice)  # is back
    assert services.presence() == [{"room": "lobby", "back": ["alice"], "members": 1}]


def test_a_guest_with_another_name(party: Party, services: Services) -> None:
    alice = party.program("alice", "lobby")
    session = dict(services.told())["session.connected"]["session"]
    alice.ask("hello", user="alicia")
    told = services.told()
    assert told[:2] == [
        ("session.disconnected", {"user": "alice", "guest": True, "session": session}),
        ("session.connected", {"user": "alicia", "guest": True, "session": session}),
    ]
    assert {(*data["joined"], *data["left"]) for kind, data in told if kind == "presence"} == {
        ("alicia", "alice")
    }


def test_without_a_broker_nothing_is_collected(party: Party) -> None:
    alice = party.program("alice", "lobby")
    alice.ask("join", room="games")
    assert party.hub.notices is None
