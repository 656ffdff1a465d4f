"""The page, the real server and other people: accounts, messages to one, moderators, who is away."""

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.visitors import Visitor, Visitors
from tests.server_process import ServerProcess

pytestmark = pytest.mark.settings("auth.registration=on")


def registered(server: ServerProcess, visitors: Visitors, name: str, room: str = "") -> Visitor:
    visitor = visitors.new()
    visitor.visit(server.http, room)
    visitor.name.fill(name)
    visitor.password.fill(f"secret of {name}")
    visitor.page.get_by_role("button", name="Register").click()
    expect(visitor.draft).to_be_focused()
    return visitor


def member(visitor: Visitor, name: str) -> Locator:
    return visitor.page.locator("#members li").filter(has_text=re.compile(f"^{name}"))


def test_who_has_registered_signs_in(server: ServerProcess, visitors: Visitors) -> None:
    registered(server, visitors, "alice").page.close()
    again = visitors.new()
    again.visit(server.http)
    again.name.fill("alice")
    again.password.fill("something else")
    again.password.press("Enter")
    expect(again.problem).to_have_text("wrong user or password")
    again.password.fill("secret of alice")
    again.password.press("Enter")
    expect(again.draft).to_be_focused()
    again.say("it is me")
    expect(again.messages).to_have_text(["it is me"])
    expect(again.unsent).to_have_count(0)


def test_two_people_write_to_each_other_alone(server: ServerProcess, visitors: Visitors) -> None:
    alice = registered(server, visitors, "alice")
    bob = visitors.chatting(server.http, "bob")
    member(alice, "bob").get_by_role("button", name="bob").click()
    expect(alice.page.get_by_role("heading")).to_have_text("@bob")
    alice.say("only for you")
    expect(alice.messages).to_have_text(["only for you"])
    expect(alice.unsent).to_have_count(0)
    conversation = bob.page.locator("#talks li").filter(has_text="@alice")
    expect(conversation.locator("b")).to_have_text("1")
    expect(bob.page).to_have_title("(1) #lobby · fastchat")
    expect(bob.messages).to_have_count(0)
    conversation.get_by_role("button").click()
    expect(bob.messages).to_have_text(["only for you"])
    expect(conversation.locator("b")).to_have_count(0)
    bob.say("thank you")
    for visitor in (alice, bob):
        expect(visitor.messages).to_have_text(["only for you", "thank you"])
    bob.page.get_by_role("button", name="#lobby").click()
    expect(bob.messages).to_have_count(0)


def test_a_moderator_deletes_and_takes_somebody_out(server: ServerProcess, visitors: Visitors) -> None:
    alice = registered(server, visitors, "alice")
    alice.page.evaluate("send({type: 'create', room: 'den', ref: 'act'})")
    alice.page.goto("about:blank")
    alice.visit(server.http, "den")
    alice.name.fill("alice")
    alice.password.fill("secret of alice")
    alice.password.press("Enter")
    expect(alice.draft).to_be_focused()
    eve = visitors.chatting(server.http, "eve", "den")
    eve.say("buy this")
    expect(alice.messages).to_have_text(["buy this"])
    expect(eve.page.get_by_role("button", name="Moderate alice")).to_have_count(0)
    alice.message("buy this").hover()
    alice.page.get_by_role("button", name="Delete").click()
    alice.page.get_by_role("button", name="Delete: sure?").click()
    for visitor in (alice, eve):
        expect(visitor.messages).to_have_text(["Message deleted"])
    alice.page.get_by_role("button", name="Moderate eve").click()
    alice.page.get_by_role("button", name="Kick", exact=True).click()
    alice.page.get_by_role("button", name="Kick: sure?").click()
    expect(eve.status).to_contain_text("You were taken out of #den by alice")
    expect(alice.notes).to_contain_text(["alice has taken eve out"])
    expect(member(alice, "eve")).to_have_count(0)
    eve.page.get_by_role("button", name="Come back").click()
    expect(member(alice, "eve")).to_have_count(1)
    alice.page.get_by_role("button", name="Moderate eve").click()
    alice.page.get_by_role("button", name="Ban", exact=True).click()
    alice.page.get_by_role("button", name="Ban: sure?").click()
    eve.page.get_by_role("button", name="Come back").click()
    expect(eve.status).to_contain_text("eve is banned from room den")


def test_who_is_away_is_seen(server: ServerProcess, visitors: Visitors) -> None:
    alice = visitors.chatting(server.http, "alice")
    bob = visitors.chatting(server.http, "bob")
    bob.page.get_by_role("button", name="I am away").click()
    expect(member(alice, "bob")).to_contain_text("away")
    expect(bob.page.get_by_role("button", name="You are away")).to_have_attribute("aria-pressed", "true")
    bob.say("here again")
    expect(member(alice, "bob")).not_to_contain_text("away")
    expect(bob.page.get_by_role("button", name="I am away")).to_have_attribute("aria-pressed", "false")


def test_on_a_phone_people_are_behind_a_button(server: ServerProcess, visitors: Visitors) -> None:
    alice = visitors.chatting(server.http, "alice")
    alice.page.set_viewport_size({"width": 360, "height": 640})
    expect(member(alice, "alice")).to_be_hidden()
    alice.page.get_by_role("button", name="People").click()
    expect(member(alice, "alice")).to_be_visible()
    alice.page.keyboard.press("Escape")
    expect(member(alice, "alice")).to_be_hidden()
    assert alice.page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_token_in_the_fragment_is_taken_and_removed(server: ServerProcess, visitors: Visitors) -> None:
    visitor = visitors.new()
    visitor.page.goto(f"http://{server.http}/#lobby&token=not-a-token")
    expect(visitor.problem).not_to_be_empty()
    assert "token" not in visitor.page.url
    visitor.enter_and_wait("alice")
