"""What operators may do: accounts, kept rooms, the audit log; and that nobody else may."""

from collections.abc import Mapping
from typing import Any

import pytest

from fastchat.messages import Close
from fastchat.session.operating import COMMANDS, PAGE_ENTRIES
from fastchat.store import Account
from tests.answers import refusal
from tests.parties import Document, Party, Program
from tests.slow_store import SlowStore

PASSWORD = "correct horse battery staple"
ANOTHER = "another horse, another staple"
SHORTEST: Mapping[str, Mapping[str, Any]] = {
    "user_add": {"user": "bob"},
    "user_password": {"user": "alice", "password": PASSWORD},
    "user_disable": {"user": "alice"},
    "user_enable": {"user": "alice"},
    "user_role": {"user": "alice", "operator": True},
    "users": {},
    "room_list": {},
    "audit": {},
}


@pytest.fixture
def party() -> Party:
    return Party()


@pytest.fixture
def operator(party: Party) -> Program:
    """Whoever runs the server; there is an account ``alice``."""
    program = Program(party)
    program.session.serve_operator()
    program.ask("user_add", user="alice", password=PASSWORD)
    return program


def log_in(party: Party, user: str = "alice", password: str = PASSWORD) -> tuple[Program, Document]:
    program = Program(party)
    return program, program.ask("hello", user=user, password=password)


def acts(operator: Program) -> list[tuple[str, str]]:
    """What the audit log has, the newest first."""
    return [(entry["action"], entry["target"]) for entry in operator.ask("audit")["entries"]]


def test_every_command_is_tried_here() -> None:
    assert set(SHORTEST) == set(COMMANDS)


@pytest.mark.parametrize("kind", COMMANDS)
def test_nobody_else_may(party: Party, operator: Program, kind: str) -> None:
    before = operator.ask("users"), operator.ask("audit")
    account, _ = log_in(party)
    for program in (party.program("guest"), account):
        assert program.ask(kind, **SHORTEST[kind]) == refusal("forbidden")
    account.leave_the_server()
    assert (operator.ask("users"), operator.ask("audit")) == before


def test_an_account_that_was_added_can_log_in(party: Party, operator: Program) -> None:
    answer = operator.ask("user_add", user="Bob", password=PASSWORD, operator=True)
    assert answer == {
        "type": "account", "user": "Bob", "password": True, "token": False, "operator": True,
        "disabled": False, "created": party.wall_ms(), "seen": 0, "online": 0,
    }  # fmt: skip
    bob, welcome = log_in(party, "bob")
    assert (welcome["user"], welcome["operator"]) == ("Bob", True)
    assert bob.ask("users")["users"][1]["online"] == 1
    assert acts(operator) == [("user_add", "Bob"), ("user_add", "alice")]


def test_an_account_without_a_password_cannot(party: Party, operator: Program) -> None:
    assert operator.ask("user_add", user="bot")["password"] is False
    _, answer = log_in(party, "bot", "")
    assert answer == refusal("bad_field", "password")
    assert log_in(party, "bot", "x" * 20)[1] == refusal("unauthorized")


@pytest.mark.parametrize("user", ["alice", "ALICE", "operator", "Operator"])
def test_a_name_that_is_taken_is_refused(operator: Program, user: str) -> None:
    assert operator.ask("user_add", user=user, password=PASSWORD) == refusal("name_taken", "user")


def test_nobody_is_called_like_the_operator(party: Party) -> None:
    assert Program(party).ask("hello", user="OPERATOR") == refusal("name_taken", "user")


def test_a_weak_password_is_refused(operator: Program) -> None:
    for kind, user in (("user_add", "bob"), ("user_password", "alice")):
        assert operator.ask(kind, user=user, password="secret")["code"] == "bad_field"


def test_a_new_password_signs_out_everywhere(party: Party, operator: Program) -> None:
    one, _ = log_in(party)
    other, _ = log_in(party)
    guest = party.program("guest", "lobby")
    assert operator.ask("user_password", user="ALICE", password=ANOTHER)["online"] == 0
    for program in (one, other):
        assert program.heard("bye")[0]["code"] == Close.SIGNED_OUT
    assert guest.ask("ping")["type"] == "pong"
    assert log_in(party)[1] == refusal("unauthorized")
    assert log_in(party, password=ANOTHER)[1]["type"] == "welcome"


def test_who_is_disabled_goes_at_once_and_stays_out(party: Party, operator: Program) -> None:
    alice, _ = log_in(party)
    assert operator.ask("user_disable", user="alice")["disabled"] is True
    assert alice.heard("bye")[0]["code"] == Close.DISABLED
    assert log_in(party)[1] == refusal("unauthorized")
    assert Program(party).ask("hello", user="alice") == refusal("name_taken", "user")
    assert operator.ask("user_enable", user="alice")["disabled"] is False
    assert log_in(party)[1]["type"] == "welcome"
    assert acts(operator)[:2] == [("user_enable", "alice"), ("user_disable", "alice")]


def test_a_role_takes_effect_at_once(party: Party, operator: Program) -> None:
    alice, _ = log_in(party)
    operator.ask("user_role", user="alice", operator=True)
    assert alice.ask("users")["type"] == "users"
    operator.ask("user_role", user="alice", operator=False)
    assert alice.ask("users") == refusal("forbidden")
    newest = operator.ask("audit")["entries"][0]
    assert (newest["actor"], newest["detail"]) == ("operator", '{"operator":false}')


@pytest.mark.parametrize("kind", ["user_password", "user_disable", "user_enable", "user_role"])
def test_who_is_not_there_cannot_be_changed(operator: Program, kind: str) -> None:
    before = operator.ask("audit")
    answer = operator.ask(kind, **{**SHORTEST[kind], "user": "nobody"})
    assert answer == refusal("no_such_user", "user")
    assert operator.ask(kind, **{**SHORTEST[kind], "user": "no body"}) == refusal("bad_field", "user")
    assert operator.ask("audit") == before


def test_accounts_come_in_pages(party: Party, operator: Program) -> None:
    names = [f"user-{number:03}" for number in range(PAGE_ENTRIES + 3)]
    for name in names:
        party.hub.store.add_account(Account(name, name), lambda problem: None)
    first = operator.ask("users")
    assert (len(first["users"]), first["more"]) == (PAGE_ENTRIES, True)
    rest = operator.ask("users", after=first["users"][-1]["user"])
    found = [account["user"] for page in (first, rest) for account in page["users"]]
    assert (found, rest["more"]) == (["alice", *names], False)
    assert [each["user"] for each in operator.ask("users", limit=2)["users"]] == found[:2]


def test_the_audit_log_comes_in_pages(operator: Program) -> None:
    for _ in range(4):
        operator.ask("user_enable", user="alice")
    first = operator.ask("audit", limit=3)
    rest = operator.ask("audit", limit=3, before=first["entries"][-1]["number"])
    numbers = [entry["number"] for page in (first, rest) for entry in page["entries"]]
    assert numbers == sorted(numbers, reverse=True)
    assert (len(numbers), first["more"], rest["more"]) == (5, True, False)


def test_rooms_come_in_pages_with_what_is_kept_of_them(party: Party, operator: Program) -> None:
    alice = party.program("guest", "a", "b", "c")
    alice.ask("send", room="b", text="hi")
    first = operator.ask("room_list", limit=2)
    assert [room["room"] for room in first["rooms"]] == ["a", "b"]
    assert first["more"] is True
    assert first["rooms"][1] | {"size_bytes": 0} == {
        "room": "b", "members": 1, "first": 1, "head": 1, "size_bytes": 0,
    }  # fmt: skip
    assert first["rooms"][1]["size_bytes"] > 0
    assert [room["room"] for room in operator.ask("room_list", after="b")["rooms"]] == ["c"]


def test_a_store_that_fails_is_said_and_nothing_is_done(party: Party) -> None:
    store = SlowStore(hold=False)
    party = Party(store=store)
    operator = Program(party)
    operator.session.serve_operator()
    operator.ask("user_add", user="alice", password=PASSWORD)
    alice, _ = log_in(party)
    store.hold = True
    operator.say("user_disable", user="alice", ref="x")
    party.settle()
    store.fail()
    assert operator.heard("error")[0]["code"] == "unavailable"
    assert alice.heard("bye") == []
