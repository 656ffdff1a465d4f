"""Presence: what is announced of members who come, go and are away, in small rooms and in large ones."""

import itertools
from typing import Any, cast

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastchat._fanout import Channel, Subscription
from fastchat.presence import TYPING_REPEAT_S, Circumstances, Presence
from fastchat.room import RoomSettings
from tests.fakes import FakeLoop

INTERVAL_S = 1.0


class Log:
    """As much of a room's log as presence looks at."""

    head_seq = 0


class Members:
    """A room's members, all of whom hear every announcement at once. Stands for the room's channel, too."""

    def __init__(self, *, announced: bool = True, **settings: Any) -> None:
        self.loop = FakeLoop()
        self.name = "lobby"
        self.ring = Log()
        self.marks: dict[tuple[str, str], int] = {}
        self.circumstances = Circumstances(
            RoomSettings(**settings), self.loop.time, self.loop.call_later, self._mark
        )
        self.presence = Presence(cast("Channel", self), self.circumstances, announced=announced)
        self.announcements: list[dict[str, Any]] = []
        self.deliveries = 0

    def _mark(self, user: str, room: str, seq: int) -> None:
        self.marks[user, room] = seq

    def announce(self, body: bytes, hidden_from: Subscription | None = None) -> None:
        self.announcements.append(orjson.loads(body))
        self.deliveries += len(self.presence.members)

    def enter(self, *users: str) -> None:
        for user in users:
            self.presence.enter(user)

    def exit(self, *users: str) -> None:
        for user in users:
            self.presence.exit(user)

    def away(self, user: str, text: str | None = "") -> None:
        self.circumstances.set_away(user, text, [self.presence])

    def typing(self, user: str) -> None:
        self.presence.typing(user, cast("Subscription", None))

    def page(self, after: str | None = None, limit: int = 1000) -> list[str]:
        return self.presence.page(after, limit)[0]

    def heard(self, seconds: float = INTERVAL_S) -> list[dict[str, Any]]:
        """What was announced since the last time, when so much time has passed."""
        self.loop.advance(seconds)
        heard, self.announcements = self.announcements, []
        return heard


def presence(members: int, **fields: Any) -> dict[str, Any]:
    return {"type": "presence", "room": "lobby", "joined": [], "left": [], "members": members} | fields


@pytest.fixture
def lobby() -> Members:
    """Alice, bob and carol have been in there for a while."""
    members = Members()
    members.enter("alice", "bob", "carol")
    members.heard(10)
    return members


# Away and back


def test_who_is_away_is_announced_with_what_was_said(lobby: Members) -> None:
    lobby.away("bob", "at lunch")
    lobby.away("carol")
    assert lobby.heard() == [presence(3, away={"bob": "at lunch", "carol": ""})]


def test_who_is_back_is_announced(lobby: Members) -> None:
    lobby.away("bob", "at lunch")
    lobby.heard()
    lobby.away("bob", None)
    assert lobby.heard() == [presence(3, back=["bob"])]


def test_another_text_is_announced(lobby: Members) -> None:
    lobby.away("bob", "at lunch")
    lobby.heard()
    lobby.away("bob", "asleep")
    assert lobby.heard() == [presence(3, away={"bob": "asleep"})]


def test_who_is_away_and_back_between_two_announcements_is_not_announced(lobby: Members) -> None:
    lobby.away("alice")
    lobby.heard(0)
    lobby.away("bob", "at lunch")
    lobby.away("bob", None)
    assert lobby.heard(3 * INTERVAL_S) == []


def test_the_same_again_is_not_announced(lobby: Members) -> None:
    lobby.away("bob", "at lunch")
    lobby.heard()
    lobby.away("bob", "at lunch")
    assert lobby.heard() == []
    lobby.away("alice", None)
    assert lobby.heard() == []


def test_who_joins_while_away_is_announced_as_both(lobby: Members) -> None:
    lobby.away("dave", "driving")
    assert lobby.heard() == []
    lobby.enter("dave")
    assert lobby.heard() == [presence(4, joined=["dave"], away={"dave": "driving"})]


def test_who_leaves_while_away_has_left_and_nothing_else(lobby: Members) -> None:
    lobby.away("bob")
    lobby.heard()
    lobby.exit("bob")
    lobby.away("bob", None)
    assert lobby.heard() == [presence(2, left=["bob"])]


def test_who_comes_back_at_once_but_is_not_away_any_more_is_back(lobby: Members) -> None:
    lobby.away("bob")
    lobby.heard()
    lobby.exit("bob")
    lobby.away("bob", None)
    lobby.enter("bob")
    assert lobby.heard() == [presence(3, back=["bob"])]


# Who was shown what


def test_who_was_seen_on_a_page_in_between_is_said_to_have_left(lobby: Members) -> None:
    lobby.away("alice")
    lobby.heard(0)
    lobby.enter("dave")
    assert lobby.page() == ["alice", "bob", "carol", "dave"]
    lobby.exit("dave")
    assert lobby.heard() == [presence(3, left=["dave"])]


def test_who_was_not_seen_on_a_page_in_between_is_said_to_be_there(lobby: Members) -> None:
    lobby.away("alice")
    lobby.heard(0)
    lobby.exit("bob")
    assert lobby.page() == ["alice", "carol"]
    lobby.enter("bob")
    assert lobby.heard() == [presence(3, joined=["bob"])]


def test_a_page_before_a_change_has_no_part_in_it(lobby: Members) -> None:
    lobby.away("alice")
    lobby.heard(0)
    lobby.page()
    lobby.enter("dave")
    lobby.exit("dave")
    assert lobby.heard() == []


class Client:
    """Applies announcements to what a page gave, as docs/protocol.md says."""

    def __init__(self) -> None:
        self.names: set[str] | None = None
        self.away: dict[str, str] = {}

    def read(self, names: list[str], away: dict[str, str]) -> None:
        self.names = set(names)
        self.away = dict(away)

    def hear(self, event: dict[str, Any]) -> None:
        if event.get("partial"):
            self.names = None
        if self.names is None:
            return
        self.names |= {*event["joined"]}
        self.names -= {*event["left"]}
        for user in itertools.chain(event["joined"], event["left"], event.get("back", ())):
            self.away.pop(user, None)
        self.away |= event.get("away", {})


USERS = [f"user-{i}" for i in range(7)]
STEPS = st.one_of(
    st.tuples(st.just("enter"), st.sampled_from(USERS)),
    st.tuples(st.just("exit"), st.sampled_from(USERS)),
    st.tuples(st.just("away"), st.sampled_from(USERS), st.sampled_from([None, "", "lunch"])),
    st.tuples(st.just("page"), st.integers(0, 2)),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.3, 1.0, 3.0])),
)


@settings(max_examples=300)
@given(st.lists(STEPS, max_size=60), st.integers(0, 8), st.sampled_from([0.0, 2.0]))
def test_who_applies_announcements_to_a_page_is_right_after_each(
    steps: list[tuple[Any, ...]], names: int, per_s: float
) -> None:
    members = Members(presence_names=names, presence_per_s=per_s)
    members.enter("regular")
    clients = [Client() for _ in range(3)]
    connections: list[str] = []
    truths: list[tuple[dict[str, Any], set[str], dict[str, str]]] = []

    def announce(body: bytes, hidden_from: Subscription | None = None) -> None:
        there = {*members.presence.members}
        truths.append((orjson.loads(body), there, members.presence.away([*there])))

    members.announce = announce  # type: ignore[method-assign]
    for step in [*steps, ("wait", 20.0)]:
        match step:
            case "enter", user:
                members.enter(user)
                connections.append(user)
            case "exit", user if user in connections:
                members.exit(user)
                connections.remove(user)
                if user not in connections:
                    members.away(user, None)
            case "away", user, text if user in connections:
                members.away(user, text)
            case "page", index:
                page = members.page()
                clients[index].read(page, members.presence.away(page))
            case "wait", seconds:
                members.loop.advance(seconds)
        for event, there, away in truths:
            assert event["members"] == len(there)
            for client in clients:
                client.hear(event)
                if client.names is not None:
                    assert (client.names, client.away) == (there, away)
        truths.clear()
    # Nothing has been kept to itself: who knows names knows all of them.
    for client in clients:
        if client.names is not None and members.presence.named:
            assert client.names == {*members.presence.members}


# Large rooms


def test_a_large_room_is_counted(lobby: Members) -> None:
    lobby.circumstances.settings.presence_names = 3
    lobby.enter("dave")
    assert lobby.heard() == [presence(4, partial=True)]


def test_a_large_room_in_which_nothing_has_changed_in_the_end_is_told_nothing(lobby: Members) -> None:
    lobby.circumstances.settings.presence_names = 3
    lobby.enter("dave")
    lobby.heard()
    lobby.exit("dave")
    lobby.enter("eve")
    assert lobby.heard(5) == []


def test_a_large_room_hears_of_nobody_who_is_away(lobby: Members) -> None:
    lobby.circumstances.settings.presence_names = 2
    lobby.enter("dave")
    lobby.heard()
    lobby.away("bob")
    assert lobby.heard(5) == []


def test_a_room_that_is_small_again_is_told_names_again(lobby: Members) -> None:
    lobby.circumstances.settings.presence_names = 3
    lobby.enter("dave")
    lobby.heard()
    lobby.exit("dave", "alice")
    assert lobby.heard() == [presence(2, left=["dave", "alice"])]


@pytest.mark.parametrize("members", [1_000, 5_000, 20_000])
def test_the_larger_a_room_the_more_rarely_it_is_counted(members: int) -> None:
    lobby = Members()
    lobby.enter(*(f"user-{i}" for i in range(members)))
    lobby.heard(1000)
    for i in range(members // 100):
        lobby.enter(f"late-{i}")
        lobby.heard(10)
    span_s = members // 100 * 10
    lobby.loop.advance(100)
    # At most 1,000 events a second over all members, and one more at the beginning.
    assert lobby.deliveries <= (span_s + 100) * 1000 + 4 * members


def test_a_large_room_that_empties_is_told_in_time() -> None:
    lobby = Members(presence_per_s=10)
    lobby.enter(*(f"user-{i}" for i in range(500)))
    lobby.heard(0)
    lobby.exit(*(f"user-{i}" for i in range(1, 500)))
    assert lobby.heard(2 * INTERVAL_S) == [presence(1, partial=True)]


def deliveries_of_joins(users: int, seconds: float) -> int:
    """How many presence events are sent when so many join an empty room, evenly over the time."""
    lobby = Members()
    for i in range(users):
        lobby.enter(f"user-{i}")
        lobby.loop.advance(seconds / users)
    lobby.loop.advance(60)
    assert lobby.announcements[-1]["members"] == users
    return lobby.deliveries


@pytest.mark.parametrize("seconds", [0.1, 1, 10])
def test_the_events_of_a_herd_that_joins_grow_no_faster_than_the_herd(seconds: float) -> None:
    few, many = deliveries_of_joins(1_000, seconds), deliveries_of_joins(10_000, seconds)
    assert many <= 10 * few * 1.05
    assert many <= 10_000 * 12


# Typing


def test_typing_says_when_it_expires(lobby: Members) -> None:
    lobby.typing("bob")
    assert lobby.heard(0) == [{"type": "typing", "room": "lobby", "from": "bob", "expires_in_ms": 6000}]


def test_typing_again_within_two_seconds_is_dropped(lobby: Members) -> None:
    for _ in range(4):
        lobby.typing("bob")
    assert len(lobby.heard(TYPING_REPEAT_S - 0.01)) == 1
    lobby.typing("bob")
    assert lobby.heard(0.01) == []
    lobby.typing("bob")
    assert len(lobby.heard()) == 1


def test_each_types_for_himself(lobby: Members) -> None:
    for user in ("alice", "bob", "alice", "bob"):
        lobby.typing(user)
    assert [event["from"] for event in lobby.heard()] == ["alice", "bob"]


def test_in_a_large_room_nobody_hears_of_typing(lobby: Members) -> None:
    lobby.circumstances.settings.presence_names = 2
    lobby.typing("bob")
    assert lobby.heard() == []


def test_who_has_left_may_say_so_at_once_when_back(lobby: Members) -> None:
    lobby.typing("bob")
    lobby.exit("bob")
    lobby.enter("bob")
    lobby.typing("bob")
    assert [event["type"] for event in lobby.heard(0)] == ["typing", "typing"]


# Rooms that tell nobody who is there


def test_a_room_that_is_not_announced_tells_of_receipts_and_typing_alone() -> None:
    pair = Members(announced=False)
    pair.ring.head_seq = 5
    pair.enter("alice", "bob")
    pair.away("bob")
    pair.presence.acknowledge("alice", 3)
    pair.typing("bob")
    pair.exit("bob")
    assert [event["type"] for event in pair.heard(10)] == ["typing", "receipt"]
    assert pair.page() == ["alice"]


# Pages and samples


def members_of(count: int) -> tuple[Members, list[str]]:
    lobby = Members()
    names = [f"{'Ua'[i % 2]}ser-{i}" for i in range(count)]
    lobby.enter(*names)
    return lobby, sorted(names, key=str.casefold)


@pytest.mark.parametrize("count", [1, 5, 128, 129, 1000])
@pytest.mark.parametrize("limit", [1, 7, 100])
def test_pages_have_all_names_once_and_in_order(count: int, limit: int) -> None:
    lobby, names = members_of(count)
    read: list[str] = []
    more = True
    while more:
        page, more = lobby.presence.page(read[-1] if read else None, limit)
        assert len(page) == limit or not more
        read += page
    assert read == names


def test_a_cursor_need_not_be_there_any_more() -> None:
    lobby, names = members_of(300)
    after = names[120]
    lobby.page(None, 10)
    lobby.exit(after)
    assert lobby.page(after, 2) == names[121:123]
    assert lobby.page("zzz", 10) == []


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 300)), max_size=300), st.booleans())
def test_pages_are_right_while_members_come_and_go(steps: list[tuple[bool, int]], asked: bool) -> None:
    lobby, _ = members_of(200)
    lobby.page(None, 1)
    for comes, number in steps:
        user = f"late-{number}"
        if comes and user not in lobby.presence.members:
            lobby.enter(user)
        elif not comes and user in lobby.presence.members:
            lobby.exit(user)
        if asked:
            lobby.page("late", 1)
    assert lobby.page() == sorted(lobby.presence.members, key=str.casefold)[:1000]


@pytest.mark.parametrize(("size", "expected"), [(1, 1), (20, 20), (300, 300), (1000, 300)])
def test_a_sample_has_different_members_in_order(size: int, expected: int) -> None:
    lobby, _ = members_of(300)
    sample = lobby.presence.sample(size)
    assert len({*sample}) == len(sample) == expected
    assert {*sample} <= {*lobby.presence.members}
    assert sample == sorted(sample, key=str.casefold)


def test_samples_differ() -> None:
    lobby, names = members_of(300)
    seen = {name for _ in range(200) for name in lobby.presence.sample(10)}
    assert len(seen) > 250
    assert seen <= {*names}


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that had to be compared with others."""
    names: list[str] = []

    def order(name: str) -> str:
        names.append(name)
        return name.casefold()

    monkeypatch.setattr("fastchat.roster.order", order)
    return names


def test_a_page_of_a_large_room_does_not_sort_it_again(looked_at: list[str]) -> None:
    lobby, names = members_of(5000)
    lobby.page(None, 10)
    assert len(looked_at) >= 5000
    looked_at.clear()
    assert lobby.page(names[2500], 100) == names[2501:2601]
    lobby.presence.sample(5)
    lobby.enter("late")
    lobby.exit("late")
    assert 0 < len(looked_at) < 100


def test_names_are_not_kept_in_order_for_nobody(looked_at: list[str]) -> None:
    lobby, names = members_of(500)
    lobby.page(None, 10)
    for i in range(600):
        lobby.enter(f"late-{i}")
        lobby.exit(f"late-{i}")
    looked_at.clear()
    lobby.enter("later")
    assert looked_at == []
    assert lobby.page(None, 2) == names[:2]
