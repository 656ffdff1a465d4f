"""What is true of rooms beside their events, and the audit log of what made it so, in each kind of store."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from fastchat.messages import Code
from fastchat.store import AuditEntry, Stored
from tests.pump import OpenRoom, delete, edit, message, moderate, react, search
from tests.stores import STORES, opened, other_room


@pytest.fixture(params=STORES)
def room(request: pytest.FixtureRequest) -> Iterator[OpenRoom]:
    with opened(request.param) as room:
        yield room


def audit(room: OpenRoom) -> list[AuditEntry]:
    """The whole audit log, the oldest first."""
    search(room.store, room.pump, "anything")  # waits for what was submitted before
    found = room.pump.answer(lambda done: room.store.audit(0, 1000, done))
    return [entry for _, entry in reversed(found)]


def test_a_new_room_has_none(room: OpenRoom) -> None:
    assert room.log.facts == {}
    room.say("hi")
    assert room.facts() == {}


def test_an_act_is_an_event_and_makes_facts(room: OpenRoom) -> None:
    stored = room.append(moderate("topic", topic="tea", id="t-1"))
    assert stored.body is not None
    assert orjson.loads(stored.body) == {
        "type": "moderated", "room": "lobby", "seq": 1, "id": "t-1", "from": "alice", "at": 5000,
        "action": "topic", "topic": "tea",
    }  # fmt: skip
    assert room.facts() == {"topic": "tea"}
    room.begin_all([moderate("ban", user="bob", until=9), moderate("mute", user="carol"), message("hi")])
    assert room.facts() == {"topic": "tea", "ban bob": 9, "mute carol": 0}
    room.begin_all([moderate("unban", user="bob"), moderate("topic", topic="")])
    assert room.facts() == {"mute carol": 0}
    assert room.log.head == 6


def test_acts_are_no_messages(room: OpenRoom) -> None:
    room.append(moderate("topic", topic="tea"))
    assert room.read() == ([], False)
    for change in (edit(1, "x"), delete(1), react(1, "👍")):
        assert room.refuse(change).code is Code.NO_SUCH_MESSAGE


def test_an_act_that_comes_again_is_done_once(room: OpenRoom) -> None:
    first = room.append(moderate("topic", topic="tea", id="x"))
    room.append(moderate("topic", topic="coffee"))
    again = room.append(moderate("topic", topic="tea", id="x", at_ms=9999))
    assert again == Stored(first.seq, first.at_ms, None)
    assert room.facts() == {"topic": "coffee"}
    assert [entry.detail for entry in audit(room)] == ['{"topic":"tea"}', '{"topic":"coffee"}']


def test_an_act_that_comes_twice_at_once_is_done_once(room: OpenRoom) -> None:
    answers = room.begin_all(
        [
            message("hi", id="m"),
            moderate("topic", topic="tea", id="x"),
            moderate("topic", topic="coffee"),
            moderate("topic", topic="tea", id="x"),
            message("hi", id="m"),
        ]
    )
    assert [answer.seq for answer in answers if isinstance(answer, Stored)] == [1, 2, 3, 2, 1]
    assert room.facts() == {"topic": "coffee"}
    assert len(audit(room)) == 2


def test_facts_without_an_event(room: OpenRoom) -> None:
    assert room.set_facts({"blocked alice": True, "x": [1, {"y": None}]}) is None
    assert room.facts() == {"blocked alice": True, "x": [1, {"y": None}]}
    assert room.set_facts({"blocked alice": None, "nobody": None, "z": 1.5}) is None
    assert room.facts() == {"x": [1, {"y": None}], "z": 1.5}
    assert (room.log.head, audit(room)) == (0, [])


def test_a_block_outlives_the_conversation(room: OpenRoom) -> None:
    other_room(room, "@alice,bob").set_facts({"blocked alice": True})
    assert other_room(room, "@alice,bob").log.facts == {"blocked alice": True}
    other_room(room, "@alice,bob").set_facts({"blocked alice": None})
    assert other_room(room, "@alice,bob").log.facts == {}


def test_each_comes_in_its_turn(room: OpenRoom) -> None:
    done: list[Any] = []
    for number in range(20):
        room.begin(moderate("topic", topic=f"event {number}"), done.append)
        room.log.set_facts({"topic": f"fact {number}"}, done.append)
    room.log.set_facts({"topic": "the last"}, done.append)
    while len(done) < 41:
        room.pump.turn()
    assert [answer.seq for answer in done if isinstance(answer, Stored)] == list(range(1, 21))
    assert done[1::2] == [None] * 20
    assert room.facts() == {"topic": "the last"}


def test_rooms_have_their_own(room: OpenRoom) -> None:
    games = other_room(room)
    room.append(moderate("topic", topic="tea"))
    games.append(moderate("topic", topic="chess"))
    games.set_facts({"role alice": "owner"})
    assert room.facts() == {"topic": "tea"}
    assert games.facts() == {"topic": "chess", "role alice": "owner"}


@pytest.mark.parametrize(
    "text", ["a\nb\r\n", "\0", "\u2028\ufeff", "😀" * 500, '"\\', "'; DROP TABLE facts; --"]
)
def test_facts_of_any_text(room: OpenRoom, text: str) -> None:
    room.append(moderate("topic", topic=text))
    room.set_facts({f"ban {text}": text})
    assert room.facts() == {"topic": text, f"ban {text}": text}
    assert audit(room)[0].detail == orjson.dumps({"topic": text}).decode()


# Moderators and others' messages


def test_a_moderator_deletes_what_others_have_said(room: OpenRoom) -> None:
    room.say("spam", "bob")
    assert room.refuse(delete(1, "alice")).code is Code.FORBIDDEN
    assert audit(room) == []
    stored = room.append(delete(1, "alice", id="d", moderated=True, user="bob"))
    assert stored.body is not None
    assert orjson.loads(stored.body)["moderated"] is True
    assert room.append(delete(1, "alice", id="d", moderated=True, user="bob")).body is None
    assert room.messages() == [
        {"type": "message", "room": "lobby", "seq": 1, "from": "bob", "at": 1000, "deleted": 3000}
    ]
    assert room.refuse(delete(1, "alice", moderated=True)).code is Code.NO_SUCH_MESSAGE
    assert room.refuse(delete(2, "alice", moderated=True)).code is Code.NO_SUCH_MESSAGE
    assert audit(room) == [AuditEntry(3000, "alice", "delete", "lobby", "bob", '{"of":1}')]


@pytest.mark.parametrize("value", [False, 1, "true", None])
def test_only_the_server_itself_says_moderated(room: OpenRoom, value: object) -> None:
    room.say("hi", "bob")
    assert room.refuse(delete(1, "alice", moderated=value)).code is Code.FORBIDDEN


def test_nobody_edits_as_a_moderator(room: OpenRoom) -> None:
    room.say("hi", "bob")
    assert room.refuse(edit(1, "x", "alice", moderated=True)).code is Code.FORBIDDEN


# The audit log


def test_every_act_is_in_the_audit_log(room: OpenRoom) -> None:
    games = other_room(room)  # in memory, in one of the stores
    room.append(moderate("ban", user="bob", until=9000, reason="spam"))
    games.append(moderate("kick", "carol", user="dave", at_ms=6000))
    room.say("hi")
    assert audit(room) == [
        AuditEntry(5000, "alice", "ban", "lobby", "bob", '{"until":9000,"reason":"spam"}'),
        AuditEntry(6000, "carol", "kick", "games", "dave", ""),
    ]
