"""What is collected for other services beside the rooms' logs."""

from collections.abc import Callable, Sequence
from typing import Any

from fastchat.cloudevents import EventEncoder, NoticeEncoder
from fastchat.notices import HOLD_S, NAMED_MAX, Notices
from fastchat.people import User
from fastchat.store.sending import Notice
from tests.events_document import EventsDocument

DOCUMENT = EventsDocument()


class Collected:
    """Notices, and a timer that the test fires."""

    def __init__(self, wanted: EventEncoder | None = None) -> None:
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.kept: list[Sequence[Notice]] = []
        self.notices = Notices(
            NoticeEncoder("chat", "p1", lambda: 1000),
            (wanted or EventEncoder("chat")).wants,
            self.kept.append,
            lambda delay_s, callback: self.timers.append((delay_s, callback)),
        )

    def take(self) -> list[tuple[str, Any]]:
        """Fires the timer; type and data of what came."""
        ((delay_s, callback),) = self.timers
        assert delay_s == HOLD_S
        self.timers.clear()
        callback()
        events = [DOCUMENT.check(notice.body) for notices in self.kept for notice in notices]
        self.kept.clear()
        return [(event["type"].removeprefix("chat.fastchat."), event["data"]) for event in events]


def presence(joined: Sequence[str], left: Sequence[str], members: int, **more: Any) -> tuple[str, Any]:
    data = {"type": "presence", "room": "lobby", "joined": joined, "left": left, "members": members}
    return "presence", {**data, **more}


def test_a_session() -> None:
    collected = Collected()
    collected.notices.connected(User("alice", guest=False), "s1")
    collected.notices.disconnected(User("alice", guest=False), "s1")
    data = {"user": "alice", "guest": False, "session": "s1"}
    assert collected.take() == [("session.connected", data), ("session.disconnected", data)]


def test_who_joins_at_once_is_one_notice_of_each_room() -> None:
    collected = Collected()
    for number, user in enumerate(["alice", "bob", "carol"], 1):
        collected.notices.joined("lobby", user, number)
    collected.notices.joined("games", "alice", 1)
    first, second = collected.take()
    assert first == presence(["alice", "bob", "carol"], [], 3)
    assert second[1]["room"] == "games"


def test_who_comes_and_goes_is_told_of_twice() -> None:
    collected = Collected()
    collected.notices.joined("lobby", "alice", 1)
    collected.notices.left("lobby", "alice", 0)
    assert collected.take() == [presence(["alice"], [], 1), presence([], ["alice"], 0)]


def test_away_and_back() -> None:
    collected = Collected()
    collected.notices.away("lobby", "alice", "tea", 2)
    collected.notices.away("lobby", "bob", None, 2)
    assert collected.take() == [presence([], [], 2, away={"alice": "tea"}, back=["bob"])]


def test_a_herd_is_told_in_pieces() -> None:
    collected = Collected()
    users = [f"user{number}" for number in range(NAMED_MAX + 3)]
    for number, user in enumerate(users, 1):
        collected.notices.joined("lobby", user, number)
        collected.notices.read("lobby", user, 1)
    told = collected.take()
    assert [len(data["joined"]) for kind, data in told if kind == "presence"] == [NAMED_MAX, 3]
    assert [len(data["receipts"]) for kind, data in told if kind == "receipt"] == [NAMED_MAX, 3]
    assert [name for kind, data in told if kind == "presence" for name in data["joined"]] == users


def test_of_receipts_the_last_one_counts() -> None:
    collected = Collected()
    for seq in 1, 2, 3:
        collected.notices.read("lobby", "alice", seq)
    collected.notices.read("lobby", "bob", 1)
    data = {"type": "receipt", "room": "lobby", "receipts": {"alice": 3, "bob": 1}}
    assert collected.take() == [("receipt", data)]


def test_what_is_not_wanted_is_not_collected() -> None:
    collected = Collected(EventEncoder("chat", ["message"]))
    collected.notices.connected(User("alice"), "s1")
    collected.notices.joined("lobby", "alice", 1)
    collected.notices.read("lobby", "alice", 1)
    assert collected.timers == []


def test_of_rooms_of_two_receipts_alone_are_told_and_only_where_wanted() -> None:
    silent, open_hearted = Collected(), Collected(EventEncoder("chat", directs=True))
    for collected in silent, open_hearted:
        collected.notices.joined("@alice,bob", "alice", 1)
        collected.notices.away("@alice,bob", "alice", "tea", 1)
        collected.notices.read("@alice,bob", "alice", 1)
    assert silent.timers == []
    assert [kind for kind, _ in open_hearted.take()] == ["receipt"]


def test_after_a_flush_it_begins_anew() -> None:
    collected = Collected()
    collected.notices.joined("lobby", "alice", 1)
    assert len(collected.take()) == 1
    collected.notices.joined("lobby", "bob", 2)
    assert collected.take() == [presence(["bob"], [], 2)]
