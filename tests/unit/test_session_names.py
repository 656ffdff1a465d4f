"""A guest's name is claimed before anybody goes by it, and given back whatever becomes of the guest."""

import pytest

from fastchat.messages import Code, WireError
from tests.desk import Desk
from tests.parties import Document, Party, Program


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def party(desk: Desk) -> Party:
    party = Party()
    party.hub.names = desk
    return party


def ask(party: Party, desk: Desk, program: Program, type: str, **fields: object) -> Document:
    """What is answered once the name's claim is."""
    program.say(type, ref="r", **fields)
    party.settle()
    desk.answer()
    (answer,) = [document for document in program.heard() if document.get("ref") == "r"]
    return answer


def come(party: Party, desk: Desk, name: str) -> Program:
    program = Program(party)
    assert ask(party, desk, program, "hello", user=name)["type"] == "welcome"
    return program


def test_nobody_is_let_in_before_the_name_is_its_own(party: Party, desk: Desk) -> None:
    program = Program(party)
    program.say("hello", user="alice")
    program.say("join", room="lobby")
    party.settle()
    assert program.heard() == []
    assert party.hub.population.find("alice") is None
    desk.answer()
    assert [document["type"] for document in program.heard("welcome", "joined")] == ["welcome", "joined"]
    assert desk.held == ["alice"]


def test_a_name_of_another_nodes_guest_is_taken(party: Party, desk: Desk) -> None:
    desk.elsewhere.add("alice")
    program = Program(party)
    assert ask(party, desk, program, "hello", user="Alice")["code"] == "name_taken"
    assert ask(party, desk, program, "hello", user="bob")["type"] == "welcome"
    assert desk.held == ["bob"]


def test_of_two_who_ask_here_at_once_the_first_has_it(party: Party, desk: Desk) -> None:
    first, second = Program(party), Program(party)
    for program in (first, second):
        program.say("hello", user="alice")
    party.settle()
    desk.answer()
    assert [document["type"] for document in first.heard()] == ["welcome"]
    assert [document["code"] for document in second.heard()] == ["name_taken"]
    assert desk.held == ["alice"]
    first.leave_the_server()
    assert desk.held == []


def test_who_has_no_name_gets_one_that_is_claimed(party: Party, desk: Desk) -> None:
    program = Program(party)
    name = ask(party, desk, program, "hello")["user"]
    assert desk.held == [name]


def test_who_is_gone_by_then_leaves_no_claim(party: Party, desk: Desk) -> None:
    program = Program(party)
    program.say("hello", user="alice")
    party.settle()
    program.leave_the_server()
    desk.answer()
    assert desk.held == []
    assert party.hub.population.find("alice") is None


def test_a_claim_that_fails_is_answered(party: Party, desk: Desk) -> None:
    desk.problem = WireError(Code.UNAVAILABLE, "the store is away", retry_after_ms=500)
    program = Program(party)
    assert ask(party, desk, program, "hello", user="alice")["code"] == "unavailable"
    desk.problem = None
    assert ask(party, desk, program, "hello", user="alice")["type"] == "welcome"


def test_another_name_is_claimed_before_the_first_is_given_back(party: Party, desk: Desk) -> None:
    program = come(party, desk, "alice")
    program.say("hello", user="anna")
    party.settle()
    assert desk.held == ["alice"]
    desk.answer()
    assert program.heard("welcome")[0]["user"] == "anna"
    assert desk.held == ["anna"]
    desk.elsewhere.add("bob")
    assert ask(party, desk, program, "hello", user="bob")["code"] == "name_taken"
    assert ask(party, desk, program, "hello", user="ANNA")["user"] == "ANNA"
    assert desk.held == ["anna"]
    program.leave_the_server()
    assert desk.held == []


def test_who_is_gone_while_a_new_name_is_claimed_gives_back_both(party: Party, desk: Desk) -> None:
    program = come(party, desk, "alice")
    program.say("hello", user="anna")
    party.settle()
    program.leave_the_server()
    desk.answer()
    assert desk.held == []


def test_a_name_here_that_is_asked_for_again_is_given_back_once(party: Party, desk: Desk) -> None:
    alice, bob = come(party, desk, "alice"), come(party, desk, "bob")
    assert ask(party, desk, bob, "hello", user="alice")["code"] == "name_taken"
    assert sorted(desk.held) == ["alice", "bob"]
    alice.leave_the_server()
    bob.leave_the_server()
    assert desk.held == []


def test_to_register_a_name_nobody_else_may_have_it(party: Party, desk: Desk) -> None:
    program = come(party, desk, "alice")
    desk.elsewhere.add("bob")
    fields = {"password": "correct horse battery"}
    assert ask(party, desk, program, "register", user="bob", **fields)["code"] == "name_taken"
    desk.elsewhere.clear()
    answer = ask(party, desk, program, "register", user="bob", **fields)
    assert (answer["type"], answer["guest"]) == ("welcome", False)
    assert desk.held == []  # accounts have their names by the store's own doing
    program.leave_the_server()
    assert desk.held == []


def test_an_account_needs_no_claim(party: Party, desk: Desk) -> None:
    program = Program(party)
    fields = {"user": "alice", "password": "correct horse battery"}
    assert ask(party, desk, program, "register", **fields)["type"] == "welcome"
    again = Program(party)
    again.say("hello", **fields)
    party.settle()
    assert [document["type"] for document in again.heard()] == ["welcome"]
    assert desk.waiting == []
