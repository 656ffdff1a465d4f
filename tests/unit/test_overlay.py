"""What a store has not stored yet is part of its answers."""

from collections.abc import Callable
from typing import Any

from fastchat.messages import Code, WireError
from fastchat.store.interface import Account, Direct
from fastchat.store.overlay import Overlay
from fastchat.store.unsaved import Numbers

AWAY = WireError(Code.UNAVAILABLE, "the disk is full")


class Store:
    """Has stored nothing yet; ``answers`` are what it gave."""

    def __init__(self) -> None:
        self.overlay = Overlay(self.submit, self.submit)
        self.waiting: list[tuple[Numbers[Any], Callable[[WireError | None], None]]] = []
        self.answers: list[Any] = []

    def submit(self, take: Numbers[Any], done: Callable[[WireError | None], None]) -> None:
        self.waiting.append((take, done))

    def refuse(self) -> None:
        waiting, self.waiting = self.waiting, []
        for take, done in waiting:
            take()
            done(AWAY)


def test_an_account_was_seen_when_it_was_seen_last() -> None:
    store = Store()
    store.overlay.unsaved_seen.add({"alice": 5, "bob": 5})
    alice, bob, carol = (
        Account(key, key, seen_at_ms=seen) for key, seen in (("alice", 3), ("bob", 7), ("carol", 1))
    )
    store.overlay.account(store.answers.append)(alice)
    store.overlay.accounts(store.answers.append)([alice, bob, carol])
    now = Account("alice", "alice", seen_at_ms=5)
    assert store.answers == [now, [now, bob, carol]]


def test_rooms_of_two_are_read_as_far_as_they_were_marked() -> None:
    store = Store()
    store.overlay.unsaved_marks.add({("alice", "@alice,bob"): 5, ("alice", "@alice,carol"): 5})
    store.overlay.unsaved_marks.add({("bob", "@alice,dave"): 9})
    rooms = [
        Direct(f"@alice,{other}", 9, cursor) for other, cursor in (("bob", 3), ("carol", 7), ("dave", 1))
    ]
    store.overlay.directs("alice", store.answers.append)(rooms)
    assert [direct.cursor for direct in store.answers[0]] == [5, 7, 1]


def test_marks_are_those_of_the_moment_when_they_were_asked_for() -> None:
    store = Store()
    store.overlay.unsaved_marks.add({("alice", "lobby"): 5, ("alice", "club"): 2, ("bob", "attic"): 9})
    answer = store.overlay.marks("alice", ["lobby", "club", "attic"], store.answers.append)
    store.overlay.unsaved_marks.add({("alice", "lobby"): 6, ("alice", "attic"): 6})
    answer({"club": 4, "attic": 1})
    assert store.answers == [{"lobby": 5, "club": 4, "attic": 1}]


def test_what_the_store_refuses_is_refused() -> None:
    store = Store()
    store.overlay.unsaved_seen.add({"alice": 5})
    store.overlay.unsaved_marks.add({("alice", "lobby"): 5})
    store.overlay.account(store.answers.append)(AWAY)
    store.overlay.accounts(store.answers.append)(AWAY)
    store.overlay.directs("alice", store.answers.append)(AWAY)
    store.overlay.marks("alice", ["lobby"], store.answers.append)(AWAY)
    assert store.answers == [AWAY] * 4


def test_both_are_tried_again() -> None:
    store = Store()
    store.overlay.unsaved_seen.add({"alice": 5})
    store.overlay.unsaved_marks.add({("alice", "lobby"): 5})
    store.refuse()
    store.overlay.save()
    assert [dict(take()) for take, _ in store.waiting] == [{("alice", "lobby"): 5}, {"alice": 5}]
