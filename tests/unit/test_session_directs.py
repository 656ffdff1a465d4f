"""Direct messages: rooms of two, on many devices, for who is there and who is not."""

import itertools
from collections.abc import Callable

import pytest

from fastchat.auth.authentication import Policy
from fastchat.messages import dumps
from fastchat.people import Grant, Role, User
from fastchat.permissions import no_such_room
from fastchat.session import Limits
from tests.answers import refusal, seqs, types
from tests.parties import Document, JsonClient, Party, Program
from tests.people import Doorkeeper
from tests.slow_store import SlowStore


@pytest.fixture
def store() -> SlowStore:
    return SlowStore(hold=False)


@pytest.fixture
def party(store: SlowStore) -> Party:
    return Party(store=store, policy=Policy(registrations_per_address=1000))


SECRET = "correct horse battery staple"


def register(party: Party, *users: str) -> None:
    """Makes accounts; nobody of them is here."""
    for user in users:
        program = Program(party)
        assert program.ask("register", user=user, password=SECRET)["type"] == "welcome"
        program.leave_the_server()


def log_in(party: Party, user: str) -> Program:
    program = Program(party)
    assert program.ask("hello", user=user, password=SECRET)["type"] == "welcome"
    return program


def texts(program: Program) -> list[str]:
    return [one["text"] for one in program.heard("message")]


# Between accounts


def test_all_devices_of_both_get_what_is_said(party: Party) -> None:
    register(party, "alice", "Bob")
    alice, phone, bob = log_in(party, "alice"), log_in(party, "alice"), log_in(party, "bob")
    sent = alice.ask("direct", to="BOB", text="hi", id="1")
    assert (sent["type"], sent["room"], sent["seq"], sent["id"]) == ("sent", "@alice,Bob", 1, "1")
    for each in (alice, phone, bob):
        heard = each.heard()
        assert types(heard) == ["joined", "message"]
        assert "ref" not in heard[0]
        assert (heard[1]["from"], heard[1]["text"]) == ("alice", "hi")
    bob.ask("direct", to="alice", text="hello", id="1")
    bob.ask("send", room="@alice,Bob", text="again")
    for each in (alice, phone, bob):
        assert texts(each) == ["hello", "again"]
    assert alice.ask("direct", to="bob", text="hi", id="1")["repeated"] is True


def test_who_was_away_finds_it_unread_on_return(party: Party) -> None:
    register(party, "alice", "bob")
    alice = log_in(party, "alice")
    for text in ("one", "two"):
        alice.ask("direct", to="bob", text=text)
    bob = Program(party)
    bob.say("hello", user="bob", password=SECRET)
    heard = bob.heard()
    assert types(heard) == ["welcome", "joined", "message", "message"]
    assert (heard[1]["room"], heard[1]["unread"], heard[1]["cursor"]) == ("@alice,bob", 2, 0)
    bob.say("ack", room="@alice,bob", seq=2)
    bob.leave_the_server()
    again = Program(party)
    again.say("hello", user="bob", password=SECRET)
    assert types(again.heard()) == ["welcome"]
    entry = {"room": "@alice,bob", "user": "alice", "head": 2, "joined": False, "cursor": 2, "unread": 0}
    assert again.ask("rooms")["directs"] == [entry]
    assert [m["text"] for m in again.ask("history", room="@alice,bob")["messages"]] == ["one", "two"]
    alice.ask("direct", to="bob", text="three")
    assert texts(again) == ["three"]


def test_what_one_device_has_read_all_have(party: Party) -> None:
    register(party, "alice", "bob")
    alice, phone, laptop = log_in(party, "alice"), log_in(party, "bob"), log_in(party, "bob")
    alice.ask("direct", to="bob", text="hi")
    phone.say("ack", room="@alice,bob", seq=1)
    party.pass_time(2)
    assert laptop.heard("receipt")[0]["receipts"] == {"bob": 1}
    assert laptop.ask("rooms")["directs"][0]["unread"] == 0
    assert alice.heard("presence") == []


def test_who_comes_back_with_a_cursor_gets_nothing_twice(party: Party) -> None:
    register(party, "alice", "bob")
    alice = log_in(party, "alice")
    for text in ("one", "two", "three"):
        alice.ask("direct", to="bob", text=text)
    bob = Program(party)
    bob.say("hello", user="bob", password=SECRET, resume={"@alice,bob": 2}, ref="back")
    heard = bob.heard()
    assert types(heard) == ["welcome", "joined", "message"]
    assert (heard[1]["ref"], heard[1]["unread"], heard[2]["text"]) == ("back", 3, "three")


def test_rooms_of_two_are_not_among_the_others(party: Party) -> None:
    register(party, "alice", "bob")
    alice = log_in(party, "alice")
    alice.ask("direct", to="bob", text="hi")
    rooms = alice.ask("rooms")
    assert (rooms["rooms"], rooms["count"]) == ([], 0)
    assert [one["joined"] for one in rooms["directs"]] == [True]


# Nobody else


NAMING: list[Document] = [
    {"type": "join", "room": "@alice,bob"},
    {"type": "leave", "room": "@alice,bob"},
    {"type": "send", "room": "@alice,bob", "text": "hi"},
    {"type": "edit", "room": "@alice,bob", "seq": 1, "text": "hi"},
    {"type": "delete", "room": "@alice,bob", "seq": 1},
    {"type": "react", "room": "@alice,bob", "seq": 1, "reaction": "+1"},
    {"type": "ack", "room": "@alice,bob", "seq": 1},
    {"type": "history", "room": "@alice,bob"},
    {"type": "members", "room": "@alice,bob"},
    {"type": "search", "query": "hi", "room": "@alice,bob"},
    {"type": "typing", "room": "@alice,bob"},
]


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("command", NAMING, ids=lambda command: command["type"])
@pytest.mark.parametrize("who", ["account", "guest", "operator", "guest called alice"])
def test_nobody_else_learns_that_the_room_is_there(
    party: Party, store: SlowStore, there: bool, command: Document, who: str
) -> None:
    if who == "guest called alice":  # before there was an account of this name
        eve = party.program("alice")
        party.hub.population.leave(eve.session)
        register(party, "alice", "bob")
    else:
        register(party, "alice", "bob", "eve")
        if who == "operator":
            store.change_account("eve", {"operator": True}, lambda account: None)
        eve = party.program("carol") if who == "guest" else log_in(party, "eve")
    if there:
        alice = log_in(party, "alice")
        alice.ask("direct", to="bob", text="hi")
    eve.say(**command, ref="?")
    (answer,) = eve.heard()
    room = command["room"]
    assert answer["code"] == "no_such_room"
    assert answer["message"] == no_such_room(room).message
    eve.say("hello", resume={"@alice,bob": 0}, ref="back")
    assert [one.get("code") for one in eve.heard("error")] == ["no_such_room"]
    assert [name for name in party.hub.rooms if name.startswith("@")] == (["@alice,bob"] if there else [])


@pytest.mark.parametrize("room", ["@bob,alice", "@alice,BOB", "@Alice,bob", "@alice,carol", "@alice,~bob"])
def test_nobody_opens_such_a_room_by_its_name(party: Party, room: str) -> None:
    register(party, "alice", "bob")
    alice = log_in(party, "alice")
    alice.ask("direct", to="bob", text="hi")
    for command in ({"type": "join"}, {"type": "history"}, {"type": "members"}):
        assert alice.ask(**command, room=room)["code"] == "no_such_room"
    assert alice.ask("send", room=room, text="hi")["code"] in ("not_joined", "no_such_room")


def test_one_may_leave_and_join_again(party: Party) -> None:
    register(party, "alice", "bob")
    alice, bob = log_in(party, "alice"), log_in(party, "bob")
    alice.ask("direct", to="bob", text="hi")
    assert bob.ask("leave", room="@alice,bob")["type"] == "left"
    assert bob.ask("send", room="@alice,bob", text="x") == refusal("not_joined", "room")
    assert bob.ask("join", room="@alice,bob", after=0)["type"] == "joined"
    assert texts(bob) == ["hi", "hi"]
    assert bob.ask("leave", room="@alice,bob")["type"] == "left"
    alice.ask("direct", to="bob", text="more")
    assert texts(bob) == ["hi", "more"]  # what he has not said to have read


# Whom one may write to


def test_to_oneself_and_to_nobody(party: Party) -> None:
    register(party, "alice", "bob")
    party.hub.store.change_account("bob", {"disabled": True}, lambda account: None)
    alice, guest = log_in(party, "alice"), party.program("carol")
    for command, field in (("direct", "to"), ("block", "user"), ("unblock", "user")):
        fields = {"text": "hi"} if command == "direct" else {}
        assert alice.ask(command, **{field: "ALICE"}, **fields) == refusal("bad_field", field)
        assert guest.ask(command, **{field: "carol"}, **fields) == refusal("bad_field", field)
        for nobody in ("dave", "bob"):
            assert alice.ask(command, **{field: nobody}, **fields) == refusal("no_such_user", field)
    assert not [name for name in party.hub.rooms if name.startswith("@")]


def test_who_is_blocked_cannot_write(party: Party) -> None:
    register(party, "alice", "bob")
    alice, phone, bob = log_in(party, "alice"), log_in(party, "alice"), log_in(party, "bob")
    alice.ask("direct", to="bob", text="hi")
    assert bob.ask("block", user="Alice") == {"type": "blocked", "user": "alice"}
    bob.heard()
    for each in (alice, phone):
        assert each.ask("direct", to="bob", text="x")["code"] == "refused"
        assert each.ask("send", room="@alice,bob", text="x")["code"] == "refused"
        assert each.ask("react", room="@alice,bob", seq=1, reaction="x")["code"] == "refused"
    assert bob.ask("direct", to="alice", text="x")["code"] == "refused"
    assert bob.heard() == []
    assert bob.ask("rooms")["directs"][0]["blocked"] is True
    assert "blocked" not in alice.ask("rooms")["directs"][0]
    bob.leave_the_server()
    again = Program(party)
    assert again.ask("hello", user="bob", password=SECRET)["blocked"] == ["alice"]
    assert again.ask("unblock", user="alice") == {"type": "unblocked", "user": "alice"}
    assert alice.ask("direct", to="bob", text="again")["type"] == "sent"
    assert "again" in texts(again)


def test_one_may_block_before_a_word_was_said(party: Party) -> None:
    register(party, "alice", "bob")
    alice, bob = log_in(party, "alice"), log_in(party, "bob")
    guest = party.program("carol")
    for user in ("alice", "carol"):
        assert bob.ask("block", user=user)["type"] == "blocked"
    for each in (alice, guest):
        assert each.ask("direct", to="bob", text="x")["code"] == "refused"
    assert Program(party).ask("hello", user="bob", password=SECRET)["blocked"] == ["alice", "carol"]


def test_who_may_only_read_does_not_write_to_people(party: Party) -> None:
    door = Doorkeeper({"bob": ""})
    party.hub.authenticator = door
    door.tokens["reader"] = User("alice", guest=False, most=Role.READER)
    door.tokens["rooms"] = User("carol", guest=False, grants=(Grant("lobby", Role.MEMBER),))
    bob = party.program("dave")
    for token in ("reader", "rooms"):
        program = Program(party)
        program.ask("hello", token=token)
        assert program.ask("direct", to="dave", text="x") == refusal(
            "forbidden", "room" if token == "reader" else "to"
        )
    assert bob.heard() == []


# Guests


def test_guests_write_to_each_other_and_to_accounts(party: Party) -> None:
    register(party, "alice")
    alice, bob, carol = log_in(party, "alice"), party.program("bob"), party.program("Carol")
    assert bob.ask("direct", to="alice", text="a")["room"] == "@alice,~bob"
    assert bob.ask("direct", to="carol", text="b")["room"] == "@~bob,~Carol"
    assert (texts(alice), texts(carol), texts(bob)) == (["a"], ["b"], ["a", "b"])
    assert [one["user"] for one in bob.ask("rooms")["directs"]] == ["alice", "Carol"]
    later = Program(party)
    later.say("hello", user="alice", password=SECRET)
    assert [one["text"] for one in later.heard("message")] == ["a"]


ENDS: dict[str, Callable[[Program], object]] = {
    "goes": Program.leave_the_server,
    "is renamed": lambda program: program.ask("hello", user="robert"),
    "registers": lambda program: program.ask("register", user="bob", password=SECRET),
    "signs out": lambda program: program.say("sign_out"),
}


@pytest.mark.parametrize("ends", ENDS)
def test_a_later_guest_of_the_same_name_reads_nothing(party: Party, ends: str) -> None:
    register(party, "alice")
    alice, bob, carol = log_in(party, "alice"), party.program("bob"), party.program("carol")
    for to in ("alice", "carol"):
        bob.ask("direct", to=to, text="secret")
    for each in (alice, bob, carol):
        each.heard()
    ENDS[ends](bob)
    assert [one["room"] for one in alice.heard("left")] == ["@alice,~bob"]
    assert [one["room"] for one in carol.heard("left")] == ["@~bob,~carol"]
    assert len(party.hub.guest_rooms) == 0
    assert not party.hub.rooms
    if ends == "registers":
        bob.leave_the_server()
        assert bob.heard("message") == []
        return
    later = party.program("bob")
    for room in ("@alice,~bob", "@~bob,~carol"):
        assert later.ask("join", room=room, after=0)["code"] == "no_such_room"
        assert later.ask("history", room=room)["code"] == "no_such_room"
    assert later.ask("rooms")["directs"] == []
    assert alice.ask("direct", to="bob", text="new")["seq"] == 1
    assert texts(later) == ["new"]


def test_a_guest_who_is_refused_a_name_keeps_its_rooms(party: Party) -> None:
    bob, carol = party.program("bob"), party.program("carol")
    bob.ask("direct", to="carol", text="hi")
    assert bob.ask("hello", user="CAROL") == refusal("name_taken", "user")
    carol.ask("direct", to="bob", text="still there")
    assert texts(bob) == ["hi", "still there"]


def test_a_guest_cannot_fill_the_memory_with_rooms() -> None:
    party = Party(limits=Limits(messages_per_s=0))
    party.hub.settings.guest_rooms = 3
    bob = party.program("bob")
    for number in range(5):
        party.program(f"guest{number}")
    answers = [bob.ask("direct", to=f"guest{number}", text="x")["type"] for number in range(5)]
    assert answers == ["sent"] * 3 + ["error"] * 2
    assert bob.ask("direct", to="guest0", text="x")["type"] == "sent"
    assert len(party.hub.guest_rooms._by_part["~bob"]) == 3


# While the store takes its time


def test_a_slow_store_loses_and_doubles_nothing(store: SlowStore, party: Party) -> None:
    register(party, "alice", "bob")
    alice, bob = log_in(party, "alice"), log_in(party, "bob")
    store.hold = True
    for number in range(3):
        alice.say("direct", to="bob", text=f"a{number}", ref=number)
        bob.say("direct", to="alice", text=f"b{number}", ref=number)
    store.answer()
    heard = {"alice": alice.heard(), "bob": bob.heard()}
    for documents in heard.values():
        assert seqs(documents) == [1, 2, 3, 4, 5, 6]
        assert types(documents).count("joined") == 1
        assert [one["ref"] for one in documents if one["type"] == "sent"] == [0, 1, 2]
    own = [one["text"] for one in heard["bob"] if one["type"] == "message"]
    for who in "ab":
        assert [text for text in own if text.startswith(who)] == [f"{who}{number}" for number in range(3)]


STEPS = 12


@pytest.mark.parametrize("resumes", [False, True])
@pytest.mark.parametrize("moment", range(STEPS))
def test_who_comes_at_the_same_moment_gets_everything_once(
    store: SlowStore, party: Party, moment: int, resumes: bool
) -> None:
    """The login begins after any number of the store's answers, and what is said goes on around it."""
    register(party, "alice", "bob")
    alice = log_in(party, "alice")
    alice.ask("direct", to="bob", text="0")
    store.hold = True
    numbers = itertools.count(1)

    def speak() -> None:
        alice.say("direct", to="bob", text=str(next(numbers)))

    speak()
    for _ in range(moment):
        if store.waiting:
            store.answer(1)
        else:
            speak()
    bob = Program(party)
    resume = {"resume": {"@alice,bob": 1}} if resumes else {}
    bob.say("hello", user="bob", password=SECRET, **resume)
    for _ in range(STEPS):
        if store.waiting:
            store.answer(1)
        speak()
    store.answer()
    last = next(numbers) - 1
    heard = bob.heard()
    assert types(heard)[0] == "welcome"
    assert types(heard).count("joined") == 1
    assert [one["text"] for one in heard if one["type"] == "message"] == [
        str(number) for number in range(1 if resumes else 0, last + 1)
    ]
    assert party.hub.rooms["@alice,bob"].awaited == 0
    assert not bob.session.devices or not bob.session.devices.arrivals


@pytest.mark.parametrize("answered", range(6))
@pytest.mark.parametrize("works", [True, False])
def test_who_goes_while_it_is_let_in_leaves_nothing_behind(
    store: SlowStore, party: Party, answered: int, works: bool
) -> None:
    register(party, "alice", "bob")
    log_in(party, "alice").ask("direct", to="bob", text="hi")
    client = party.json_lines()
    store.hold = True
    client.send_raw(dumps({"type": "hello", "user": "bob", "password": SECRET}))
    store.answer(answered)
    client.lose()
    store.answer() if works else store.fail(len(store.waiting))
    store.answer()
    party.pass_time(5)
    assert party.hub.population.sessions("bob") == ()
    assert party.hub.rooms["@alice,bob"].awaited == 0


def test_a_store_that_cannot_tell_of_rooms_lets_nobody_in_by_halves(store: SlowStore, party: Party) -> None:
    register(party, "alice", "bob")
    bob = Program(party)
    store.hold = True
    bob.say("hello", user="bob", password=SECRET, ref=1)
    while "directs" not in store.waiting:
        store.answer(1)
    store.fail()
    assert [one["code"] for one in bob.heard()] == ["unavailable"]
    assert party.hub.population.sessions("bob") == ()
    store.hold = False
    assert bob.ask("hello", user="bob", password=SECRET)["type"] == "welcome"


def test_a_direct_that_cannot_be_stored_says_so(store: SlowStore, party: Party) -> None:
    register(party, "alice", "bob")
    alice = log_in(party, "alice")
    store.hold = True
    for failing in range(4):
        alice.say("direct", to="bob", text="x", ref=failing)
        store.answer(failing)
        store.fail(len(store.waiting))
        store.answer()
        (answer,) = [one for one in alice.heard() if one.get("ref") == failing]
        if answer["type"] == "error":
            assert answer["code"] == "unavailable"
    store.hold = False
    assert alice.ask("direct", to="bob", text="y")["type"] == "sent"
    party.pass_time(5)
    assert party.hub.rooms["@alice,bob"].awaited == 0


def test_commands_behind_a_direct_keep_their_order(store: SlowStore, party: Party) -> None:
    register(party, "alice", "bob")
    alice: JsonClient = party.json_lines()
    alice.send_raw(dumps({"type": "hello", "user": "alice", "password": SECRET}))
    alice.heard()
    store.hold = True
    alice.send_raw(
        dumps({"type": "direct", "to": "bob", "text": "hi", "ref": 1}),
        dumps({"type": "history", "room": "@alice,bob", "ref": 2}),
        dumps({"type": "direct", "to": "nobody", "text": "hi", "ref": 3}),
        dumps({"type": "ping", "ref": 4}),
    )
    store.answer()
    party.settle()
    while store.waiting:
        store.answer()
        party.settle()
    answers = [one for one in alice.heard() if "ref" in one]
    assert [one["ref"] for one in answers] == [1, 2, 3, 4]
    assert [one["text"] for one in answers[1]["messages"]] == ["hi"]
    assert answers[2]["code"] == "no_such_user"
