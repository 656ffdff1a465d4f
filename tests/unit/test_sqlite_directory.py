"""Accounts and the audit log in the file: shared reads, failed commits, bounds; and what stays out of it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fastchat.messages import Code, WireError
from fastchat.store import Account, AuditEntry, Retention, Store, back_up, open_store, shared
from fastchat.store.interface import AUDIT_KEPT
from fastchat.store.sqlite import accounts, audit
from fastchat.store.sqlite.schema import connect
from fastchat.store.sqlite.upkeep import Upkeep
from tests.faulty_sqlite import Faults, inject
from tests.pump import OpenRoom, Pump, moderate, search
from tests.stores import NOW_MS, open_sqlite

ALICE = Account("Alice", "alice", password="$argon2id$…", subject="7")
ENTRY = AuditEntry(1, "root", "user_add", target="alice")
LOST = pytest.mark.parametrize("lost", [True, False], ids=["lost", "kept by the file"])


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return inject(monkeypatch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@pytest.fixture
def people(path: Path, faults: Faults) -> Iterator["People"]:
    people = People(path)
    yield people
    people.store.close()


class People:
    """A store in a file, asked one thing after the other."""

    def __init__(self, path: Path) -> None:
        self.pump = Pump()
        self.store = open_sqlite(path, self.pump)

    def add(self, account: Account) -> WireError | None:
        error = self.pump.answer(partial(self.store.add_account, account))
        assert error is None or isinstance(error, WireError)
        return error

    def find(self, key: str) -> Any:
        return self.pump.answer(partial(self.store.account, key))

    def change(self, key: str, /, **changes: Any) -> Any:
        return self.pump.answer(partial(self.store.change_account, key, changes))

    def record(self, entry: AuditEntry) -> WireError | None:
        error = self.pump.answer(partial(self.store.record, entry))
        assert error is None or isinstance(error, WireError)
        return error

    def audit(self) -> list[AuditEntry]:
        return [entry for _, entry in self.pump.answer(partial(self.store.audit, 0, 1000))]

    def recover(self) -> None:
        """Returns when the store can write again, and what waited for that is in the file."""
        while self.store.problem is not None:
            self.pump.turn()
        search(self.store, self.pump, "anything")


def in_the_file(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_accounts_are_there_after_a_restart(people: People, path: Path) -> None:
    assert not people.store.has_accounts
    people.add(ALICE)
    people.record(ENTRY)
    people.store.close()
    again = People(path)
    assert again.store.has_accounts
    assert (again.find("alice"), again.audit()) == (ALICE, [ENTRY])
    again.store.close()


def test_there_may_be_accounts_from_the_first_attempt_on(people: People) -> None:
    people.store.add_account(ALICE, lambda error: None)
    assert people.store.has_accounts


# Many at once


def ask_for_all(people: People, keys: list[str]) -> list[Any]:
    answers: list[Any] = ["nothing yet"] * len(keys)
    for number, key in enumerate(keys):
        people.store.account(key, partial(answers.__setitem__, number))
    while "nothing yet" in answers:
        people.pump.turn()
    return answers


def test_who_asks_while_a_read_is_under_way_shares_the_next_one(
    people: People, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = [Account(f"user-{number}", f"user-{number}") for number in range(10)]
    for account in known:
        people.add(account)
    keys = [f"user-{number % 20}" for number in range(100)]
    expected = [known[number % 20] if number % 20 < 10 else None for number in range(100)]
    faults.watched = "SELECT json_group_array"
    assert ask_for_all(people, keys) == expected
    assert 0 < len(faults.statements) < 100
    monkeypatch.setattr(shared, "QUESTIONS_MAX", 3)
    assert ask_for_all(people, keys) == expected


def test_all_who_ask_a_closed_store_are_told(people: People) -> None:
    people.store.close()
    assert all(isinstance(answer, WireError) for answer in ask_for_all(people, ["alice", "bob"] * 5))
    assert isinstance(people.add(ALICE), WireError)
    assert isinstance(people.change("alice", disabled=True), WireError)
    assert isinstance(people.record(ENTRY), WireError)


def test_a_user_of_very_many_rooms_of_two_is_told_of_the_newest(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        OpenRoom(people.store, people.pump, f"@alice,user-{number}").say("hi", at_ms=number)
    query = accounts._DIRECTS.replace(f"LIMIT {accounts.DIRECTS_MAX}", "LIMIT 3")
    assert query != accounts._DIRECTS
    monkeypatch.setattr(accounts, "_DIRECTS", query)
    found = people.pump.answer(partial(people.store.directs, "alice"))
    assert [direct.room for direct in found] == ["@alice,user-4", "@alice,user-3", "@alice,user-2"]


# Failed commits


@LOST
def test_an_account_that_was_not_stored_is_not_there_later(
    people: People, path: Path, faults: Faults, lost: bool
) -> None:
    faults.arm(lost=lost)
    for _ in range(3):
        error = people.add(ALICE)
        assert error is not None
        assert error.code is Code.UNAVAILABLE
    faults.disarm()
    people.recover()
    assert people.find("alice") is None
    assert people.add(ALICE) is None
    assert people.add(ALICE) is not None
    people.store.close()
    assert in_the_file(path, "SELECT key FROM accounts") == [("alice",)]


@LOST
@pytest.mark.parametrize(
    "changes", [{"password": "new", "valid_from_ms": 9}, {"key": "al", "name": "Al"}, {"subject": "8"}]
)
def test_a_change_that_was_not_stored_changes_nothing(
    people: People, faults: Faults, lost: bool, changes: dict[str, Any]
) -> None:
    people.add(ALICE)
    faults.arm(lost=lost)
    for _ in range(2):
        assert people.change("alice", **changes).code is Code.UNAVAILABLE
    faults.disarm()
    people.recover()
    assert people.find("alice") == ALICE
    assert people.find("al") is None
    assert people.change("alice", **changes) == replace(ALICE, **changes)


@LOST
def test_a_record_that_was_not_stored_is_not_there_later(people: People, faults: Faults, lost: bool) -> None:
    room = OpenRoom(people.store, people.pump)
    people.record(ENTRY)
    faults.arm(lost=lost)
    people.record(replace(ENTRY, at_ms=2))
    room.refuse(moderate("topic", topic="tea"))
    people.record(replace(ENTRY, at_ms=3))
    faults.disarm()
    people.recover()
    assert people.audit() == [ENTRY]
    assert people.record(replace(ENTRY, at_ms=4)) is None
    assert [entry.at_ms for entry in people.audit()] == [4, 1]


@LOST
def test_what_nobody_waits_for_is_stored_later(
    people: People, path: Path, faults: Faults, lost: bool
) -> None:
    people.add(ALICE)
    faults.arm(lost=lost)
    people.store.seen({"alice": 500})
    people.store.note(ENTRY)
    people.store.note(replace(ENTRY, at_ms=2))
    people.record(replace(ENTRY, at_ms=3))
    assert people.find("alice").seen_at_ms == 500
    faults.disarm()
    people.recover()
    people.store.close()
    assert in_the_file(path, "SELECT seen_at_ms FROM accounts") == [(500,)]
    assert sorted(in_the_file(path, "SELECT at_ms FROM audit")) == [(1,), (2,)]


def test_a_full_file(people: People, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people.store.close()
    set_durability = "fastchat.store.sqlite.schema.set_durability"

    def limit(connection: sqlite3.Connection, durability: str) -> None:
        connection.execute(f"PRAGMA synchronous = {durability.upper()}")
        connection.execute("PRAGMA max_page_count = 60")

    with monkeypatch.context() as context:
        context.setattr(set_durability, limit)
        full = People(path)
        room = OpenRoom(full.store, full.pump)
        topics = ["", *(f"{number} " + "x" * 2000 for number in range(60))]
        answers = [room.try_append(moderate("topic", topic=topic)) for topic in topics]
        errors = [answer for answer in answers if isinstance(answer, WireError)]
        assert errors
        stored = len(answers) - len(errors)
        assert full.add(replace(ALICE, password="x" * 20_000)) is not None
        assert full.find("alice") is None
        assert room.facts() == {"topic": topics[stored - 1]}
        full.store.close()
    again = People(path)
    assert OpenRoom(again.store, again.pump).log.facts == {"topic": topics[stored - 1]}
    assert len(again.audit()) == stored
    again.store.close()


# The audit log's bounds


def trim(path: Path, keep: Retention, now_ms: int = NOW_MS) -> list[int]:
    """What is left, by time."""
    upkeep = Upkeep(lambda _: Retention(), lambda: now_ms, keep)
    with closing(connect(path, "normal")) as connection:
        while upkeep.step(connection):
            pass
        return [at_ms for (at_ms,) in connection.execute("SELECT at_ms FROM audit ORDER BY id")]


@pytest.fixture
def long_log(path: Path) -> Path:
    with closing(connect(path, "normal")) as connection:
        for at_ms in range(500):
            audit.add_entry(connection, replace(ENTRY, at_ms=at_ms))
    return path


@pytest.mark.parametrize(
    ("keep", "first"),
    [
        (Retention(), 0),
        (AUDIT_KEPT, 0),
        (Retention(events=500), 0),
        (Retention(events=499), 1),
        (Retention(events=3), 497),
        (Retention(age_s=9.6), 400),
        (Retention(age_s=9.6, events=300), 400),
        (Retention(age_s=9.6, events=50), 450),
    ],
)
def test_the_audit_log_has_bounds(long_log: Path, keep: Retention, first: int) -> None:
    assert trim(long_log, keep) == list(range(first, 500))


def test_the_audit_log_may_end_up_empty(long_log: Path) -> None:
    assert trim(long_log, Retention(age_s=1), NOW_MS + 10_000) == []


def test_a_clock_that_was_wrong_takes_nothing_too_early(path: Path) -> None:
    with closing(connect(path, "normal")) as connection:
        for at_ms in (9000, 0, 9001, 20_000, 9002):
            audit.add_entry(connection, replace(ENTRY, at_ms=at_ms))
    assert trim(path, Retention(age_s=5)) == [9000, 0, 9001, 20_000, 9002]
    assert trim(path, Retention(age_s=5), now_ms=15_000) == [20_000, 9002]


def test_a_running_store_trims_its_audit_log(long_log: Path) -> None:
    pump = Pump()
    store = open_store(f"sqlite://{long_log}", deliver=pump.deliver, audit=Retention(events=2))
    while len(pump.answer(partial(store.audit, 0, 1000))) > 2:
        pass
    store.close()


# What stays out of the file


def test_rooms_of_two_with_a_guest_are_in_memory(path: Path) -> None:
    pump = Pump()
    store: Store = open_store(f"sqlite://{path}", deliver=pump.deliver, durability="normal")
    names = ["@alice,~guest-1", "@~guest-1,~guest-2", "@alice,bob"]
    rooms = [OpenRoom(store, pump, name) for name in names]
    assert [room.log.durable for room in rooms] == [False, False, True]
    for room in rooms:
        room.say("a secret")
        room.set_facts({"blocked alice": True})
    store.mark({("alice", name): 1 for name in names})
    for user, expected in {"alice": ["@alice,bob", "@alice,~guest-1"], "~guest-1": [], "guest-1": []}.items():
        directs = pump.answer(partial(store.directs, user))
        assert [(direct.room, direct.cursor) for direct in directs] == [(name, 1) for name in expected]
    store.close()
    assert in_the_file(path, "SELECT name FROM rooms") == [("@alice,bob",)]
    assert in_the_file(path, "SELECT user FROM directs ORDER BY user") == [("alice",), ("bob",)]


def test_a_backup_has_all_of_it(people: People, path: Path, tmp_path: Path) -> None:
    people.add(ALICE)
    people.record(ENTRY)
    room = OpenRoom(people.store, people.pump, "@alice,bob")
    room.append(moderate("topic", topic="tea"))
    back_up(path, tmp_path / "copy.db")
    copy = People(tmp_path / "copy.db")
    assert copy.find("alice") == ALICE
    assert [entry.action for entry in copy.audit()] == ["topic", "user_add"]
    assert OpenRoom(copy.store, copy.pump, "@alice,bob").log.facts == {"topic": "tea"}
    assert len(copy.pump.answer(partial(copy.store.directs, "bob"))) == 1
    copy.store.close()


def test_an_answer_that_nobody_takes_keeps_no_other_from_coming(people: People) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    answers: list[Any] = []
    for done in (fail, answers.append, fail, answers.append, answers.append):
        people.store.account("alice", done)
    while len(answers) < 3:
        with suppress(ZeroDivisionError):
            people.pump.turn()
    assert answers == [None] * 3
