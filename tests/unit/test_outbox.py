"""What waits for a broker, in each kind of store: the contract of ``Outbox``."""

from collections.abc import Iterator

import orjson
import pytest

from fastchat.store.interface import SLOTS, slot_of
from fastchat.store.outbox import share_out
from fastchat.store.sending import Backlog
from tests.outboxes import Box, notice
from tests.pump import OpenRoom, delete, edit, moderate, react
from tests.stores import STORES, opened, other_room


@pytest.fixture(params=STORES)
def room(request: pytest.FixtureRequest) -> Iterator[OpenRoom]:
    with opened(request.param) as room:
        yield room


@pytest.fixture
def box(room: OpenRoom) -> Box:
    box = Box(room.store, room.pump)
    box.begin()
    return box


def test_nothing_waits_at_first(box: Box) -> None:
    assert box.unsent().events == []
    assert not box.unsent().more
    assert box.backlog() == Backlog(0, 0, 0, 0)


def test_what_was_there_before_does_not_wait(room: OpenRoom) -> None:
    room.say("before")
    box = Box(room.store, room.pump)
    assert box.waiting() == {}
    box.begin()
    assert box.waiting() == {}
    room.say("after")
    assert box.waiting() == {"lobby": [2]}


def test_beginning_again_has_no_effect(room: OpenRoom, box: Box) -> None:
    room.say("hi")
    box.begin()
    assert box.waiting() == {"lobby": [1]}


def test_events_of_every_kind_wait_as_clients_got_them(room: OpenRoom, box: Box) -> None:
    stored = [room.say("hi")]
    stored += [room.append(draft) for draft in (edit(1, "ho"), react(1, "x"), moderate("topic", topic="t"))]
    stored.append(room.append(delete(1)))
    (events,) = box.unsent().events
    assert (events.room, events.epoch, events.first) == ("lobby", room.log.epoch, 1)
    assert [*events.bodies] == [each.body for each in stored]


def test_what_was_sent_does_not_wait_any_more(room: OpenRoom, box: Box) -> None:
    room.fill(5)
    box.sent({"lobby": 3})
    assert box.waiting() == {"lobby": [4, 5]}
    box.sent({"lobby": 5})
    assert box.waiting() == {}
    room.say("more")
    assert box.waiting() == {"lobby": [6]}


def test_a_cursor_never_goes_back_nor_beyond_the_head(room: OpenRoom, box: Box) -> None:
    room.fill(5)
    box.sent({"lobby": 4})
    box.sent({"lobby": 2})
    assert box.waiting() == {"lobby": [5]}
    box.sent({"lobby": 99, "elsewhere": 7})
    room.say("more")
    assert box.waiting() == {"lobby": [6]}


def test_what_was_taken_and_not_sent_comes_again(room: OpenRoom, box: Box) -> None:
    room.fill(3)
    assert box.waiting() == box.waiting() == {"lobby": [1, 2, 3]}


def test_at_most_as_much_as_was_asked_for_and_then_the_rest(room: OpenRoom, box: Box) -> None:
    room.fill(25)
    seen: list[int] = []
    while found := box.unsent(10).events:
        (events,) = found
        assert 0 < len(events.bodies) <= 10
        assert box.unsent(10).more == (events.first + len(events.bodies) <= 25)
        seen += range(events.first, events.first + len(events.bodies))
        box.sent({"lobby": seen[-1]})
    assert seen == [*range(1, 26)]


def test_a_busy_room_does_not_hold_up_the_others(room: OpenRoom, box: Box) -> None:
    others = [other_room(room, f"room{number}") for number in range(6)]
    room.fill(500)
    for other in others:
        other.say("hi")
    seen: set[str] = set()
    for _ in range(4):
        waiting = box.waiting(16)
        seen |= waiting.keys()
        box.sent({name: seqs[-1] for name, seqs in waiting.items()})
        room.fill(16)
    assert seen == {"lobby", *(other.name for other in others)}


def test_events_are_shared_out_by_slots(room: OpenRoom, box: Box) -> None:
    other_room(room, "games").say("hi")
    room.say("hi")
    slot = slot_of("lobby")
    assert slot != slot_of("games")
    assert box.waiting(slots={slot}) == {"lobby": [1]}
    assert box.waiting(slots={*range(SLOTS)} - {slot}) == {"games": [1]}
    assert box.waiting(slots=()) == {}
    assert box.waiting() == {"lobby": [1], "games": [1]}


def test_a_room_of_two_waits_too(room: OpenRoom, box: Box) -> None:
    other_room(room, "@alice,bob").say("psst")
    assert box.waiting() == {"@alice,bob": [1]}


def test_whoever_watches_is_told_of_events_and_notices(room: OpenRoom, box: Box) -> None:
    before = box.told
    room.say("hi")
    box.unsent()
    room.pump.drain()
    assert box.told > before
    box.sent({"lobby": 1})
    before = box.told
    box.notify("came")
    box.unsent()
    room.pump.drain()
    assert box.told > before


class TestNotices:
    def test_they_wait_in_order_until_they_were_sent(self, box: Box) -> None:
        box.notify("one", "two")
        box.notify("three")
        first, second, third = box.unsent().notices
        assert [orjson.loads(each.body)["data"] for each in (first, second, third)] == ["one", "two", "three"]
        assert 0 < first.number < second.number < third.number
        assert first.slot == slot_of("lobby")
        box.sent(notices=[first.number, third.number])
        assert box.unsent().notices == [second]

    def test_bytes_stay_as_they_are(self, box: Box) -> None:
        about = 'λ "quoted" \\ and\nlines '
        box.notify(about)
        assert box.bodies() == [notice(about).body]

    def test_some_at_a_time(self, room: OpenRoom, box: Box) -> None:
        box.notify(*range(40))
        room.fill(40)
        seen: list[int] = []
        while notices := box.unsent(16).notices:
            found = box.unsent(16)
            assert len(found.notices) + sum(len(each.bodies) for each in found.events) <= 17
            assert found.more
            seen += [orjson.loads(each.body)["data"] for each in notices]
            box.sent(notices=[each.number for each in notices])
        assert seen == [*range(40)]

    def test_those_of_other_slots_wait_for_other_nodes(self, box: Box) -> None:
        box.outbox.notify([notice("mine", "lobby"), notice("theirs", "games")])
        (mine,) = box.unsent(slots={slot_of("lobby")}).notices
        assert orjson.loads(mine.body)["data"] == "mine"
        assert box.unsent(slots=()).notices == []

    def test_many_at_once(self, box: Box) -> None:
        box.notify(*range(700))
        assert len(box.unsent(4000).notices) == 700


def test_the_backlog_is_counted(room: OpenRoom, box: Box) -> None:
    room.say("one", at_ms=1234)
    room.say("two", at_ms=5678)
    other_room(room, "games").say("three", at_ms=9999)
    box.notify("came", "went")
    box.unsent()  # waits until they are kept
    found = box.backlog()
    assert (found.events, found.notices, found.dropped) == (3, 2, 0)
    assert found.oldest_ms == 1234
    box.sent({"lobby": 2, "games": 1}, [each.number for each in box.unsent().notices])
    assert box.backlog() == Backlog(0, 0, 0, 0)


@pytest.mark.parametrize(
    ("waiting", "limit", "shares"),
    [
        ([], 5, []),
        ([3, 9, 1], 100, [3, 9, 1]),
        ([100, 2, 100], 12, [5, 2, 5]),
        ([7, 7], 7, [3, 4]),
        ([1] * 4, 4, [1] * 4),
    ],
)
def test_shares(waiting: list[int], limit: int, shares: list[int]) -> None:
    assert share_out(waiting, limit) == shares
