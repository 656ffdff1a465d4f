"""Commands of other services: what they do, each once, and what becomes of those that cannot be done."""

import asyncio
from typing import Any

import orjson
import pytest

from fastchat.inbox import Authors, Executor, Receiver
from fastchat.inbox.authors import HELD_MAX, KNOWN_S
from fastchat.session import Limits
from fastchat.store import Account, Store
from tests.inboxes import FakeSource
from tests.parties import Document, Party, Program
from tests.slow_store import SlowStore


class Office(Party):
    """A party with an inbox, and a guest who listens in the lobby."""

    def __init__(self, store: Store | None = None, **settings: Any) -> None:
        super().__init__(store=store, **settings)
        self.source = FakeSource()
        self.executor = Executor(
            self.hub, self.chat.profiles.line, self.limits, Authors(self.hub), self.wall_ms
        )
        self.source.listen(self.executor.take)

    def send(self, body: bytes | dict[str, Any], id: str = "") -> str | None:
        """Delivers a command; returns what it was answered, None where it has not been."""
        number = self.source.deliver(body, id)
        self.settle()
        return self.source.answers.get(number)

    def account(self, name: str, **fields: Any) -> None:
        self.hub.store.add_account(Account(name, name.lower(), **fields), lambda error: None)


@pytest.fixture
def office() -> Office:
    return Office()


def post(id: Any = "1", **fields: Any) -> Document:
    return {"command": "post", "id": id, "room": "lobby", "text": "hi", **fields}


def messages(program: Program) -> list[tuple[str, str]]:
    return [(event["from"], event["text"]) for event in program.heard("message")]


# What they do


def test_a_message_reaches_the_room_as_anybodys(office: Office) -> None:
    alice = office.program("alice", "lobby")
    assert office.send(post(**{"from": "deploy-bot"}, data={"build": 7})) == "accepted"
    (event,) = alice.heard("message")
    at = event.pop("at")
    assert event == {
        "type": "message", "room": "lobby", "seq": 1, "id": "1", "from": "deploy-bot", "text": "hi",
        "data": {"build": 7},
    }  # fmt: skip
    assert at == office.wall_ms()


def test_without_a_name_the_server_speaks(office: Office) -> None:
    alice = office.program("alice", "lobby")
    assert office.send(post()) == "accepted"
    assert office.send(post("2", **{"from": "server"})) == "accepted"
    assert messages(alice) == [("server", "hi"), ("server", "hi")]


def test_what_comes_again_is_accepted_without_effect(office: Office) -> None:
    alice = office.program("alice", "lobby")
    for _ in range(3):
        assert office.send(post(**{"from": "bot"})) == "accepted"
    assert messages(alice) == [("bot", "hi")]


def test_the_brokers_own_id_stands_in_where_there_is_none(office: Office) -> None:
    alice = office.program("alice", "lobby")
    body = {"command": "post", "room": "lobby", "text": "hi"}
    for own_id in ("17-0", "17-0", "x" * 100, "x" * 100):
        assert office.send(body, own_id) == "accepted"
    first, second = alice.heard("message")
    assert first["id"] == "17-0"
    assert len(second["id"]) == 64
    answer = office.send(body)
    assert answer is not None
    assert answer.startswith("bad_field: id is missing; give each command one of its own")


def test_a_room_is_created_once(office: Office) -> None:
    order = {"command": "create", "id": "c", "room": "news", "access": "private", "topic": "What is new"}
    assert office.send(order) == "accepted"
    assert office.send(order) == "accepted"
    assert (
        office.send({**order, "id": "d"}) == "name_taken: there is a room news already; choose another name"
    )
    alice = office.program("alice")
    assert alice.ask("join", room="news")["code"] == "no_such_room"
    rules = office.hub.rooms["news"].rules
    assert rules is not None
    assert rules.rules.topic == "What is new"


def test_somebody_is_thrown_out(office: Office) -> None:
    alice, bob = office.program("alice", "lobby"), office.program("bob", "lobby")
    order = {"command": "kick", "id": "k", "room": "lobby", "user": "bob", "reason": "spam"}
    assert office.send(order) == "accepted"
    assert [(event["by"], event["reason"]) for event in bob.heard("left")] == [("operator", "spam")]
    (event,) = alice.heard("moderated")
    assert (event["action"], event["user"], event["id"]) == ("kick", "bob", "k")
    bob.ask("join", room="lobby")
    assert office.send(order) == "accepted"
    assert bob.heard("left") == []
    assert office.send({**order, "room": "nowhere"}) == (
        "no_such_room: there is no room nowhere; rooms lists those there are"
    )


def test_rules_of_rooms_do_not_hold_for_services(office: Office) -> None:
    office.send({"command": "create", "id": "c", "room": "club", "access": "private"})
    assert office.send(post(room="club", **{"from": "bot"})) == "accepted"


# In whose name


def test_an_account_speaks_also_by_a_service(office: Office) -> None:
    office.account("Alice")
    office.account("gone", disabled=True)
    bob = office.program("bob", "lobby")
    assert office.send(post(**{"from": "alice"})) == "accepted"
    assert messages(bob) == [("Alice", "hi")]
    answer = office.send(post("2", **{"from": "gone"}))
    assert answer == "forbidden: from is gone, an account that is disabled; enable it, or use another name"


def test_nobody_else_may_have_a_programs_name(office: Office) -> None:
    office.send(post(**{"from": "bot"}))
    assert office.program().ask("hello", user="Bot")["code"] == "name_taken"
    office.executor.close()
    assert office.program().ask("hello", user="Bot")["type"] == "welcome"


def test_a_guests_name_is_not_a_programs(office: Office) -> None:
    alice = office.program("alice", "lobby")
    answer = office.send(post(**{"from": "Alice"}))
    assert answer is not None
    assert answer.startswith(
        "name_taken: from is Alice, and somebody else is called so at the moment; make it "
    )
    assert answer.endswith("fastchat user add Alice")
    alice.leave_the_server()
    office.pass_time(KNOWN_S)
    assert office.send(post(**{"from": "Alice"})) == "accepted"


def test_the_operators_name_is_nobodys(office: Office) -> None:
    answer = office.send(post(**{"from": "Operator"}))
    assert answer == "name_taken: from is Operator, which is this server's own name"


def test_programs_names_are_bounded(office: Office) -> None:
    for number in range(HELD_MAX + 1):
        assert office.send(post(str(number), **{"from": f"bot{number}"})) == "accepted"
    assert office.program().ask("hello", user="bot0")["type"] == "welcome"
    assert office.program().ask("hello", user="bot1")["code"] == "name_taken"


# What cannot be done


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"hello", "bad_json: not JSON: "),
        (b"[]", "bad_json: a command is a JSON object"),
        (b'{"command":"post","id":"1","id":"2"}', "bad_field: id is there twice"),
        (b"{}", "unknown_type: command must be one of post, create, kick"),
        (b'{"command":["post"]}', "unknown_type: command must be one of post, create, kick"),
        (b'{"command":"ban","id":"1","room":"lobby","user":"bob"}', "unknown_type: command must be one of "),
        (post(colour="red"), "bad_field: post has no field 'colour'; it has id, data, from, room, text"),
        (post(id=7), "bad_field: id must be a string of 1 to 64 characters"),
        (post(room="The Lobby"), "bad_field: room must be a string that matches "),
        (post(room="@alice,bob"), "bad_field: room is a room of two, which is nobody else's"),
        (post(text=""), "bad_field: text must be a string that is not empty"),
        (post(text="x" * 20_000), "too_large: text is 20000 bytes long; 4096 are allowed"),
        (post(text="x" * 70_000), "too_large: the command is 70"),
        (post(data="x"), "bad_field: data must be an object"),
        (post(**{"from": 7}), "bad_field: from must be a string"),
        (post(**{"from": "a b"}), "bad_field: from must be letters and digits"),
        ({"command": "post", "id": "1", "room": "lobby"}, "bad_field: text is missing"),
        ({"command": "kick", "id": "1", "room": "lobby"}, "bad_field: user is missing"),
        ({"command": "create", "id": "1", "room": "x", "access": "open"}, "bad_field: access must be "),
    ],
)  # fmt: skip
def test_what_is_malformed_is_rejected_with_the_reason(
    office: Office, body: bytes | dict[str, Any], reason: str
) -> None:
    answer = office.send(body)
    assert answer is not None
    assert answer.startswith(reason)
    assert (office.executor.rejected, office.executor.unanswered) == (1, 0)
    assert office.send(post("next")) == "accepted"


def test_what_the_store_cannot_do_comes_again() -> None:
    store = SlowStore()
    office = Office(store)
    numbers = [
        office.source.deliver(body)
        for body in (
            post(**{"from": "bot"}),
            post("2"),
            {"command": "create", "id": "3", "room": "news"},
            post("4"),
        )
    ]
    store.fail()  # whether there is an account
    store.fail()  # the room of the second message
    store.fail()  # the new room
    store.answer(1)  # the room of the last message
    store.fail()  # its event
    office.settle()
    assert [office.source.answers[number] for number in numbers] == ["retry"] * 4
    assert (office.executor.retried, office.executor.unanswered) == (4, 0)
    store.hold = False
    assert office.send(post("4")) == "accepted"


def test_nothing_is_accepted_before_it_is_stored() -> None:
    store = SlowStore()
    office = Office(store)
    first, second = office.source.deliver(post()), office.source.deliver(post("2"))
    store.answer(1)
    assert store.waiting == ["append", "append"]
    assert office.source.answers == {}
    store.answer(1)
    assert office.source.answers == {first: "accepted"}
    store.answer(1)
    assert office.source.answers == {first: "accepted", second: "accepted"}


def test_commands_take_effect_in_their_order() -> None:
    store = SlowStore()
    office = Office(store)
    for body in (
        {"command": "create", "id": "1", "room": "news"},
        post("2", room="news", **{"from": "slow-to-find"}),
        post("3", room="news"),
        {"command": "kick", "id": "4", "room": "news", "user": "bob"},
        post("5", room="news"),
    ):
        office.source.deliver(body)
    while store.waiting:
        store.answer(1)
    office.settle()
    assert [*office.source.answers.values()] == ["accepted"] * 5
    page: list[Any] = []
    store.store.open("news", page.append)
    assert page[0].head == 5
    events = office.hub.rooms["news"].channel.ring.events(0, 6, 9, 99_999)
    assert [orjson.loads(event.body)["id"] for event in events] == ["1", "2", "3", "4", "5"]


def test_what_was_not_begun_is_given_back_at_the_end() -> None:
    store = SlowStore()
    office = Office(store)
    begun, left = office.source.deliver(post(**{"from": "bot"})), office.source.deliver(post("2"))
    office.executor.stop()
    assert office.source.answers == {}
    store.answer()
    assert office.source.answers == {begun: "accepted", left: "retry"}
    assert office.send(post("3")) == "retry"
    assert office.executor.unanswered == 0


def test_a_fault_of_ours_is_logged_and_the_next_command_is_taken(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(Authors, "find", fail)
        assert office.send(post()) == "refused: the server failed at it; its log says why"
    assert office.send(post()) == "accepted"


def test_limits_are_the_servers() -> None:
    office = Office(limits=Limits(messages_per_s=1, burst=3, text_bytes=0, command_bytes=500))
    for number in range(10):
        assert office.send({"command": "create", "id": str(number), "room": f"r{number}"}) == "accepted"
    assert office.send(post(text="x" * 400)) == "accepted"


async def test_the_end_waits_for_what_was_begun() -> None:
    store = SlowStore()
    office = Office(store)
    receiver = Receiver(office.source, office.executor)
    await receiver.start()
    begun, left = office.source.deliver(post()), office.source.deliver(post("2"))
    closing = asyncio.create_task(receiver.close())
    await asyncio.sleep(0)
    while store.waiting:
        store.answer(1)
    await closing
    assert office.source.answers == {begun: "accepted", left: "retry"}
    assert office.source.closed


async def test_the_end_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastchat.inbox.receiver.FINISH_S", 0.01)
    store = SlowStore()
    office = Office(store)
    receiver = Receiver(office.source, office.executor)
    office.source.deliver(post())
    await receiver.close()
    assert office.source.answers == {}
    assert office.source.closed
