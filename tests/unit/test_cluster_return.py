"""Who comes back to another node, which has not heard yet of what was seen at the first one."""

import pytest

from fastchat.messages import Close
from tests.nodes import Nodes


@pytest.mark.parametrize("command", ["join", "hello"])
def test_a_cursor_that_is_ahead_of_a_node_has_it_look_into_the_store(command: str) -> None:
    nodes = Nodes(2)
    one, two = nodes.alive
    two.program("bob", "lobby")
    nodes.bus.held = True
    alice = one.program("alice", "lobby")
    for text in ("a", "b", "c"):
        alice.ask("send", room="lobby", text=text)
    assert two.hub.rooms["lobby"].head == 0
    carol = two.program("carol")
    if command == "join":
        carol.say("join", room="lobby", after=2)
    else:
        carol.say("hello", user="carol", resume={"lobby": 2})
    two.settle()
    joined, message = carol.heard("joined", "message")
    assert (joined["head"], joined["reset"], message["text"]) == (3, False, "c")


def test_a_cursor_ahead_of_the_store_is_wrong_at_every_node() -> None:
    nodes = Nodes(2)
    one, two = nodes.alive
    two.program("bob", "lobby")
    nodes.bus.held = True
    alice = one.program("alice", "lobby")
    alice.ask("send", room="lobby", text="a")
    refused = two.program("carol").ask("join", room="lobby", after=2)
    assert (refused["type"], refused["code"], refused["field"]) == ("error", "bad_field", "after")
    assert "has seq 1" in refused["message"]


def test_who_is_in_a_room_that_has_a_hole_is_sent_away_and_comes_back_to_a_new_one() -> None:
    nodes = Nodes(2)
    one, two = nodes.alive
    alice, bob = one.program("alice", "lobby"), two.program("bob", "lobby", "club")
    carol = two.program("carol", "club")
    alice.ask("send", room="lobby", text="hi")
    room = two.hub.rooms["lobby"]
    room.on_lost()
    (bye,) = bob.heard("bye")
    assert (bye["code"], bye["reason"]) == (Close.RESTART, "room lobby has to be opened anew; come back")
    assert alice.heard("bye") == carol.heard("bye") == []
    again = two.program("bob")
    assert again.ask("join", room="lobby", after=1)["head"] == 1
    assert two.hub.rooms["lobby"] is not room
