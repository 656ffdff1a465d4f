"""Commands about one's account: register, password, refresh, sign_out."""

import pytest

from fastchat.messages import Close, dumps
from fastchat.people import Grant, Role, User
from tests.answers import refusal, types
from tests.parties import Party, Program
from tests.people import Doorkeeper
from tests.slow_store import SlowStore

SECRET = "correct horse battery staple"
OTHER = "an even longer one than that"


@pytest.fixture
def party() -> Party:
    return Party()


def registered(party: Party, user: str = "alice") -> Program:
    program = Program(party)
    assert program.ask("register", user=user, password=SECRET)["type"] == "welcome"
    return program


def log_in(party: Party, user: str = "alice", password: str = SECRET) -> Program:
    program = Program(party)
    assert program.ask("hello", user=user, password=password)["type"] == "welcome"
    return program


def code_of(program: Program) -> int:
    """With which close code the server has ended the connection."""
    (bye,) = program.heard("bye")
    return int(bye["code"])


# register


def test_who_registers_is_in_and_comes_back_with_the_password(party: Party) -> None:
    program = registered(party, "Alice")
    assert (program.session.user, program.session.person.guest) == ("Alice", False)
    assert program.ask("join", room="lobby")["type"] == "joined"
    assert log_in(party, "ALICE").session.user == "Alice"
    assert Program(party).ask("hello", user="alice") == refusal("name_taken", "user")


@pytest.mark.parametrize("name", ["alice", "guest"])
def test_a_guest_who_registers_keeps_its_rooms(party: Party, name: str) -> None:
    program = party.program("guest", "lobby")
    welcome = program.ask("register", user=name, password=SECRET)
    assert (welcome["type"], welcome["user"], welcome["guest"]) == ("welcome", name, False)
    assert program.ask("members", room="lobby")["members"] == [name]
    assert log_in(party, name).session.devices is program.session.devices


def test_a_name_that_somebody_has_cannot_be_registered(party: Party) -> None:
    party.program("bob")
    registered(party, "alice")
    program = party.program("carol")
    assert program.ask("register", user="Bob", password=SECRET) == refusal("name_taken", "user")
    assert program.ask("register", user="Alice", password=SECRET) == refusal("name_taken", "user")
    assert program.ask("register", user="dave", password="short") == refusal("bad_field", "password")
    assert program.session.user == "carol"


def test_an_account_does_not_register_another_one(party: Party) -> None:
    assert registered(party).ask("register", user="bob", password=SECRET) == refusal("forbidden")


def test_without_an_authenticator_there_are_no_accounts(party: Party) -> None:
    party.hub.authenticator = None
    program = party.program("carol")
    for command in (
        {"type": "register", "user": "alice", "password": SECRET},
        {"type": "password", "old": SECRET, "new": OTHER},
        {"type": "refresh", "token": "t"},
    ):
        assert program.ask(**command) == refusal("forbidden")


# password


def test_another_password_signs_out_all_other_connections(party: Party) -> None:
    here, phone = registered(party), log_in(party)
    assert here.ask("password", old=OTHER, new=OTHER) == refusal("unauthorized")
    assert here.ask("password", old=SECRET, new="short") == refusal("bad_field", "new")
    assert phone.heard("bye") == []
    assert here.ask("password", old=SECRET, new=OTHER) == {"type": "password_changed"}
    assert code_of(phone) == Close.SIGNED_OUT
    assert here.ask("ping")["type"] == "pong"
    assert Program(party).ask("hello", user="alice", password=SECRET) == refusal("unauthorized")
    log_in(party, password=OTHER)


def test_a_guest_has_no_password(party: Party) -> None:
    assert party.program("carol").ask("password", old=SECRET, new=OTHER) == refusal("forbidden")


# sign_out


def test_signing_out_ends_all_connections_of_the_account(party: Party) -> None:
    here, phone, bob = registered(party), log_in(party), registered(party, "bob")
    here.say("sign_out", ref=1)
    said = here.heard("signed_out", "bye")
    assert [(one["type"], one.get("code")) for one in said] == [
        ("signed_out", None),
        ("bye", Close.SIGNED_OUT),
    ]
    assert code_of(phone) == Close.SIGNED_OUT
    assert bob.ask("ping")["type"] == "pong"
    assert party.hub.population.sessions("alice") == ()
    party.pass_time(1)
    log_in(party)


def test_a_guest_signs_out_alone(party: Party) -> None:
    carol, dave = party.program("carol"), party.program("dave")
    carol.say("sign_out")
    assert types(carol.heard()) == ["signed_out", "bye"]
    assert dave.ask("ping")["type"] == "pong"


def test_nobody_is_signed_out_whom_the_store_cannot_sign_out() -> None:
    store = SlowStore(hold=False)
    party = Party(store=store)
    here, phone = registered(party), log_in(party)
    store.hold = True
    here.say("sign_out")
    store.fail()
    assert [one["code"] for one in here.heard()] == ["unavailable"]
    assert phone.heard("bye") == []


def test_commands_behind_a_sign_out_are_not_carried_out(party: Party) -> None:
    client = party.json_lines()
    client.send_raw(
        dumps({"type": "register", "user": "alice", "password": SECRET}),
        dumps({"type": "sign_out"}),
        dumps({"type": "join", "room": "lobby"}),
    )
    assert types(client.heard()) == ["welcome", "signed_out", "bye"]
    assert not party.hub.rooms


# refresh


@pytest.fixture
def door(party: Party) -> Doorkeeper:
    door = Doorkeeper({"alice": "", "bob": ""})
    party.hub.authenticator = door
    return door


def test_a_newer_token_keeps_the_connection(party: Party, door: Doorkeeper) -> None:
    now = party.wall_ms()
    door.tokens["old"] = User("alice", guest=False, expires_at_ms=now + 1000)
    door.tokens["new"] = User("alice", guest=False, expires_at_ms=now + 10_000)
    door.tokens["bob's"] = User("bob", guest=False)
    alice = Program(party)
    alice.ask("hello", token="old")
    assert alice.ask("refresh", token="rubbish") == refusal("unauthorized")
    assert alice.ask("refresh", token="bob's") == refusal("forbidden")
    assert alice.ask("refresh", token="new") == {"type": "refreshed", "expires_at": now + 10_000}
    party.hub.population.check_expiry(now + 5000)
    assert alice.ask("ping")["type"] == "pong"
    alice.heard()
    party.hub.population.check_expiry(now + 10_000)
    assert code_of(alice) == Close.TOKEN_EXPIRED


def test_rooms_that_a_newer_token_does_not_grant_are_left(party: Party, door: Doorkeeper) -> None:
    door.tokens["all"] = User("alice", guest=False)
    door.tokens["some"] = User("alice", guest=False, grants=(Grant("lob*", Role.MEMBER),))
    alice = Program(party)
    alice.ask("hello", token="all")
    for room in ("lobby", "games"):
        alice.ask("join", room=room)
    alice.heard()
    assert alice.ask("refresh", token="some") == {"type": "refreshed"}
    assert alice.heard("left") == [
        {"type": "left", "room": "games", "reason": "the token does not allow this room"}
    ]
    assert alice.session.rooms == ["lobby"]


def test_who_is_signed_out_while_its_token_is_looked_at_stays_out(party: Party, door: Doorkeeper) -> None:
    door.tokens["t"] = User("alice", guest=False)
    alice = Program(party)
    alice.ask("hello", token="t")
    door.hold = True
    alice.say("refresh", token="t")
    party.hub.population.send_away("alice", Close.DISABLED, "the account is disabled")
    door.answer()
    assert types(alice.heard()) == ["bye"]
    assert party.hub.population.sessions("alice") == ()
