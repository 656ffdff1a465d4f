"""A person with ``nc`` and what the log knows: changes, the current state, search, what is new."""

from typing import Any

import pytest

from tests.parties import Party, Person, Program


@pytest.fixture
def party() -> Party:
    return Party()


@pytest.fixture
def alice(party: Party) -> Program:
    """A program in ``lobby``."""
    return party.program("alice", "lobby")


@pytest.fixture
def bob(party: Party, alice: Program) -> Person:
    """A person in ``lobby``."""
    return enter(party, "bob")


def enter(party: Party, name: str) -> Person:
    person = party.person()
    person.type(f"/nick {name}")
    party.pass_time(5)
    person.reads()
    return person


def say(program: Program, *texts: str) -> None:
    for text in texts:
        program.ask("send", room="lobby", text=text)


def change(program: Program, kind: str, seq: int, **fields: Any) -> None:
    answer = program.ask(kind, room="lobby", seq=seq, **fields)
    assert answer["type"] == "sent", answer


def test_changes_are_said_as_they_happen(alice: Program, bob: Person) -> None:
    say(alice, "helo")
    change(alice, "edit", 1, text="hello\nworld")
    change(alice, "react", 1, reaction="👍")
    change(alice, "react", 1, reaction="👍", remove=True)
    change(alice, "delete", 1)
    assert bob.reads() == [
        "[lobby] alice: helo",
        "* [lobby] alice changed message 1: hello",
        "* [lobby] alice changed message 1: world",
        "* [lobby] alice reacts with 👍 to message 1",
        "* [lobby] alice takes 👍 back from message 1",
        "* [lobby] alice deleted message 1",
    ]


def test_receipts_are_not_said(party: Party, alice: Program, bob: Person) -> None:
    say(alice, "hi")
    bob.reads()
    alice.say("ack", room="lobby", seq=1)
    party.pass_time(5)
    assert bob.reads() == []


def test_history_is_the_current_state(alice: Program, bob: Person) -> None:
    say(alice, "one", "two", "three\nlines", "four")
    change(alice, "edit", 1, text="1")
    change(alice, "delete", 2)
    change(alice, "edit", 3, text="3\nlines")
    change(alice, "react", 3, reaction="👍")
    change(alice, "react", 4, reaction="-1")
    bob.reads()
    bob.type("/history")
    assert bob.reads() == [
        "[lobby] alice: 1 (edited)",
        "[lobby] alice: (deleted)",
        "[lobby] alice: 3",
        "[lobby] alice: lines (edited) (👍 1)",
        "[lobby] alice: four (-1 1)",
    ]


def test_search_shows_the_newest_last(alice: Program, bob: Person) -> None:
    say(alice, "good morning", "something else", "good night", "good")
    bob.reads()
    bob.type("/search good")
    assert sorted(bob.reads()) == [
        "[lobby] alice: good", "[lobby] alice: good morning", "[lobby] alice: good night"
    ]  # fmt: skip
    bob.type("/search nothing like it")
    assert bob.reads() == ["* nothing was found in your rooms"]
    bob.type("/search")
    assert bob.reads() == ["* say which words: /search good morning"]


def test_search_says_that_there_is_more(party: Party, alice: Program, bob: Person) -> None:
    for i in range(25):
        say(alice, f"good {i}")
        party.pass_time(0.1)
    bob.reads()
    bob.type("/search GOOD")
    first, *lines = bob.reads()
    assert first == "* there are older ones, too"
    assert lines == [f"[lobby] alice: good {i}" for i in range(5, 25)]


def test_who_has_read_something_before_is_told_how_much_is_new(party: Party, alice: Program) -> None:
    carol = party.program("carol", "lobby")
    say(alice, "one", "two")
    carol.say("ack", room="lobby", seq=1)
    party.pass_time(2)
    carol.leave_the_server()
    say(alice, "three")
    person = party.person()
    person.type("/nick carol")
    joined = person.reads()[1]
    assert joined == (
        "* you are in lobby with one other; "
        "/history shows what was said (3 messages, 2 new since you were here)"
    )


def test_who_has_read_nothing_or_everything_is_not_told(party: Party, alice: Program) -> None:
    say(alice, "one", "two")
    expected = "* you are in lobby with one other; /history shows what was said (2 messages)"
    for name, seq in (("carol", 0), ("dave", 2)):
        program = party.program(name, "lobby")
        program.say("ack", room="lobby", seq=seq)
        program.leave_the_server()
        person = party.person()
        person.type(f"/nick {name}")
        assert person.reads()[1] == expected
        person.type("/quit")
        person.lose()
