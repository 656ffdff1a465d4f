"""Coming back to many rooms with one ``hello``."""

from typing import Any

import pytest

from fastchat.messages import dumps
from fastchat.session import Limits
from tests.answers import refusal, said, seqs, types
from tests.parties import Document, JsonClient, Party, Program
from tests.slow_store import SlowStore


@pytest.fixture
def store() -> SlowStore:
    return SlowStore(hold=False)


@pytest.fixture
def party(store: SlowStore) -> Party:
    return Party(store=store)


@pytest.fixture
def alice(party: Party) -> Program:
    """Has said three messages in ``lobby`` and one in ``games``."""
    alice = party.program("alice", "lobby", "games")
    said(alice, times=3)
    said(alice, "games")
    return alice


def events(heard: list[Document], room: str) -> list[int]:
    return seqs([document for document in heard if document.get("room") == room])


def test_every_room_is_joined_behind_its_cursor(party: Party, alice: Program) -> None:
    bob = Program(party)
    bob.say("hello", user="bob", resume={"lobby": 1, "games": 1, "new": 0}, ref="r")
    heard = bob.heard()
    answers = [document for document in heard if document.get("ref") == "r"]
    assert types(answers) == ["welcome", "joined", "joined", "joined"]
    assert [(d["room"], d["head"], d["reset"]) for d in answers[1:]] == [
        ("lobby", 3, False), ("games", 1, False), ("new", 0, False)
    ]  # fmt: skip
    assert events(heard, "lobby") == [2, 3]
    assert events(heard, "games") == []
    said(alice)
    assert seqs(bob.heard()) == [4]


def test_without_ref_the_answers_have_none(party: Party, alice: Program) -> None:
    bob = Program(party)
    bob.say("hello", user="bob", resume={"lobby": 3})
    assert not any("ref" in document for document in bob.heard())


def test_epochs_tell_an_old_log_from_the_new_one(party: Party, alice: Program) -> None:
    epoch = party.hub.rooms["lobby"].log.epoch
    bob = Program(party)
    bob.say("hello", user="bob", resume={"lobby": 2, "games": 99}, epochs={"lobby": epoch, "games": "old"})
    heard = bob.heard()
    assert [(d["room"], d["reset"]) for d in heard if d["type"] == "joined"] == [
        ("lobby", False), ("games", True)
    ]  # fmt: skip
    assert events(heard, "lobby") == [3]
    assert events(heard, "games") == [1]


def test_what_is_wrong_with_one_room_is_no_other_rooms_business(party: Party, alice: Program) -> None:
    bob = party.program("bob", "here")
    bob.say("hello", resume={"lobby": 4, "here": 0, "games": 0}, ref=7)
    answers = [document for document in bob.heard() if "ref" in document]
    assert types(answers) == ["welcome", "error", "error", "joined"]
    assert [document.get("room") for document in answers] == [None, "lobby", "here", "games"]
    assert answers[1] == refusal("bad_field", "after")
    assert answers[2] == refusal("already_joined", "room")


@pytest.mark.parametrize("hold", [False, True])
def test_rooms_beyond_the_limit_are_refused(hold: bool) -> None:
    store = SlowStore(hold=hold)
    party = Party(store=store, limits=Limits(messages_per_s=0, rooms_per_connection=2))
    bob = Program(party)
    bob.say("hello", user="bob", resume={f"r{i}": 0 for i in range(5)})
    store.answer()
    heard = bob.heard("joined", "error")
    assert [(d["room"], d["type"]) for d in heard] == [
        ("r0", "joined"), ("r1", "joined"), ("r2", "error"), ("r3", "error"), ("r4", "error")
    ]  # fmt: skip
    assert heard[2:] == [refusal("too_many_rooms", "room")] * 3
    assert {*party.hub.rooms} == {"r0", "r1"}


def test_a_hello_that_is_refused_resumes_nothing(party: Party, alice: Program) -> None:
    bob = Program(party)
    assert bob.ask("hello", user="alice", resume={"lobby": 0}) == refusal("name_taken", "user")
    assert bob.ask("hello", user="bob", resume={"lobby": -1}) == refusal("bad_field", "resume")
    assert bob.ask("hello", user="bob", epochs={"lobby": 1}) == refusal("bad_field", "epochs")
    assert not bob.heard()
    assert party.hub.rooms["lobby"].members == {"alice": 1}


def test_a_new_name_and_rooms_at_once(party: Party, alice: Program) -> None:
    bob = party.program("bob", "games")
    bob.say("hello", user="carol", resume={"lobby": 3})
    assert types(bob.heard("welcome", "joined", "error")) == ["welcome", "joined"]
    assert party.hub.rooms["lobby"].members == {"alice": 1, "carol": 1}
    assert party.hub.rooms["games"].members == {"alice": 1, "carol": 1}


def test_what_follows_in_the_same_packet_comes_after_the_rooms(store: SlowStore, party: Party) -> None:
    for hold in (False, True):
        store.hold = hold
        client = party.json_lines()
        commands: list[dict[str, Any]] = [
            {"type": "hello", "user": f"bob-{hold}".lower(), "resume": {"lobby": 0, "games": 0}},
            {"type": "send", "room": "games", "text": "hi"},
            {"type": "leave", "room": "lobby"},
        ]
        client.send_raw(*map(dumps, commands))
        heard = client.heard()
        while store.waiting:
            store.answer(1)
            heard += client.heard()
        answers = [d["type"] for d in heard if d["type"] not in ("message", "presence")]
        assert answers == ["welcome", "joined", "joined", "sent", "left"]


def test_a_session_that_kept_a_hello_resumes_before_what_came_later(store: SlowStore, party: Party) -> None:
    program = party.program("bob", "lobby")
    store.hold = True
    program.say("history", room="lobby")
    program.say("hello", resume={"games": 0, "more": 0})
    program.say("send", room="more", text="hi")
    program.say("leave", room="games")
    store.answer()
    answers = [d["type"] for d in program.heard() if d["type"] not in ("message", "presence")]
    assert answers == ["history", "welcome", "joined", "joined", "sent", "left"]


def thousand_rooms(party: Party) -> JsonClient:
    client = party.json_lines()
    client.say("hello", user="bob", resume={f"room-{i}": 0 for i in range(1000)})
    return client


@pytest.mark.parametrize("at_once", [0, 1, 7])
def test_a_thousand_rooms(at_once: int) -> None:
    store = SlowStore(hold=bool(at_once))
    party = Party(store=store, limits=Limits(messages_per_s=0, rooms_per_connection=0))
    client = thousand_rooms(party)
    client.say("ping", ref="last")
    heard = client.heard()
    while store.waiting:
        assert len(store.waiting) <= 1
        store.answer(at_once)
        heard += client.heard()
    assert [d["room"] for d in heard if d["type"] == "joined"] == [f"room-{i}" for i in range(1000)]
    assert heard[0]["type"] == "welcome"
    assert [i for i, d in enumerate(heard) if d.get("ref") == "last"] >= [1001]
    assert client.connection.session.idle


def test_who_goes_amid_a_thousand_rooms_leaves_none_behind() -> None:
    store = SlowStore()
    party = Party(store=store, limits=Limits(messages_per_s=0, rooms_per_connection=0))
    client = thousand_rooms(party)
    store.answer(500)
    assert len(party.hub.rooms) == 499
    client.lose()
    store.answer()
    assert not store.waiting
    assert not party.hub.rooms


def test_a_store_that_cannot_tell_what_was_read_refuses_every_room() -> None:
    store = SlowStore()
    party = Party(store=store)
    bob = Program(party)
    bob.say("hello", user="bob", resume={"lobby": 0, "games": 0})
    store.fail()
    answers = bob.heard("error")
    assert answers == [refusal("unavailable")] * 2
    assert [answer["room"] for answer in answers] == ["lobby", "games"]
    store.hold = False
    assert bob.ask("join", room="lobby")["type"] == "joined"


@pytest.mark.parametrize("hold", [False, True])
def test_the_answers_for_a_thousand_rooms_wait_until_they_are_read(hold: bool) -> None:
    store = SlowStore(hold=hold)
    limits = Limits(messages_per_s=0, rooms_per_connection=500)
    party = Party(store=store, limits=limits, watermarks=(8192, 4096))
    client = party.json_lines()
    client.transport.stop_peer()
    client.say("hello", user="bob", resume={f"room-{i}": 0 for i in range(1000)})
    client.say("ping", ref="last")
    client.connection.on_eof()
    store.answer()
    party.pass_time(5)
    assert client.transport.get_write_buffer_size() < 2 * 8192
    assert not client.stream.is_reading()
    assert client.stream.closed is None
    client.transport.start_peer()
    heard: list[Document] = []
    while len(heard) < 1001:
        store.answer()
        heard += client.heard("welcome", "joined", "error")
    assert [document.get("room") for document in heard[1:]] == [f"room-{i}" for i in range(1000)]
    assert types(heard) == ["welcome"] + ["joined"] * 500 + ["error"] * 500
