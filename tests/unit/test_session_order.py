"""However late the store answers: commands stay in order, floods wait, and failures are answered."""

from collections.abc import Callable
from typing import Any

import pytest

from fastchat.chat import HOLD_S
from fastchat.messages import dumps
from fastchat.session import UNSTORED_MAX
from tests.answers import refusal, seqs, types
from tests.parties import Document, JsonClient, Party, Program
from tests.slow_store import SlowStore

CLIENTS: dict[str, Callable[[Party], JsonClient]] = {
    "websocket": Party.websocket,
    "json_lines": Party.json_lines,
}


@pytest.fixture
def store() -> SlowStore:
    return SlowStore()


@pytest.fixture
def party(store: SlowStore) -> Party:
    return Party(store=store, banner_after_s=0)


@pytest.fixture(params=CLIENTS)
def client(party: Party, request: pytest.FixtureRequest) -> JsonClient:
    """A program that has not said anything, on either port."""
    return CLIENTS[request.param](party)


def member(party: Party, store: SlowStore, name: str, *rooms: str) -> Program:
    """Somebody who came in while the store was quick."""
    store.hold = False
    program = party.program(name, *rooms)
    party.pass_time(5)
    program.heard()
    store.hold = True
    return program


def answers(documents: list[Document]) -> list[Any]:
    return [document["ref"] for document in documents if "ref" in document]


PIPELINE: list[Document] = [
    {"type": "hello", "user": "alice"},
    {"type": "join", "room": "lobby"},
    {"type": "send", "room": "lobby", "text": "one"},
    {"type": "send", "room": "lobby", "text": "two"},
    {"type": "history", "room": "lobby"},
    {"type": "send", "room": "lobby", "text": "three"},
    {"type": "ack", "room": "lobby", "seq": 3},
    {"type": "rooms"},
    {"type": "edit", "room": "lobby", "seq": 1, "text": "1"},
    {"type": "search", "query": "1"},
    {"type": "leave", "room": "lobby"},
    {"type": "send", "room": "lobby", "text": "too late"},
    {"type": "join", "room": "lobby", "after": 0},
    {"type": "members", "room": "lobby"},
    {"type": "ping"},
]
ANSWERS = [
    "welcome", "joined", "sent", "sent", "history", "sent", "rooms", "sent", "found", "left", "error",
    "joined", "members", "pong",
]  # fmt: skip
REFS = [i for i, command in enumerate(PIPELINE) if command["type"] != "ack"]


def check_pipeline(heard: list[Document]) -> None:
    answered = [document for document in heard if "ref" in document]
    assert [document["ref"] for document in answered] == REFS
    assert types(answered) == ANSWERS
    by_type = {document["type"]: document for document in answered}
    assert [m["text"] for m in by_type["history"]["messages"]] == ["one", "two"]
    assert by_type["rooms"]["rooms"][0]["cursor"] == 3
    assert [m["text"] for m in by_type["found"]["messages"]] == ["1"]
    assert by_type["error"] == refusal("not_joined", "room")
    assert by_type["joined"]["head"] == 4


def test_welcome_does_not_wait_for_a_store_that_does_not_answer(
    party: Party, store: SlowStore, client: JsonClient
) -> None:
    client.send_raw(*[dumps(command) for command in PIPELINE[:2]])
    party.pass_time(HOLD_S / 2)
    assert types(client.heard()) == []
    party.pass_time(HOLD_S / 2)
    assert types(client.heard()) == ["welcome"]
    assert store.waiting


def test_many_who_wait_share_a_timer(party: Party) -> None:
    clients = [party.websocket() for _ in range(3)]
    timers: list[float] = []
    call_later = party.chat.call_later

    def count(delay_s: float, callback: Callable[[], None]) -> Any:
        timers.append(delay_s)
        return call_later(delay_s, callback)

    party.chat.call_later = count
    for number, client in enumerate(clients):
        client.send_raw(dumps({"type": "hello", "user": f"guest{number}"}), dumps(PIPELINE[1]))
    assert timers == [HOLD_S]
    party.pass_time(HOLD_S)
    assert [types(client.heard()) for client in clients] == [["welcome"]] * 3


@pytest.mark.parametrize("at_once", [1, 2, None])
def test_commands_in_one_packet_are_answered_in_order(
    store: SlowStore, client: JsonClient, at_once: int | None
) -> None:
    client.send_raw(*[dumps({**command, "ref": ref}) for ref, command in enumerate(PIPELINE)])
    heard = client.heard()
    assert types(heard) == [], "the welcome goes with the answer to the first join"
    assert not client.stream.is_reading()
    while store.waiting:
        store.answer(at_once)
        heard += client.heard()
    check_pipeline(heard)
    assert client.stream.is_reading()
    assert client.stream.unread == 0


def test_a_quick_store_gives_the_same_answers(store: SlowStore, client: JsonClient) -> None:
    store.hold = False
    client.send_raw(*[dumps({**command, "ref": ref}) for ref, command in enumerate(PIPELINE)])
    check_pipeline(client.heard())


@pytest.mark.parametrize("at_once", [1, 2, None])
def test_a_session_keeps_the_order_by_itself(store: SlowStore, party: Party, at_once: int | None) -> None:
    program = Program(party)
    for ref, command in enumerate(PIPELINE):
        program.say(command["type"], ref=ref, **{k: v for k, v in command.items() if k != "type"})
    heard = program.heard()
    while store.waiting:
        store.answer(at_once)
        heard += program.heard()
    check_pipeline(heard)
    assert program.session.idle


def test_nobody_is_shown_what_is_not_stored(store: SlowStore, party: Party) -> None:
    alice, bob = member(party, store, "alice", "lobby"), member(party, store, "bob", "lobby")
    alice.say("send", room="lobby", text="hi")
    assert alice.heard("sent", "message") == bob.heard("message") == []
    store.answer()
    assert types(alice.heard("sent", "message")) == ["sent", "message"]
    assert seqs(bob.heard()) == [1]


def test_answers_may_be_late_but_ping_is_not(store: SlowStore, party: Party) -> None:
    alice = member(party, store, "alice", "lobby")
    alice.say("send", room="lobby", text="hi")
    assert alice.ask("ping")["type"] == "pong"
    alice.say("typing", room="lobby")
    assert alice.session.blocked is False


def test_a_person_whose_first_line_waits_for_the_store_is_read_in_order(
    store: SlowStore, party: Party
) -> None:
    bob = member(party, store, "bob", "lobby")
    person = party.person()
    for line in ("one", "two", "/join games", "three", "/leave", "four"):
        person.type(line)
    assert not person.stream.is_reading()
    for _ in range(50):
        store.answer(1) if store.waiting else None
        party.settle()
    assert [m["text"] for m in bob.heard("message")] == ["one", "two", "four"]
    assert person.stream.unread == 0
    assert not any("error" in line or "no room" in line for line in person.reads())


# Floods


def test_a_flood_is_not_read_while_the_store_hangs(store: SlowStore, client: JsonClient) -> None:
    party = client.party
    store.hold = False
    client.say("hello", user="alice")
    client.say("join", room="lobby")
    client.heard()
    store.hold = True
    client.send_raw(
        *[dumps({"type": "send", "room": "lobby", "text": "x", "ref": i}) for i in range(1000)],
        dumps({"type": "members", "room": "lobby", "ref": 1000}),
    )
    party.settle()
    assert len(store.waiting) == UNSTORED_MAX
    assert client.stream.unread == 1001 - UNSTORED_MAX
    assert not client.stream.is_reading()
    store.answer(1)
    party.settle()
    assert len(store.waiting) == UNSTORED_MAX
    heard = client.heard()
    while store.waiting:
        assert len(store.waiting) <= UNSTORED_MAX
        store.answer(100 if len(store.waiting) > 100 else None)
        heard += client.heard()
    assert answers(heard) == list(range(1001))
    assert seqs(heard) == list(range(1, 1001))


def test_others_chat_while_one_waits(store: SlowStore, party: Party) -> None:
    alice, bob = member(party, store, "alice", "lobby"), member(party, store, "bob", "lobby")
    for _ in range(UNSTORED_MAX):
        alice.say("send", room="lobby", text="x")
    assert alice.session.blocked
    assert not bob.session.blocked
    assert bob.ask("ping")["type"] == "pong"


# Failures


FAILING: list[tuple[str, Document, int]] = [
    # what is asked, and how many questions are answered before one fails
    ("join", {"room": "games"}, 0),
    ("join", {"room": "games"}, 1),
    ("send", {"room": "lobby", "text": "hi", "id": "x"}, 0),
    ("edit", {"room": "lobby", "seq": 1, "text": "hi"}, 0),
    ("delete", {"room": "lobby", "seq": 1}, 0),
    ("react", {"room": "lobby", "seq": 1, "reaction": "+1"}, 0),
    ("history", {"room": "lobby"}, 0),
    ("history", {"room": "games"}, 0),
    ("search", {"query": "hi"}, 0),
    ("members", {"room": "games"}, 0),
    ("hello", {"user": "carol"}, 0),
]


@pytest.mark.parametrize(("kind", "fields", "before"), FAILING)
def test_what_the_store_cannot_do_is_refused_and_can_be_done_later(
    store: SlowStore, party: Party, kind: str, fields: Document, before: int
) -> None:
    bob = member(party, store, "bob", "lobby")
    alice = member(party, store, "alice", "lobby", "games")
    store.hold = False
    alice.ask("send", room="lobby", text="first")
    alice.ask("send", room="games", text="first")
    alice.ask("leave", room="games")
    store.hold = True
    del party.hub.rooms["games"]  # it has been let go of
    bob.heard()
    alice.heard()
    alice.say(kind, ref="r", **fields)
    alice.say("ping", ref="after")
    store.answer(before)
    assert not [document for document in alice.heard() if document.get("ref") == "r"]
    store.fail()
    (answer,) = [document for document in alice.heard() if document.get("ref") == "r"]
    assert answer == refusal("unavailable")
    assert answer["retry_after_ms"] == 500
    assert bob.heard() == []
    assert alice.session.idle
    assert "games" not in party.hub.rooms
    store.hold = False
    assert alice.ask(kind, **fields)["type"] != "error"


def test_of_many_sends_only_those_that_failed_are_refused(store: SlowStore, party: Party) -> None:
    alice, bob = member(party, store, "alice", "lobby"), member(party, store, "bob", "lobby")
    for ref in range(4):
        alice.say("send", room="lobby", text=str(ref), ref=ref)
    alice.say("history", room="lobby", ref=4)
    store.answer(1)
    store.fail(2)
    store.answer()
    heard = alice.heard()
    assert answers(heard) == [0, 1, 2, 3, 4]
    assert [d["type"] for d in heard if "ref" in d] == ["sent", "error", "error", "sent", "history"]
    assert [(m["seq"], m["text"]) for m in bob.heard("message")] == [(1, "0"), (2, "3")]


def test_a_room_that_cannot_be_opened_is_refused_to_all_who_asked(store: SlowStore, party: Party) -> None:
    programs = [member(party, store, name) for name in ("alice", "bob")]
    for program in programs:
        program.say("join", room="lobby")
    store.answer(2)
    assert store.waiting == ["open"]
    store.fail()
    assert [program.heard() for program in programs] == [[refusal("unavailable")]] * 2
    assert not party.hub.rooms
