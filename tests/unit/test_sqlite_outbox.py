"""The outbox in a file: over restarts, beside trimming, and when the disk fails."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastchat.messages import Code, WireError
from fastchat.store import Retention
from fastchat.store.sending import Backlog
from fastchat.store.sqlite import SqliteStore, outbox, upkeep
from tests.faulty_sqlite import Faults, inject
from tests.outboxes import Box, notice
from tests.pump import OpenRoom, Pump, message

NOW_MS = 50_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


class Opened:
    """A file with its lobby, opened."""

    def __init__(self, path: Path, *, begin: bool = True, **options: Any) -> None:
        self.pump = Pump()
        self.store = SqliteStore(
            path, deliver=self.pump.deliver, durability="normal", wall_ms=lambda: NOW_MS, **options
        )
        self.lobby = OpenRoom(self.store, self.pump)
        self.box = Box(self.store, self.pump)
        if begin:
            self.box.begin()

    def close(self) -> None:
        self.store.close()
        self.pump.drain()


def recover(opened: Opened) -> None:
    """Returns when the store can write again."""
    while opened.store.problem is not None:
        opened.pump.turn()


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return inject(monkeypatch)


@pytest.fixture
def opened(path: Path, faults: Faults) -> Iterator[Opened]:
    opened = Opened(path)
    yield opened
    opened.close()


def test_what_waits_outlives_the_process(path: Path) -> None:
    first = Opened(path)
    first.lobby.fill(5)
    first.box.notify("came")
    first.box.sent({"lobby": 2})
    first.close()
    second = Opened(path, begin=False)
    second.lobby.say("without a broker")
    second.close()
    third = Opened(path)
    assert third.box.waiting() == {"lobby": [3, 4, 5, 6]}
    assert third.box.bodies() == [notice("came").body]
    assert third.box.backlog() == Backlog(4, 1, 1000, 0)
    third.close()


def test_rooms_made_after_the_beginning_wait_from_their_first_event(path: Path) -> None:
    first = Opened(path)
    first.close()
    second = Opened(path, begin=False)
    OpenRoom(second.store, second.pump, "games").say("hi")
    assert second.box.waiting() == {"games": [1]}
    second.close()


class TestTrimming:
    KEEP = Retention(events=2)

    def trimmed(self, path: Path, monkeypatch: pytest.MonkeyPatch, *, begin: bool) -> Opened:
        """Ten events, of which retention keeps two, and three were sent; trimmed."""
        opened = Opened(path)
        opened.lobby.fill(10)
        opened.box.sent({"lobby": 3})
        opened.close()
        looks: list[str] = []

        def retention(room: str) -> Retention:
            looks.append(room)
            return self.KEEP

        monkeypatch.setattr(upkeep, "TRIM_PASS_S", 0.0)
        opened = Opened(path, begin=begin, retention=retention)
        while len(looks) < 8:
            opened.box.backlog()
        return opened

    def test_what_waits_stays(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        opened = self.trimmed(path, monkeypatch, begin=True)
        assert opened.box.waiting() == {"lobby": [4, 5, 6, 7, 8, 9, 10]}
        assert opened.lobby.replay(0)[0] == 4
        opened.box.sent({"lobby": 10})
        while opened.lobby.log.first < 9:
            opened.box.backlog()
        opened.close()

    def test_without_a_broker_nothing_is_kept_for_it(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened = self.trimmed(path, monkeypatch, begin=False)
        while opened.lobby.log.first < 9:
            opened.box.backlog()
        assert opened.box.waiting() == {"lobby": [9, 10]}
        assert opened.box.backlog().events == 2
        opened.close()


def test_much_waits_but_little_is_taken_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "UNSENT_BYTES", 1000)
    opened = Opened(path)
    opened.lobby.fill(30, "x" * 300)
    seen: list[int] = []
    while waiting := opened.box.waiting():
        assert len(waiting["lobby"]) <= 4
        seen += waiting["lobby"]
        assert opened.box.unsent().more == (seen[-1] < 30)
        opened.box.sent({"lobby": seen[-1]})
    assert seen == [*range(1, 31)]
    opened.close()


def test_of_too_many_notices_the_oldest_are_dropped(path: Path) -> None:
    opened = Opened(path, keep_notices=10)
    for number in range(25):
        opened.box.notify(number)
    assert opened.box.bodies() == [notice(number).body for number in range(15, 25)]
    assert opened.box.backlog() == Backlog(0, 10, NOW_MS, 15)
    opened.close()
    opened = Opened(path, keep_notices=10)
    assert opened.box.backlog().dropped == 15
    opened.close()


LOST = pytest.mark.parametrize("lost", [True, False], ids=["lost", "kept by the file"])


@LOST
def test_what_was_not_stored_is_never_sent(opened: Opened, faults: Faults, lost: bool) -> None:
    opened.lobby.say("one")
    faults.arm(lost=lost)
    assert opened.lobby.refuse(message("two")).code is Code.UNAVAILABLE
    refused = opened.pump.answer(lambda done: opened.box.outbox.unsent(None, 10, done))
    assert isinstance(refused, WireError)
    faults.disarm()
    (events,) = opened.box.unsent().events
    assert [b'"one"' in body for body in events.bodies] == [True]
    opened.lobby.say("three")
    (events,) = opened.box.unsent().events
    assert [b'"three"' in body for body in events.bodies] == [False, True]


@LOST
def test_notices_wait_for_the_disk(opened: Opened, faults: Faults, lost: bool) -> None:
    opened.box.notify("before")
    opened.box.unsent()
    faults.arm(lost=lost)
    opened.box.notify("one", "two")
    while opened.store.problem is None:
        opened.pump.turn()
    opened.box.notify("three")
    faults.disarm()
    recover(opened)
    while len(bodies := opened.box.bodies()) < 4:
        pass
    assert bodies == [notice(each).body for each in ("before", "one", "two", "three")]


def test_while_the_disk_fails_memory_is_bounded(
    opened: Opened, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "NOTICES_HELD", 5)
    faults.arm()
    for number in range(20):
        opened.box.notify(number)
        opened.pump.answer(lambda done: opened.box.outbox.unsent(None, 10, done))
    found = opened.box.backlog()
    assert (found.notices, found.dropped) == (5, 15)
    faults.disarm()
    recover(opened)
    while len(opened.box.bodies()) < 5:
        pass
    assert opened.box.bodies() == [notice(number).body for number in range(15, 20)]


def test_beginning_waits_for_the_disk(path: Path, faults: Faults) -> None:
    opened = Opened(path, begin=False)
    opened.lobby.say("before")
    faults.arm()
    assert isinstance(opened.pump.answer(opened.box.outbox.begin_sending), WireError)
    faults.disarm()
    opened.box.begin()
    opened.lobby.say("after")
    assert opened.box.waiting() == {"lobby": [2]}
    opened.close()


@pytest.mark.parametrize("seed", range(4))
def test_whatever_fails_every_stored_event_is_sent_once_in_order(
    opened: Opened, faults: Faults, seed: int
) -> None:
    choose = random.Random(seed)
    rooms = [opened.lobby, *(OpenRoom(opened.store, opened.pump, name) for name in ("games", "tea"))]
    stored: dict[str, list[bytes]] = {room.name: [] for room in rooms}
    sent: dict[str, list[bytes]] = {room.name: [] for room in rooms}

    def send() -> None:
        found = opened.pump.answer(lambda done: opened.box.outbox.unsent(None, choose.randint(1, 8), done))
        if isinstance(found, WireError):
            return
        heads = {each.room: each.first + len(each.bodies) - 1 for each in found.events}
        result = opened.pump.answer(lambda done: opened.box.outbox.sent(heads, (), done))
        if result is None:
            for events in found.events:
                assert events.first == len(sent[events.room]) + 1
                sent[events.room] += events.bodies

    for _ in range(150):
        turn = choose.random()
        if turn < 0.15:
            faults.arm()
        elif turn < 0.4:
            faults.disarm()
        if turn < 0.7:
            room = choose.choice(rooms)
            answer = room.try_append(message(str(turn)))
            if not isinstance(answer, WireError):
                assert answer.body is not None
                stored[room.name].append(answer.body)
        else:
            send()
    faults.disarm()
    while sent != stored:
        send()
