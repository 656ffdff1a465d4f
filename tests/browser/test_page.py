"""The page and the real server: what people do with it in the first minute, and what may go wrong then."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import WebSocketRoute, expect

from tests.browser.visitors import Visitors
from tests.server_process import ServerProcess


def test_two_people_chat(server: ServerProcess, visitors: Visitors) -> None:
    alice = visitors.chatting(server.http, "alice")
    bob = visitors.chatting(server.http, "bob")
    expect(alice.presence).to_have_text("2 here · bob joined")
    alice.say("hello, bob")
    expect(bob.messages).to_have_text(["hello, bob"])
    bob.say("hello, alice")
    bob.say("how are you?")
    for visitor in (alice, bob):
        expect(visitor.messages).to_have_text(["hello, bob", "hello, alice", "how are you?"])
        expect(visitor.unsent).to_have_count(0)
    expect(bob.message("hello, bob").locator("b")).to_have_text("alice")
    expect(bob.message("hello, bob").locator("time")).to_have_text(re.compile(r"^\d\d:\d\d$"))
    expect(alice.message("hello, bob")).to_contain_class("mine")
    expect(bob.message("hello, bob")).not_to_contain_class("mine")
    expect(bob.message("hello, alice")).not_to_contain_class("grouped")
    expect(bob.message("how are you?")).to_contain_class("grouped")
    bob.page.close()
    expect(alice.presence).to_have_text("1 here · bob left")


def test_name_is_suggested_and_remembered(server: ServerProcess, visitors: Visitors) -> None:
    visitor = visitors.new()
    visitor.visit(server.http)
    expect(visitor.name).to_be_focused()
    expect(visitor.name).to_have_value(re.compile(r"^[a-z]+-[a-z]+$"))
    visitor.enter_and_wait("Grace.Hopper")
    visitor.page.reload()
    expect(visitor.name).to_have_value("Grace.Hopper")


def test_taken_name_is_asked_for_again(server: ServerProcess, visitors: Visitors) -> None:
    visitors.chatting(server.http, "alice")
    other = visitors.new()
    other.visit(server.http)
    other.enter("ALICE")
    expect(other.problem).to_contain_text("taken")
    expect(other.name).to_be_focused()
    other.enter_and_wait("alice2")
    expect(other.presence).to_contain_text("2 here")


def test_impatient_person_enters_once(server: ServerProcess, visitors: Visitors) -> None:
    visitor = visitors.new()
    visitor.visit(server.http)
    visitor.name.fill("alice")
    visitor.page.evaluate("for (let times = 0; times < 3; times++) document.forms.login.requestSubmit()")
    expect(visitor.draft).to_be_focused()
    visitor.page.evaluate("for (let times = 0; times < 3; times++) document.forms.login.requestSubmit()")
    visitor.say("here")
    expect(visitor.unsent).to_have_count(0)
    expect(visitor.messages).to_have_text(["here"])
    expect(visitor.status).to_be_hidden()
    bob = visitors.chatting(server.http, "bob")
    expect(bob.presence).to_contain_text("2 here")


def test_name_that_cannot_be_is_not_sent(server: ServerProcess, visitors: Visitors) -> None:
    visitor = visitors.new()
    visitor.visit(server.http)
    visitor.enter("no spaces")
    assert visitor.name.evaluate("input => input.validity.patternMismatch")
    expect(visitor.draft).to_be_hidden()


def test_text_is_never_markup(server: ServerProcess, visitors: Visitors) -> None:
    text = '<img src=x onerror="document.title=1"><script>document.title=1</script>&amp;'
    alice = visitors.chatting(server.http, "alice")
    bob = visitors.chatting(server.http, "bob")
    alice.say(text)
    for visitor in (alice, bob):
        expect(visitor.messages).to_have_text([text])
        expect(visitor.log.locator("img, script")).to_have_count(0)
        expect(visitor.page).to_have_title("#lobby · fastchat")


def test_lines_and_characters_of_all_kinds_arrive_as_written(
    server: ServerProcess, visitors: Visitors
) -> None:
    alice = visitors.chatting(server.http, "alice")
    bob = visitors.chatting(server.http, "bob")
    alice.draft.fill("first line")
    alice.draft.press("Shift+Enter")
    alice.draft.press_sequentially("你好 👋🏽 \\ \"'")
    alice.draft.press("Enter")
    expect(bob.messages).to_have_count(1)
    assert bob.messages.inner_text() == "first line\n你好 👋🏽 \\ \"'"


def test_earlier_messages_are_there(server: ServerProcess, visitors: Visitors) -> None:
    alice = visitors.chatting(server.http, "alice")
    for text in ("one", "two", "three"):
        alice.say(text)
    expect(alice.unsent).to_have_count(0)
    bob = visitors.chatting(server.http, "bob")
    expect(bob.messages).to_have_text(["one", "two", "three"])


def test_address_names_the_room(server: ServerProcess, visitors: Visitors) -> None:
    alice = visitors.chatting(server.http, "alice", room="tea")
    expect(alice.page.get_by_role("heading")).to_have_text("#tea")
    bob = visitors.chatting(server.http, "bob")
    bob.say("in the lobby")
    expect(bob.unsent).to_have_count(0)
    bob.visit(server.http, "tea")
    bob.enter_and_wait("bob")
    bob.say("in the tea room")
    expect(alice.messages).to_have_text(["in the tea room"])


def test_who_is_typing(server: ServerProcess, visitors: Visitors) -> None:
    alice = visitors.chatting(server.http, "alice")
    bob = visitors.chatting(server.http, "bob")
    alice.draft.press_sequentially("hm")
    expect(bob.typing).to_have_text("alice is typing…")
    expect(alice.typing).to_be_empty()
    alice.draft.press("Enter")
    expect(bob.messages).to_have_text(["hm"])
    expect(bob.typing).to_be_empty()


def test_refused_message_says_why(server: ServerProcess, visitors: Visitors) -> None:
    alice = visitors.chatting(server.http, "alice")
    alice.say("ä" * 4000)
    expect(alice.log).to_contain_text("Not sent: text is 8000 bytes long")
    alice.say("shorter")
    expect(alice.message("shorter")).not_to_contain_class("pending")


@pytest.mark.settings("limits.messages_per_s=4", "limits.burst=4")
def test_too_fast_is_sent_later_and_in_order(server: ServerProcess, visitors: Visitors) -> None:
    bob = visitors.chatting(server.http, "bob")
    alice = visitors.chatting(server.http, "alice")
    texts = [f"message {number}" for number in range(6)]
    for text in texts:
        alice.say(text)
    for visitor in (alice, bob):
        expect(visitor.messages).to_have_text(texts)
    expect(alice.unsent).to_have_count(0)
    expect(alice.status).to_be_hidden()


def test_lost_acknowledgement_shows_the_message_once(server: ServerProcess, visitors: Visitors) -> None:
    connections: list[WebSocketRoute] = []

    def cut_first_at_its_first_message(route: WebSocketRoute) -> None:
        connections.append(route)
        upstream = route.connect_to_server()
        uncut = connections == [route]

        def on_server_message(raw: str | bytes) -> None:
            nonlocal uncut
            if uncut and json.loads(raw)["type"] in ("message", "sent"):
                uncut = False
                upstream.close()
                route.close(code=1001)
            elif uncut or connections[0] is not route:
                route.send(raw)

        upstream.on_message(on_server_message)

    bob = visitors.chatting(server.http, "bob")
    alice = visitors.new()
    alice.page.route_web_socket("**/ws", cut_first_at_its_first_message)
    alice.visit(server.http)
    alice.enter_and_wait("alice")
    alice.say("only once")
    expect(bob.messages).to_have_text(["only once"])
    bob.say("meanwhile")
    expect(alice.unsent).to_have_count(0)
    alice.say("and on")
    for visitor in (alice, bob):
        expect(visitor.messages).to_have_text(["only once", "meanwhile", "and on"])
    assert len(connections) == 2


def test_server_restart(visitors: Visitors) -> None:
    with ServerProcess("server.reconnect_spread_ms=100") as before:
        address = before.http
        alice = visitors.chatting(address, "alice")
        bob = visitors.chatting(address, "bob")
        alice.say("before")
        expect(bob.messages).to_have_text(["before"])
    expect(alice.status).to_have_text("No connection. Trying again…")
    alice.say("in between")
    expect(alice.message("in between")).to_contain_class("pending")
    with ServerProcess(arguments=("--http", address)):
        for visitor in (alice, bob):
            expect(visitor.messages).to_have_text(["before", "in between"])
            expect(visitor.status).to_be_hidden()
        bob.say("after")
        for visitor in (alice, bob):
            expect(visitor.messages).to_have_text(["before", "in between", "after"])
            expect(visitor.notes).to_have_text(["The room has started anew"])
        visitors.leave()


def test_durable_room_survives_a_restart(visitors: Visitors, tmp_path: Path) -> None:
    store = f"store.url=sqlite://{tmp_path}/chat.db"
    with ServerProcess(store, "server.reconnect_spread_ms=100") as before:
        address = before.http
        alice = visitors.chatting(address, "alice")
        bob = visitors.chatting(address, "bob")
        for text in ("one", "tow", "never mind"):
            alice.say(text)
        expect(bob.messages).to_have_text(["one", "tow", "never mind"])
        alice.page.evaluate("send({type: 'edit', room, seq: 2, text: 'two'})")
        alice.page.evaluate("send({type: 'delete', room, seq: 3})")
        bob.page.evaluate("send({type: 'react', room, seq: 1, reaction: '👍'})")
        for visitor in (alice, bob):
            expect(visitor.messages).to_have_text(["one", "two", "Message deleted"])
            expect(visitor.reactions).to_have_text(["👍 1"])
    alice.say("in between")
    with ServerProcess(store, arguments=("--http", address)):
        carol = visitors.chatting(address, "carol")
        for visitor in (alice, bob, carol):
            expect(visitor.messages).to_have_text(["one", "two", "Message deleted", "in between"])
            expect(visitor.reactions).to_have_text(["👍 1"])
            expect(visitor.status).to_be_hidden()
            expect(visitor.notes).to_have_count(0)
        visitors.leave()
