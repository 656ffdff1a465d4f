"""Storing messages that arrive together, until the last of them is answered: in memory, and in a file.

SQLite's file is on the disk of the build folder; what waits for it, waits for a real ``fdatasync``.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.brokers import data_folder
from benchmarks.micro.measure import Measure
from fastchat.store import Draft, MemoryStore, Store, Stored
from fastchat.store.sqlite import SqliteStore
from tests.pump import OpenRoom, Pump, message

TOGETHER = (1, 16, 64, 256, 1024)
COMMITS_EACH_MOST = 64  # a commit takes milliseconds

OPEN: dict[str, Callable[[Pump, Path], Store]] = {
    "fastchat, memory": lambda pump, path: MemoryStore(),
    "fastchat, SQLite normal": lambda pump, path: SqliteStore(
        path, deliver=pump.deliver, durability="normal"
    ),
    "fastchat, SQLite full": lambda pump, path: SqliteStore(path, deliver=pump.deliver, durability="full"),
}


class Drafts:
    """Messages to be stored, each with an id of its own."""

    def __init__(self, count: int, prefix: str = "id-") -> None:
        self._count = count
        self._prefix = prefix
        self._ids = itertools.count(1)
        self.all: list[Draft] = []

    def prepare(self) -> None:
        """Makes the next ones."""
        self.all = [message("x" * 64, id=f"{self._prefix}{next(self._ids)}") for _ in range(self._count)]


class PlainTable:
    """What one would write with the standard library, as durable as ours: a table, and an index for ids."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        for statement in (
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = FULL",
            "CREATE TABLE events (seq INTEGER PRIMARY KEY, author TEXT, id TEXT, body TEXT)",
            "CREATE UNIQUE INDEX ids ON events (author, id)",
        ):
            self._connection.execute(statement)
        self._seq = 0

    def append(self, drafts: list[Draft], *, together: bool) -> None:
        """Stores them with one commit, or with one commit each."""
        if together:
            self._connection.execute("BEGIN")
        for draft in drafts:
            self._seq += 1
            body = draft.encode("lobby", self._seq).decode()
            row = (self._seq, draft.author, draft.id, body)
            self._connection.execute("INSERT INTO events VALUES (?, ?, ?, ?)", row)
        if together:
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    with data_folder() as folder:
        yield folder


@pytest.mark.parametrize("count", TOGETHER)
@pytest.mark.parametrize("name", OPEN)
def test_store(measure: Measure, folder: Path, name: str, count: int) -> None:
    pump, drafts = Pump(), Drafts(count)
    store = OPEN[name](pump, folder / "chat.db")
    room = OpenRoom(store, pump)

    def append() -> None:
        answers = room.begin_all(drafts.all)
        assert isinstance(answers[-1], Stored)

    measure("append", name, count, append, units=count, prepare=drafts.prepare)
    store.close()


@pytest.mark.parametrize(
    ("count", "together"),
    [(count, False) for count in TOGETHER if count <= COMMITS_EACH_MOST]
    + [(each, True) for each in TOGETHER],
)
def test_a_plain_table(measure: Measure, folder: Path, count: int, together: bool) -> None:
    table, drafts = PlainTable(folder / "plain.db"), Drafts(count)
    measure(
        "append",
        "sqlite3, one commit" if together else "sqlite3, a commit each",
        count,
        lambda: table.append(drafts.all, together=together),
        units=count,
        prepare=drafts.prepare,
    )
    table.close()
