"""Marks that many ask for at once: each gets its own, and they share the reads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastchat.messages import WireError
from fastchat.store import shared
from fastchat.store.sqlite import SqliteStore
from tests.pump import OpenRoom, Pump, message

USERS = 50


class Counter:
    """Stands in for the store's reader and counts what it is asked."""

    def __init__(self, store: SqliteStore) -> None:
        self.reads = 0
        self._submit = store.reader.submit

    def submit(self, query: Callable[..., Any], done: Callable[[Any], None]) -> None:
        self.reads += 1
        self._submit(query, done)


def ask_for_all(store: SqliteStore, pump: Pump) -> list[Any]:
    answers: list[Any] = [None] * USERS

    def keep(number: int) -> Callable[[Any], None]:
        return lambda answer: answers.__setitem__(number, answer)

    for number in range(USERS):
        store.marks(f"user-{number}", ["lobby", "games", "nowhere"], keep(number))
    while None in answers:
        pump.turn()
    return answers


def test_who_asks_while_a_read_is_under_way_shares_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pump = Pump()
    store = SqliteStore(tmp_path / "chat.db", deliver=pump.deliver, durability="normal")
    for name in ("lobby", "games"):
        OpenRoom(store, pump, name).begin_all([message("hi", at_ms=at_ms) for at_ms in range(1, USERS)])
    store.mark({(f"user-{number}", "lobby"): number for number in range(1, USERS)})
    store.mark({(f"user-{number}", "games"): 7 for number in range(1, USERS, 2)})
    expected: list[dict[str, int]] = [
        ({"lobby": number} if number else {}) | ({"games": 7} if number % 2 else {})
        for number in range(USERS)
    ]
    counter = Counter(store)
    monkeypatch.setattr(store.reader, "submit", counter.submit)
    assert ask_for_all(store, pump) == expected
    assert counter.reads < USERS
    monkeypatch.setattr(shared, "QUESTIONS_MAX", 3)
    assert ask_for_all(store, pump) == expected
    store.close()


def test_all_who_ask_a_closed_store_are_told(tmp_path: Path) -> None:
    pump = Pump()
    store = SqliteStore(tmp_path / "chat.db", deliver=pump.deliver, durability="normal")
    store.close()
    assert all(isinstance(answer, WireError) for answer in ask_for_all(store, pump))
