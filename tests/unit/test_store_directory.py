"""Accounts, rooms of two and the audit log, in each kind of store."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from fastchat.messages import Code, WireError
from fastchat.store import Account, AuditEntry, Direct, Store
from tests.pump import OpenRoom, Pump
from tests.stores import STORES, opened, other_room

ALICE = Account(
    "Alice", "alice", password="$argon2id$…", subject="https://id.example 7", operator=True,
    created_at_ms=1_700_000_000_000,
)  # fmt: skip
BOB = Account("bob", "bob", disabled=True, valid_from_ms=3)


@pytest.fixture(params=STORES)
def room(request: pytest.FixtureRequest) -> Iterator[OpenRoom]:
    with opened(request.param) as room:
        yield room


@pytest.fixture
def people(room: OpenRoom) -> "People":
    return People(room.store, room.pump)


class People:
    """Asks a store and waits for the answer."""

    def __init__(self, store: Store, pump: Pump) -> None:
        self.store = store
        self.pump = pump

    def add(self, *accounts: Account) -> None:
        for account in accounts:
            assert self.pump.answer(partial(self.store.add_account, account)) is None

    def refused(self, account: Account) -> bool:
        error = self.pump.answer(lambda done: self.store.add_account(account, done))
        assert isinstance(error, WireError)
        return (error.code, error.field) == (Code.NAME_TAKEN, "user")

    def find(self, key: str) -> Any:
        return self.pump.answer(lambda done: self.store.account(key, done))

    def find_of(self, subject: str) -> Any:
        return self.pump.answer(lambda done: self.store.account_of(subject, done))

    def change(self, key: str, /, **changes: Any) -> Any:
        return self.pump.answer(lambda done: self.store.change_account(key, changes, done))

    def page(self, after: str = "", limit: int = 100) -> list[Account]:
        return list(self.pump.answer(lambda done: self.store.accounts(after, limit, done)))

    def record(self, *entries: AuditEntry) -> None:
        for entry in entries:
            assert self.pump.answer(partial(self.store.record, entry)) is None

    def audit(self, before: int = 0, limit: int = 100) -> list[tuple[int, AuditEntry]]:
        return list(self.pump.answer(lambda done: self.store.audit(before, limit, done)))

    def directs(self, user: str) -> list[Direct]:
        return list(self.pump.answer(lambda done: self.store.directs(user, done)))


# Accounts


def test_there_is_nobody_at_first(people: People) -> None:
    # Where there are several nodes, another one may add the first account at any time.
    assert people.store.has_accounts == hasattr(people.store, "node")
    assert people.find("alice") is None
    assert people.find_of("alice") is None
    assert people.page() == []


def test_an_account_is_found_by_key_and_by_subject(people: People) -> None:
    people.add(ALICE, BOB)
    assert people.store.has_accounts
    assert people.find("alice") == people.find_of("https://id.example 7") == ALICE
    assert people.find("bob") == BOB
    assert people.find("Alice") is people.find("carol") is people.find_of("") is None


def test_flags_come_back_as_flags(people: People) -> None:
    people.add(ALICE, BOB)
    for account in (people.find("alice"), people.find("bob"), *people.page(), people.change("bob")):
        assert isinstance(account.operator, bool)
        assert isinstance(account.disabled, bool)


def test_what_is_there_is_not_added_again(people: People) -> None:
    people.add(ALICE, BOB)
    assert people.refused(Account("ALICE", "alice"))
    assert people.refused(Account("carol", "carol", subject=ALICE.subject))
    assert people.refused(replace(ALICE, name="other"))
    assert people.page() == [ALICE, BOB]


def test_accounts_without_a_subject_are_many(people: People) -> None:
    people.add(*(Account(name, name) for name in ("a", "b", "c")))
    assert len(people.page()) == 3


def test_the_same_name_twice_at_once_is_one_account(people: People) -> None:
    answers: list[WireError | None] = []
    for password in ("one", "two"):
        people.store.add_account(replace(BOB, password=password), answers.append)
    while len(answers) < 2:
        people.pump.turn()
    first, second = answers
    assert first is None
    assert second is not None
    assert people.find("bob").password == "one"


@pytest.mark.parametrize("text", ["a\0b", "é", "山田", "a'; --", '"', "a\nb", "😀", " "])
def test_keys_and_subjects_are_compared_exactly(people: People, text: str) -> None:
    account = Account(text, text, subject=f"{text}s", password=text)
    people.add(account, Account("a", "a", subject="a"))
    assert people.find(text) == people.find_of(f"{text}s") == account
    assert people.change(text, disabled=True).disabled
    for wrong in (text + " ", text[:-1], f"{text}\0", f"{text}\0x", text + "S"):
        if wrong != "a":
            assert people.find(wrong) is None
            assert people.find_of(wrong) is None


def test_changes(people: People) -> None:
    people.add(ALICE, BOB)
    expected = replace(ALICE, password=None, operator=False, disabled=True, valid_from_ms=99, seen_at_ms=5)
    changed = people.change(
        "alice", password=None, operator=False, disabled=True, valid_from_ms=99, seen_at_ms=5
    )
    assert changed == people.find("alice") == expected
    assert people.find("bob") == BOB
    assert people.change("carol", disabled=True) is None
    assert people.find("carol") is None


def test_a_change_of_the_subject(people: People) -> None:
    people.add(ALICE, BOB)
    assert people.change("bob", subject=ALICE.subject).code is Code.NAME_TAKEN
    assert people.find_of("https://id.example 7") == ALICE
    assert people.change("bob", subject="new").subject == "new"
    assert people.find_of("new") == people.find("bob")
    assert people.change("bob", subject="newer").subject == "newer"
    assert people.find_of("new") is None
    assert people.change("alice", subject=None).subject is None
    assert people.find_of("https://id.example 7") is None
    assert people.change("bob", subject="https://id.example 7").name == "bob"


def test_a_change_of_the_name(people: People) -> None:
    people.add(ALICE, BOB)
    assert people.change("bob", key="alice").code is Code.NAME_TAKEN
    assert people.find("bob") == BOB
    renamed = people.change("bob", name="Robert", key="robert")
    assert renamed == people.find("robert") == replace(BOB, name="Robert", key="robert")
    assert people.find("bob") is None
    people.add(BOB)


def test_what_is_no_field_cannot_be_changed(people: People) -> None:
    people.add(ALICE)
    with pytest.raises(TypeError, match="admin"):
        people.change("alice", admin=True)
    assert people.find("alice") == ALICE


def test_accounts_page_by_page(people: People) -> None:
    accounts = [Account(f"user-{number:02}", f"user-{number:02}") for number in range(25)]
    people.add(*reversed(accounts))
    found: list[Account] = []
    while page := people.page(found[-1].key if found else "", 10):
        assert len(page) <= 10
        found += page
    assert found == accounts
    assert people.page("user-23") == accounts[24:]
    assert people.page("zz") == people.page("", 0) == []


def test_when_somebody_was_last_there(people: People) -> None:
    people.add(ALICE, BOB)
    people.store.seen({"alice": 500, "nobody": 9})
    for at_ms in (700, 600):
        people.store.seen({"alice": at_ms})
        assert people.find("alice").seen_at_ms >= 500
    assert people.find("alice").seen_at_ms == people.find_of(ALICE.subject or "").seen_at_ms == 700
    assert [account.seen_at_ms for account in people.page()] == [700, 0]
    assert people.change("alice", disabled=True).seen_at_ms == 700
    assert people.find("nobody") is None


# The audit log


def test_the_audit_log_is_read_from_its_end(people: People) -> None:
    entries = [AuditEntry(number, "root", "user_add", target=f"user-{number}") for number in range(10)]
    people.record(*entries)
    newest = people.audit(limit=4)
    assert [entry for _, entry in newest] == entries[:5:-1]
    older = people.audit(before=newest[-1][0])
    assert [entry for _, entry in older] == entries[5::-1]
    numbers = [number for number, _ in [*newest, *older]]
    assert numbers == sorted(numbers, reverse=True)
    assert len(set(numbers)) == 10
    assert people.audit(before=numbers[-1]) == people.audit(limit=0) == []


@pytest.mark.parametrize("text", ["", "\0", "a\nb", "😀", '"', "{}"])
def test_an_entry_comes_back_as_it_was(people: People, text: str) -> None:
    entry = AuditEntry(1, text, f"x{text}", text, text, text)
    people.record(entry)
    assert people.audit()[0][1] == entry


# Rooms of two


@pytest.fixture
def pairs(room: OpenRoom) -> list[OpenRoom]:
    """Held, as rooms in memory are forgotten otherwise; the second one has the newest event."""
    pairs = [other_room(room, name) for name in ("@alice,bob", "@alice,carol", "@bob,dave", "@alice,erin")]
    for at_ms, number in enumerate((0, 2, 0, 1, 1, 1)):
        pairs[number].say("hi", at_ms=1000 + at_ms)
    return pairs


def test_rooms_of_two_are_found_by_those_who_are_in_them(people: People, pairs: list[OpenRoom]) -> None:
    assert people.directs("alice") == [Direct("@alice,carol", 3, 0), Direct("@alice,bob", 2, 0)]
    assert people.directs("bob") == [Direct("@alice,bob", 2, 0), Direct("@bob,dave", 1, 0)]
    assert people.directs("carol") == [Direct("@alice,carol", 3, 0)]
    assert people.directs("erin") == people.directs("frank") == people.directs("Alice") == []
    pairs[3].say("at last", at_ms=9000)
    assert [direct.room for direct in people.directs("alice")] == [
        "@alice,erin", "@alice,carol", "@alice,bob"
    ]  # fmt: skip


def test_rooms_of_two_tell_how_far_one_has_read(people: People, pairs: list[OpenRoom]) -> None:
    people.store.mark({("alice", "@alice,carol"): 2, ("carol", "@alice,carol"): 3})
    assert people.directs("alice")[0] == Direct("@alice,carol", 3, 2)
    assert people.directs("carol") == [Direct("@alice,carol", 3, 3)]
    people.store.mark({("alice", "@alice,carol"): 1})
    assert people.directs("alice")[0] == Direct("@alice,carol", 3, 2)


def test_many_who_ask_at_once_get_their_own(people: People, pairs: list[OpenRoom]) -> None:
    users = ["alice", "bob", "carol", "dave", "erin", "nobody"] * 20
    answers: list[Any] = [None] * len(users)
    for number, user in enumerate(users):
        people.store.directs(user, partial(answers.__setitem__, number))
    while None in answers:
        people.pump.turn()
    assert [len(found) for found in answers] == [2, 2, 1, 1, 0, 0] * 20


def test_a_room_without_events_is_told_of_to_who_has_blocked_the_other(
    room: OpenRoom, people: People
) -> None:
    pair = other_room(room, "@alice,bob")
    pair.set_facts({"blocked alice": True})
    assert people.directs("alice") == [Direct("@alice,bob", 0, 0, blocked=True)]
    assert people.directs("bob") == []
    assert pair.facts() == {"blocked alice": True}
