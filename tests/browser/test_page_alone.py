"""The page and a scripted server: what a real one says only on bad days."""

import pytest
from playwright.sync_api import expect

from fastchat.web.app import PAGE, PAGE_HEADERS
from tests.browser.scripted_server import Json, ScriptedServer
from tests.browser.visitors import Visitor, Visitors

ADDRESS = "chat.example"
HOUR_MS = 3_600_000


@pytest.fixture
def alice(visitors: Visitors) -> Visitor:
    """A visitor whose clock can be advanced."""
    visitor = visitors.new()
    headers = {**PAGE_HEADERS, "Content-Type": "text/html; charset=utf-8"}
    visitor.page.route(f"http://{ADDRESS}/", lambda route: route.fulfill(body=PAGE, headers=headers))
    visitor.page.clock.install()
    return visitor


@pytest.fixture
def server(alice: Visitor) -> ScriptedServer:
    """What alice chats with; she has entered."""
    server = ScriptedServer(alice.page)
    alice.visit(ADDRESS)
    alice.enter_and_wait("alice")
    return server


def test_first_join_has_no_cursor_and_asks_for_history(alice: Visitor, server: ScriptedServer) -> None:
    server.send(type="history", room="lobby", messages=[], more=False)
    server.wait_for("history")
    server.wait_for("members")
    assert [command["type"] for command in server.commands] == ["hello", "join", "history", "members"]
    assert server.commands[1] == {"type": "join", "room": "lobby", "ref": "join"}


def test_log_is_in_the_order_of_seq(alice: Visitor, server: ScriptedServer) -> None:
    alice.say("mine")
    expect(alice.unsent).to_have_count(1)
    server.send_message(4, "four")
    expect(alice.messages).to_have_text(["four", "mine"])
    earlier = [
        {"type": "message", "room": "lobby", "seq": seq, "from": "bob", "at": seq, "text": text}
        for seq, text in ((2, "two"), (3, "three"), (4, "four"))
    ]
    server.send(type="history", room="lobby", messages=earlier, more=False)
    expect(alice.messages).to_have_text(["two", "three", "four", "mine"])
    message_id = server.wait_for("send")["id"]
    server.send(type="sent", room="lobby", seq=5, at=5, id=message_id)
    expect(alice.unsent).to_have_count(0)
    server.send_message(5, "mine", author="alice", id=message_id)
    server.send_message(6, "six")
    expect(alice.messages).to_have_text(["two", "three", "four", "mine", "six"])


def test_event_before_acknowledgement(alice: Visitor, server: ScriptedServer) -> None:
    alice.say("first")
    alice.say("second")
    expect(alice.unsent).to_have_count(2)
    first = server.wait_for("send")
    assert len(server.received("send")) == 1  # the second waits for the first
    server.send_message(1, "first", author="alice", id=first["id"])
    expect(alice.unsent).to_have_count(1)
    server.send(type="sent", room="lobby", seq=1, at=1, id=first["id"])
    second = server.wait_for("send", 2)
    assert second["id"] != first["id"]
    server.send_message(2, "second", author="alice", id=second["id"])
    expect(alice.messages).to_have_text(["first", "second"])
    expect(alice.unsent).to_have_count(0)


def test_same_id_of_somebody_else_is_not_ours(alice: Visitor, server: ScriptedServer) -> None:
    alice.say("ours")
    expect(alice.unsent).to_have_count(1)
    server.send_message(1, "theirs", author="bob", id=server.wait_for("send")["id"])
    expect(alice.messages).to_have_text(["theirs", "ours"])
    expect(alice.unsent).to_have_count(1)


def test_comes_back_to_its_cursor_and_sends_again(alice: Visitor, server: ScriptedServer) -> None:
    server.send_message(7, "seven")
    alice.say("unanswered")
    expect(alice.unsent).to_have_count(1)
    server.head = 7
    server.close(1012)
    expect(alice.status).to_have_text("No connection. Trying again…")
    alice.page.clock.run_for(2000)
    expect(alice.status).to_be_hidden()
    assert server.wait_for("join", 2) == {
        "type": "join",
        "room": "lobby",
        "after": 7,
        "epoch": "one",
        "ref": "join",
    }
    assert server.wait_for("send", 2) == server.wait_for("send", 1)
    assert len(server.received("history")) == 1


def test_messages_change_where_they_are(alice: Visitor, server: ScriptedServer) -> None:
    server.send_message(1, "frist")
    server.send_message(2, "regretted")
    server.send_message(3, "third")
    server.send_change("edited", 4, of=1, text="first")
    server.send_change("reacted", 5, of=2, author="alice", reaction="👍")
    server.send_change("deleted", 6, of=2)
    expect(alice.messages).to_have_text(["first", "Message deleted", "third"])
    expect(alice.message("first").locator(".state")).to_have_text("edited")
    expect(alice.message("third")).to_contain_class("grouped")
    expect(alice.reactions).to_have_count(0)
    # What is not on the screen any more does not matter.
    server.send_change("edited", 7, of=999, text="?")
    server.send_change("edited", 8, of=2, text="?")
    server.send_change("edited", 9, of=3, text="the end")
    expect(alice.messages).to_have_text(["first", "Message deleted", "the end"])


def test_reactions_are_counted(alice: Visitor, server: ScriptedServer) -> None:
    server.send_message(1, "cake!")
    for seq, author, reaction in ((2, "bob", "👍"), (3, "carol", "👍"), (4, "bob", "👍"), (5, "alice", "🎂")):
        server.send_change("reacted", seq, of=1, author=author, reaction=reaction)
    expect(alice.reactions).to_have_text(["👍 2", "🎂 1"])
    expect(alice.reactions.first).to_have_attribute("title", "carol, bob")
    server.send_change("reacted", 6, of=1, author="alice", reaction="🎂", remove=True)
    server.send_change("edited", 7, of=1, text="more cake!")
    expect(alice.reactions).to_have_text(["👍 2"])
    expect(alice.messages).to_have_text(["more cake!"])


def test_history_has_messages_as_they_are_now(alice: Visitor, server: ScriptedServer) -> None:
    server.wait_for("history")
    # These two may be in the history already, or come too late for it: the page cannot know.
    server.send_change("reacted", 4, of=1, author="carol", reaction="👍")
    server.send_change("edited", 5, of=2, text="two")
    first = {"text": "one", "edited": 9, "reactions": {"👍": ["bob", "carol"]}}
    states: tuple[Json, ...] = (first, {"text": "tow"}, {"deleted": 9})
    messages = [
        {"type": "message", "room": "lobby", "seq": seq, "from": "bob", "at": seq, **state}
        for seq, state in enumerate(states, 1)
    ]
    server.send(type="history", room="lobby", messages=messages, more=False, ref="history")
    expect(alice.messages).to_have_text(["one", "two", "Message deleted"])
    expect(alice.reactions).to_have_text(["👍 2"])


def test_changes_move_the_cursor(alice: Visitor, server: ScriptedServer) -> None:
    server.send_message(1, "one")
    server.send_change("deleted", 2, of=1)
    server.send(type="pinned", room="lobby", seq=3, of=1)  # what a later server may say
    expect(alice.messages).to_have_text(["Message deleted"])
    server.head = 3
    server.close(1012)
    alice.page.clock.run_for(2000)
    assert server.wait_for("join", 2)["after"] == 3


def test_what_was_in_sight_is_acknowledged_now_and_then(alice: Visitor, server: ScriptedServer) -> None:
    server.send_message(1, "one")
    server.send_message(2, "two")
    expect(alice.messages).to_have_count(2)
    alice.page.clock.run_for(1000)
    assert server.wait_for("ack") == {"type": "ack", "room": "lobby", "seq": 2, "ref": "ack"}
    for seq in range(3, 103):
        server.send_message(seq, f"message {seq}")
    expect(alice.messages).to_have_count(102)
    alice.page.clock.run_for(1000)
    server.wait_for("ack", len(server.received("ack")) or 1)
    alice.log.hover()
    alice.page.mouse.wheel(0, -1500)
    expect(alice.messages.last).not_to_be_in_viewport()
    server.send_message(103, "newest")
    expect(alice.newer).to_be_visible()
    alice.page.clock.run_for(5000)
    assert max(command["seq"] for command in server.received("ack")) == 102
    alice.newer.click()
    expect(alice.message("newest")).to_be_in_viewport()
    alice.page.clock.run_for(1000)
    count = len(server.received("ack"))
    assert server.wait_for("ack", count)["seq"] == 103
    alice.page.clock.run_for(5000)
    assert len(server.received("ack")) == count


def test_what_is_new_since_the_last_visit_is_marked(alice: Visitor) -> None:
    server = ScriptedServer(alice.page)
    server.head, server.cursor = 4, 2
    alice.visit(ADDRESS)
    alice.enter_and_wait("alice")
    server.wait_for("history")
    messages = [
        {"type": "message", "room": "lobby", "seq": seq, "from": "bob", "at": seq, "text": f"message {seq}"}
        for seq in range(1, 5)
    ]
    server.send(type="history", room="lobby", messages=messages, more=False, ref="history")
    expect(alice.log.locator("> *")).to_contain_text(
        ["message 1", "message 2", "New since you were here", "message 3", "message 4"]
    )
    alice.page.clock.run_for(1000)
    assert server.wait_for("ack")["seq"] == 4


def test_lost_messages_are_counted(alice: Visitor, server: ScriptedServer) -> None:
    server.send_message(1, "one")
    server.send(type="lagged", room="lobby", **{"from": 2, "to": 18, "missed": 17})
    server.send_message(19, "nineteen")
    expect(alice.notes).to_have_text(["17 messages missed"])
    expect(alice.log.locator("> *")).to_contain_text(["one", "17 messages missed", "nineteen"])


def test_room_that_started_anew_keeps_what_was_shown(alice: Visitor, server: ScriptedServer) -> None:
    server.send_message(41, "old")
    expect(alice.messages).to_have_text(["old"])
    server.epoch, server.head = "two", 2
    server.close(1012)
    alice.page.clock.run_for(2000)
    expect(alice.notes).to_have_text(["The room has started anew"])
    server.send_message(1, "new one")
    server.send_message(2, "new two")
    expect(alice.log.locator("> *")).to_contain_text(["old", "anew", "new one", "new two"])


def test_stays_away_as_long_as_the_bye_says(alice: Visitor, server: ScriptedServer) -> None:
    server.send(type="bye", code=1012, reason="restart", reconnect_after_ms=HOUR_MS, cursors={"lobby": 0})
    server.close(1012)
    expect(alice.status).to_be_visible()
    alice.page.clock.run_for(HOUR_MS // 2)
    expect(alice.status).to_be_visible()
    assert server.connections == 1
    alice.page.clock.run_for(HOUR_MS // 2)
    expect(alice.status).to_be_hidden()
    assert server.connections == 2


def test_does_not_come_back_when_told_so(alice: Visitor, server: ScriptedServer) -> None:
    server.close(4501, "you were removed")
    expect(alice.status).to_contain_text("you were removed")
    alice.page.clock.run_for(HOUR_MS)
    expect(alice.status).to_contain_text("Reload the page")
    assert server.connections == 1


def test_silent_network_is_noticed(alice: Visitor, server: ScriptedServer) -> None:
    alice.page.clock.run_for(20_000)
    expect(alice.status).to_be_hidden()
    alice.page.clock.run_for(20_000)
    server.wait_for("ping")
    assert len(server.received("ping")) == 1
    alice.page.clock.run_for(2000)
    expect(alice.status).to_be_hidden()
    assert server.connections == 2


def test_waits_until_its_own_lost_connection_gives_the_name_back(
    alice: Visitor, server: ScriptedServer
) -> None:
    server.taken = {"alice"}
    server.close(1006)
    alice.page.clock.run_for(2000)
    expect(alice.status).to_have_text("Waiting until your name is free again…")
    server.taken.clear()
    alice.page.clock.run_for(2000)
    expect(alice.status).to_be_hidden()
    expect(alice.draft).to_be_visible()


def test_typing_is_said_once_in_a_while_and_forgotten(alice: Visitor, server: ScriptedServer) -> None:
    alice.draft.press_sequentially("a long message")
    server.send(type="typing", room="lobby", **{"from": "bob"})
    server.send(type="typing", room="lobby", **{"from": "carol"})
    expect(alice.typing).to_have_text("bob, carol are typing…")
    server.wait_for("typing")
    assert len(server.received("typing")) == 1
    alice.page.clock.run_for(10_000)
    expect(alice.typing).to_be_empty()


def test_reader_who_scrolled_up_stays_there(alice: Visitor, server: ScriptedServer) -> None:
    for seq in range(1, 101):
        server.send_message(seq, f"message {seq}")
    expect(alice.messages).to_have_count(100)
    expect(alice.messages.last).to_be_in_viewport()
    alice.log.hover()
    alice.page.mouse.wheel(0, -1500)
    expect(alice.messages.last).not_to_be_in_viewport()
    server.send_message(101, "newest")
    expect(alice.newer).to_be_visible()
    expect(alice.message("newest")).not_to_be_in_viewport()
    alice.newer.click()
    expect(alice.message("newest")).to_be_in_viewport()
    expect(alice.newer).to_be_hidden()


def test_page_keeps_a_bounded_number_of_messages(alice: Visitor, server: ScriptedServer) -> None:
    for seq in range(1, 1201):
        server.send_message(seq, f"message {seq}")
    expect(alice.messages.last).to_have_text("message 1200")
    expect(alice.messages).to_have_count(1000)
    expect(alice.messages.first).to_have_text("message 201")
    expect(alice.messages.last).to_be_in_viewport()
