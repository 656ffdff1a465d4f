"""Saying who one is: hello with credentials, while the answer takes its time, and once more."""

import pytest

from fastchat.messages import Close, dumps
from fastchat.people import User
from fastchat.session import Limits
from tests.answers import refusal, types
from tests.parties import Party, Program
from tests.people import Doorkeeper


@pytest.fixture
def door(party: Party) -> Doorkeeper:
    door = Doorkeeper({"alice": "secret", "Bob": "hidden"}, operators={"Bob"})
    party.hub.authenticator = door
    return door


@pytest.fixture
def party() -> Party:
    return Party()


def log_in(party: Party, user: str = "alice", password: str = "secret") -> Program:
    program = Program(party)
    assert program.ask("hello", user=user, password=password)["type"] == "welcome"
    return program


def test_a_password_lets_an_account_in_under_its_own_spelling(party: Party, door: Doorkeeper) -> None:
    program = Program(party)
    welcome = program.ask("hello", user="bOB", password="hidden")
    assert (welcome["user"], welcome["guest"], welcome["operator"]) == ("Bob", False, True)
    assert program.session.person == User("Bob", guest=False, operator=True)
    assert door.asked[0].address == "192.0.2.1"


def test_a_wrong_password_lets_nobody_in(party: Party, door: Doorkeeper) -> None:
    program = Program(party)
    for credentials in ({"user": "alice", "password": "guess"}, {"user": "eve", "password": "guess"}):
        assert program.ask("hello", **credentials) == refusal("unauthorized")
    assert program.ask("hello", token="rubbish") == refusal("unauthorized")
    assert program.ask("hello", password="secret") == refusal("bad_field", "password")
    assert program.ask("join", room="lobby") == refusal("not_welcome")
    assert program.ask("hello", user="alice", password="secret")["type"] == "welcome"


def test_a_guest_may_not_have_the_name_of_an_account(party: Party, door: Doorkeeper) -> None:
    program = Program(party)
    assert program.ask("hello", user="ALICE") == refusal("name_taken", "user")
    assert program.ask("hello", user="carol")["guest"] is True


def test_without_accounts_who_proves_something_is_told_so(party: Party) -> None:
    assert Program(party).ask("hello", user="alice", password="x") == refusal("unauthorized")


def test_a_token_tells_until_when(party: Party, door: Doorkeeper) -> None:
    until = party.wall_ms() + 100_000
    door.tokens["t"] = User("alice", guest=False, expires_at_ms=until)
    program = Program(party)
    welcome = program.ask("hello", token="t")
    assert (welcome["user"], welcome["expires_at"]) == ("alice", until)
    assert "operator" not in welcome
    party.hub.population.check_expiry(until - 30_000)
    assert program.heard() == [{"type": "token_expiring", "expires_in_ms": 30_000}]
    party.hub.population.check_expiry(until)
    assert [one["code"] for one in program.heard("bye")] == [Close.TOKEN_EXPIRED]


def test_commands_wait_until_it_is_known_who_sends_them(party: Party, door: Doorkeeper) -> None:
    door.hold = True
    client = party.json_lines()
    client.send_raw(
        dumps({"type": "hello", "user": "alice", "password": "secret"}),
        dumps({"type": "join", "room": "lobby"}),
        dumps({"type": "send", "room": "lobby", "text": "hi"}),
    )
    assert client.heard() == []
    assert not client.stream.is_reading()
    assert len(party.hub.population) == 0
    door.answer()
    assert types(client.heard()) == ["welcome", "joined", "sent", "message", "presence"]


def test_after_a_refusal_what_waited_is_not_welcome(party: Party, door: Doorkeeper) -> None:
    door.hold = True
    client = party.json_lines()
    client.send_raw(
        dumps({"type": "hello", "user": "alice", "password": "guess"}),
        dumps({"type": "join", "room": "lobby"}),
    )
    door.answer()
    assert [one["code"] for one in client.heard()] == ["unauthorized", "not_welcome"]


def test_who_goes_before_the_answer_is_nobody(party: Party, door: Doorkeeper) -> None:
    door.hold = True
    client = party.json_lines()
    client.send_raw(dumps({"type": "hello", "user": "alice", "password": "secret"}))
    client.lose()
    door.answer()
    assert len(party.hub.population) == 0


def test_who_was_let_in_while_it_was_signed_out_is_asked_again(party: Party, door: Doorkeeper) -> None:
    door.hold = True
    program = Program(party)
    program.say("hello", user="alice", password="secret")
    del door.passwords["alice"]
    party.hub.population.send_away("alice", Close.DISABLED, "the account is disabled")
    door.answer()
    assert [one["code"] for one in program.heard()] == ["unauthorized"]
    assert len(party.hub.population) == 0


def test_an_account_stays_who_it_is(party: Party, door: Doorkeeper) -> None:
    program = log_in(party)
    assert program.ask("hello")["user"] == "alice"
    assert program.ask("hello", user="alice")["user"] == "alice"
    for other in ({"user": "carol"}, {"user": "Bob", "password": "hidden"}, {"token": "t"}):
        assert program.ask("hello", **other) == refusal("forbidden")


def test_a_guest_who_logs_in_stays_in_its_rooms(party: Party, door: Doorkeeper) -> None:
    program = party.program("guest", "lobby")
    other = party.program("dave", "lobby")
    party.pass_time(2)
    other.heard()
    assert program.ask("hello", user="alice", password="guess") == refusal("unauthorized")
    assert program.session.user == "guest"
    assert program.ask("hello", user="alice", password="secret")["guest"] is False
    party.pass_time(2)
    left = [one for one in other.heard("presence") if one["left"] == ["guest"]]
    assert [one["joined"] for one in left] == [["alice"]]
    assert program.ask("members", room="lobby")["members"] == ["alice", "dave"]
    assert party.program("guest").session.user == "guest"


def test_the_end_of_one_connection_leaves_the_others(party: Party, door: Doorkeeper) -> None:
    phone, laptop = log_in(party), log_in(party)
    for each in (phone, laptop):
        each.ask("join", room="lobby")
    phone.leave_the_server()
    party.pass_time(2)
    assert laptop.ask("members", room="lobby")["members"] == ["alice"]
    assert Program(party).ask("hello", user="alice") == refusal("name_taken", "user")


# Limits of an account


def test_an_accounts_connections_share_a_rate(door: Doorkeeper, party: Party) -> None:
    limited = Party(limits=Limits(messages_per_s=0, messages_per_s_per_user=1, burst=4))
    limited.hub.authenticator = door
    phone, laptop = log_in(limited), log_in(limited)
    for each in (phone, laptop, phone, laptop):
        assert each.ask("rooms")["type"] == "rooms"
    refused = laptop.ask("rooms")
    assert refused["code"] == "rate_limited"
    assert "alice" in refused["message"]
    assert refused["retry_after_ms"] > 0
    guest = limited.program("carol")
    for _ in range(20):
        assert guest.ask("rooms")["type"] == "rooms"
    limited.pass_time(refused["retry_after_ms"] / 1000)
    assert phone.ask("rooms")["type"] == "rooms"


def test_the_rooms_of_an_account_are_limited_on_all_connections_together(door: Doorkeeper) -> None:
    limited = Party(limits=Limits(messages_per_s=0, messages_per_s_per_user=0, rooms_per_user=2))
    limited.hub.authenticator = door
    phone, laptop = log_in(limited), log_in(limited)
    assert phone.ask("join", room="one")["type"] == "joined"
    assert laptop.ask("join", room="two")["type"] == "joined"
    assert laptop.ask("join", room="one")["type"] == "joined"
    assert phone.ask("join", room="three") == refusal("too_many_rooms", "room")
    assert laptop.ask("leave", room="two")["type"] == "left"
    assert phone.ask("join", room="three")["type"] == "joined"
