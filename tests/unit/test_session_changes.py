"""Edit, delete and react: who may, what comes of it, and what cannot be changed."""

from typing import Any

import pytest

from fastchat.session import Limits
from tests.answers import refusal, said
from tests.parties import STARTED_AT_MS, Document, Party, Program


@pytest.fixture
def party() -> Party:
    return Party()


@pytest.fixture
def alice(party: Party) -> Program:
    """Has said ``hi`` in ``lobby``: it is message 1."""
    alice = party.program("alice", "lobby")
    said(alice)
    return alice


@pytest.fixture
def bob(party: Party, alice: Program) -> Program:
    return party.program("bob", "lobby")


def message(program: Program, seq: int = 1) -> Document:
    """A message as it is now."""
    page = program.ask("history", room="lobby", after=seq - 1, limit=1)
    (found,) = page["messages"]
    assert found["seq"] == seq
    return dict(found)


CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("edit", {"text": "hello"}),
    ("delete", {}),
    ("react", {"reaction": "+1"}),
]


def test_an_edit_is_an_event_and_history_has_the_new_text(alice: Program, bob: Program) -> None:
    sent = alice.ask("edit", room="lobby", seq=1, text="hello", data={"a": 1}, id="x")
    assert sent == {"type": "sent", "room": "lobby", "seq": 2, "at": STARTED_AT_MS, "id": "x"}
    event = {
        "type": "edited", "room": "lobby", "seq": 2, "of": 1, "id": "x", "from": "alice", "at": STARTED_AT_MS,
        "text": "hello", "data": {"a": 1},
    }  # fmt: skip
    assert bob.heard("edited") == alice.heard("edited") == [event]
    now = message(bob)
    assert (now["text"], now["data"], now["edited"]) == ("hello", {"a": 1}, STARTED_AT_MS)
    alice.ask("edit", room="lobby", seq=1, text="again")
    now = message(bob)
    assert now["text"] == "again"
    assert "data" not in now


def test_a_deletion_is_an_event_and_leaves_no_text(alice: Program, bob: Program) -> None:
    assert alice.ask("delete", room="lobby", seq=1)["seq"] == 2
    assert bob.heard("deleted") == [
        {"type": "deleted", "room": "lobby", "seq": 2, "of": 1, "from": "alice", "at": STARTED_AT_MS}
    ]
    now = message(bob)
    assert "text" not in now
    assert now["deleted"] == STARTED_AT_MS


def test_reactions_are_events_and_add_up(alice: Program, bob: Program) -> None:
    bob.ask("react", room="lobby", seq=1, reaction="+1")
    assert alice.heard("reacted") == [
        {
            "type": "reacted", "room": "lobby", "seq": 2, "of": 1, "from": "bob", "at": STARTED_AT_MS,
            "reaction": "+1",
        }
    ]  # fmt: skip
    alice.ask("react", room="lobby", seq=1, reaction="+1")
    alice.ask("react", room="lobby", seq=1, reaction="heart")
    alice.ask("react", room="lobby", seq=1, reaction="heart")  # once is enough
    assert message(bob)["reactions"] == {"+1": ["bob", "alice"], "heart": ["alice"]}
    bob.ask("react", room="lobby", seq=1, reaction="+1", remove=True)
    assert alice.heard("reacted")[-1]["remove"] is True
    alice.ask("react", room="lobby", seq=1, reaction="heart", remove=True)
    assert message(bob)["reactions"] == {"+1": ["alice"]}


def test_the_others_may_react_but_not_change(alice: Program, bob: Program) -> None:
    for kind, fields in CHANGES[:2]:
        assert bob.ask(kind, room="lobby", seq=1, **fields) == refusal("forbidden", "seq")
    assert alice.heard("edited", "deleted") == []
    assert message(bob)["text"] == "hi"
    assert bob.ask("react", room="lobby", seq=1, reaction="+1")["type"] == "sent"


def test_what_is_deleted_stays_deleted(alice: Program, bob: Program) -> None:
    alice.ask("delete", room="lobby", seq=1)
    for program in (alice, bob):
        for kind, fields in CHANGES:
            assert program.ask(kind, room="lobby", seq=1, **fields) == refusal("no_such_message", "seq")
    assert "text" not in message(alice)


@pytest.mark.parametrize(("kind", "fields"), CHANGES)
def test_only_a_message_that_is_there_can_be_changed(alice: Program, kind: str, fields: Document) -> None:
    alice.ask("edit", room="lobby", seq=1, text="hello")
    head = alice.party.hub.rooms["lobby"].head
    for seq in (0, 2, 3, 2**53 - 1):  # nothing, an edit, the future
        assert alice.ask(kind, room="lobby", seq=seq, **fields) == refusal("no_such_message", "seq")
    assert alice.party.hub.rooms["lobby"].head == head


@pytest.mark.parametrize(("kind", "fields"), CHANGES)
def test_only_members_change(party: Party, alice: Program, kind: str, fields: Document) -> None:
    alice.ask("leave", room="lobby")
    assert alice.ask(kind, room="lobby", seq=1, **fields) == refusal("not_joined", "room")


@pytest.mark.parametrize(("kind", "fields"), CHANGES)
def test_a_change_with_the_same_id_happens_once(
    alice: Program, bob: Program, kind: str, fields: Document
) -> None:
    first = alice.ask(kind, room="lobby", seq=1, id="x", **fields)
    again = alice.ask(kind, room="lobby", seq=1, id="x", **fields)
    assert again == {**first, "repeated": True}
    assert len(bob.heard("edited", "deleted", "reacted")) == 1
    # An id belongs to the user, whatever it was for.
    assert alice.ask("send", room="lobby", text="hi", id="x") == again


def test_an_edit_is_limited_like_a_message() -> None:
    party = Party(limits=Limits(messages_per_s=0, text_bytes=20))
    alice = party.program("alice", "lobby")
    said(alice)
    assert alice.ask("edit", room="lobby", seq=1, text="é" * 11) == refusal("too_large", "text")
    long = {"a": "x" * 20}
    assert alice.ask("edit", room="lobby", seq=1, text="x", data=long) == refusal("too_large", "data")
    assert alice.ask("edit", room="lobby", seq=1, text="é" * 10)["type"] == "sent"


def test_who_comes_back_gets_the_changes_as_they_happened(party: Party, alice: Program) -> None:
    alice.ask("edit", room="lobby", seq=1, text="hello")
    alice.ask("delete", room="lobby", seq=1)
    carol = party.program("carol")
    carol.say("join", room="lobby", after=0)
    heard = [(event["type"], event["seq"]) for event in carol.heard() if "seq" in event]
    assert heard == [
        ("message", 1),
        ("edited", 2),
        ("deleted", 3),
    ]


# search


def test_search_finds_what_is_there_now_in_ones_own_rooms(party: Party, alice: Program, bob: Program) -> None:
    other = party.program("carol", "secret")
    said(other, "secret", text="hi there")
    said(bob, text="Hi again")
    found = alice.ask("search", query="hi")
    assert {(m["room"], m["text"]) for m in found["messages"]} == {("lobby", "hi"), ("lobby", "Hi again")}
    assert found["more"] is False
    alice.ask("edit", room="lobby", seq=1, text="bye")
    assert [m["text"] for m in alice.ask("search", query="hi")["messages"]] == ["Hi again"]
    assert [m["text"] for m in alice.ask("search", query="bye")["messages"]] == ["bye"]
    alice.ask("delete", room="lobby", seq=1)
    assert alice.ask("search", query="bye")["messages"] == []


def test_search_in_one_room_by_page_the_newest_first(party: Party) -> None:
    alice = party.program("alice", "lobby", "games")
    for i in range(5):
        said(alice, text=f"hi {i}")
        said(alice, "games", text=f"hi {i}")
        party.pass_time(1)
    page = alice.ask("search", query="hi", room="games", limit=2)
    assert [(m["room"], m["text"]) for m in page["messages"]] == [("games", "hi 4"), ("games", "hi 3")]
    assert page["more"] is True
    before = page["messages"][-1]["at"]
    page = alice.ask("search", query="hi", room="games", limit=3, before=before)
    assert [m["text"] for m in page["messages"]] == ["hi 2", "hi 1", "hi 0"]
    assert page["more"] is False


def test_search_refuses_what_it_cannot_look_for(alice: Program) -> None:
    assert alice.ask("search", query=" \t ") == refusal("bad_field", "query")
    assert alice.ask("search", query="hi", room="games") == refusal("not_joined", "room")
    alice.ask("leave", room="lobby")
    assert alice.ask("search", query="hi") == {"type": "found", "messages": [], "more": False}
