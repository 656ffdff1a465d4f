"""What waits for a broker where rings are all there is."""

import gc

import pytest

from fastchat.store import MemoryStore, outbox
from fastchat.store.outbox import MemoryOutbox
from fastchat.store.sending import Backlog
from tests.outboxes import Box, notice
from tests.pump import OpenRoom, Pump


@pytest.fixture
def box() -> Box:
    box = Box(MemoryStore(), Pump())
    box.begin()
    return box


def open_room(box: Box, name: str = "lobby", ring_bytes: int = 1 << 20) -> OpenRoom:
    return OpenRoom(box.outbox, box.pump, name, ring_bytes)


def test_what_the_ring_has_moved_on_over_is_counted(box: Box) -> None:
    room = open_room(box, ring_bytes=1000)
    for _ in range(50):
        room.say("x" * 100)
    first = room.ring.first_seq
    assert first > 2
    assert box.waiting() == {"lobby": [*range(first, 51)]}
    assert box.backlog() == Backlog(51 - first, 0, 1000, first - 1)


def test_what_waits_outlives_its_room(box: Box) -> None:
    room = open_room(box)
    epoch = room.log.epoch
    room.fill(3)
    del room
    gc.collect()
    (events,) = box.unsent().events
    assert (events.epoch, len(events.bodies)) == (epoch, 3)


def test_a_room_that_has_begun_anew_comes_after_what_it_was(box: Box) -> None:
    open_room(box).fill(3)
    gc.collect()
    again = open_room(box)
    again.fill(2)
    assert box.waiting() == {"lobby": [1, 2, 3]}
    box.sent({"lobby": 3})
    (events,) = box.unsent().events
    assert (events.epoch, events.first, len(events.bodies)) == (again.log.epoch, 1, 2)
    box.sent({"lobby": 2})
    assert box.unsent().events == []


def test_of_too_many_rooms_the_longest_waiting_is_let_go(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "LOGS_HELD", 3)
    for number in range(5):
        open_room(box, f"room{number}").fill(2)
    assert [*box.waiting()] == ["room2", "room3", "room4"]
    assert box.backlog().dropped == 4


def test_of_too_many_notices_the_oldest_are_dropped() -> None:
    box = MemoryOutbox(keep_notices=3)
    box.notify([notice(number) for number in range(5)])
    assert [each.body for each in box.unsent(None, 100).notices] == [
        notice(number).body for number in (2, 3, 4)
    ]
    assert box.backlog().dropped == 2
