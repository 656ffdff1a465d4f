"""Who comes back to another node, which has not heard yet of what was seen at the first one."""

import pytest

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
