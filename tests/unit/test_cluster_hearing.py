"""What a node hears of another one: whatever the bus does to it, in the end it is what was told."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastchat.cluster.changes import Change, describe, parse, person_of
from fastchat.cluster.hearing import BEGIN, END, Hearing
from fastchat.people import Grant, Role, User


class Told:
    """A node that tells of a set, and what another one has heard of it."""

    def __init__(self, number: int = 0) -> None:
        self.truth: set[int] = set()
        self.number = number
        self.asked: list[tuple[int, int]] = []
        self.hearing = Hearing(number, lambda ask, since: self.asked.append((ask, since)))
        self.known: set[int] = set()
        self.stale: set[int] = set()
        self.lists: dict[int, list[Change]] = {}

    def tell(self, *items: int) -> None:
        """Each is turned over: it comes, or it goes."""
        changes: list[Change] = []
        for item in items:
            self.truth ^= {item}
            changes.append(["+" if item in self.truth else "-", item])
        self.number += 1
        self.lists[self.number] = changes

    def hear(self, *numbers: int) -> None:
        for number in numbers:
            self.hearing.receive_changes(number, self.lists[number])
        self.apply()

    def piece(self, index: int, is_last: bool, items: set[int], ask: int | None = None) -> tuple[Any, ...]:
        """One that tells of those of the items that are there, as of now."""
        ask = self.asked[-1][0] if ask is None else ask
        return ask, index, is_last, self.number, [["+", item] for item in sorted(items & self.truth)]

    def apply(self) -> None:
        while self.hearing.queue:
            change = self.hearing.queue.popleft()
            if change is BEGIN:
                self.stale = set(self.known)
            elif change is END:
                self.known -= self.stale
            elif change[0] == "+":
                self.known.add(change[1])
                self.stale.discard(change[1])
            else:
                self.known.discard(change[1])


def test_lists_are_applied_in_order() -> None:
    told = Told()
    told.tell(1)
    told.tell(2, 1)
    told.hear(1, 2)
    assert (told.known, told.asked) == ({2}, [])


def test_a_repeated_list_changes_nothing() -> None:
    told = Told()
    told.tell(1)
    told.tell(1)
    told.hear(1, 2, 1, 2)
    assert (told.known, told.asked) == (set(), [])


def test_a_hole_has_a_snapshot_asked_for_once() -> None:
    told = Told()
    for item in (1, 2, 3):
        told.tell(item)
    told.hear(1, 3, 3)
    told.hearing.receive_number(3)
    assert (told.known, told.asked) == ({1}, [(1, 1)])


def test_a_snapshot_is_put_in_line_with_what_happens_while_it_is_cut() -> None:
    told = Told()
    told.tell(1, 2, 3)
    told.hearing.receive_number(1)
    first = told.piece(0, False, {1, 2})
    told.tell(1)  # is in the first piece, and gone by the second one
    told.tell(9)
    second = told.piece(1, True, {3, 9})
    told.tell(9)
    told.hearing.receive_piece(*second)
    told.hear(3)
    told.hearing.receive_piece(*first)
    assert not told.hearing.complete
    told.hear(2, 4)
    assert told.known == told.truth == {2, 3}


def test_what_is_not_in_the_snapshot_is_gone() -> None:
    told = Told()
    told.tell(1, 2)
    told.hear(1)
    told.tell(1)
    told.hearing.receive_number(2)
    told.hearing.receive_piece(*told.piece(0, True, {1, 2}))
    told.apply()
    assert told.known == {2}


def test_pieces_of_an_earlier_snapshot_are_none_of_this_one() -> None:
    told = Told()
    told.tell(1)
    told.hearing.receive_number(1)
    old = told.piece(0, True, {1})
    assert told.hearing.request_again()
    told.hearing.receive_piece(*old)
    assert not told.hearing.complete
    told.hearing.receive_piece(*told.piece(0, True, {1}))
    assert told.hearing.complete


def test_a_snapshot_that_moves_is_not_asked_for_again() -> None:
    told = Told()
    told.tell(1, 2)
    told.hearing.receive_number(1)
    told.hearing.receive_piece(*told.piece(0, False, {1}))
    assert not told.hearing.request_again()
    assert told.hearing.request_again()
    assert [ask for ask, _ in told.asked] == [1, 2]
    assert told.hearing.awaits(2)
    assert not told.hearing.awaits(1)


def test_a_hole_behind_a_snapshot_has_another_one_asked_for() -> None:
    told = Told()
    told.tell(1)
    told.hearing.receive_number(1)
    piece = told.piece(0, True, {1})
    told.tell(2)
    told.tell(3)
    told.hear(3)
    told.hearing.receive_piece(*piece)
    told.apply()
    assert told.asked == [(1, 0), (2, 1)]
    assert told.known == {1}


@given(st.data())
def test_in_the_end_it_is_as_it_was_told(data: st.DataObject) -> None:
    told = Told()
    items = st.integers(0, 5)
    waiting: list[tuple[str, Any]] = []
    served = 0
    for _ in range(data.draw(st.integers(1, 30))):
        step = data.draw(st.sampled_from(["tell", "tell", "hear", "hear", "lose", "again", "cut"]))
        if step == "tell":
            told.tell(*data.draw(st.lists(items, min_size=1, max_size=3)))
            waiting.append(("list", told.number))
        elif step == "cut" and len(told.asked) > served:
            served = len(told.asked)
            ask = told.asked[-1][0]
            waiting.append(("piece", told.piece(0, False, {0, 1, 2}, ask)))
            if data.draw(st.booleans()):
                told.tell(data.draw(items))
                waiting.append(("list", told.number))
            waiting.append(("piece", told.piece(1, True, {3, 4, 5}, ask)))
        elif step == "again" and not told.hearing.complete:
            told.hearing.request_again()
        elif waiting and step in ("hear", "lose"):
            kind, what = waiting.pop(data.draw(st.integers(0, len(waiting) - 1)))
            if step == "hear" and kind == "list":
                told.hear(what)
            elif step == "hear":
                told.hearing.receive_piece(*what)
            told.apply()
    for _ in range(3):
        told.hearing.receive_number(told.number)
        if not told.hearing.complete:
            told.hearing.request()
            told.hearing.receive_piece(*told.piece(0, True, set(range(6))))
        told.apply()
    assert told.hearing.complete
    assert told.known == told.truth


# Shapes


@pytest.mark.parametrize(
    "person",
    [
        User("alice"),
        User("bob", guest=False, operator=True),
        User("carol", guest=True, most=Role.READER),
        User("dave", guest=False, grants=(Grant("team-*", Role.MODERATOR),)),
        User("eve", guest=False, grants=()),
    ],
)
def test_a_person_is_told_whole(person: User) -> None:
    change = orjson.loads(orjson.dumps(describe(7, person, {"lobby": 3})))
    assert change[:2] == ["c", 7]
    assert change[4] == {"lobby": 3}
    assert person_of(change) == person


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"nothing",
        b"{}",
        b"[]",
        b'["what",1,[]]',
        b"[[]]",
        b'["changes"]',
        b'["changes",-1,[]]',
        b'["changes",1,{}]',
        b'["changes",1,[[]]]',
        b'["changes",1,["c"]]',
        b'["changes",1,[],2]',
        b'["ask",1,2]',
        b'["ask",1,2,"3"]',
        b'["snapshot",1,0,true,5]',
    ],
)
def test_what_makes_no_sense_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(payload)
