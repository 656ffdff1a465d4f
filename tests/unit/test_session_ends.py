"""A connection that ends, or a room that is left, while the store has not answered yet."""

from collections.abc import Callable

import pytest

from fastchat.messages import dumps
from fastchat.room import RoomSettings
from tests.answers import seqs, types
from tests.parties import Client, Document, JsonClient, Party, Program, parse_lines
from tests.slow_store import SlowLog, SlowStore


@pytest.fixture
def store() -> SlowStore:
    return SlowStore(hold=False)


@pytest.fixture
def party(store: SlowStore) -> Party:
    return Party(store=store, banner_after_s=0)


def client_in(party: Party, *rooms: str) -> JsonClient:
    client = party.json_lines()
    client.say("hello", user="alice")
    for room in rooms:
        client.say("join", room=room)
    client.heard()
    return client


PENDING: dict[str, list[Document]] = {
    "join": [{"type": "join", "room": "games"}],
    "two joins": [{"type": "join", "room": "games"}, {"type": "join", "room": "more"}],
    "sends": [{"type": "send", "room": "lobby", "text": "hi"}] * 3,
    "leave": [{"type": "send", "room": "lobby", "text": "hi"}, {"type": "leave", "room": "lobby"}],
    "history": [{"type": "history", "room": "lobby"}],
    "members": [{"type": "members", "room": "games"}],
    "search": [{"type": "search", "query": "hi"}],
    "a new name": [{"type": "hello", "user": "carol"}],
    "resume": [{"type": "hello", "resume": {"games": 0, "more": 0}}],
}

ENDS: dict[str, Callable[[Client], None]] = {
    "lose": Client.lose,
    "end": lambda client: client.connection.end(1012, "restart"),
    "abort": lambda client: client.connection.abort(),
}


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("pending", PENDING)
@pytest.mark.parametrize("answered", [0, 1])
@pytest.mark.parametrize("works", [True, False])
def test_who_goes_while_answers_are_pending_leaves_nothing_behind(
    store: SlowStore, party: Party, ends: str, pending: str, answered: int, works: bool
) -> None:
    client = client_in(party, "lobby")
    store.hold = True
    client.send_raw(*map(dumps, PENDING[pending]))
    store.answer(answered)
    party.settle()
    client.transport.take()
    ENDS[ends](client)
    party.settle()
    said_at_the_end = client.transport.take()
    assert types(parse_lines(said_at_the_end)) == (["bye"] if ends == "end" else [])
    store.answer() if works else store.fail(len(store.waiting))
    store.answer()
    party.pass_time(5)
    assert client.transport.take() == b""
    if not client.transport.lost:
        client.lose()
    store.hold = False
    party.pass_time(5)
    assert not party.chat.census.members
    assert all(not room.members and not room.awaited and room.head for room in party.hub.rooms.values())
    for name in ("alice", "carol"):
        assert party.program(name, "lobby", "games").ask("members", room="games")["type"] == "members"


@pytest.mark.parametrize("pending", [key for key in PENDING if key != "a new name"])
def test_who_ends_its_input_still_gets_every_answer(store: SlowStore, party: Party, pending: str) -> None:
    client = client_in(party, "lobby")
    store.hold = True
    commands = [dumps({**command, "ref": i}) for i, command in enumerate(PENDING[pending])]
    client.send_raw(*commands)
    while client.stream.unread:
        store.answer(1)
        party.settle()
    client.connection.on_eof()  # the edge says so when everything has been handed over
    heard = client.heard()
    assert client.stream.closed is None or not store.waiting
    while store.waiting:
        assert client.stream.closed is None
        store.answer(1)
    assert client.stream.closed == (1000, "end of input")
    heard += client.heard()
    refs = [document["ref"] for document in heard if "ref" in document]
    assert sorted({*refs}) == list(range(len(commands)))


def test_an_event_of_who_has_gone_is_kept_and_shown(store: SlowStore, party: Party) -> None:
    bob = party.program("bob", "lobby")
    alice = party.program("alice", "lobby")
    store.hold = True
    alice.say("send", room="lobby", text="last words", id="x")
    alice.leave_the_server()
    store.answer()
    assert [m["text"] for m in bob.heard("message")] == ["last words"]
    store.hold = False
    again = party.program("alice", "lobby").ask("send", room="lobby", text="last words", id="x")
    assert (again["seq"], again["repeated"]) == (1, True)


def test_who_leaves_gets_the_answers_to_what_it_sent_first(store: SlowStore, party: Party) -> None:
    alice = party.program("alice", "lobby")
    store.hold = True
    alice.say("send", room="lobby", text="one")
    alice.say("send", room="lobby", text="two")
    alice.say("leave", room="lobby")
    assert party.hub.rooms["lobby"].members
    store.answer()
    heard = alice.heard()
    assert [kind for kind in types(heard) if kind != "message"] == ["sent", "sent", "left"]


# Rooms


@pytest.mark.parametrize("empty_kept", [0, 10])
def test_a_room_is_not_let_go_of_while_events_are_pending(store: SlowStore, empty_kept: int) -> None:
    party = Party(store=store, rooms=RoomSettings(empty_kept=empty_kept))
    alice = party.program("alice", "lobby")
    store.hold = True
    for _ in range(3):
        alice.say("send", room="lobby", text="hi")
    room = party.hub.rooms["lobby"]
    alice.leave_the_server()
    store.answer(1)
    assert party.hub.rooms["lobby"] is room
    store.hold = False
    bob = party.program("bob", "lobby")
    store.hold = True
    store.answer()
    assert seqs(bob.heard()) == [2, 3]
    bob.leave_the_server()
    assert ("lobby" in party.hub.rooms) == bool(empty_kept)


def test_many_who_wait_for_a_room_come_into_the_same_one(store: SlowStore, party: Party) -> None:
    programs = [party.program(name) for name in ("alice", "bob", "carol")]
    store.hold = True
    for program in programs:
        program.say("join", room="lobby")
    store.answer(3)
    assert store.waiting == ["open"]
    store.answer()
    party.settle()
    assert [p.heard("joined")[0]["members"] for p in programs] == [1, 2, 3]
    programs[0].say("send", room="lobby", text="hi")
    store.answer()
    assert [seqs(program.heard()) for program in programs] == [[1]] * 3


def test_who_comes_in_and_leaves_at_once_does_not_take_the_room_away(store: SlowStore, party: Party) -> None:
    alice, bob = party.program("alice"), party.program("bob")
    store.hold = True
    alice.say("join", room="lobby")
    bob.say("join", room="lobby")
    for kind in ("leave", "join"):
        alice.say(kind, room="lobby")
    store.answer()
    log = party.hub.rooms["lobby"].log
    assert isinstance(log, SlowLog)
    assert log.attached == 1
    assert {*party.hub.rooms["lobby"].members} == {"alice", "bob"}
    bob.heard()
    alice.say("send", room="lobby", text="hi")
    store.answer()
    assert seqs(bob.heard()) == [1]


def test_of_those_who_wait_for_a_room_some_may_have_gone(store: SlowStore, party: Party) -> None:
    alice, bob = party.program("alice"), party.program("bob")
    store.hold = True
    alice.say("join", room="lobby")
    bob.say("join", room="lobby")
    alice.leave_the_server()
    store.answer()
    assert party.hub.rooms["lobby"].members == {"bob": 1}


def test_a_room_that_is_only_looked_at_is_let_go_of(store: SlowStore, party: Party) -> None:
    alice = party.program("alice")
    store.hold = True
    for kind in ("history", "members"):
        alice.say(kind, room="lobby")
        store.answer()
        (answer,) = alice.heard()
        assert answer["code"] == "no_such_room"
        assert not party.hub.rooms


def test_a_room_that_is_read_may_be_let_go_of_meanwhile(store: SlowStore) -> None:
    party = Party(store=store, rooms=RoomSettings(empty_kept=0))
    alice = party.program("alice", "lobby")
    alice.ask("send", room="lobby", text="hi")
    bob = Program(party)
    bob.say("hello")
    store.hold = True
    bob.say("history", room="lobby", ref=1)
    alice.leave_the_server()
    assert not party.hub.rooms
    store.answer()
    assert len(bob.heard("history")[0]["messages"]) == 1
