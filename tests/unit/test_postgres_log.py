"""Other nodes' messages wait for an own commit that is under way, never for long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from fastchat._ring import Ring
from fastchat.messages import Code, WireError
from fastchat.store.interface import Draft, Facts, Kind, Stored
from fastchat.store.postgres.batch import Append, RoomState
from fastchat.store.postgres.connection import Reader
from fastchat.store.postgres.log import BUS_WAIT_S, HOLD_S, PostgresLog
from fastchat.store.postgres.reading import RoomFound
from fastchat.store.postgres.writer import Writer
from tests.fakes import FakeLoop
from tests.pump import message

ROOM = "lobby"


class Home:
    """A store whose commits end when the test says so. Also the room that follows the log."""

    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.writer = cast("Writer", self)
        self.reader = cast("Reader", Asked())
        self.submitted: list[Append] = []
        self.told: list[tuple[int, str]] = []
        """``seq`` and who has stored it, in order."""
        self.log = PostgresLog(self, RoomState(ROOM, "epoch", 0, 1, 0), RoomFound("epoch", 0, 1, 0, {}))
        self.log.attach(Ring(1 << 16), self)

    def submit(self, append: Append) -> None:
        self.submitted.append(append)

    def attach(self, log: PostgresLog) -> None:
        pass

    def later(self, delay_s: float, callback: Callable[[], object]) -> None:
        self.loop.call_later(delay_s, callback)

    # The room

    def on_foreign(self, stored: Stored) -> None:
        self.told.append((stored.seq, "another"))

    def on_facts(self, facts: Facts) -> None:
        pass

    def on_lost(self) -> None:
        raise AssertionError

    # What the test does

    def say(self) -> None:
        """Somebody here has said something."""
        self.log.append(message("hello"), self._on_answer)

    def _on_answer(self, answer: Stored | WireError) -> None:
        if isinstance(answer, Stored) and answer.body is not None:
            self.told.append((answer.seq, "own"))

    def commit(self, seq: int) -> None:
        """The oldest own message is stored under this number."""
        append = self.submitted.pop(0)
        draft = cast("Draft", append.draft)
        self.log.on_stored(Stored(seq, draft.at_ms, draft.encode(ROOM, seq)), append.done)

    def hear(self, *seqs: int, kind: Kind = Kind.MESSAGE) -> None:
        """Another node has stored these."""
        for seq in seqs:
            self.log.receive(seq, Draft(kind, "bob", 1000, {"text": "hi"}).encode(ROOM, seq))


class Asked:
    """A reader that never answers."""

    def __init__(self) -> None:
        self.count = 0

    def submit(self, query: object, done: Callable[[Any], None]) -> None:
        self.count += 1


@pytest.fixture
def home() -> Iterator[Home]:
    home = Home()
    yield home
    # Whatever has happened, nothing waits for ever, and nothing is asked for that is there.
    home.loop.advance(1)
    assert [seq for seq, _ in home.told] == list(range(1, len(home.told) + 1))
    assert cast("Asked", home.reader).count == 0
    assert home.loop.timers == 0


def test_what_is_heard_is_told_at_once_where_nothing_is_under_way(home: Home) -> None:
    home.hear(1)
    assert home.told == [(1, "another")]
    home.say()
    home.commit(2)
    home.hear(3)
    assert home.told == [(1, "another"), (2, "own"), (3, "another")]


def test_what_is_heard_meanwhile_is_told_with_the_own_commit(home: Home) -> None:
    home.say()
    home.say()
    home.hear(1, 2)
    assert home.told == []
    home.commit(3)
    assert home.told == [(1, "another"), (2, "another"), (3, "own")]
    home.hear(4)  # the second one is still under way
    home.commit(5)
    assert home.told[3:] == [(4, "another"), (5, "own")]


def test_nobody_waits_for_long_for_a_commit_that_does_not_end(home: Home) -> None:
    home.say()
    home.hear(1)
    home.loop.advance(HOLD_S * 0.9)
    assert home.told == []
    home.loop.advance(HOLD_S * 0.1)
    assert home.told == [(1, "another")]
    home.hear(2)  # the next one waits as long
    home.loop.advance(HOLD_S)
    assert home.told == [(1, "another"), (2, "another")]


def test_what_waits_for_the_next_commit_has_a_time_of_its_own(home: Home) -> None:
    home.say()
    home.say()
    home.hear(1)
    home.commit(2)
    home.loop.advance(HOLD_S / 2)
    home.hear(3)
    home.loop.advance(HOLD_S / 2)  # the first one's time is over, the other's is not
    assert home.told == [(1, "another"), (2, "own")]
    home.loop.advance(HOLD_S)
    assert home.told[2:] == [(3, "another")]


def test_a_refusal_ends_the_wait(home: Home) -> None:
    home.say()
    home.hear(1)
    home.submitted.pop().done(WireError(Code.UNAVAILABLE, "the disk is full"))
    assert home.told == [(1, "another")]


def test_a_refusal_of_one_leaves_the_others_to_wait_for(home: Home) -> None:
    home.say()
    home.say()
    home.hear(1)
    home.submitted.pop().done(WireError(Code.UNAVAILABLE, "say it again"))
    assert home.told == []
    home.commit(2)
    assert home.told == [(1, "another"), (2, "own")]


def test_what_an_own_commit_waits_for_is_not_held(home: Home) -> None:
    """The database has answered before the bus has brought what was stored in between."""
    home.say()
    home.commit(3)
    assert home.told == []
    home.hear(1)
    assert home.told == [(1, "another")]
    home.hear(2)
    assert home.told == [(1, "another"), (2, "another"), (3, "own")]


@pytest.mark.parametrize("kind", [Kind.MODERATED, Kind.EDITED, Kind.DELETED])
def test_only_messages_wait_and_nothing_behind_them(home: Home, kind: Kind) -> None:
    home.say()
    home.hear(1)
    home.hear(2, kind=kind)
    assert home.told == [(1, "another"), (2, "another")]


def test_what_is_heard_twice_leaves_nothing_behind(home: Home) -> None:
    home.hear(1, kind=Kind.MODERATED)
    home.say()
    home.hear(2)
    home.hear(2, 1)
    home.hear(1, kind=Kind.MODERATED)  # nothing is held any more
    assert home.told == [(1, "another"), (2, "another")]
    home.commit(3)
    assert home.told[2:] == [(3, "own")]


def test_what_is_missing_behind_what_is_held_is_read() -> None:
    home = Home()
    home.say()
    home.hear(1, 3)
    home.commit(4)
    assert home.told == [(1, "another")]
    home.loop.advance(BUS_WAIT_S)
    assert cast("Asked", home.reader).count == 1
