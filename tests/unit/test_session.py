"""What is said when a command is wrong, who one is, and how a session ends."""

import re
from typing import Any

import pytest

from fastchat.messages import COMMANDS, SEQ_MAX
from fastchat.session import COMMAND_TABLE, Limits
from tests.answers import refusal, said, shortest
from tests.parties import STARTED_AT_MS, Party, Program


@pytest.fixture
def party() -> Party:
    return Party()


def test_every_command_of_the_contract_is_carried_out() -> None:
    assert COMMAND_TABLE.keys() == COMMANDS.keys()


# Anything wrong


def test_a_wrong_command_is_answered_and_the_connection_lives(party: Party) -> None:
    program = party.program("alice", "lobby")
    assert program.ask("join", room="NO") == refusal("bad_field", "room")
    assert program.ask("jump") == refusal("unknown_type", "type")
    assert program.ask("send", room="lobby") == refusal("bad_field", "text")
    assert program.ask("ping")["type"] == "pong"


@pytest.mark.parametrize("ref", ["r", "", 0, -5, SEQ_MAX])
def test_a_good_ref_is_echoed_by_errors_and_by_answers(party: Party, ref: str | int) -> None:
    program = party.program("alice")
    program.say("nonsense", ref=ref)
    program.say("leave", room="nowhere", ref=ref)
    program.say("ping", ref=ref)
    heard = program.heard()
    assert [document["type"] for document in heard] == ["error", "error", "pong"]
    assert [document["ref"] for document in heard] == [ref] * 3


@pytest.mark.parametrize("ref", [1.5, True, [], "r" * 65, SEQ_MAX + 1])
def test_a_bad_ref_is_named_and_not_echoed(party: Party, ref: Any) -> None:
    program = party.program("alice", "lobby")
    program.say("send", room="lobby", text="hi", ref=ref)
    (answer,) = program.heard()
    assert answer == refusal("bad_field", "ref")
    assert "ref" not in answer


@pytest.mark.parametrize("command", [{}, {"ref": None}])
def test_who_gives_no_ref_gets_none(party: Party, command: dict[str, Any]) -> None:
    program = party.program("alice", "lobby")
    for kind, fields in [
        ("ping", {}),
        ("send", {"room": "lobby", "text": "hi"}),
        ("members", {"room": "no"}),
    ]:
        program.say(kind, **fields, **command)
    assert not any("ref" in document for document in program.heard())


# hello


def test_welcome_tells_who_one_is_and_what_one_may(party: Party) -> None:
    program = Program(party)
    welcome = program.ask("hello", user="alice")
    assert re.fullmatch("[0-9a-f]{16}", welcome.pop("session"))
    assert welcome == {
        "type": "welcome",
        "user": "alice",
        "guest": True,
        "server": "fastchat/test",
        "protocol": 1,
        "limits": {
            "messages_per_s": 0,
            "burst": Limits().burst,
            "text_bytes": Limits().text_bytes,
            "command_bytes": Limits().command_bytes,
            "rooms_per_connection": Limits().rooms_per_connection,
            "history_page": Limits().history_page,
        },
    }


def test_a_guest_gets_a_name_of_its_own(party: Party) -> None:
    names = {Program(party).ask("hello")["user"] for _ in range(300)}
    assert len(names) == 300
    assert all(re.fullmatch("guest-([0-9a-f]{4}|[0-9a-f]{8})", name) for name in names)


@pytest.mark.parametrize("name", ["alice", "Alice", "ALICE"])
def test_a_name_is_taken_whatever_its_case_and_another_may_be_tried(party: Party, name: str) -> None:
    party.program("alice")
    program = Program(party)
    assert program.ask("hello", user=name) == refusal("name_taken", "user")
    assert program.ask("join", room="lobby") == refusal("not_welcome")
    assert program.ask("hello", user="bob")["user"] == "bob"


def test_after_a_malformed_name_a_good_one_is_welcome(party: Party) -> None:
    program = Program(party)
    assert program.ask("hello", user="no spaces") == refusal("bad_field", "user")
    assert program.ask("hello", user="alice")["user"] == "alice"


def test_a_name_is_free_again_when_its_owner_has_left(party: Party) -> None:
    party.program("alice").leave_the_server()
    assert Program(party).ask("hello", user="Alice")["user"] == "Alice"


@pytest.mark.parametrize("type", [kind for kind in COMMANDS if kind not in ("hello", "ping", "register")])
def test_before_hello_there_is_only_ping(party: Party, type: str) -> None:
    program = Program(party)
    answer = program.ask(type, **shortest(type))
    assert answer == refusal("not_welcome")
    assert "hello" in answer["message"]
    assert program.ask("ping") == {"type": "pong", "at": STARTED_AT_MS}
    assert not party.hub.rooms


def test_hello_again_renames(party: Party) -> None:
    program, other = party.program("alice", "lobby"), party.program("bob", "lobby")
    party.pass_time(5)
    other.heard()
    welcome = program.ask("hello", user="carol")
    assert (welcome["user"], welcome["type"]) == ("carol", "welcome")
    assert other.heard("presence")[-1] | {"type": ""} == {
        "type": "", "room": "lobby", "joined": ["carol"], "left": ["alice"], "members": 2,
    }  # fmt: skip
    said(program)
    assert other.heard("message")[0]["from"] == "carol"
    assert Program(party).ask("hello", user="alice")["user"] == "alice"
    assert Program(party).ask("hello", user="Carol") == refusal("name_taken", "user")


def test_a_name_may_change_only_in_case(party: Party) -> None:
    program = party.program("alice", "lobby")
    assert program.ask("hello", user="Alice")["user"] == "Alice"
    assert program.ask("members", room="lobby")["members"] == ["Alice"]
    assert Program(party).ask("hello", user="alice") == refusal("name_taken", "user")
    program.leave_the_server()
    assert Program(party).ask("hello", user="alice")["user"] == "alice"


def test_who_cannot_be_renamed_stays_as_before(party: Party) -> None:
    party.program("bob")
    program = party.program("alice", "lobby")
    assert program.ask("hello", user="BOB") == refusal("name_taken", "user")
    assert program.ask("members", room="lobby")["members"] == ["alice"]
    assert program.ask("hello")["user"] == "alice"


@pytest.mark.parametrize("fields", [{}, {"user": "alice"}])
def test_hello_again_with_the_same_name_changes_nothing(party: Party, fields: dict[str, str]) -> None:
    program, other = party.program("alice", "lobby"), party.program("bob", "lobby")
    party.pass_time(5)
    other.heard()
    assert program.ask("hello", **fields)["user"] == "alice"
    party.pass_time(5)
    assert other.heard() == []


# typing and ping


def test_the_others_see_that_somebody_types(party: Party) -> None:
    alice, bob = party.program("alice", "lobby"), party.program("bob", "lobby")
    alice.say("typing", room="lobby")
    assert bob.heard() == [{"type": "typing", "room": "lobby", "from": "alice", "expires_in_ms": 6000}]
    assert alice.heard() == []


def test_typing_is_not_in_the_log(party: Party) -> None:
    alice = party.program("alice", "lobby")
    alice.say("typing", room="lobby")
    assert alice.ask("send", room="lobby", text="hi")["seq"] == 1
    assert len(alice.ask("history", room="lobby")["messages"]) == 1


def test_ping_tells_the_time(party: Party) -> None:
    program = Program(party)
    party.pass_time(1.5)
    assert program.ask("ping") == {"type": "pong", "at": STARTED_AT_MS + 1500}


# The end


def test_the_others_see_that_one_has_gone(party: Party) -> None:
    alice, bob = party.program("alice", "lobby", "games"), party.program("bob", "lobby")
    party.pass_time(5)
    bob.heard()
    alice.leave_the_server()
    assert bob.heard() == [
        {"type": "presence", "room": "lobby", "joined": [], "left": ["alice"], "members": 1}
    ]
    assert bob.ask("members", room="lobby")["members"] == ["bob"]
    assert list(party.hub.rooms) == ["lobby"]


def test_closing_again_changes_nothing(party: Party) -> None:
    alice = party.program("alice", "lobby")
    alice.leave_the_server()
    party.program("alice", "lobby")
    alice.session.close()
    assert party.program("bob").ask("members", room="lobby")["members"] == ["alice"]
    assert Program(party).ask("hello", user="alice") == refusal("name_taken", "user")


def test_closing_before_hello_frees_nobody_elses_name(party: Party) -> None:
    Program(party).leave_the_server()
    assert party.program("alice").ask("ping")["type"] == "pong"


def test_cursors_are_where_each_room_was_served_to(party: Party) -> None:
    alice, bob = party.program("alice", "lobby", "games"), party.program("bob", "lobby", "games", "quiet")
    said(alice, times=3)
    said(alice, "games", times=2)
    assert bob.session.cursors() == {"lobby": 3, "games": 2, "quiet": 0}
    bob.transport.stop_peer()
    said(alice)
    said(alice)
    assert bob.session.cursors() == {"lobby": 4, "games": 2, "quiet": 0}
