"""Trimming and indexing: in small steps, beside what is being sent."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fastchat.store import Retention
from fastchat.store.sqlite import SqliteStore, upkeep, writer
from fastchat.store.sqlite.batch import Batch, RoomState, take_back
from fastchat.store.sqlite.schema import connect
from fastchat.store.sqlite.upkeep import INDEX_STEP, TRIM_STEP, Indexing, Upkeep
from tests.faulty_sqlite import Faults, inject
from tests.pump import OpenRoom, Pump, edit, message, search
from tests.unit.test_sqlite_faults import check_file

HOUR_MS = 3_600_000
NOW_MS = 100 * HOUR_MS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect(path, "normal")) as connection:
        yield connection
    check_file(path)


def say(connection: sqlite3.Connection, room: RoomState, times_ms: list[int], text: str = "hi") -> None:
    connection.execute("BEGIN")
    batch = Batch(connection, careful=False)
    for at_ms in times_ms:
        batch.add(room, message(text, at_ms=at_ms))
    batch.finish()
    connection.execute("COMMIT")


def keep_up(connection: sqlite3.Connection, keep: Retention, rooms: tuple[str, ...] = ("lobby",)) -> int:
    """Works until there is nothing more to do; returns the number of steps."""
    work = Upkeep(lambda room: keep if room in rooms else Retention(), lambda: NOW_MS)
    steps = 1
    while work.step(connection):
        steps += 1
    return steps


def kept(connection: sqlite3.Connection, room: RoomState) -> list[int]:
    query = "SELECT key & 0xffffffffff FROM events WHERE key >> 40 = ? ORDER BY key"
    return [seq for (seq,) in connection.execute(query, (room.room_id,)).fetchall()]


SIZE = len(message("hi", at_ms=NOW_MS).encode("lobby", 10))


@pytest.mark.parametrize(
    ("keep", "first"),
    [
        (Retention(), 1),
        (Retention(events=3), 8),
        (Retention(events=1), 10),
        (Retention(events=10), 1),
        (Retention(events=11), 1),
        (Retention(age_s=3600 * 4.5), 6),
        (Retention(age_s=3600 * 0.5), 10),
        (Retention(age_s=0.001), 10),
        (Retention(age_s=3600 * 50), 1),
        (Retention(size_bytes=1), 10),
        (Retention(size_bytes=4 * SIZE + 1), 7),
        (Retention(size_bytes=4 * SIZE), 7),
        (Retention(size_bytes=4 * SIZE - 1), 8),
        (Retention(size_bytes=99 * SIZE), 1),
        (Retention(events=5, age_s=3600 * 4.5, size_bytes=3 * SIZE), 8),
        (Retention(events=2, age_s=3600 * 4.5, size_bytes=3 * SIZE), 9),
    ],
)
def test_the_oldest_are_trimmed(connection: sqlite3.Connection, keep: Retention, first: int) -> None:
    room, other = RoomState("lobby"), RoomState("games")
    # One an hour, the last one now; all of them of one size.
    times_ms = [NOW_MS - (10 - seq) * HOUR_MS for seq in range(1, 11)]
    for each in (other, room):
        say(connection, each, times_ms)
    connection.execute("UPDATE rooms SET size_bytes = ?", (10 * SIZE,))
    connection.execute("UPDATE events SET body = substr(body || ' ', 1, ?)", (SIZE,))
    keep_up(connection, keep)
    assert kept(connection, room) == list(range(first, 11))
    assert kept(connection, other) == list(range(1, 11))


def test_a_clock_that_was_set_back_trims_nothing_too_early(connection: sqlite3.Connection) -> None:
    room = RoomState("lobby")
    # The third one says that it is older than it is: the first two are young.
    say(connection, room, [NOW_MS, NOW_MS, NOW_MS - 50 * HOUR_MS, NOW_MS, NOW_MS - 50 * HOUR_MS, NOW_MS])
    keep_up(connection, Retention(age_s=3600))
    assert kept(connection, room) == [1, 2, 3, 4, 5, 6]
    old = RoomState("games")
    say(
        connection, old, [NOW_MS - 50 * HOUR_MS, NOW_MS - 60 * HOUR_MS, NOW_MS, NOW_MS - 50 * HOUR_MS, NOW_MS]
    )
    keep_up(connection, Retention(age_s=3600), ("games",))
    assert kept(connection, old) == [3, 4, 5]


def test_trimming_and_indexing_go_in_small_steps(connection: sqlite3.Connection) -> None:
    room = RoomState("lobby")
    count = 10 * max(TRIM_STEP, INDEX_STEP)
    say(connection, room, [NOW_MS] * count)
    changes: list[int] = []
    work = Upkeep(lambda _: Retention(events=10), lambda: NOW_MS)
    more = True
    while more:
        before = connection.total_changes
        more = work.step(connection)
        changes.append(connection.total_changes - before)
        assert not connection.in_transaction
    assert kept(connection, room) == list(range(count - 9, count + 1))
    # An event has a few rows: itself, its index entry and that one's own tables.
    assert max(changes) <= 10 * max(TRIM_STEP, INDEX_STEP)
    assert sum(change > 0 for change in changes) >= 10


def test_many_rooms_are_looked_at_together(connection: sqlite3.Connection) -> None:
    rooms = [RoomState(f"room-{number}") for number in range(2500)]
    for room in rooms:
        say(connection, room, [NOW_MS])
    keep_up(connection, Retention())
    assert keep_up(connection, Retention(events=1)) <= 5


def test_a_trimmed_room_goes_on_with_its_numbers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "TRIM_PASS_S", 0.0)
    monkeypatch.setattr(writer, "PROBE_INTERVAL_S", 0.01)
    pump = Pump()
    store = SqliteStore(
        path, deliver=pump.deliver, durability="normal", retention=lambda _: Retention(events=7)
    )
    room = OpenRoom(store, pump)
    room.fill(1000, "apple")
    until(room, lambda: room.read(limit=9) == (list(range(994, 1001)), False))
    assert room.replay(0)[0] == 994
    assert room.replay(500)[0] == 994
    assert room.replay(1000) == (1001, [])
    assert room.refuse(edit(993, "too late")).code == "no_such_message"
    assert len(search(store, pump, "apple")[0]) == 7
    epoch = room.log.epoch
    store.close()
    check_file(path)
    store = SqliteStore(
        path, deliver=pump.deliver, durability="normal", retention=lambda _: Retention(events=1)
    )
    room = OpenRoom(store, pump)
    assert (room.log.head, room.log.epoch) == (1000, epoch)
    until(room, lambda: room.read() == ([1000], False))
    store.close()
    store = SqliteStore(path, deliver=pump.deliver, durability="normal")
    room = OpenRoom(store, pump)
    assert (room.log.head, room.replay(0)[0]) == (1000, 1000)
    assert room.say("next").seq == 1001
    store.close()
    check_file(path)


def until(room: OpenRoom, condition: Callable[[], bool]) -> None:
    """Asks the store again and again."""
    for _ in range(20_000):
        if condition():
            return
    raise AssertionError(f"it did not come to that; there is {room.read()}")


def test_upkeep_gets_its_turn_while_there_is_always_something_to_commit(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "TRIM_PASS_S", 0.0)
    pump = Pump()
    store = SqliteStore(
        path, deliver=pump.deliver, durability="normal", retention=lambda _: Retention(events=7)
    )
    room = OpenRoom(store, pump)
    sent = 0

    def go_on(_: object) -> None:
        nonlocal sent
        sent += 1
        room.begin(message("hi"), go_on)

    # As many again as are answered: the writer never finds its queue empty.
    for _ in range(3000):
        go_on(None)
    while room.replay(0)[0] <= 1000:
        assert sent < 1_000_000
    store.close()


@pytest.mark.parametrize(
    "at", ["DELETE FROM events", "DELETE FROM texts", "UPDATE rooms SET first", "COMMIT"]
)
def test_a_failure_while_trimming_leaves_everything_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    monkeypatch.setattr(upkeep, "TRIM_PASS_S", 0.0)
    monkeypatch.setattr(writer, "UPKEEP_RETRY_S", 0.01)
    faults: Faults = inject(monkeypatch)
    pump = Pump()
    keep = Retention()
    store = SqliteStore(path, deliver=pump.deliver, durability="normal", retention=lambda _: keep)
    room = OpenRoom(store, pump)
    room.fill(100)
    search(store, pump, "hi")
    faults.arm(at)
    keep = Retention(events=7)
    until(room, lambda: room.read() == (list(range(1, 101)), False) and faults.failures > 3)
    if at != "COMMIT":
        assert room.say("hi").seq == 101
    faults.disarm()
    head = room.log.head
    until(room, lambda: room.read() == (list(range(head - 6, head + 1)), False))
    assert room.say("hi").seq == head + 1
    store.close()
    check_file(path)


def test_search_finds_what_was_sent_before_it_in_a_long_log(path: Path) -> None:
    pump = Pump()
    store = SqliteStore(path, deliver=pump.deliver, durability="normal")
    room, other = OpenRoom(store, pump), OpenRoom(store, pump, "games")
    other.fill(5 * INDEX_STEP, "games")
    room.fill(5 * INDEX_STEP, "filler")
    room.say("apple", at_ms=5000)
    assert [found["seq"] for found in search(store, pump, "apple")[0]] == [5 * INDEX_STEP + 1]
    store.close()
    check_file(path)


def test_indexing_ends_where_the_log_does(connection: sqlite3.Connection) -> None:
    room = RoomState("lobby")
    say(connection, room, [NOW_MS] * 2 * INDEX_STEP)
    work = Indexing(["lobby", "nowhere"])
    assert work.step(connection)
    # What a failed commit left is taken back while its room is being indexed.
    room.head -= 10
    take_back(connection, room, room.head + 10)
    assert not work.step(connection)
    assert not work.step(connection)
    assert connection.execute("SELECT count(*) FROM texts").fetchone() == (2 * INDEX_STEP - 10,)
