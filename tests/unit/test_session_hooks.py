"""What a session does while hooks look at what it is told, and after."""

import pytest

from fastchat.messages import WireError
from fastchat.session import UNSTORED_MAX
from tests.answers import refusal, seqs, types
from tests.parties import Party, Program
from tests.slow_hooks import SlowHooks, otherwise, refused


@pytest.fixture
def hooks() -> SlowHooks:
    return SlowHooks()


@pytest.fixture
def party(hooks: SlowHooks) -> Party:
    party = Party()
    party.hub.hooks = hooks
    return party


def reads(program: Program) -> bool:
    """Whether the next command may come."""
    return not program.session.blocked


def texts(heard: list[dict[str, object]]) -> list[object]:
    return [document["text"] for document in heard if document["type"] == "message"]


def test_a_message_is_shown_to_the_hook_as_it_is_to_be_sent(party: Party, hooks: SlowHooks) -> None:
    hooks.decide = lambda message: message
    alice = party.program("alice", "lobby")
    sent = alice.ask("send", room="lobby", text="hi", id="x", data={"mood": "good"})
    (message,) = hooks.asked
    assert (message.user.name, message.room, message.text) == ("alice", "lobby", "hi")
    assert (message.data, message.id, message.at_ms) == ({"mood": "good"}, "x", sent["at"])
    assert message.edits is None
    assert seqs(alice.heard()) == [1]


def test_an_edit_is_shown_too_and_says_what_it_edits(party: Party, hooks: SlowHooks) -> None:
    hooks.decide = lambda message: message
    alice = party.program("alice", "lobby")
    alice.ask("send", room="lobby", text="hi")
    alice.ask("edit", room="lobby", seq=1, text="bye")
    assert [(message.text, message.edits) for message in hooks.asked] == [("hi", None), ("bye", 1)]


def test_what_has_no_words_is_not_shown(party: Party, hooks: SlowHooks) -> None:
    hooks.decide = lambda message: message
    alice = party.program("alice", "lobby")
    alice.ask("send", room="lobby", text="hi")
    alice.ask("react", room="lobby", seq=1, reaction="+1")
    alice.ask("delete", room="lobby", seq=1)
    assert len(hooks.asked) == 1


def test_nobody_has_hooks_look_at_rooms_that_they_are_not_in(party: Party, hooks: SlowHooks) -> None:
    alice = party.program("alice")
    assert alice.ask("send", room="lobby", text="hi") == refusal("not_joined", "room")
    assert hooks.asked == []


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
def test_a_message_that_is_refused_is_nobodys(party: Party, hooks: SlowHooks, later: bool) -> None:
    alice, bob = party.program("alice", "lobby"), party.program("bob", "lobby")
    if not later:
        hooks.decide = lambda message: refused("no shouting")
    alice.say("send", room="lobby", text="HI", ref=1)
    if later:
        hooks.answer(answer=refused("no shouting"))
    (answer,) = alice.heard()
    assert answer == refusal("refused")
    assert (answer["message"], answer["ref"]) == ("no shouting", 1)
    assert bob.heard() == []
    assert party.hub.rooms["lobby"].head == 0


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
def test_a_message_that_is_changed_is_stored_as_it_is_then(
    party: Party, hooks: SlowHooks, later: bool
) -> None:
    alice, bob = party.program("alice", "lobby"), party.program("bob", "lobby")
    if not later:
        hooks.decide = lambda message: otherwise(message, "****", {"was": 4})
    alice.say("send", room="lobby", text="damn", id="x")
    if later:
        hooks.answer(answer=otherwise(hooks.asked[0], "****", {"was": 4}))
    (message,) = bob.heard("message")
    assert (message["text"], message["data"], message["id"]) == ("****", {"was": 4}, "x")
    assert alice.heard("sent")[0]["id"] == "x"


def test_while_a_message_waits_others_go_on(party: Party, hooks: SlowHooks) -> None:
    alice, bob = party.program("alice", "lobby"), party.program("bob", "lobby")
    alice.say("send", room="lobby", text="waits")
    hooks.decide = lambda message: message
    assert bob.ask("send", room="lobby", text="does not")["seq"] == 1
    hooks.answer()
    assert texts(bob.heard()) == ["does not", "waits"]
    assert types(alice.heard("sent", "message")) == ["message", "sent", "message"]


def test_messages_of_one_connection_keep_their_order(party: Party, hooks: SlowHooks) -> None:
    alice, bob = party.program("alice", "lobby"), party.program("bob", "lobby")
    for text in ("one", "two", "three"):
        alice.say("send", room="lobby", text=text)
    hooks.decide = lambda message: message
    alice.say("send", room="lobby", text="four")
    alice.say("react", room="lobby", seq=1, reaction="+1")
    hooks.answer(1)
    hooks.answer(1)
    assert bob.heard() == []
    hooks.answer()
    assert types(bob.heard()) == ["message"] * 4 + ["reacted"]
    assert texts(alice.heard()) == ["one", "two", "three", "four"]
    assert hooks.waiting == {}


def test_a_refusal_comes_in_its_turn(party: Party, hooks: SlowHooks) -> None:
    alice = party.program("alice", "lobby")
    for ref in (1, 2, 3):
        alice.say("send", room="lobby", text="hi", ref=ref)
    hooks.answer(1, refused())
    hooks.answer(1)
    assert alice.heard() == []
    hooks.answer()
    answers = alice.heard("sent", "error")
    assert [(answer["type"], answer["ref"]) for answer in answers] == [("sent", 1), ("error", 2), ("sent", 3)]


def test_history_comes_after_what_waits(party: Party, hooks: SlowHooks) -> None:
    alice = party.program("alice", "lobby")
    alice.say("send", room="lobby", text="hi")
    alice.say("history", room="lobby")
    assert alice.heard() == []
    hooks.answer()
    (page,) = alice.heard("history")
    assert len(page["messages"]) == 1


def test_a_ping_does_not_wait(party: Party, hooks: SlowHooks) -> None:
    alice = party.program("alice", "lobby")
    alice.say("send", room="lobby", text="hi")
    assert alice.ask("ping")["type"] == "pong"


def test_messages_that_wait_are_bounded(party: Party, hooks: SlowHooks) -> None:
    alice = party.program("alice", "lobby")
    for _ in range(UNSTORED_MAX):
        assert reads(alice)
        alice.say("send", room="lobby", text="hi")
    assert not reads(alice)
    hooks.answer()
    assert reads(alice)
    while hooks.open:
        hooks.answer()
    assert len(alice.heard("sent")) == UNSTORED_MAX
    assert alice.session.idle


@pytest.mark.parametrize("answer", [None, refused()], ids=["passes", "refused"])
def test_who_has_gone_says_nothing_any_more(party: Party, hooks: SlowHooks, answer: WireError | None) -> None:
    alice, bob = party.program("alice", "lobby"), party.program("bob", "lobby")
    alice.say("send", room="lobby", text="last words")
    alice.leave_the_server()
    hooks.answer(answer=answer)
    assert bob.heard("message") == []
    assert hooks.waiting == {}


def test_who_is_not_in_the_room_any_more_is_told(party: Party, hooks: SlowHooks) -> None:
    alice, bob = party.program("alice", "lobby"), party.program("bob", "lobby")
    alice.say("send", room="lobby", text="last words", ref=1)
    party.hub.leave(party.hub.rooms["lobby"], alice.writer, "alice")
    hooks.answer()
    assert alice.heard("error") == [refusal("not_joined", "room")]
    assert bob.heard("message") == []
