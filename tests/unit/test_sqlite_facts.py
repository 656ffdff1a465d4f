"""Facts in the file, also when commits fail: what was not stored is not true."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastchat.messages import Code, WireError
from fastchat.store import Draft, Facts, Kind, Retention, Stored
from fastchat.store.facts import apply, facts_of
from fastchat.store.sqlite.schema import connect
from fastchat.store.sqlite.upkeep import Upkeep
from tests.faulty_sqlite import Faults, inject
from tests.pump import OpenRoom, Pump, delete, message, moderate
from tests.stores import NOW_MS, open_sqlite

LOST = pytest.mark.parametrize("lost", [True, False], ids=["lost", "kept by the file"])
PROPERTY_EXAMPLES = 40


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return inject(monkeypatch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@pytest.fixture
def room(path: Path, faults: Faults) -> Iterator[OpenRoom]:
    room = open_room(path)
    yield room
    room.store.close()


def open_room(path: Path, name: str = "lobby") -> OpenRoom:
    pump = Pump()
    return OpenRoom(open_sqlite(path, pump), pump, name)


def recover(room: OpenRoom) -> None:
    """Returns when the store can write again."""
    while room.store.problem is not None:
        room.pump.turn()


def in_the_file(path: Path, name: str = "lobby") -> tuple[dict[str, Any], int]:
    """The room's facts, and how many acts of the audit log are its."""
    query = "SELECT facts.name, value FROM facts JOIN rooms ON rooms.id = room_id WHERE rooms.name = ?"
    with closing(sqlite3.connect(path)) as connection:
        facts = {fact: orjson.loads(value) for fact, value in connection.execute(query, (name,))}
        (entries,) = connection.execute("SELECT count(*) FROM audit WHERE room = ?", (name,)).fetchone()
    return facts, entries


def test_facts_are_there_after_a_restart(room: OpenRoom, path: Path) -> None:
    room.begin_all([moderate("topic", topic="tea"), moderate("ban", user="bob", until=9), message("hi")])
    room.set_facts({"blocked alice": True})
    room.store.close()
    again = open_room(path)
    assert again.log.facts == {"topic": "tea", "ban bob": 9, "blocked alice": True}
    again.append(moderate("unban", user="bob"))
    again.store.close()
    assert in_the_file(path) == ({"topic": "tea", "blocked alice": True}, 3)


def test_messages_cost_no_statement_more(room: OpenRoom, faults: Faults) -> None:
    room.append(moderate("topic", topic="tea"))
    faults.watched = ""
    room.fill(200)
    assert not [sql for sql in faults.statements if "facts" in sql or "INTO audit" in sql]
    room.append(moderate("topic", topic="coffee"))
    assert [sql for sql in faults.statements if "facts" in sql]


@LOST
@pytest.mark.parametrize("at_once", [True, False], ids=["with the next act", "by itself"])
def test_a_failed_act_makes_nothing_true(
    room: OpenRoom, path: Path, faults: Faults, lost: bool, at_once: bool
) -> None:
    before = {"topic": "tea", "ban bob": 9, "role carol": "moderator"}
    for name, value in before.items():
        room.set_facts({name: value})
    room.say("spam", "bob")
    faults.arm(lost=lost)
    answers = room.begin_all(
        [
            moderate("topic", topic="coffee"),
            moderate("unban", user="bob"),
            moderate("ban", user="carol"),
            moderate("mute", user="dave"),
            delete(1, moderated=True, user="bob"),
        ]
    )
    assert all(isinstance(answer, WireError) and answer.code is Code.UNAVAILABLE for answer in answers)
    assert isinstance(room.set_facts({"topic": "cocoa", "x": 1}), WireError)
    assert room.facts() == before
    faults.disarm()
    if not at_once:
        recover(room)
        assert in_the_file(path) == (before, 0)
    assert room.append(moderate("mute", user="erin")).seq == 2
    assert room.facts() == {**before, "mute erin": 0}
    assert "text" in room.messages()[0]
    room.store.close()
    assert in_the_file(path) == ({**before, "mute erin": 0}, 1)


@LOST
def test_a_room_that_was_left_meanwhile(room: OpenRoom, faults: Faults, lost: bool) -> None:
    games = OpenRoom(room.store, room.pump, "games")
    games.append(moderate("topic", topic="chess"))
    faults.arm(lost=lost)
    games.refuse(moderate("topic", topic="go"))
    del games
    again = OpenRoom(room.store, room.pump, "games")
    assert again.log.facts == {"topic": "chess"}
    faults.disarm()
    recover(room)
    del again
    assert OpenRoom(room.store, room.pump, "games").log.facts == {"topic": "chess"}


@LOST
def test_a_new_room_of_two_whose_first_message_failed(
    room: OpenRoom, path: Path, faults: Faults, lost: bool
) -> None:
    pair = OpenRoom(room.store, room.pump, "@alice,bob")
    faults.arm(lost=lost)
    assert isinstance(pair.set_facts({"blocked alice": True}), WireError)
    pair.refuse(message("hi"))
    faults.disarm()
    recover(room)
    assert (pair.facts(), directs(pair, "alice")) == ({}, [])
    pair.say("hi again")
    assert directs(pair, "alice") == directs(pair, "bob") == ["@alice,bob"]
    room.store.close()
    assert in_the_file(path, "@alice,bob") == ({}, 0)


def directs(room: OpenRoom, user: str) -> list[str]:
    found = room.pump.answer(lambda done: room.store.directs(user, done))
    return [direct.room for direct in found]


@pytest.mark.parametrize("at", ["REPLACE INTO facts", "DELETE FROM facts", "INSERT INTO audit", "COMMIT"])
def test_a_failure_at_any_statement(room: OpenRoom, path: Path, faults: Faults, at: str) -> None:
    room.append(moderate("ban", user="bob"))
    acts = [moderate("topic", topic="tea", id="t"), moderate("unban", user="bob", id="u")]
    faults.arm(at)
    for _ in range(3):
        answers = room.begin_all([message("hi", id="m"), *acts])
        assert all(isinstance(answer, WireError) for answer in answers)
        assert room.facts() == {"ban bob": 0}
    faults.disarm()
    answers = room.begin_all([message("hi", id="m"), *acts])
    assert [answer.seq for answer in answers if isinstance(answer, Stored)] == [2, 3, 4]
    assert room.facts() == {"topic": "tea"}
    room.store.close()
    assert in_the_file(path) == ({"topic": "tea"}, 3)


def test_trimming_takes_events_and_leaves_facts(room: OpenRoom, path: Path) -> None:
    room.append(moderate("topic", topic="tea"))
    room.fill(20)
    room.store.close()
    upkeep = Upkeep(lambda _: Retention(events=1), lambda: NOW_MS)
    with closing(connect(path, "normal")) as connection:
        while upkeep.step(connection):
            pass
    again = open_room(path)
    assert (again.log.first, again.log.facts) == (21, {"topic": "tea"})
    again.store.close()
    assert in_the_file(path) == ({"topic": "tea"}, 1)


# Whatever happens

NAMES = st.sampled_from(["alice", "bob", "carol"])
ACTS = st.one_of(
    st.builds(lambda topic: {"action": "topic", "topic": topic}, st.sampled_from(["", "tea", "coffee"])),
    st.builds(
        lambda action, user: {"action": action, "user": user},
        st.sampled_from(["ban", "unban", "mute", "unmute", "invite", "kick"]),
        NAMES,
    ),
    st.builds(
        lambda user, role: {"action": "role", "user": user, "role": role},
        NAMES,
        st.sampled_from(["owner", "moderator", "member", "reader"]),
    ),
)
IDS = st.one_of(st.none(), st.sampled_from("xyz"))
DRAFTS = st.one_of(
    st.builds(lambda fields, own: Draft(Kind.MODERATED, "alice", NOW_MS, fields, own), ACTS, IDS),
    st.builds(lambda own: message("hi", id=own), IDS),
    st.builds(lambda name, value: {f"blocked {name}": value}, NAMES, st.sampled_from([True, None])),
)
FAULTS = st.one_of(
    st.none(),
    st.sampled_from([("COMMIT", True), ("COMMIT", False), ("REPLACE INTO facts", True), ("BEGIN", True)]),
)
STEPS = st.lists(st.tuples(FAULTS, st.lists(DRAFTS, min_size=1, max_size=6), st.booleans()), max_size=8)


@settings(max_examples=PROPERTY_EXAMPLES, deadline=None)
@given(STEPS)
def test_facts_are_what_the_stored_events_make_of_them(steps: Sequence[Any]) -> None:
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        check_steps(Path(folder, "chat.db"), inject(patch), steps)


def check_steps(path: Path, faults: Faults, steps: Sequence[Any]) -> None:
    room = open_room(path)
    facts: Facts = {}
    acts = 0
    for fault, drafts, reopened in steps:
        if fault is not None:
            faults.arm(fault[0], lost=fault[1])
        for draft, answer in zip(drafts, put_all(room, drafts), strict=True):
            if isinstance(answer, WireError) or (isinstance(answer, Stored) and answer.body is None):
                continue
            facts = apply(facts, facts_of(draft) if isinstance(draft, Draft) else draft)
            acts += isinstance(draft, Draft) and draft.kind is Kind.MODERATED
        assert room.facts() == facts
        faults.disarm()
        if reopened:
            recover(room)
            room.store.close()
            assert in_the_file(path) == (facts, acts)
            room = open_room(path)
            assert room.log.facts == facts
    recover(room)
    events = [event for event in room.replay_all() if event["type"] == "moderated"]
    room.store.close()
    assert len(events) == acts
    assert in_the_file(path) == (facts, acts)


def put_all(room: OpenRoom, drafts: Sequence[Draft | Facts]) -> list[Stored | WireError | None]:
    """The answers, which come in order."""
    answers: list[Any] = []
    for draft in drafts:
        if isinstance(draft, Draft):
            room.begin(draft, answers.append)
        else:
            room.log.set_facts(draft, answers.append)
    while len(answers) < len(drafts):
        room.pump.turn()
    return answers
