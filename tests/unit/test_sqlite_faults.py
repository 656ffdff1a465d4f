"""The SQLite store when commits fail: nothing half-done is shown, and ``seq`` has no hole and no repeat."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from fastchat.messages import Code, WireError
from fastchat.store import Draft, Stored
from fastchat.store.sqlite import SqliteStore, schema
from tests.faulty_sqlite import Faults, inject
from tests.pump import OpenRoom, Pump, delete, edit, marks, message, react, search


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
    return OpenRoom(SqliteStore(path, deliver=pump.deliver, durability="normal"), pump, name)


def recover(room: OpenRoom) -> None:
    """Returns when the store can write again."""
    while room.store.problem is not None:
        room.pump.turn()


def texts(room: OpenRoom) -> list[str]:
    return [message["text"] for message in room.messages()]


def check_file(path: Path) -> None:
    """Asserts that the file's tables agree with each other."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.execute("INSERT INTO texts (texts) VALUES ('integrity-check')")
        for room_id, head, first, size in connection.execute(
            "SELECT id, head, first, size_bytes FROM rooms"
        ).fetchall():
            rows = connection.execute(
                "SELECT key & ?, length(CAST(body AS BLOB)) FROM events WHERE key >> 40 = ? ORDER BY key",
                (schema.SEQ_MASK, room_id),
            ).fetchall()
            assert [seq for seq, _ in rows] == list(range(first, head + 1))
            assert sum(length for _, length in rows) == size
        for table, column in (("states", "key"), ("texts", "rowid")):
            query = f"SELECT count(*) FROM {table} WHERE {column} NOT IN (SELECT key FROM events)"
            assert connection.execute(query).fetchone() == (0,)


LOST = pytest.mark.parametrize("lost", [True, False], ids=["lost", "kept by the file"])


@LOST
def test_senders_are_told_and_nothing_is_kept(room: OpenRoom, path: Path, faults: Faults, lost: bool) -> None:
    room.say("one")
    faults.arm(lost=lost)
    errors = room.begin_all([message("two", id="x"), message("three")])
    for error in errors:
        assert isinstance(error, WireError)
        assert error.code is Code.UNAVAILABLE
        assert error.retry_after_ms
    assert room.store.problem == "disk I/O error"
    assert (room.log.head, texts(room), len(room.replay_all())) == (1, ["one"], 1)
    faults.disarm()
    recover(room)
    assert texts(room) == ["one"]
    assert room.say("two", id="x").seq == 2
    assert room.append(message("two", id="x")) == Stored(2, 1000, None)
    assert [event["seq"] for event in room.replay_all()] == [1, 2]
    room.store.close()
    check_file(path)


@LOST
@pytest.mark.parametrize("at_once", [True, False], ids=["with the next message", "by itself"])
def test_a_failed_change_changes_nothing(
    room: OpenRoom, path: Path, faults: Faults, lost: bool, at_once: bool
) -> None:
    room.begin_all(
        [message("red"), message("blue"), message("grey"), edit(1, "green"), react(1, "👍", "bob")]
    )
    before = room.messages()
    assert search(room.store, room.pump, "green")[0]
    faults.arm(lost=lost)
    room.begin_all(
        [edit(1, "yellow"), delete(2), react(1, "👎"), message("pink"), edit(9, "white"), edit(3, "black")]
    )
    assert room.messages() == before or not lost
    faults.disarm()
    if not at_once:
        recover(room)
        assert room.messages() == before
    assert room.say("next").seq == 6
    assert room.messages()[:3] == before
    for query, count in (
        ("green", 1),
        ("blue", 1),
        ("grey", 1),
        ("yellow", 0),
        ("pink", 0),
        ("black", 0),
        ("next", 1),
    ):
        assert len(search(room.store, room.pump, query)[0]) == count, query
    room.store.close()
    check_file(path)


@LOST
def test_a_new_room_whose_first_message_failed(
    room: OpenRoom, path: Path, faults: Faults, lost: bool
) -> None:
    other = OpenRoom(room.store, room.pump, "games")
    faults.arm(lost=lost)
    assert other.refuse(message("hi")).code is Code.UNAVAILABLE
    faults.disarm()
    assert other.say("hi again").seq == 1
    assert room.say("here, too").seq == 1
    epoch = other.log.epoch
    room.store.close()
    check_file(path)
    again = open_room(path, "games")
    assert (again.log.epoch, again.log.head, texts(again)) == (epoch, 1, ["hi again"])
    again.store.close()


@LOST
def test_a_room_that_nobody_has_open_any_more(room: OpenRoom, faults: Faults, lost: bool) -> None:
    other = OpenRoom(room.store, room.pump, "games")
    other.say("one")
    faults.arm(lost=lost)
    other.refuse(message("two"))
    del other
    again = OpenRoom(room.store, room.pump, "games")
    assert (again.log.head, texts(again)) == (1, ["one"])
    faults.disarm()
    recover(room)
    del again
    again = OpenRoom(room.store, room.pump, "games")
    assert (again.log.head, texts(again)) == (1, ["one"])
    assert again.say("two").seq == 2


@pytest.mark.parametrize(
    "at", ["BEGIN", "INSERT OR ROLLBACK INTO events", "UPDATE rooms", "INSERT INTO rooms"]
)
def test_a_failure_at_any_statement(room: OpenRoom, path: Path, faults: Faults, at: str) -> None:
    faults.arm(at)
    for _ in range(3):
        assert room.refuse(message("hi", id="x")).code is Code.UNAVAILABLE
    faults.disarm()
    assert room.say("hi", id="x").seq == 1
    assert room.store.problem is None
    room.store.close()
    check_file(path)


def test_a_failure_while_an_old_id_is_looked_for(room: OpenRoom, path: Path, faults: Faults) -> None:
    room.say("hi", id="x")
    room.store.close()
    again = open_room(path)
    faults.arm("SELECT key, at_ms")  # the second attempt, which looks every id up
    drafts = [message("a"), message("hi", id="x"), message("b", id="y")]
    assert all(isinstance(answer, WireError) for answer in again.begin_all(drafts))
    faults.disarm()
    answers = again.begin_all(drafts)
    assert [answer.seq for answer in answers if isinstance(answer, Stored)] == [2, 1, 3]
    again.store.close()
    check_file(path)


def test_marks_are_kept_until_they_can_be_stored(room: OpenRoom, path: Path, faults: Faults) -> None:
    room.fill(9)
    faults.arm()
    room.store.mark({("alice", "lobby"): 3, ("bob", "lobby"): 9})
    room.store.mark({("alice", "lobby"): 5})
    room.refuse(message("hi"))
    assert marks(room.store, room.pump, "alice", ["lobby"]) == {"lobby": 5}
    faults.disarm()
    recover(room)
    room.say("the marks that wait are stored before this is")
    room.pump.drain()
    room.store.close()
    again = open_room(path)
    assert marks(again.store, again.pump, "alice", ["lobby"]) == {"lobby": 5}
    assert marks(again.store, again.pump, "bob", ["lobby"]) == {"lobby": 9}
    again.store.close()


@pytest.mark.parametrize("at", ["INSERT INTO texts", "UPDATE rooms SET indexed"])
def test_an_index_that_cannot_be_written_keeps_nobody_from_sending(
    room: OpenRoom, path: Path, faults: Faults, at: str
) -> None:
    faults.arm(at)
    assert [room.say("apple").seq for _ in range(3)] == [1, 2, 3]
    assert search(room.store, room.pump, "apple") == ([], False)
    assert faults.failures
    assert [room.say("apple").seq for _ in range(3)] == [4, 5, 6]
    assert room.store.problem is None
    faults.disarm()
    assert len(search(room.store, room.pump, "apple")[0]) == 6
    room.store.close()
    check_file(path)


def test_an_error_that_nobody_foresaw_ends_no_thread(room: OpenRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise ZeroDivisionError("a bug")

    room.say("hi")
    with monkeypatch.context() as context:
        context.setattr("fastchat.store.sqlite.batch.Batch.add", fail)
        assert "ZeroDivisionError" in room.refuse(message("hi")).message
        context.setattr("fastchat.store.sqlite.reader.read_page", fail)
        error = room.pump.answer(lambda done: room.log.read(0, 9, 9, False, done))
        assert isinstance(error, WireError)
    assert room.say("hi").seq == 2
    assert room.read() == ([1, 2], False)


def test_an_answer_that_nobody_takes_keeps_no_other_from_coming(room: OpenRoom) -> None:
    answers: list[Any] = []

    def fail(_: object) -> None:
        raise ZeroDivisionError

    for done in (fail, answers.append, fail, answers.append):
        room.log.append(message("hi"), done)
    while len(answers) < 2:
        with suppress(ZeroDivisionError):
            room.pump.turn()


def test_a_file_that_somebody_else_has_locked(
    path: Path, monkeypatch: pytest.MonkeyPatch, faults: Faults
) -> None:
    monkeypatch.setattr(schema, "BUSY_TIMEOUT_S", 0.02)
    room = open_room(path)
    room.say("one")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        error = room.refuse(message("two"))
        assert (error.code, room.store.problem) == (Code.UNAVAILABLE, "database is locked")
        assert texts(room) == ["one"]
        other.execute("COMMIT")
    recover(room)
    assert room.say("two").seq == 2
    room.store.close()


def test_a_full_file(room: OpenRoom, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_durability = schema.set_durability

    def limit(connection: sqlite3.Connection, durability: schema.Durability) -> None:
        set_durability(connection, durability)
        connection.execute("PRAGMA max_page_count = 40")

    room.store.close()
    monkeypatch.setattr("fastchat.store.sqlite.schema.set_durability", limit)
    full = open_room(path)
    answers = [full.try_append(message("x" * 1000)) for _ in range(200)]
    stored = [answer.seq for answer in answers if isinstance(answer, Stored)]
    errors = [answer for answer in answers if isinstance(answer, WireError)]
    assert errors[-1].message.startswith("the message store is not available (database or disk is full)")
    assert stored == list(range(1, len(stored) + 1))
    assert [event["seq"] for event in full.replay_all()] == stored
    full.store.close()
    monkeypatch.undo()
    check_file(path)


def test_whatever_fails_the_log_has_exactly_what_was_acknowledged(path: Path, faults: Faults) -> None:
    chance = random.Random(7)
    room = open_room(path)
    acknowledged: dict[int, bytes] = {}
    ids: dict[str, int] = {}
    for turn in range(150):
        drafts: list[Draft] = []
        for number in range(chance.choice([1, 1, 2, 5, 40, 300])):
            kind = chance.random()
            newest = max(len(acknowledged), 1)
            if kind < 0.6:
                drafts.append(message(f"text {turn}", id=chance.choice([None, f"{turn}-{number}"])))
            elif kind < 0.7 and ids:
                drafts.append(message("again", id=chance.choice(list(ids))))
            else:
                of = chance.randint(max(newest - 50, 1), newest)
                drafts.append(chance.choice([edit(of, f"edit {turn}"), react(of, "👍")]))
        if chance.random() < 0.3:
            faults.arm(
                chance.choice(["COMMIT", "COMMIT", "INSERT OR ROLLBACK INTO events", "BEGIN"]),
                lost=chance.random() < 0.5,
            )
            faults.lost = faults.lost or faults.at != "COMMIT"
        for draft, answer in zip(drafts, room.begin_all(drafts), strict=True):
            if isinstance(answer, WireError):
                continue
            if answer.body is not None:
                assert answer.seq == len(acknowledged) + 1
                acknowledged[answer.seq] = answer.body
            if draft.id is not None:
                assert ids.setdefault(draft.id, answer.seq) == answer.seq
        faults.disarm()
        if chance.random() < 0.1:
            recover(room)
            epoch = room.log.epoch
            room.store.close()
            check_file(path)
            room = open_room(path)
            assert room.log.epoch == epoch
        assert room.log.head == len(acknowledged)
    recover(room)
    assert len(acknowledged) > 1000
    assert [event["seq"] for event in room.replay_all()] == list(acknowledged)
    room.store.close()
    check_file(path)
    with closing(sqlite3.connect(path)) as connection:
        bodies = connection.execute("SELECT body FROM events ORDER BY key").fetchall()
    assert [body.encode() for (body,) in bodies] == list(acknowledged.values())


@LOST
def test_a_probe_tells_what_a_message_would_find_out(room: OpenRoom, faults: Faults, lost: bool) -> None:
    assert room.pump.answer(room.store.probe) is None
    faults.arm(lost=lost)
    error = room.pump.answer(room.store.probe)
    assert isinstance(error, WireError)
    assert error.code is Code.UNAVAILABLE
    faults.disarm()
    recover(room)
    assert room.pump.answer(room.store.probe) is None
