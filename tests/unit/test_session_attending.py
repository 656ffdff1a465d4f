"""Who is there: pages and samples of members, away and back, whois; many devices of one user."""

import pytest

from fastchat.auth.names import name_key
from fastchat.people import Grant, Role, User
from fastchat.room import RoomSettings
from fastchat.store import MemoryStore
from fastchat.store.interface import Account
from tests.answers import refusal, types
from tests.parties import Document, Party, Program
from tests.people import Doorkeeper


@pytest.fixture
def party() -> Party:
    """Alice, Bob and carol have accounts; eve's is of an app that lets her into some rooms only."""
    store = MemoryStore()
    party = Party(store=store)
    party.hub.authenticator = Doorkeeper(
        dict.fromkeys(("alice", "Bob", "carol"), "secret"),
        {"eve": User("eve", guest=False, grants=[Grant("lobby", Role.MEMBER)])},
        operators={"carol"},
    )
    for name in ("alice", "Bob", "carol", "eve"):
        store.add_account(Account(name, name_key(name)), lambda error: None)
    return party


def log_in(party: Party, user: str, *rooms: str) -> Program:
    """A device of an account, in these rooms."""
    program = Program(party)
    credentials = {"token": user} if user == "eve" else {"user": user, "password": "secret"}
    assert program.ask("hello", **credentials)["type"] == "welcome"
    for room in rooms:
        program.ask("join", room=room)
    party.pass_time(5)
    program.heard()
    return program


def presence(program: Program) -> list[Document]:
    """What is heard within five seconds of who is there."""
    program.party.pass_time(5)
    return [
        {name: value for name, value in event.items() if name in ("joined", "left", "away", "back") and value}
        for event in program.heard("presence")
    ]


# Members


def test_members_come_in_pages(party: Party) -> None:
    programs = [party.program(name, "lobby") for name in ("dave", "Carl", "bert", "anna")]
    first = programs[0].ask("members", room="lobby", limit=2)
    assert (first["members"], first["count"], first["more"]) == (["anna", "bert"], 4, True)
    second = programs[0].ask("members", room="lobby", limit=2, after="bert")
    assert (second["members"], second["count"], second["more"]) == (["Carl", "dave"], 4, False)
    assert programs[0].ask("members", room="lobby", after="dave")["members"] == []


def test_a_sample_has_some_of_the_members(party: Party) -> None:
    programs = [party.program(f"guest-{i}", "lobby") for i in range(10)]
    sample = programs[0].ask("members", room="lobby", sample=3)
    assert (len({*sample["members"]}), sample["count"], sample["more"]) == (3, 10, True)
    everybody = programs[0].ask("members", room="lobby", sample=50)
    assert (len(everybody["members"]), everybody["more"]) == (10, False)


@pytest.mark.parametrize("fields", [{"after": "bob"}, {"limit": 3}])
def test_a_sample_is_no_page(party: Party, fields: dict[str, object]) -> None:
    assert party.program("dave", "lobby").ask("members", room="lobby", sample=3, **fields) == refusal(
        "bad_field", "sample"
    )


def test_members_tell_who_is_away(party: Party) -> None:
    dave, emil = party.program("dave", "lobby"), party.program("emil", "lobby")
    assert "away" not in dave.ask("members", room="lobby")
    emil.ask("away", away=True, text="at lunch")
    assert dave.ask("members", room="lobby")["away"] == {"emil": "at lunch"}
    assert "away" not in dave.ask("members", room="lobby", limit=1)


# Away


def test_away_is_answered_and_announced_in_every_room(party: Party) -> None:
    dave = party.program("dave", "lobby", "games")
    emil, fred = party.program("emil", "lobby"), party.program("fred", "games")
    presence(dave), presence(emil), presence(fred)
    assert dave.ask("away", away=True, text="at lunch") == {"type": "away", "away": True, "text": "at lunch"}
    assert presence(emil) == presence(fred) == [{"away": {"dave": "at lunch"}}]
    assert dave.ask("away", away=False, text="ignored") == {"type": "away", "away": False}
    assert presence(emil) == [{"back": ["dave"]}]


def test_who_says_something_is_back(party: Party) -> None:
    dave, emil = party.program("dave", "lobby", "games"), party.program("emil", "games")
    presence(emil)
    dave.ask("away", away=True)
    assert presence(emil) == [{"away": {"dave": ""}}]
    dave.say("typing", room="lobby")
    dave.say("ack", room="lobby", seq=0)
    assert presence(emil) == []
    dave.ask("send", room="lobby", text="hi")
    assert presence(emil) == [{"back": ["dave"]}]


def test_the_newest_word_of_any_device_counts(party: Party) -> None:
    laptop, phone = log_in(party, "alice", "lobby"), log_in(party, "alice", "games")
    emil = party.program("emil", "lobby", "games")
    presence(emil)
    laptop.ask("away", away=True, text="at home")
    assert presence(emil) == [{"away": {"alice": "at home"}}] * 2
    phone.ask("send", room="games", text="hi")
    assert presence(emil) == [{"back": ["alice"]}] * 2


def test_away_outlives_a_device_but_not_the_last_one(party: Party) -> None:
    laptop, phone = log_in(party, "alice", "lobby"), log_in(party, "alice", "lobby")
    emil = party.program("emil", "lobby")
    laptop.ask("away", away=True)
    presence(emil)
    laptop.session.close()
    assert presence(emil) == []
    assert emil.ask("whois", user="alice")["away"] == ""
    phone.session.close()
    assert presence(emil) == [{"left": ["alice"]}]
    assert not party.hub.away
    log_in(party, "alice", "lobby")
    assert presence(emil) == [{"joined": ["alice"]}]


def test_who_comes_back_in_a_moment_is_back(party: Party) -> None:
    laptop, emil = log_in(party, "alice", "lobby"), party.program("emil", "lobby")
    laptop.ask("away", away=True)
    presence(emil)
    party.program("fred", "lobby")  # announced just now, so that the next announcement has to wait
    laptop.session.close()
    log_in(party, "alice", "lobby")
    assert {"back": ["alice"]} in presence(emil)


def test_a_guest_who_changes_his_name_is_not_away(party: Party) -> None:
    dave = party.program("dave", "lobby")
    dave.ask("away", away=True)
    dave.ask("hello", user="david")
    assert not party.hub.away
    assert "away" not in dave.ask("members", room="lobby")


# Devices


def test_two_devices_are_one_member_until_both_have_gone(party: Party) -> None:
    emil = party.program("emil", "lobby")
    laptop, phone = log_in(party, "alice", "lobby"), log_in(party, "alice", "lobby")
    assert presence(emil) == [{"joined": ["alice"]}]
    assert emil.ask("members", room="lobby")["members"] == ["alice", "emil"]
    laptop.ask("leave", room="lobby")
    assert presence(emil) == []
    phone.session.close()
    assert presence(emil) == [{"left": ["alice"]}]


def test_typing_on_two_devices_is_one_user_who_types(party: Party) -> None:
    emil = party.program("emil", "lobby")
    laptop, phone = log_in(party, "alice", "lobby"), log_in(party, "alice", "lobby")
    presence(emil)
    laptop.say("typing", room="lobby")
    phone.say("typing", room="lobby")
    assert types(emil.heard()) == ["typing"]


# Whois


def test_whom_one_shares_a_room_with_one_may_ask_about(party: Party) -> None:
    dave = party.program("dave", "lobby")
    emil = party.program("emil", "lobby")
    log_in(party, "alice", "lobby")
    assert emil.ask("whois", user="DAVE") == {"type": "whois", "user": "dave", "guest": True, "online": True}
    dave.ask("away", away=True, text="asleep")
    assert emil.ask("whois", user="dave")["away"] == "asleep"
    assert emil.ask("whois", user="Alice") == {
        "type": "whois", "user": "alice", "guest": False, "online": True,
    }  # fmt: skip


@pytest.mark.parametrize("asked", ["dave", "alice", "Bob", "nobody"])
def test_a_guest_learns_nothing_of_others(party: Party, asked: str) -> None:
    party.program("dave", "games")
    log_in(party, "alice", "games")
    emil = party.program("emil", "lobby")
    answer = emil.ask("whois", user=asked)
    assert answer == refusal("no_such_user", "user")
    assert answer["message"] == emil.ask("whois", user="zoe")["message"].replace("zoe", asked)


@pytest.mark.parametrize("asked", ["dave", "alice", "Bob", "nobody"])
def test_nor_does_who_may_see_some_rooms_only(party: Party, asked: str) -> None:
    party.program("dave", "games")
    log_in(party, "alice", "games")
    assert log_in(party, "eve", "lobby").ask("whois", user=asked) == refusal("no_such_user", "user")


def test_accounts_may_ask_about_accounts(party: Party) -> None:
    alice = log_in(party, "alice", "lobby")
    bob = log_in(party, "Bob", "games")
    party.program("dave", "games")
    assert alice.ask("whois", user="bob")["online"] is True
    assert alice.ask("whois", user="dave") == refusal("no_such_user", "user")
    assert alice.ask("whois", user="nobody") == refusal("no_such_user", "user")
    assert alice.ask("whois", user="carol") == {
        "type": "whois", "user": "carol", "guest": False, "online": False,
    }  # fmt: skip
    bob.session.close()
    left_at_ms = party.wall_ms()
    assert alice.ask("whois", user="bob")["seen_at"] == left_at_ms
    party.pass_time(1)
    party.hub.store_seen(party.wall_ms())
    party.pass_time(1000)
    assert alice.ask("whois", user="bob")["seen_at"] == left_at_ms + 1000
    assert not party.hub.population.unsaved


def test_a_device_that_goes_is_not_the_user(party: Party) -> None:
    alice, _, phone = (log_in(party, user) for user in ("alice", "Bob", "Bob"))
    party.hub.store_seen(party.wall_ms())
    phone.session.close()
    assert alice.ask("whois", user="bob")["online"] is True
    assert not party.hub.population.unsaved


def test_operators_may_ask_about_everybody(party: Party) -> None:
    party.program("dave", "games")
    assert log_in(party, "carol").ask("whois", user="dave")["guest"] is True


def test_one_may_ask_about_oneself(party: Party) -> None:
    assert party.program("dave").ask("whois", user="dave")["online"] is True


def test_a_guest_who_has_gone_is_nobody(party: Party) -> None:
    dave = party.program("dave", "lobby")
    carol = log_in(party, "carol", "lobby")
    dave.session.close()
    assert carol.ask("whois", user="dave") == refusal("no_such_user", "user")


def test_a_name_that_is_none_is_refused(party: Party) -> None:
    assert party.program("dave").ask("whois", user="no name") == refusal("bad_field", "user")


def test_a_large_room_tells_neither_names_nor_typing() -> None:
    party = Party(rooms=RoomSettings(presence_names=2))
    programs = [party.program(name, "lobby") for name in ("dave", "emil", "fred")]
    party.pass_time(5)
    for program in programs:
        program.heard()
    programs[0].say("typing", room="lobby")
    programs[0].say("away", away=True)
    party.program("gert", "lobby")
    party.pass_time(5)
    assert programs[1].heard() == [
        {"type": "presence", "room": "lobby", "joined": [], "left": [], "members": 4, "partial": True}
    ]


def sent_for_joins(users: int) -> tuple[int, int]:
    """The bytes and writes that it takes until so many are in one room, who came within ten seconds."""
    party = Party()
    programs = []
    for i in range(users):
        programs.append(party.program(f"user-{i:06}", "lobby"))
        party.loop.advance(10 / users)
    party.pass_time(60)
    fanout = party.hub.fanout
    assert programs[0].heard("presence")[-1]["members"] == users
    return fanout.bytes_written, fanout.writes


def test_what_a_herd_that_joins_is_sent_grows_no_faster_than_the_herd() -> None:
    few_bytes, few_writes = sent_for_joins(200)
    many_bytes, many_writes = sent_for_joins(2000)
    assert many_bytes <= 10 * few_bytes
    assert many_writes <= 10 * few_writes
    assert many_writes <= 12 * 2000
