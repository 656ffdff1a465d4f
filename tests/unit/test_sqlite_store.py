"""What only the store in a file does: it is all there again after a restart."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastchat.messages import WireError
from fastchat.store import BLOCK_EVENTS, Stored
from fastchat.store.opening import sqlite_path
from fastchat.store.sqlite import SqliteStore
from tests.faulty_sqlite import inject
from tests.pump import OpenRoom, Pump, delete, edit, marks, message, react, search
from tests.unit.test_sqlite_faults import check_file


@pytest.fixture
def reopen(tmp_path: Path) -> Iterator[Callable[..., OpenRoom]]:
    """Opens a room, after the store has been closed and opened again."""
    stores: list[SqliteStore] = []

    def reopen(name: str = "lobby") -> OpenRoom:
        if stores:
            stores.pop().close()
            check_file(tmp_path / "chat.db")
        pump = Pump()
        stores.append(SqliteStore(tmp_path / "chat.db", deliver=pump.deliver, durability="normal"))
        return OpenRoom(stores[0], pump, name)

    yield reopen
    stores.pop().close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["chat.db", "chat.db.lock"]


def test_everything_is_there_after_a_restart(reopen: Callable[..., OpenRoom]) -> None:
    room = reopen()
    room.begin_all([message("apple", at_ms=at_ms, id=f"id-{at_ms}") for at_ms in range(10)])
    room.begin_all([edit(1, "pear", id="e"), delete(2, id="d"), react(3, "👍", "bob", id="r")])
    room.store.mark({("alice", "lobby"): 7})
    epoch, messages, events = room.log.epoch, room.messages(), room.replay_all()
    again = reopen()
    assert (again.log.epoch, again.log.head) == (epoch, 13)
    assert (again.messages(), again.replay_all()) == (messages, events)
    assert marks(again.store, again.pump, "alice", ["lobby"]) == {"lobby": 7}
    assert len(search(again.store, again.pump, "apple")[0]) == 8
    assert again.say("next").seq == 14


def test_an_id_is_known_for_ever(reopen: Callable[..., OpenRoom]) -> None:
    room = reopen()
    room.say("hi", id="x", at_ms=5)
    room.begin_all([edit(1, "hello", id="e"), delete(1, id="d")])
    for _ in range(2):
        room = reopen()
        answers = room.begin_all(
            [
                message("new"),
                message("hi", id="x"),
                edit(1, "x", id="e"),
                delete(1, id="d"),
                message("hi", id="x"),
            ]
        )
        assert [(answer.seq, answer.body is None) for answer in answers if isinstance(answer, Stored)] == [
            (room.log.head, False), (1, True), (2, True), (3, True), (1, True),
        ]  # fmt: skip
    assert room.log.head == 5


def test_an_id_is_known_when_many_others_came_after_it(reopen: Callable[..., OpenRoom]) -> None:
    room = reopen()
    for start in range(0, 100, 20):
        room.begin_all([message("hi", id=str(number)) for number in range(start, start + 20)])
    assert [room.say("hi", id=str(number)).seq for number in (0, 50, 99, 0)] == [1, 51, 100, 1]
    assert room.log.head == 100


def test_a_room_that_was_never_written_to_is_another_one_next_time(reopen: Callable[..., OpenRoom]) -> None:
    epoch = reopen().log.epoch
    assert reopen().log.epoch != epoch


def test_a_long_log_is_replayed_in_blocks(reopen: Callable[..., OpenRoom]) -> None:
    room = reopen()
    room.fill(3 * BLOCK_EVENTS + 5)
    for after in (0, 1, BLOCK_EVENTS - 1, BLOCK_EVENTS, 3 * BLOCK_EVENTS, 3 * BLOCK_EVENTS + 4):
        first, events = room.replay(after)
        assert first == after + 1
        end = min((after // BLOCK_EVENTS + 1) * BLOCK_EVENTS, room.log.head)
        assert [event["seq"] for event in events] == list(range(after + 1, end + 1))
    assert room.replay(room.log.head) == (room.log.head + 1, [])
    assert [event["seq"] for event in room.replay_all()] == list(range(1, room.log.head + 1))


def test_what_was_not_delivered_yet_is_not_read(reopen: Callable[..., OpenRoom]) -> None:
    room = reopen()
    room.say("one")
    answers: list[Any] = []
    room.begin(message("two"), answers.append)
    # Asked before the answer is taken, and answered after it: what counts is when it was asked.
    pages: list[Any] = []
    room.log.read(0, 100, 100, False, pages.append)
    room.log.replay(0, pages.append)
    while len(pages) + len(answers) < 3:
        room.pump.turn()
    assert [len(page.bodies) for page in pages] == [1, 1]
    assert room.read() == ([1, 2], False)


def test_what_was_submitted_is_committed_at_the_end(reopen: Callable[..., OpenRoom]) -> None:
    room = reopen()
    answers: list[Any] = []
    for _ in range(5000):
        room.begin(message("hi"), answers.append)
    room.store.mark({("alice", "lobby"): 4000})
    again = reopen()
    room.pump.drain()
    assert [answer.seq for answer in answers] == list(range(1, 5001))
    assert again.log.head == 5000
    assert marks(again.store, again.pump, "alice", ["lobby"]) == {"lobby": 4000}


def test_a_closed_store_answers(reopen: Callable[..., OpenRoom]) -> None:
    room = reopen()
    room.say("hi")
    room.store.close()
    room.store.close()
    assert room.refuse(message("hi")).code == "unavailable"
    for ask in (
        lambda done: room.store.open("games", done),
        lambda done: room.store.search(["lobby"], "hi", None, 9, done),
        lambda done: room.store.marks("alice", ["lobby"], done),
        lambda done: room.log.replay(0, done),
        lambda done: room.log.read(0, 9, 9, False, done),
    ):
        assert isinstance(room.pump.answer(ask), WireError)


def test_one_statement_writes_many_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = inject(monkeypatch)
    pump = Pump()
    store = SqliteStore(tmp_path / "chat.db", deliver=pump.deliver)
    room = OpenRoom(store, pump)
    room.say("hi")
    faults.watched = "INSERT OR ROLLBACK INTO events"
    room.begin_all([message("hi", id=str(number)) for number in range(2000)])
    assert len(faults.statements) < 200
    store.close()


@pytest.mark.parametrize("url", ["sqlite:///var/lib/chat.db", "sqlite:////var/lib/chat.db"])
def test_the_path_of_a_url_is_absolute(url: str) -> None:
    assert str(sqlite_path(url)) == "/var/lib/chat.db"
