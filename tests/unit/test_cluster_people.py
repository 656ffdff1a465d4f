"""Several nodes as one chat: who is there, what they have read, who is sent away, rooms of two."""

from collections.abc import Callable, Sequence
from typing import cast

import pytest

from fastchat.hooks.interface import Kind
from fastchat.local import LocalRooms, LocalUser, Seat
from fastchat.messages import Close, WireError
from fastchat.population import Population
from fastchat.room import Room, RoomSettings
from fastchat.session import Limits
from fastchat.store import Direct
from tests.answers import refusal, types
from tests.nodes import EVENTS, SECRET, Node, Nodes
from tests.parties import Party, Program
from tests.slow_hooks import SlowHooks


@pytest.fixture
def nodes() -> Nodes:
    return Nodes(2)


@pytest.fixture
def one(nodes: Nodes) -> Node:
    return nodes.alive[0]


@pytest.fixture
def two(nodes: Nodes) -> Node:
    return nodes.alive[1]


def texts(program: Program) -> list[str]:
    return [message["text"] for message in program.heard("message")]


# Who is there


def test_members_of_all_nodes_are_members(one: Node, two: Node) -> None:
    alice, bob = one.program("alice", "lobby"), two.program("bob", "lobby")
    assert alice.ask("members", room="lobby")["members"] == ["alice", "bob"]
    assert bob.ask("members", room="lobby")["members"] == ["alice", "bob"]
    two.pass_time(2)
    assert [event["joined"] for event in alice.heard("presence")] == [["bob"]]
    bob.leave_the_server()
    one.pass_time(2)
    assert [event["left"] for event in alice.heard("presence")] == [["bob"]]
    assert one.members() == {"alice": 1}


def test_who_joins_is_told_how_many_are_there_on_all_nodes(one: Node, two: Node) -> None:
    for user in ("alice", "bob"):
        one.program(user, "lobby")
    carol = two.program("carol")
    assert carol.ask("join", room="lobby")["members"] == 3


def test_a_room_is_let_go_of_where_nobody_is_in_it_by_way_of_this_node(one: Node, two: Node) -> None:
    one.program("alice", "club")
    bob = two.program("bob", "club")
    bob.ask("leave", room="club")
    assert "club" not in two.hub.rooms
    assert bob.ask("members", room="club")["members"] == ["alice"]
    assert "club" not in two.hub.rooms
    assert one.members("club") == {"alice": 1}


def test_what_is_said_reaches_the_members_on_all_nodes(one: Node, two: Node) -> None:
    alice, bob = one.program("alice", "lobby"), two.program("bob", "lobby")
    assert alice.ask("send", room="lobby", text="hi")["seq"] == 1
    assert bob.ask("send", room="lobby", text="hello")["seq"] == 2
    for each in (alice, bob):
        assert texts(each) == ["hi", "hello"]


def test_a_node_that_comes_later_learns_who_is_there(nodes: Nodes, one: Node) -> None:
    one.program("alice", "lobby")
    one.register("carol")
    one.log_in("carol", "lobby", "club").ask("away", away=True, text="tea")
    three = nodes.start()
    nodes.alive.append(three)
    nodes.calm_down()
    dave = three.program("dave", "lobby")
    answer = dave.ask("members", room="lobby")
    assert (answer["members"], answer["away"]) == (["alice", "carol", "dave"], {"carol": "tea"})
    assert three.hub.population.find("carol") == one.hub.population.find("carol")


def test_a_snapshot_of_many_comes_in_pieces(nodes: Nodes, one: Node) -> None:
    for number in range(60):
        one.program(f"guest-{number}", *(f"room-{each}" for each in range(40)))
    three = nodes.start()
    nodes.alive.append(three)
    nodes.bus.held = True
    one.beat()
    nodes.bus.deliver_all()
    nodes.calm_down()
    eve = three.program("eve", "room-7")
    assert eve.ask("members", room="room-7")["count"] == 61


def test_a_hole_is_mended_by_a_snapshot(nodes: Nodes, one: Node, two: Node) -> None:
    bob = two.program("bob", "lobby")
    nodes.bus.held = True
    gone = one.program("carol", "lobby")
    nodes.bus.deliver_all()
    alice = one.program("alice", "lobby")
    gone.leave_the_server()
    assert nodes.bus.lose()
    assert two.members() == {"bob": 1, "carol": 1}
    alice.ask("join", room="club")
    nodes.bus.deliver_all()
    assert two.members() == {"bob": 1, "alice": 1}
    assert bob.ask("members", room="lobby")["count"] == 2


def test_a_snapshot_leaves_those_alone_who_have_stayed(nodes: Nodes, one: Node, two: Node) -> None:
    bob = two.program("bob", "lobby")
    one.program("alice", "lobby")
    two.pass_time(3)
    bob.heard()
    nodes.bus.held = True
    one.program("carol", "lobby").leave_the_server()
    one.program("dave")
    assert nodes.bus.lose()
    nodes.calm_down()
    two.pass_time(3)
    assert two.members() == {"bob": 1, "alice": 1}
    assert bob.heard("presence") == []


def test_a_snapshot_tells_what_has_been_read_meanwhile(nodes: Nodes, one: Node, two: Node) -> None:
    alice, bob = one.program("alice", "lobby"), two.program("bob", "lobby")
    bob.ask("send", room="lobby", text="hi")
    nodes.bus.held = True
    alice.say("ack", room="lobby", seq=1)
    assert nodes.bus.lose()
    nodes.calm_down()
    two.pass_time(3)
    assert [receipt["receipts"] for receipt in bob.heard("receipt")] == [{"alice": 1}]


def test_a_snapshot_tells_who_is_not_away_any_more(nodes: Nodes, one: Node, two: Node) -> None:
    one.register("alice")
    bob = two.program("bob", "lobby")
    away = one.log_in("alice", "lobby")
    away.ask("away", away=True, text="tea")
    assert bob.ask("whois", user="alice")["away"] == "tea"
    nodes.bus.held = True
    away.leave_the_server()
    one.log_in("alice", "lobby")
    assert nodes.bus.lose()
    nodes.calm_down()
    assert "away" not in bob.ask("whois", user="alice")


def test_a_hole_at_the_end_is_seen_by_the_heartbeat(nodes: Nodes, one: Node, two: Node) -> None:
    two.program("bob", "lobby")
    nodes.bus.held = True
    one.program("alice", "lobby")
    assert nodes.bus.lose()
    assert two.members() == {"bob": 1}
    one.beat()
    nodes.bus.deliver_all()
    assert two.members() == {"bob": 1, "alice": 1}


def test_a_snapshot_that_gets_lost_is_asked_for_again(nodes: Nodes, one: Node, two: Node) -> None:
    two.program("bob", "lobby")
    nodes.bus.held = True
    one.program("alice", "lobby")
    for _ in range(3):
        nodes.bus.lose()
        one.beat()
        two.pass_time(1.5)
    nodes.calm_down()
    assert two.members() == {"bob": 1, "alice": 1}


def test_the_people_of_a_dead_node_are_gone(nodes: Nodes, one: Node, two: Node) -> None:
    bob = two.program("bob", "lobby")
    one.program("alice", "lobby")
    two.pass_time(3)
    bob.heard()
    nodes.crash(one)
    nodes.notice(one)
    two.pass_time(2)
    assert [event["left"] for event in bob.heard("presence")] == [["alice"]]
    assert not two.hub.population.sessions("alice")


def test_a_node_that_was_thought_dead_is_asked_for_its_people(nodes: Nodes, one: Node, two: Node) -> None:
    two.program("bob", "lobby")
    one.program("alice", "lobby")
    two.people.forget(one.node)
    two.settle()
    assert two.members() == {"bob": 1}
    one.beat()
    two.settle()
    assert two.members() == {"bob": 1, "alice": 1}


def test_many_who_are_gone_at_once_are_taken_out_over_several_turns(
    nodes: Nodes, one: Node, two: Node
) -> None:
    for number in range(60):
        one.program(f"guest-{number}", *(f"room-{each}" for each in range(40)))
    two.program("bob", "room-0")
    nodes.crash(one)
    two.people.forget(one.node)
    assert not two.people.settled or len(two.members("room-0")) == 1
    two.settle()
    assert two.members("room-0") == {"bob": 1}
    assert two.people.settled


def test_who_is_renamed_is_renamed_everywhere(one: Node, two: Node) -> None:
    bob = two.program("bob", "lobby")
    alice = one.program("alice", "lobby")
    two.pass_time(2)
    bob.heard()
    alice.ask("hello", user="alicia")
    two.pass_time(2)
    (event,) = bob.heard("presence")
    assert (event["joined"], event["left"]) == (["alicia"], ["alice"])
    assert bob.ask("whois", user="alicia")["online"]
    assert bob.ask("whois", user="alice") == refusal("no_such_user", "user")


def test_a_program_in_the_process_of_another_node_is_a_member_with_its_last_seat(
    one: Node, two: Node
) -> None:
    bob = two.program("bob", "lobby")
    rooms = LocalRooms(one.hub, one.chat.profiles.line, one.wall_ms, lambda text, data: None)
    bot = LocalUser("bot")
    one.hub.population.enter(bot, bot.person)
    bot.seats += 1  # so that the name stays
    seats: list[Seat] = []
    for _ in range(2):
        one.hub.open("lobby", lambda room: seats.append(Seat(rooms, cast("Room", room), bot)))
    one.settle()
    assert bob.ask("members", room="lobby")["members"] == ["bob", "bot"]
    for there, seat in ((["bob", "bot"], seats[0]), (["bob"], seats[1])):
        seat.close()
        one.settle()
        assert bob.ask("members", room="lobby")["members"] == there


# What they do


def test_receipts_and_typing_reach_all_nodes(one: Node, two: Node) -> None:
    alice, bob = one.program("alice", "lobby"), two.program("bob", "lobby")
    alice.ask("send", room="lobby", text="hi")
    one.pass_time(3)
    alice.heard()
    bob.say("ack", room="lobby", seq=1)
    bob.say("typing", room="lobby")
    one.pass_time(2)
    typing, receipt = alice.heard("typing", "receipt")
    assert (typing["from"], receipt["receipts"]) == ("bob", {"bob": 1})
    alice.say("typing", room="lobby")
    assert [event["from"] for event in bob.heard("typing")] == ["alice"]


def test_what_one_device_has_read_the_others_know(nodes: Nodes, one: Node, two: Node) -> None:
    one.register("alice")
    phone = one.log_in("alice", "lobby")
    for text in ("one", "two", "three"):
        one.program(None, "lobby").ask("send", room="lobby", text=text)
    phone.say("ack", room="lobby", seq=2)
    one.settle()
    laptop = two.log_in("alice")
    joined = laptop.ask("join", room="lobby")
    assert (joined["cursor"], joined["unread"]) == (2, 1)
    phone.say("ack", room="lobby", seq=3)
    one.settle()
    (entry,) = laptop.ask("rooms")["rooms"]
    assert (entry["cursor"], entry["unread"]) == (3, 0)


def test_the_author_has_read_what_he_has_said_on_another_node(one: Node, two: Node) -> None:
    one.register("alice")
    phone, laptop = one.log_in("alice", "lobby"), two.log_in("alice", "lobby")
    phone.ask("send", room="lobby", text="hi")
    (entry,) = laptop.ask("rooms")["rooms"]
    assert (entry["cursor"], entry["unread"]) == (1, 0)


def test_away_holds_on_all_nodes_until_the_last_device_is_gone(nodes: Nodes, one: Node, two: Node) -> None:
    one.register("alice")
    phone, laptop = one.log_in("alice", "lobby"), two.log_in("alice", "lobby")
    bob = two.program("bob", "lobby")
    phone.ask("away", away=True, text="tea")
    two.pass_time(2)
    assert bob.heard("presence")[-1]["away"] == {"alice": "tea"}
    phone.leave_the_server()
    assert bob.ask("whois", user="alice")["away"] == "tea"
    laptop.ask("send", room="lobby", text="back")
    one.settle()
    assert "away" not in bob.ask("whois", user="alice")
    laptop.ask("away", away=True)
    laptop.leave_the_server()
    carol = one.program("carol", "lobby")
    one.log_in("alice", "lobby")
    assert "away" not in carol.ask("whois", user="alice")
    nodes.calm_down()
    assert not one.hub.away
    assert not two.hub.away


def test_who_comes_while_away_elsewhere_stays_away_when_that_device_goes(
    nodes: Nodes, one: Node, two: Node
) -> None:
    three = nodes.start()
    nodes.alive.append(three)
    one.register("alice")
    phone = one.log_in("alice", "lobby")
    phone.ask("away", away=True, text="tea")
    two.log_in("alice", "lobby")
    bob = three.program("bob", "lobby")
    phone.leave_the_server()
    assert [node.hub.away for node in nodes.alive] == [{"alice": "tea"}] * 3
    assert bob.ask("whois", user="alice")["away"] == "tea"


def test_a_node_remembers_when_its_own_people_were_seen(one: Node, two: Node) -> None:
    one.register("alice")
    one.log_in("alice")
    one.hub.population.unsaved.clear()
    two.hub.population.unsaved.clear()
    laptop = two.log_in("alice")
    assert (one.hub.population.unsaved, two.hub.population.unsaved) == (set(), {"alice"})
    two.hub.population.unsaved.clear()
    laptop.leave_the_server()
    assert (one.hub.population.unsaved, two.hub.population.unsaved) == (set(), {"alice"})


# Names and accounts


def test_a_guest_cannot_have_the_name_of_a_guest_elsewhere(one: Node, two: Node) -> None:
    alice = one.program("alice")
    eve = Program(two)
    assert eve.ask("hello", user="Alice") == refusal("name_taken", "user")
    alice.leave_the_server()
    assert eve.ask("hello", user="Alice")["type"] == "welcome"


def test_a_name_that_the_store_has_given_is_free_here_at_once(nodes: Nodes, one: Node, two: Node) -> None:
    alice = one.program("alice", "lobby")
    bob = two.program("bob", "lobby")
    nodes.bus.held = True
    alice.leave_the_server()
    again = two.program("alice", "lobby")
    assert bob.ask("members", room="lobby")["members"] == ["alice", "bob"]
    nodes.bus.deliver_all()
    again.ask("send", room="lobby", text="hi")
    assert two.members() == {"alice": 1, "bob": 1}


def test_an_account_that_comes_takes_its_name_from_a_guest_elsewhere(
    nodes: Nodes, one: Node, two: Node
) -> None:
    nodes.bus.held = True
    guest = two.program("alice", "lobby")
    nodes.truth.claims.clear()
    one.register("alice")
    nodes.bus.deliver_all()
    heard = guest.heard()
    assert types(heard)[-1] == "bye"
    assert heard[-1]["code"] == Close.SIGNED_OUT
    assert guest.session.state.value == "closed"
    assert not two.members()


def test_guests_who_could_not_hear_each_other_keep_their_sessions(nodes: Nodes, one: Node, two: Node) -> None:
    nodes.bus.held = True
    alice = one.program("alice", "lobby")
    nodes.truth.claims.clear()
    other = two.program("alice", "lobby")
    nodes.bus.deliver_all()
    assert one.members() == two.members() == {"alice": 2}
    alice.leave_the_server()
    nodes.bus.deliver_all()
    assert two.members() == {"alice": 1}
    assert two.hub.population.sessions("alice") == (other.session,)
    assert one.hub.population.find("alice") is not None
    other.leave_the_server()
    nodes.bus.deliver_all()
    assert [node.hub.population.sessions("alice") for node in nodes.alive] == [(), ()]


def test_who_changes_the_password_signs_out_everywhere(nodes: Nodes, one: Node, two: Node) -> None:
    one.register("alice")
    phone, thief = one.log_in("alice"), two.log_in("alice")
    endings = two.hub.population.endings
    assert phone.ask("password", old=SECRET, new=SECRET + "!")["type"] == "password_changed"
    assert types(thief.heard()) == ["bye"]
    assert two.hub.population.endings > endings
    assert phone.ask("ping")["type"] == "pong"


def test_a_command_that_was_lost_is_carried_out_once(nodes: Nodes, one: Node, two: Node) -> None:
    one.register("alice", "bob")
    phone, thief = one.log_in("alice"), two.log_in("alice")
    nodes.bus.held = True
    phone.ask("password", old=SECRET, new=SECRET + "!")
    assert nodes.bus.lose()
    assert thief.ask("ping")["type"] == "pong"
    one.beat()
    nodes.bus.deliver_all()
    assert types(thief.heard()) == ["bye"]
    again = Program(two)
    assert again.ask("hello", user="alice", password=SECRET + "!")["type"] == "welcome"
    one.program(None)
    nodes.bus.lose()
    nodes.calm_down()
    assert again.ask("ping")["type"] == "pong"


def test_a_node_that_was_cut_off_hears_of_commands_meanwhile(nodes: Nodes, one: Node, two: Node) -> None:
    one.register("alice")
    phone, thief = one.log_in("alice"), two.log_in("alice")
    nodes.bus.held = True
    for node, other in ((one, two), (two, one)):
        node.people.forget(other.node)
    phone.ask("password", old=SECRET, new=SECRET + "!")
    assert nodes.bus.lose()
    nodes.calm_down()
    assert types(thief.heard()) == ["bye"]


def test_commands_of_before_are_nothing_to_a_node_that_comes_later(nodes: Nodes, one: Node) -> None:
    one.register("alice")
    phone = one.log_in("alice")
    phone.ask("password", old=SECRET, new=SECRET + "!")
    nodes.bus.held = True
    three = nodes.start()
    nodes.alive.append(three)
    laptop = Program(three)
    assert laptop.ask("hello", user="alice", password=SECRET + "!")["type"] == "welcome"
    nodes.calm_down()
    assert laptop.ask("ping")["type"] == "pong"


def test_operators_are_operators_everywhere(nodes: Nodes, one: Node, two: Node) -> None:
    one.register("alice", "root")
    account = one.store.truth.store
    account.change_account("root", {"operator": True}, lambda answer: None)
    root, alice = one.log_in("root"), two.log_in("alice")
    assert alice.ask("users") == refusal("forbidden")
    assert root.ask("user_role", user="alice", operator=True)["operator"]
    assert alice.ask("users")["type"] == "users"
    three = nodes.start()
    nodes.alive.append(three)
    nodes.calm_down()
    person = three.hub.population.find("alice")
    assert person is not None
    assert person.operator


def test_disabled_accounts_are_gone_from_all_nodes(nodes: Nodes, one: Node, two: Node) -> None:
    one.register("alice", "root")
    one.store.truth.store.change_account("root", {"operator": True}, lambda answer: None)
    root, alice = one.log_in("root"), two.log_in("alice", "lobby")
    assert root.ask("user_disable", user="alice")["online"] in (0, 1)
    assert types(alice.heard())[-1] == "bye"
    assert root.ask("users")["users"][0]["online"] == 0


# Limits


def test_connections_of_all_nodes_count(one: Node, two: Node) -> None:
    one.register("alice")
    for node in (one, two):
        node.hub.population._limit = 2
    one.log_in("alice")
    second = two.log_in("alice")
    for node in (one, two):
        assert Program(node).ask("hello", user="alice", password=SECRET) == refusal("too_many_connections")
    second.leave_the_server()
    one.log_in("alice")


def test_rooms_of_all_nodes_count() -> None:
    nodes = Nodes(2, limits=Limits(messages_per_s=0, rooms_per_user=2))
    one, two = nodes.alive
    one.register("alice")
    one.log_in("alice", "red")
    two.log_in("alice", "blue")
    third = one.log_in("alice", "blue")
    assert third.ask("join", room="green") == refusal("too_many_rooms", "room")


def test_each_node_gives_its_share_of_the_rate() -> None:
    nodes = Nodes(2, limits=Limits(messages_per_s=0, messages_per_s_per_user=4, burst=1))
    one, two = nodes.alive
    one.register("alice")
    alone = one.log_in("alice", "lobby")
    one.pass_time(2)
    alone.ask("send", room="lobby", text="hi")
    assert alone.ask("send", room="lobby", text="hi")["retry_after_ms"] == 251
    two.log_in("alice")
    one.pass_time(2)
    alone.ask("send", room="lobby", text="hi")
    assert alone.ask("send", room="lobby", text="hi")["retry_after_ms"] == 501


def test_slow_mode_and_the_pace_of_a_room_count_what_other_nodes_let_pass(nodes: Nodes) -> None:
    one, two = nodes.alive
    one.register("owner", "alice")
    owner = one.log_in("owner")
    assert owner.ask("create", room="club")["type"] == "sent"
    assert owner.ask("slow", room="club", interval_s=10)["type"] == "sent"
    phone, laptop = one.log_in("alice", "club"), two.log_in("alice", "club")
    assert phone.ask("send", room="club", text="hi")["type"] == "sent"
    assert laptop.ask("send", room="club", text="hi") == refusal("rate_limited")
    two.pass_time(10)
    assert laptop.ask("send", room="club", text="hi")["type"] == "sent"


def test_the_pace_of_a_room_is_that_of_all_nodes() -> None:
    nodes = Nodes(2, rooms=RoomSettings(messages_per_s=1))
    one, two = nodes.alive
    alice, bob = one.program("alice", "lobby"), two.program("bob", "lobby")
    assert alice.ask("send", room="lobby", text="hi")["type"] == "sent"
    assert bob.ask("send", room="lobby", text="hi") == refusal("rate_limited")
    two.pass_time(1)
    assert bob.ask("send", room="lobby", text="hi")["type"] == "sent"


# Moderation


@pytest.mark.parametrize("facts_first", [True, False])
@pytest.mark.parametrize("action", ["kick", "ban", "access"])
def test_who_may_not_be_in_a_room_any_more_leaves_it_on_all_nodes(action: str, facts_first: bool) -> None:
    nodes = Nodes(2)
    one, two = nodes.alive
    two.store.facts_first = facts_first
    one.register("owner", "alice")
    owner = one.log_in("owner")
    owner.ask("create", room="club")
    owner.ask("join", room="club")
    phone, laptop = one.log_in("alice", "club"), two.log_in("alice", "club")
    fields = {"access": "private"} if action == "access" else {"user": "alice", "reason": "noise"}
    assert owner.ask(action, room="club", **fields)["type"] == "sent"
    two.settle()
    for each in (phone, laptop):
        (left,) = each.heard("left")
        assert (left["room"], left["by"]) == ("club", "owner")
        assert left.get("reason") == fields.get("reason")
    for node in nodes.alive:
        assert node.members("club") in ({"owner": 1}, {})
    if action != "kick":
        error = laptop.ask("join", room="club")
        assert error["code"] in ("banned", "no_such_room", "forbidden")


def test_a_ban_of_which_a_node_has_not_heard_holds_there_all_the_same(nodes: Nodes) -> None:
    one, two = nodes.alive
    one.register("owner", "alice")
    owner = one.log_in("owner")
    owner.ask("create", room="club")
    alice = two.log_in("alice", "club")
    nodes.bus.held = True
    owner.ask("ban", room="club", user="alice")
    assert nodes.bus.lose()
    assert alice.ask("send", room="club", text="hi") == refusal("unavailable")
    assert alice.ask("send", room="club", text="hi")["type"] == "error"
    two.store.compare()
    assert types(alice.heard("left")) == ["left"]
    assert [b"hi" in body for body in nodes.truth.bodies("club")] == [False, False]


def test_an_own_act_that_is_on_its_way_survives_facts_from_elsewhere(nodes: Nodes) -> None:
    one, two = nodes.alive
    one.register("owner", "alice", "bob")
    owner = one.log_in("owner")
    owner.ask("create", room="club")
    second = two.log_in("owner", "club")
    alice = two.log_in("alice", "club")
    waiting: list[Callable[[], None]] = []
    two.store.deliver = waiting.append
    nodes.bus.held = True
    second.say("ban", room="club", user="alice")
    nodes.bus.lose()
    two.hub.rooms["club"].on_facts(nodes.truth.log("club").facts)
    two.store.deliver = lambda answer: answer()
    for answer in waiting:
        answer()
    (left,) = alice.heard("left")
    assert left["by"] == "owner"


# Rooms of two


def test_a_direct_message_finds_all_devices_of_both_on_all_nodes(one: Node, two: Node) -> None:
    one.register("alice", "bob")
    alice, tablet = one.log_in("alice"), two.log_in("alice")
    bob, phone = two.log_in("bob"), one.log_in("bob")
    assert alice.ask("direct", to="bob", text="hi")["seq"] == 1
    for each in (alice, tablet, bob, phone):
        heard = each.heard()
        assert types(heard) == ["joined", "message"]
        assert heard[1]["text"] == "hi"
    assert bob.ask("direct", to="alice", text="hello")["seq"] == 2
    for each in (alice, tablet, bob, phone):
        assert texts(each) == ["hello"]


def test_a_direct_message_whose_telling_was_lost_is_found(nodes: Nodes, one: Node, two: Node) -> None:
    one.register("alice", "bob")
    alice, bob = one.log_in("alice"), two.log_in("bob")
    nodes.bus.held = True
    alice.ask("direct", to="bob", text="hi")
    assert nodes.bus.lose()
    assert bob.heard() == []
    nodes.calm_down()
    assert texts(bob) == ["hi"]


def test_the_telling_of_a_direct_message_is_enough_where_the_event_was_lost(
    nodes: Nodes, one: Node, two: Node
) -> None:
    one.register("alice", "bob")
    alice, phone = one.log_in("alice"), two.log_in("bob")
    alice.ask("direct", to="bob", text="hi")
    phone.say("ack", room="@alice,bob", seq=1)
    two.pass_time(2)
    laptop = two.log_in("bob")  # with nothing to come back to
    assert laptop.ask("rooms")["directs"][0]["joined"] is False
    nodes.bus.held = True
    alice.ask("direct", to="bob", text="again")
    nodes.bus.waiting = [payload for payload in nodes.bus.waiting if payload.kind != EVENTS]
    nodes.bus.deliver_all()
    assert types(laptop.heard()) == ["joined"]
    nodes.calm_down()
    assert texts(laptop) == ["again"]


def test_what_is_said_by_one_device_the_own_other_ones_get(nodes: Nodes, one: Node, two: Node) -> None:
    one.register("alice", "bob")
    alice, tablet = one.log_in("alice"), two.log_in("alice")
    nodes.bus.held = True
    alice.ask("direct", to="bob", text="hi")
    one.hub.store_marks()  # so that it is known to be read by its author
    nodes.bus.deliver_all()
    assert texts(tablet) == ["hi"]


def test_what_a_node_has_stored_before_it_died_is_found(nodes: Nodes, one: Node, two: Node) -> None:
    one.register("alice", "bob")
    bobs = [two.log_in("bob") for _ in range(2)]
    alice = one.log_in("alice")
    nodes.bus.held = True
    alice.ask("direct", to="bob", text="hi")
    assert nodes.bus.lose()
    nodes.crash(one)
    nodes.notice(one)
    two.pass_time(1)
    assert [texts(bob) for bob in bobs] == [["hi"], ["hi"]]


@pytest.mark.parametrize("said_before", [True, False])
def test_who_is_just_coming_in_gets_a_direct_message_from_elsewhere_once(
    nodes: Nodes, one: Node, two: Node, said_before: bool
) -> None:
    one.register("alice", "bob")
    alice = one.log_in("alice")
    waiting: list[Callable[[], None]] = []
    found: list[list[Direct]] = []

    def directs(user: str, done: Callable[[Sequence[Direct] | WireError], None]) -> None:
        def on_read(answer: Sequence[Direct] | WireError) -> None:
            assert not isinstance(answer, WireError)
            found.append([*answer])
            waiting.append(lambda: done(answer))

        nodes.truth.store.directs(user, on_read)

    two.store.directs = directs  # type: ignore[method-assign]
    if said_before:
        alice.ask("direct", to="bob", text="hi")
    bob = Program(two)
    bob.say("hello", user="bob", password=SECRET)
    if not said_before:
        alice.ask("direct", to="bob", text="hi")
    assert [len(each) for each in found] == [int(said_before)]
    two.store.deliver = waiting.append
    alice.ask("direct", to="bob", text="again")
    while waiting:
        waiting.pop(0)()
        two.settle()
    assert texts(bob) == ["hi", "again"]


def test_rooms_of_two_are_forgotten_with_their_guest_on_all_nodes(nodes: Nodes, one: Node, two: Node) -> None:
    two.register("bob")
    guest, bob = one.program("eve"), two.log_in("bob")
    assert bob.ask("direct", to="eve", text="hi")["room"] == "@bob,~eve"
    assert texts(guest) == ["hi"]
    assert guest.ask("direct", to="bob", text="hello")["seq"] == 2
    assert texts(bob) == ["hi", "hello"]
    guest.leave_the_server()
    assert bob.heard("left")[0]["room"] == "@bob,~eve"
    assert (one.store.forgotten, two.store.forgotten) == (["@bob,~eve"], [])
    for node in nodes.alive:
        assert "@bob,~eve" not in node.hub.rooms
        assert not len(node.hub.guest_rooms)


def test_a_guest_who_was_blocked_elsewhere_is_forgotten_with_the_block(
    nodes: Nodes, one: Node, two: Node
) -> None:
    two.register("bob")
    guest, bob = one.program("eve"), two.log_in("bob")
    assert bob.ask("block", user="eve")["type"] == "blocked"
    assert guest.ask("direct", to="bob", text="hi") == refusal("refused", "room")
    guest.leave_the_server()
    assert one.store.forgotten == ["@bob,~eve"]
    again = one.program("eve")
    assert again.ask("direct", to="bob", text="hi")["type"] == "sent"
    assert texts(bob) == ["hi"]


# Hooks


def test_hooks_are_asked_and_told_by_the_users_own_node_alone(one: Node, two: Node) -> None:
    hooks = [SlowHooks(), SlowHooks()]
    for node, each in zip((one, two), hooks, strict=True):
        each.decide = lambda message: message
        node.hub.hooks = each
    one.register("alice")
    bob, phone = two.program("bob", "lobby"), one.log_in("alice", "lobby")
    laptop = one.log_in("alice", "lobby")
    for each in hooks:
        each.told.clear()
    phone.ask("send", room="lobby", text="hi")
    phone.leave_the_server()
    laptop.ask("leave", room="lobby")
    assert texts(bob) == ["hi"]
    assert [message.text for message in hooks[0].asked] == ["hi"]
    assert [kind for kind, *_ in hooks[0].told] == [Kind.ON_DISCONNECT, Kind.ON_LEAVE]
    assert (hooks[1].asked, hooks[1].told) == ([], [])


def test_the_first_and_the_last_connection_on_all_nodes_are_told_to_hooks(one: Node, two: Node) -> None:
    hooks = SlowHooks()
    one.register("alice")
    phone = two.log_in("alice", "lobby")
    one.hub.hooks = hooks
    laptop = one.log_in("alice", "lobby")
    assert Kind.ON_JOIN not in [kind for kind, *_ in hooks.told]
    phone.leave_the_server()
    laptop.ask("leave", room="lobby")
    assert [kind for kind, *_ in hooks.told][-1] == Kind.ON_LEAVE


# A single node


def test_a_single_node_has_no_others() -> None:
    assert Population().others is None
    assert Party().hub.others is None
