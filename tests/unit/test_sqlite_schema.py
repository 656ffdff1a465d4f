"""The database file: versions, migrations, and files that cannot be used."""

import gzip
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest

from fastchat.store import NO_FACTS, Account, Draft, Kind
from fastchat.store.sqlite import SqliteStore, StoreError, schema
from fastchat.store.sqlite.schema import MIGRATIONS, SCHEMA_1, connect
from tests.pump import OpenRoom, Pump, marks, message, search
from tests.unit.test_sqlite_backup import damage_a_store

VERSION_1 = Path(__file__).parent / "files" / "version-1.db.gz"
"""Three rooms with changes, marks and an index, one of them trimmed: written by the program of that time."""

Content = list[tuple[str, str, str]]


def content(path: Path) -> Content:
    """The tables and indices of a file."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def make_file(path: Path, version: int) -> None:
    """A file as the fastchat of that version made it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for step in MIGRATIONS[:version]:
            step(connection)
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")


def add_reports(connection: sqlite3.Connection) -> None:
    """A further version."""
    connection.execute("CREATE TABLE reports (x)")
    connection.execute("INSERT INTO reports SELECT key FROM events")


def fail_halfway(connection: sqlite3.Connection) -> None:
    add_reports(connection)
    connection.execute("DROP TABLE marks")
    raise sqlite3.OperationalError("database or disk is full")


@pytest.mark.parametrize("old", range(len(MIGRATIONS) + 1))
def test_a_file_of_every_version_is_brought_to_this_one(tmp_path: Path, old: int) -> None:
    make_file(tmp_path / "old.db", old)
    for name in ("old.db", "new.db"):
        connect(tmp_path / name, "full").close()
    assert content(tmp_path / "old.db") == content(tmp_path / "new.db")
    assert version(tmp_path / "old.db") == version(tmp_path / "new.db") == len(MIGRATIONS)


def test_the_schema_of_version_1_stays_as_it_is(tmp_path: Path) -> None:
    # Files of it are out there: what is new comes as a further migration.
    make_file(tmp_path / "chat.db", 1)
    names = {name for _, name, sql in content(tmp_path / "chat.db") if sql and not name.startswith("texts_")}
    assert names == {"rooms", "rooms_to_index", "events", "events_by_id", "states", "marks", "texts"}
    assert SCHEMA_1.count("CREATE") == len(names)


def test_a_file_that_version_1_has_written_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    path.write_bytes(gzip.decompress(VERSION_1.read_bytes()))
    assert version(path) == 1
    pump = Pump()
    store = SqliteStore(path, deliver=pump.deliver)
    assert not store.has_accounts
    lobby, trimmed = OpenRoom(store, pump, "lobby"), OpenRoom(store, pump, "tmp-1")
    assert (lobby.log.epoch, lobby.log.head, lobby.log.facts) == ("2d40b3e6cab7", 6, NO_FACTS)
    assert [message.get("text") for message in lobby.messages()] == ["hello", None, "red apple"]
    assert (trimmed.log.first, trimmed.log.head) == (43, 45)
    assert marks(store, pump, "alice", ["lobby", "games"]) == {"lobby": 6, "games": 1}
    assert len(search(store, pump, "apple")[0]) == 1
    assert lobby.append(message("helo", id="m1")).body is None
    assert lobby.append(Draft(Kind.MODERATED, "alice", 9, {"action": "topic", "topic": "x"})).seq == 7
    assert pump.answer(partial(store.add_account, Account("alice", "alice"))) is None
    store.close()
    assert version(path) == len(MIGRATIONS)
    connect(tmp_path / "new.db", "full").close()
    assert content(path) == content(tmp_path / "new.db")


def fill(path: Path) -> None:
    pump = Pump()
    store = SqliteStore(path, deliver=pump.deliver)
    OpenRoom(store, pump).fill(20)
    store.close()


def test_a_further_version_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "chat.db"
    fill(path)
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, add_reports))
    pump = Pump()
    store = SqliteStore(path, deliver=pump.deliver)
    assert len(OpenRoom(store, pump).replay_all()) == 20
    store.close()
    assert version(path) == len(MIGRATIONS) + 1
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM reports").fetchone() == (20,)


@pytest.mark.parametrize("start", [0, len(MIGRATIONS)])
def test_half_a_migration_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: int) -> None:
    path = tmp_path / "chat.db"
    if start:
        fill(path)
    before = content(path)
    with monkeypatch.context() as context:
        context.setattr(schema, "MIGRATIONS", (*MIGRATIONS, fail_halfway))
        with pytest.raises(StoreError, match=r"^cannot use .*chat\.db: database or disk is full$"):
            SqliteStore(path, deliver=Pump().deliver)
    assert (content(path), version(path)) == (before, start)
    fill(path)
    assert version(path) == len(MIGRATIONS)


def test_a_newer_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    fill(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(StoreError) as caught:
        SqliteStore(path, deliver=Pump().deliver)
    known = len(MIGRATIONS)
    assert str(caught.value) == (
        f"{path} is of version 99, written by a newer fastchat; this one knows {known}"
    )
    assert path.read_bytes() == before


# Files that cannot be used


def make_text(path: Path) -> None:
    path.write_text("once upon a time " * 1000)


def make_others(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (x)")


def make_others_of_a_version(path: Path) -> None:
    make_others(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 1")


def damage_header(path: Path) -> None:
    fill(path)
    with path.open("r+b") as file:
        file.write(b"\xa5" * 200)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (make_text, "file is not a database"),
        (make_others, "is not a file of fastchat's"),
        (make_others_of_a_version, "is not a file of fastchat's"),
        (damage_header, "file is not a database"),
        (Path.mkdir, "is a directory"),
    ],
)
def test_what_is_no_store_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], None], problem: str
) -> None:
    path = tmp_path / "chat.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    for _ in range(2):  # the lock was let go
        with pytest.raises(StoreError) as caught:
            SqliteStore(path, deliver=Pump().deliver)
        assert problem in str(caught.value)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert before is None or path.read_bytes() == before


def test_garbage_in_the_middle_is_an_answer_and_no_end(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    damage_a_store(path)
    pump = Pump()
    with suppress(StoreError):
        store = SqliteStore(path, deliver=pump.deliver)
        for _ in range(2):
            pump.answer(partial(store.open, "lobby"))
            pump.answer(partial(store.marks, "alice", ["lobby"]))
            pump.answer(partial(store.search, ["lobby"], "text", None, 9))
        store.close()


def test_an_older_sqlite_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 37, 2))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.37.2")
    with pytest.raises(StoreError, match=r"^SQLite 3\.38 is needed, but this Python has 3\.37\.2$"):
        SqliteStore(tmp_path / "chat.db", deliver=Pump().deliver)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    alias = tmp_path / "alias.db"
    alias.symlink_to(path)
    store = SqliteStore(path, deliver=Pump().deliver)
    for name in (path, alias):
        with pytest.raises(StoreError) as caught:
            SqliteStore(name, deliver=Pump().deliver)
        assert str(caught.value) == (
            f"{name} is in use by another fastchat; stop that one or choose another file"
        )
    store.close()
    SqliteStore(alias, deliver=Pump().deliver).close()


def test_where_no_file_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, problem in (
        (tmp_path / "file" / "chat.db", "file exists"),
        (tmp_path / ("x" * 300), "file name too long"),
    ):
        with pytest.raises(StoreError, match=problem):
            SqliteStore(path, deliver=Pump().deliver)
