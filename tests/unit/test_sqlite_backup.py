"""`fastchat backup`: a copy of the store, whatever else goes on."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import typer.testing

from fastchat import cli
from fastchat.store.sqlite import SqliteStore, StoreError, back_up
from tests.pump import OpenRoom, Pump, message

Result = typer.testing.Result


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("FASTCHAT_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@pytest.fixture
def room(path: Path) -> Iterator[OpenRoom]:
    pump = Pump()
    store = SqliteStore(path, deliver=pump.deliver, durability="normal")
    yield OpenRoom(store, pump)
    store.close()


def backup(*arguments: str | Path) -> Result:
    return typer.testing.CliRunner().invoke(cli.app, ["backup", *map(str, arguments)], prog_name="fastchat")


def heads(path: Path) -> list[tuple[str, int, int]]:
    """The rooms of a copy, and how many events each has."""
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT name, head, (SELECT count(*) FROM events WHERE key >> 40 = rooms.id) FROM rooms"
        return connection.execute(query).fetchall()


def test_a_copy_can_be_served(room: OpenRoom, path: Path, tmp_path: Path) -> None:
    room.fill(300)
    copy = tmp_path / "copy.db"
    result = backup(copy, "--store", f"sqlite://{path}")
    assert (result.exit_code, result.output) == (0, f"copied {path} to {copy}: {copy.stat().st_size} bytes\n")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert sorted(file.name for file in tmp_path.iterdir() if "copy" in file.name) == ["copy.db"]
    room.say("after the copy")
    pump = Pump()
    store = SqliteStore(copy, deliver=pump.deliver)
    again = OpenRoom(store, pump)
    assert (again.log.head, again.log.epoch) == (300, room.log.epoch)
    assert len(again.replay_all()) == 300
    assert again.say("goes on").seq == 301
    store.close()


def test_a_copy_while_the_store_is_written_to_is_of_one_moment(
    room: OpenRoom, path: Path, tmp_path: Path
) -> None:
    ended = threading.Event()
    acknowledged = [0]

    def write() -> None:
        while not ended.is_set():
            room.begin_all([message("hi")] * 50)
            acknowledged[0] = room.log.head

    writer = threading.Thread(target=write)
    room.fill(1)
    writer.start()
    try:
        for number in range(10):
            copy = tmp_path / f"copy-{number}.db"
            before = acknowledged[0]
            back_up(path, copy)
            ((_, head, events),) = heads(copy)
            assert head == events >= before
    finally:
        ended.set()
        writer.join()


def test_the_default_store_and_a_configured_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    result = backup(tmp_path / "copy.db")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "there is no store at" in result.stderr
    path = tmp_path / "chat.db"
    config = tmp_path / "fastchat.toml"
    config.write_text(f'[store]\nurl = "sqlite://{path}"\n')
    SqliteStore(path, deliver=Pump().deliver).close()
    assert backup(tmp_path / "copy-1.db", "--config", config).exit_code == 0
    assert backup(tmp_path / "copy-2.db", "--set", f"store.url=sqlite://{path}").exit_code == 0


def test_nothing_is_replaced_without_force(room: OpenRoom, path: Path, tmp_path: Path) -> None:
    room.say("hi")
    copy = tmp_path / "copy.db"
    copy.write_text("precious")
    result = backup(copy, "--store", f"sqlite://{path}")
    assert (result.exit_code, result.stderr) == (
        1,
        f"fastchat: {copy} is there already; --force replaces it\n",
    )
    assert copy.read_text() == "precious"
    assert backup(copy, "--force", "--store", f"sqlite://{path}").exit_code == 0
    assert heads(copy) == [("lobby", 1, 1)]


def test_the_store_is_not_copied_over_itself_or_a_store_in_use(
    room: OpenRoom, path: Path, tmp_path: Path
) -> None:
    room.say("hi")
    with pytest.raises(StoreError, match=r"chat\.db is the store itself"):
        back_up(path, path, replace=True)
    alias = tmp_path / "alias.db"
    alias.symlink_to(path)
    with pytest.raises(StoreError, match=r"alias\.db is the store itself"):
        back_up(path, alias, replace=True)
    other = tmp_path / "other.db"
    in_use = SqliteStore(other, deliver=Pump().deliver)
    with pytest.raises(StoreError, match=r"other\.db is in use"):
        back_up(path, other, replace=True)
    in_use.close()
    assert back_up(path, other, replace=True) > 0


def test_what_cannot_be_copied_is_told_in_one_line(tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    (tmp_path / "text").write_text("no database at all, but some kind of text" * 100)
    (tmp_path / "empty").touch()
    with closing(sqlite3.connect(tmp_path / "others")) as connection:
        connection.execute("CREATE TABLE mine (x)")
    for arguments, problem in (
        (["--store", "memory:"], "store.url is memory:, of which there is nothing to copy"),
        (["--store", f"sqlite://{tmp_path}/text"], "file is not a database"),
        (["--store", f"sqlite://{tmp_path}/empty"], "there is nothing in it"),
        (["--store", f"sqlite://{tmp_path}/others"], "is not a file of fastchat's"),
        (["--store", f"sqlite://{tmp_path}/nothing"], f"there is no store at {tmp_path}/nothing"),
        (["--store", f"sqlite://{tmp_path}"], "there is no store at"),
    ):
        result = backup(copy, *arguments)
        assert (result.exit_code != 0, result.stderr.count("\n")) == (True, 1), result.stderr
        assert problem in result.stderr
        assert not copy.exists()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["empty", "others", "text"]


def test_where_no_copy_can_be_written(room: OpenRoom, path: Path, tmp_path: Path) -> None:
    room.say("hi")
    for target, problem in (
        (tmp_path / "nowhere" / "copy.db", "no such file or directory"),
        (path / "copy.db", "not a directory"),
        (tmp_path, "is a folder"),
    ):
        result = backup(target, "--force", "--store", f"sqlite://{path}")
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1), result.stderr
        assert problem in result.stderr


def test_a_damaged_store_gives_no_copy(path: Path, tmp_path: Path) -> None:
    damage_a_store(path)
    copy = tmp_path / "copy.db"
    with pytest.raises(StoreError) as caught:
        back_up(path, copy)
    assert "\n" not in str(caught.value)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["chat.db", "chat.db.lock"]


def damage_a_store(path: Path) -> None:
    """Writes garbage into the middle of a file with so many events that all tables begin before it."""
    pump = Pump()
    store = SqliteStore(path, deliver=pump.deliver, durability="normal")
    OpenRoom(store, pump).fill(2000, "some text " * 20)
    store.close()
    with path.open("r+b") as file:
        size = path.stat().st_size
        file.seek(size // 4)
        file.write(b"\xa5" * (size // 2))
