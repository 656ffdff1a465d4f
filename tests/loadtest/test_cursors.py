"""A subscriber's seam: what is whole, missing, twice, or said to be gone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.cursors import OwnMessages, RoomCursor, Seam


def joined(head: int = 0) -> RoomCursor:
    room = RoomCursor("lobby")
    room.receive_joined(head, "epoch", reset=False)
    return room


def test_it_follows_from_the_head_on() -> None:
    room = joined(41)
    assert room.caught_up
    assert [room.receive_event(seq) for seq in (42, 43)] == [Seam.WHOLE, Seam.WHOLE]
    assert room.cursor == 43


def test_a_hole_is_told_once_and_counted() -> None:
    room = joined(10)
    assert room.receive_event(14) is Seam.HOLE
    assert room.missing == 3
    assert room.receive_event(15) is Seam.WHOLE


@pytest.mark.parametrize("seq", [1, 9, 10])
def test_a_repeat(seq: int) -> None:
    room = joined(10)
    assert room.receive_event(seq) is Seam.REPEAT
    assert (room.cursor, room.missing) == (10, 0)


def test_lagged_is_no_hole_but_counted() -> None:
    room = joined(10)
    assert room.receive_lagged(11, 20) is Seam.WHOLE
    assert (room.lagged, room.missing, room.cursor) == (10, 0, 20)
    assert room.receive_event(21) is Seam.WHOLE


@pytest.mark.parametrize(
    ("first", "last", "seam", "missing", "lagged"),
    [(13, 20, Seam.HOLE, 2, 8), (5, 20, Seam.REPEAT, 0, 10), (5, 9, Seam.REPEAT, 0, 0)],
)
def test_lagged_that_does_not_join(first: int, last: int, seam: Seam, missing: int, lagged: int) -> None:
    room = joined(10)
    assert room.receive_lagged(first, last) is seam
    assert (room.missing, room.lagged) == (missing, lagged)


def test_after_a_return_it_goes_on_where_it_was() -> None:
    room = joined(10)
    room.receive_event(11)
    room.joined = False
    room.receive_joined(15, "epoch", reset=False)
    assert not room.caught_up
    assert [room.receive_event(seq) for seq in (12, 13, 14, 15)] == [Seam.WHOLE] * 4
    assert room.caught_up


def test_another_log_begins_at_the_beginning() -> None:
    room = joined(10)
    room.receive_joined(2, "another", reset=True)
    assert [room.receive_event(seq) for seq in (1, 2)] == [Seam.WHOLE] * 2
    assert room.caught_up


@given(st.lists(st.integers(1, 30), max_size=40))
def test_every_event_is_got_or_missing_or_before(seqs: list[int]) -> None:
    room, whole = joined(), 0
    for seq in seqs:
        whole += room.receive_event(seq) is not Seam.REPEAT
    assert whole + room.missing == room.cursor == max(seqs, default=0)


def test_an_own_message_comes_once() -> None:
    own = OwnMessages()
    own.send("1", "hi", now=5.0)
    assert own.receive_sent("1", seq=3) == 5.0
    assert own.receive_own("1")
    assert not own.receive_own("1")
    assert own.take_lost(cursor=99) == []


def test_what_was_acknowledged_and_passed_over_is_lost() -> None:
    own = OwnMessages()
    for message_id, seq in (("1", 3), ("2", 4), ("3", 5)):
        own.send(message_id, "hi", now=0.0)
        own.receive_sent(message_id, seq)
    own.receive_own("2")
    own.send("4", "never answered", now=0.0)
    assert own.take_lost(cursor=4) == ["1"]
    assert own.take_lost(cursor=5) == ["3"]


def test_what_has_no_answer_is_said_again_without_its_time() -> None:
    own = OwnMessages()
    for message_id in ("1", "2", "3"):
        own.send(message_id, f"text {message_id}", now=1.0)
    own.receive_sent("2", seq=1)
    assert own.send_again() == [("1", "text 1"), ("3", "text 3")]
    assert own.receive_sent("1", seq=2) is None
    assert own.receive_own("1")


def test_what_was_refused_is_not_waited_for() -> None:
    own = OwnMessages()
    own.send("1", "hi", now=1.0)
    own.drop("1")
    assert own.send_again() == []
    assert own.take_lost(cursor=99) == []
