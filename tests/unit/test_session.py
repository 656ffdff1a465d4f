"""What each command does, and what is said when it cannot be done."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from fastchat.messages import COMMANDS, SEQ_MAX, Code, WireError
from fastchat.rooms import RoomSettings
from fastchat.session import COMMAND_TABLE, Limits
from fastchat.store import Draft, Page, Stored
from tests.parties import STARTED_AT_MS, Party, Program

LIMITS = Limits(messages_per_s=0)


@pytest.fixture
def party() -> Party:
    return Party()


def said(program: Program, room: str = "lobby", times: int = 1, **fields: Any) -> None:
    for _ in range(times):
        program.say("send", room=room, **{"text": "hi", **fields})
    program.heard()


def seqs(documents: list[dict[str, Any]]) -> list[int]:
    return [document["seq"] for document in documents if document["type"] == "message"]


def refusal(code: str, field: str | None = None) -> Any:
    """Equals an ``error`` with this code and field, whatever its words."""

    class Refusal:
        def __eq__(self, answer: object) -> bool:
            assert isinstance(answer, dict)
            return (answer["type"], answer["code"], answer.get("field")) == ("error", code, field)

        def __repr__(self) -> str:
            return f"<an error {code} that names {field}>"

    return Refusal()


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
        "server": "fastchat/test",
        "protocol": 1,
        "limits": {
            "messages_per_s": 0,
            "burst": LIMITS.burst,
            "text_bytes": LIMITS.text_bytes,
            "command_bytes": LIMITS.command_bytes,
            "rooms_per_connection": LIMITS.rooms_per_connection,
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


@pytest.mark.parametrize("type", [kind for kind in COMMANDS if kind not in ("hello", "ping")])
def test_before_hello_there_is_only_ping(party: Party, type: str) -> None:
    program = Program(party)
    fields = {name: {"text": "hi"}.get(name, "lobby") for name in COMMANDS[type].required}
    answer = program.ask(type, **fields)
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


# join


def test_joined_tells_where_one_starts(party: Party) -> None:
    alice = party.program("alice")
    joined = alice.ask("join", room="lobby")
    assert re.fullmatch("[0-9a-f]{12}", joined["epoch"])
    assert {**joined, "epoch": ""} == {
        "type": "joined", "room": "lobby", "head": 0, "epoch": "", "members": 1, "reset": False,
    }  # fmt: skip
    said(alice, times=3)
    again = party.program("bob").ask("join", room="lobby")
    assert (again["head"], again["members"], again["epoch"]) == (3, 2, joined["epoch"])


def test_without_after_only_what_comes_next_is_heard(party: Party) -> None:
    alice = party.program("alice", "lobby")
    said(alice, times=3)
    bob = party.program("bob", "lobby")
    said(alice)
    assert seqs(bob.heard()) == [4]


@pytest.mark.parametrize("after", range(6))
def test_with_after_every_later_message_comes_once_behind_joined(party: Party, after: int) -> None:
    alice = party.program("alice", "lobby")
    said(alice, times=5)
    bob = party.program("bob")
    bob.say("join", room="lobby", after=after)
    alice.say("send", room="lobby", text="live")
    heard = bob.heard("joined", "message", "lagged")
    assert heard[0]["type"] == "joined"
    assert seqs(heard) == list(range(after + 1, 7))


def test_what_the_ring_forgot_is_told_before_what_it_has() -> None:
    party = Party(rooms=RoomSettings(ring_bytes=4096))
    alice = party.program("alice", "lobby")
    said(alice, times=100)
    bob = party.program("bob")
    bob.say("join", room="lobby", after=10)
    joined, lagged, *rest = bob.heard("joined", "lagged", "message")
    first = lagged["to"] + 1
    assert first > 12
    assert joined["reset"] is False
    assert lagged == {"type": "lagged", "room": "lobby", "from": 11, "to": first - 1, "missed": first - 11}
    assert seqs(rest) == list(range(first, 101))


def test_after_in_the_future_is_refused_and_leaves_nothing(party: Party) -> None:
    alice = party.program("alice", "lobby")
    said(alice, times=3)
    bob = party.program("bob")
    assert bob.ask("join", room="lobby", after=4) == refusal("bad_field", "after")
    assert bob.ask("join", room="new", after=1) == refusal("bad_field", "after")
    assert alice.ask("members", room="lobby")["members"] == ["alice"]
    assert list(party.hub.rooms) == ["lobby"]
    assert bob.ask("join", room="lobby", after=3)["type"] == "joined"


@pytest.mark.parametrize("after", [-1, 1.0, True, "1", SEQ_MAX + 1, None])
def test_an_after_that_is_no_seq_is_named(party: Party, after: Any) -> None:
    program = party.program("alice")
    assert program.ask("join", room="lobby", after=after) == refusal("bad_field", "after")
    assert not party.hub.rooms


def test_the_right_epoch_is_as_none(party: Party) -> None:
    alice = party.program("alice", "lobby")
    said(alice, times=3)
    epoch = party.hub.rooms["lobby"].log.epoch
    bob = party.program("bob")
    assert bob.ask("join", room="lobby", after=2, epoch=epoch)["reset"] is False
    assert seqs(bob.heard()) == [3]
    carol = party.program("carol")
    assert carol.ask("join", room="lobby", after=9, epoch=epoch) == refusal("bad_field", "after")


@pytest.mark.parametrize("fields", [{"after": 99}, {"after": 2}, {"after": 0}, {}])
def test_in_another_epoch_everything_that_is_held_comes(party: Party, fields: dict[str, int]) -> None:
    alice = party.program("alice", "lobby")
    said(alice, times=3)
    bob = party.program("bob")
    assert bob.ask("join", room="lobby", epoch="another", **fields)["reset"] is True
    assert seqs(bob.heard()) == [1, 2, 3]


def test_a_room_is_joined_once(party: Party) -> None:
    program = party.program("alice", "lobby")
    assert program.ask("join", room="lobby") == refusal("already_joined", "room")
    assert program.ask("members", room="lobby")["count"] == 1
    said(program)
    program.ask("leave", room="lobby")
    assert program.ask("join", room="lobby")["type"] == "joined"


def test_rooms_per_connection_are_limited() -> None:
    party = Party(limits=Limits(messages_per_s=0, rooms_per_connection=3))
    program = party.program("alice", "r1", "r2", "r3")
    for _ in range(3):
        assert program.ask("join", room="r4") == refusal("too_many_rooms", "room")
    assert program.ask("join", room="r1") == refusal("already_joined", "room")
    program.ask("leave", room="r2")
    assert program.ask("join", room="r4")["type"] == "joined"
    assert "r2" not in party.hub.rooms


def test_no_limit_of_rooms() -> None:
    party = Party(limits=Limits(messages_per_s=0, rooms_per_connection=0))
    program = party.program("alice")
    for i in range(1000):
        program.say("join", room=f"r{i}")
    assert {document["type"] for document in program.heard()} == {"joined", "presence"}


# leave


def test_who_left_hears_no_more(party: Party) -> None:
    alice, bob = party.program("alice", "lobby"), party.program("bob", "lobby")
    assert bob.ask("leave", room="lobby") == {"type": "left", "room": "lobby"}
    said(alice)
    assert bob.heard() == []
    assert bob.ask("send", room="lobby", text="hi") == refusal("not_joined", "room")


@pytest.mark.parametrize(("type", "fields"), [("leave", {}), ("send", {"text": "hi"}), ("typing", {})])
def test_only_members_speak_and_leave(party: Party, type: str, fields: dict[str, str]) -> None:
    party.program("alice", "lobby")
    program = party.program("bob")
    assert program.ask(type, room="lobby", **fields) == refusal("not_joined", "room")
    assert program.ask(type, room="nowhere", **fields) == refusal("not_joined", "room")


# send


def test_a_message_reaches_everyone_and_its_author_last(party: Party) -> None:
    alice, bob = party.program("alice", "lobby"), party.program("bob", "lobby")
    sent = alice.ask("send", room="lobby", text="hi", id="x", data={"mood": ["good"]})
    assert sent == {"type": "sent", "room": "lobby", "seq": 1, "at": STARTED_AT_MS, "id": "x"}
    message = {
        "type": "message", "room": "lobby", "seq": 1, "id": "x", "from": "alice", "at": STARTED_AT_MS,
        "text": "hi", "data": {"mood": ["good"]},
    }  # fmt: skip
    assert bob.heard() == [message]
    assert alice.heard() == [message]


def test_sent_comes_before_the_echo(party: Party) -> None:
    alice = party.program("alice", "lobby")
    alice.say("send", room="lobby", text="hi")
    assert [document["type"] for document in alice.heard()] == ["sent", "message"]


def test_who_wants_no_echo_hears_everyone_else(party: Party) -> None:
    alice, bob = party.program("alice", "lobby", echo=False), party.program("bob", "lobby")
    alice.say("send", room="lobby", text="mine")
    bob.say("send", room="lobby", text="yours")
    alice.say("send", room="lobby", text="mine again")
    assert seqs(alice.heard()) == [2]
    assert seqs(bob.heard()) == [1, 2, 3]


def test_a_message_without_id_has_none(party: Party) -> None:
    alice = party.program("alice", "lobby")
    assert alice.ask("send", room="lobby", text="hi").keys() == {"type", "room", "seq", "at"}
    (message,) = alice.heard()
    assert message.keys() == {"type", "room", "seq", "from", "at", "text"}


def test_commands_may_be_sent_without_waiting(party: Party) -> None:
    program = Program(party)
    program.say("hello", user="alice")
    program.say("join", room="lobby")
    program.say("send", room="lobby", text="hi")
    types = [document["type"] for document in program.heard()]
    assert types[:3] == ["welcome", "joined", "sent"]
    assert sorted(types[3:]) == ["message", "presence"]


@pytest.mark.parametrize("character", ["x", "é", "€", "\U0001f600"])
def test_text_is_limited_in_bytes(character: str) -> None:
    party = Party(limits=Limits(messages_per_s=0, text_bytes=120))
    program = party.program("alice", "lobby")
    fits = 120 // len(character.encode())
    assert program.ask("send", room="lobby", text=character * fits)["type"] == "sent"
    for count in (fits + 1, 1000):
        answer = program.ask("send", room="lobby", text=character * count)
        assert answer == refusal("too_large", "text")
        assert "120 are allowed" in answer["message"]
    assert party.hub.rooms["lobby"].head == 1


def test_data_is_limited_in_bytes() -> None:
    party = Party(limits=Limits(messages_per_s=0, text_bytes=120))
    program = party.program("alice", "lobby")
    assert program.ask("send", room="lobby", text="hi", data={"a": "x" * 112})["type"] == "sent"
    assert program.ask("send", room="lobby", text="hi", data={"a": "x" * 113}) == refusal("too_large", "data")


def test_no_limit_of_bytes() -> None:
    party = Party(limits=Limits(messages_per_s=0, text_bytes=0))
    program = party.program("alice", "lobby")
    sent = program.ask("send", room="lobby", text="x" * 50_000, data={"a": "x" * 50_000})
    assert sent["type"] == "sent"


@pytest.mark.parametrize("text_bytes", [0, 4096])
def test_data_that_cannot_be_written_again_is_refused(text_bytes: int) -> None:
    party = Party(limits=Limits(messages_per_s=0, text_bytes=text_bytes))
    program = party.program("alice", "lobby")
    refused = 0
    for depth in range(230, 270):
        data: dict[str, Any] = {}
        for _ in range(depth):
            data = {"a": data}
        answer = program.ask("send", room="lobby", text="hi", data=data)
        refused += answer["type"] == "error"
        assert answer["type"] == "sent" or answer == refusal("bad_field", "data")
    assert 0 < refused < 40
    assert program.ask("history", room="lobby")["messages"]


def test_the_same_id_again_is_the_first_message(party: Party) -> None:
    alice, bob = party.program("alice", "lobby"), party.program("bob", "lobby")
    first = alice.ask("send", room="lobby", text="hi", id="x")
    bob.heard()
    party.pass_time(1)
    again = alice.ask("send", room="lobby", text="hi", id="x")
    assert again == {**first, "repeated": True}
    assert bob.heard("message") == []


def test_the_same_id_after_coming_back_is_the_first_message(party: Party) -> None:
    party.program("bob", "lobby")
    alice = party.program("alice", "lobby")
    first = alice.ask("send", room="lobby", text="hi", id="x")
    alice.leave_the_server()
    alice = party.program("alice", "lobby")
    assert alice.ask("send", room="lobby", text="hi", id="x") == {**first, "repeated": True}


def test_the_same_id_of_somebody_else_is_another_message(party: Party) -> None:
    alice, bob = party.program("alice", "lobby"), party.program("bob", "lobby")
    assert alice.ask("send", room="lobby", text="hi", id="x")["seq"] == 1
    sent = bob.ask("send", room="lobby", text="hi", id="x")
    assert sent["seq"] == 2
    assert "repeated" not in sent


# A store that fails


class FailingLog:
    """Can neither keep nor read anything at present."""

    epoch = "e"

    def append(self, draft: Draft, done: Callable[[Stored | WireError], None]) -> None:
        done(WireError(Code.UNAVAILABLE, "the disk is full", retry_after_ms=500))

    def read(
        self, after: int, before: int, limit: int, newest: bool, done: Callable[[Page | WireError], None]
    ) -> None:
        done(WireError(Code.UNAVAILABLE, "the disk is full", retry_after_ms=500))


@pytest.mark.parametrize(("kind", "fields"), [("send", {"text": "hi", "id": "x"}), ("history", {})])
def test_what_the_store_cannot_do_is_refused_and_nobody_sees_it(
    party: Party, kind: str, fields: dict[str, str]
) -> None:
    alice, bob = party.program("alice", "lobby"), party.program("bob", "lobby")
    party.hub.rooms["lobby"].log = FailingLog()
    answer = alice.ask(kind, room="lobby", **fields)
    assert answer == refusal("unavailable")
    assert answer["retry_after_ms"] == 500
    assert bob.heard("message") == []
    assert alice.ask("ping")["type"] == "pong"


# members and rooms


def test_members_are_listed_in_order_whatever_their_case(party: Party) -> None:
    for name in ("bob", "Carol", "alice", "not"):
        party.program(name, "lobby")
    outsider = party.program("zoe")
    assert outsider.ask("members", room="lobby") == {
        "type": "members", "room": "lobby", "members": ["alice", "bob", "Carol", "not"], "count": 4,
    }  # fmt: skip


def test_many_members_are_counted_and_not_all_listed(party: Party) -> None:
    room = party.program("alice", "lobby")
    for i in range(1200):
        party.hub.rooms["lobby"].enter(f"user-{i}")
    answer = room.ask("members", room="lobby")
    assert (len(answer["members"]), answer["count"]) == (1000, 1201)


def test_rooms_come_largest_first(party: Party) -> None:
    alice = party.program("alice", "small", "large")
    party.program("bob", "large", "also-small")
    said(alice, "large", times=2)
    assert alice.ask("rooms") == {
        "type": "rooms",
        "rooms": [
            {"room": "large", "members": 2, "head": 2, "joined": True},
            {"room": "also-small", "members": 1, "head": 0, "joined": False},
            {"room": "small", "members": 1, "head": 0, "joined": True},
        ],
        "count": 3,
    }


def test_many_rooms_are_counted_and_not_all_listed() -> None:
    party = Party(limits=Limits(messages_per_s=0, rooms_per_connection=0))
    program = party.program("alice", *(f"r{i}" for i in range(600)))
    answer = program.ask("rooms")
    assert (len(answer["rooms"]), answer["count"]) == (500, 600)


@pytest.mark.parametrize("type", ["members", "history"])
def test_a_room_that_is_not_there(party: Party, type: str) -> None:
    assert party.program("alice").ask(type, room="nowhere") == refusal("no_such_room", "room")
    assert not party.hub.rooms


# history


@pytest.fixture
def reader() -> Program:
    """In ``lobby`` with ten messages, where a page has at most five."""
    party = Party(limits=Limits(messages_per_s=0, history_page=5))
    said(party.program("alice", "lobby"), times=10)
    return party.program("bob")


@pytest.mark.parametrize(
    ("fields", "expected", "more"),
    [
        ({}, [6, 7, 8, 9, 10], True),
        ({"limit": 2}, [9, 10], True),
        ({"limit": 100}, [6, 7, 8, 9, 10], True),
        ({"limit": 2**64 - 1}, [6, 7, 8, 9, 10], True),
        ({"before": 6}, [1, 2, 3, 4, 5], False),
        ({"before": 7}, [2, 3, 4, 5, 6], True),
        ({"before": 3}, [1, 2], False),
        ({"before": 3, "limit": 1}, [2], True),
        ({"before": 1}, [], False),
        ({"before": 0}, [], False),
        ({"before": 11, "limit": 1}, [10], True),
        ({"before": SEQ_MAX, "limit": 1}, [10], True),
        ({"after": 0}, [1, 2, 3, 4, 5], True),
        ({"after": 4}, [5, 6, 7, 8, 9], True),
        ({"after": 5}, [6, 7, 8, 9, 10], False),
        ({"after": 8}, [9, 10], False),
        ({"after": 8, "limit": 1}, [9], True),
        ({"after": 10}, [], False),
        ({"after": SEQ_MAX}, [], False),
    ],
)
def test_history(reader: Program, fields: dict[str, int], expected: list[int], more: bool) -> None:
    page = reader.ask("history", room="lobby", **fields)
    assert (page["type"], page["room"]) == ("history", "lobby")
    assert (seqs(page["messages"]), page["more"]) == (expected, more)


def test_history_has_the_messages_as_they_were_heard(party: Party) -> None:
    alice = party.program("alice", "lobby")
    alice.say("send", room="lobby", text="é", id="x", data={"a": None})
    alice.say("typing", room="lobby")
    heard = alice.heard("message")
    assert alice.ask("history", room="lobby")["messages"] == heard


def test_history_goes_in_one_direction(reader: Program) -> None:
    answer = reader.ask("history", room="lobby", before=5, after=1)
    assert answer == refusal("bad_field", "before")


def test_a_page_of_history_is_bounded_in_bytes() -> None:
    party = Party(limits=Limits(messages_per_s=0, text_bytes=0))
    alice = party.program("alice", "lobby")
    said(alice, times=20, text="x" * 10_000)
    page = alice.ask("history", room="lobby")
    assert seqs(page["messages"]) == [17, 18, 19, 20]
    assert page["more"] is True


# typing and ping


def test_the_others_see_that_somebody_types(party: Party) -> None:
    alice, bob = party.program("alice", "lobby"), party.program("bob", "lobby")
    alice.say("typing", room="lobby")
    assert bob.heard() == [{"type": "typing", "room": "lobby", "from": "alice"}]
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


# The rate limit


@pytest.fixture
def limited() -> Program:
    """Has used up its burst."""
    party = Party(limits=Limits(messages_per_s=3, burst=4))
    program = party.program("alice", "lobby")
    for _ in range(2):
        assert program.ask("send", room="lobby", text="hi")["type"] == "sent"
    return program


def test_who_waits_as_long_as_told_is_served(limited: Program) -> None:
    for _ in range(10):
        refused = limited.ask("send", room="lobby", text="hi")
        assert refused == refusal("rate_limited")
        assert 0 < refused["retry_after_ms"] <= 334 + 1
        limited.party.pass_time(refused["retry_after_ms"] / 1000)
        assert limited.ask("send", room="lobby", text="hi")["type"] == "sent"


def test_who_waits_half_as_long_is_told_the_rest(limited: Program) -> None:
    first = limited.ask("members", room="lobby")["retry_after_ms"]
    limited.party.pass_time(first / 2000)
    second = limited.ask("members", room="lobby")["retry_after_ms"]
    assert abs(second - first / 2) <= 1


def test_a_refused_message_is_not_in_the_log(limited: Program) -> None:
    head = limited.party.hub.rooms["lobby"].head
    for _ in range(5):
        limited.ask("send", room="lobby", text="hi")
    assert limited.party.hub.rooms["lobby"].head == head


@pytest.mark.parametrize("type", [kind for kind in COMMANDS if kind != "ping"])
def test_every_command_but_ping_counts(limited: Program, type: str) -> None:
    fields = {name: {"text": "hi"}.get(name, "lobby") for name in COMMANDS[type].required}
    assert limited.ask(type, **fields) == refusal("rate_limited")
    assert limited.ask("ping")["type"] == "pong"


def test_one_session_does_not_use_up_another_ones_rate(limited: Program) -> None:
    assert limited.party.program("bob", "lobby").ask("send", room="lobby", text="hi")["type"] == "sent"


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
