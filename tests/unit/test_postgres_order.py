"""The order of own and foreign events of a room, whatever a bus does with them."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastchat.store.postgres.log import at_ms_of
from fastchat.store.postgres.order import Order
from tests.pump import message


@given(st.data())
def test_each_is_told_once_and_in_turn(data: st.DataObject) -> None:
    """Any interleaving of own answers and a bus that loses, repeats and reorders; what is missing is read."""
    begin = data.draw(st.integers(0, 3), "begin")
    last = begin + data.draw(st.integers(0, 12), "events")
    seqs = range(begin + 1, last + 1)
    own = data.draw(st.sets(st.sampled_from(seqs)) if seqs else st.just(set[int]()), "own")
    # Own answers come once each, and in order; what the bus brings may be an own event, read meanwhile.
    heard = data.draw(st.lists(st.sampled_from(seqs), max_size=30) if seqs else st.just([]), "heard")
    answers = sorted(own)
    order = Order(begin)
    told: list[int] = []
    answered: dict[int, bool] = {}

    def tell_own(seq: int, new: bool) -> None:
        answered[seq] = new
        if new:
            tell(seq, new)

    def tell(seq: int, new: bool) -> None:
        assert new
        assert order.head == seq
        told.append(seq)

    while answers or heard:
        if answers and (not heard or data.draw(st.booleans(), "own next")):
            seq = answers.pop(0)
            order.add_own(seq, partial(tell_own, seq))
        else:
            seq = heard.pop(0)
            if data.draw(st.booleans(), "held"):
                before = list(told)
                order.hold_foreign(seq, partial(tell, seq))
                assert told == before
            else:
                order.add_foreign(seq, partial(tell, seq))
                assert not order.gap or order.gap[0] == order.head < order.gap[1]
        assert told == list(range(begin + 1, order.head + 1))
    order.expect(last)
    order.release()
    while (gap := order.gap) is not None:
        after, upto = gap
        assert after == order.head < upto <= last
        for seq in range(after + 1, upto + 1):
            order.add_foreign(seq, partial(tell, seq))
    assert told == list(seqs)
    assert sorted(answered) == sorted(own)
    assert order.head == last


def test_whoever_fails_to_take_an_event_holds_up_nobody() -> None:
    order, told = Order(0), list[int]()
    order.add_foreign(2, lambda new: told.append(2))
    with pytest.raises(ZeroDivisionError):
        order.add_foreign(1, lambda new: told.append(1 // 0))
    assert told == [2]
    assert order.head == 2
    assert order.gap is None


def test_an_own_event_that_was_told_as_anothers_is_answered_at_once() -> None:
    order, answers = Order(0), list[bool]()
    order.add_foreign(1, lambda new: None)
    order.add_own(1, answers.append)
    assert answers == [False]


def test_what_is_held_is_no_gap_and_told_with_what_comes_next() -> None:
    order, told = Order(0), list[int]()
    order.hold_foreign(1, lambda new: told.append(1))
    assert (order.head, order.waits, order.gap) == (0, True, None)
    order.add_own(2, lambda new: told.append(2))
    assert (told, order.waits) == ([1, 2], False)
    order.hold_foreign(3, lambda new: told.append(3))
    order.add_own(2, lambda new: None)  # again
    assert told == [1, 2, 3]
    order.hold_foreign(4, lambda new: told.append(4))
    order.hold_foreign(6, lambda new: told.append(6))
    order.release()
    assert told == [1, 2, 3, 4]
    assert order.gap == (4, 5)


@given(st.integers(-5, 2**53), st.text(), st.text(), st.text())
def test_the_time_is_found_in_any_event(at_ms: int, author: str, text: str, id: str) -> None:
    body = message(text, author, at_ms=at_ms, id=id).encode("lobby", 7)
    assert at_ms_of(body) == at_ms


def test_the_time_is_found_where_nothing_follows_it() -> None:
    assert at_ms_of(b'{"type":"message","seq":1,"from":"alice","at":-12}') == -12
