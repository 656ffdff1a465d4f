"""Everything in a file, row by row, for a copy elsewhere. No server may use the file meanwhile."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastchat.store.errors import StoreError
from fastchat.store.sqlite.schema import SEQ_BITS, SEQ_MASK, connect
from fastchat.store.sqlite.store import lock

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Room:
    """A room's numbers."""

    id: int
    name: str
    epoch: str
    head: int
    first: int
    size_bytes: int
    published: int | None
    """How far a broker has its events; None where none waits."""


# Rows behind a key, which are their first columns, by this key.
TABLES = {
    "states": (1, "SELECT key, body FROM states WHERE key > ? ORDER BY key LIMIT ?"),
    "facts": (
        2,
        """SELECT room_id, name, value FROM facts WHERE (room_id, name) > (?, ?)
        ORDER BY room_id, name LIMIT ?""",
    ),
    "directs": (
        2,
        "SELECT user, room_id FROM directs WHERE (user, room_id) > (?, ?) ORDER BY user, room_id LIMIT ?",
    ),
    "marks": (
        2,
        "SELECT user, room_id, seq FROM marks WHERE (user, room_id) > (?, ?) ORDER BY user, room_id LIMIT ?",
    ),
    "accounts": (
        1,
        """SELECT key, name, password, subject, operator, disabled, created_at_ms, seen_at_ms, valid_from_ms
        FROM accounts WHERE key > ? ORDER BY key LIMIT ?""",
    ),
    "audit": (
        1,
        "SELECT id, at_ms, actor, action, room, target, detail FROM audit WHERE id > ? ORDER BY id LIMIT ?",
    ),
    "notices": (
        1,
        "SELECT number, slot, at_ms, body FROM notices WHERE number > ? ORDER BY number LIMIT ?",
    ),
}
_BEFORE_ALL: dict[str, Row] = {
    "states": (-1,),
    "facts": (-1, ""),
    "directs": ("", -1),
    "marks": ("", -1),
    "accounts": ("",),
    "audit": (-1,),
    "notices": (-1,),
}


class Rows:
    """A file that nobody else uses until ``close``."""

    def __init__(self, path: Path) -> None:
        """Raises StoreError where there is no such file, and where a server uses it."""
        if not path.is_file():
            raise StoreError(f"there is no store at {path}")
        self.path = path.resolve()
        self._lock = lock(path)
        try:
            self._connection = connect(path, "full")
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Lets others have the file."""
        self._connection.close()
        os.close(self._lock)

    def fetch(self, query: str, *values: Any) -> list[Row]:
        """Raises StoreError."""
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"cannot read {self.path}: {error}") from None

    @property
    def identity(self) -> str:
        """Tells this history from others, wherever its file is."""
        first = self.fetch("SELECT id, name, epoch FROM rooms ORDER BY id LIMIT 1")
        return " ".join(map(str, first[0])) if first else "no rooms"

    @property
    def stamp(self) -> list[int]:
        """Another one where a server has used the file since."""
        found = self.path.stat()
        return [found.st_mtime_ns, found.st_size]

    def count(self, table: str) -> int:
        """How many rows there are."""
        return int(self.fetch(f"SELECT count(*) FROM {table}")[0][0])

    def rooms(self) -> list[Room]:
        """All of them, in the order of their ids."""
        query = "SELECT id, name, epoch, head, first, size_bytes, published FROM rooms ORDER BY id"
        return [Room(*row) for row in self.fetch(query)]

    def events(self, room: Room, after: int, limit: int) -> list[Row]:
        """The room's events behind ``after``: seq, kind, author, id, at_ms and body."""
        base = room.id << SEQ_BITS
        return self.fetch(
            f"SELECT key & {SEQ_MASK}, kind, author, id, at_ms, body FROM events "
            "WHERE key > ? AND key <= ? ORDER BY key LIMIT ?",
            base | after, base | room.head, limit,
        )  # fmt: skip

    def sizes(self) -> Iterator[tuple[int, int, int, int]]:
        """Of each room that has events: its id, how many, the newest one's seq, and their bytes in all."""
        for row in self.fetch(
            f"SELECT key >> {SEQ_BITS}, count(*), max(key) & {SEQ_MASK}, sum(length(CAST(body AS BLOB))) "
            "FROM events GROUP BY 1"
        ):
            yield row[0], row[1], row[2], row[3]

    def table(self, name: str, after: Sequence[Any] | None, limit: int) -> tuple[list[Row], Row | None]:
        """The next rows of a table, and the last one's key; None where there are no more."""
        key, query = TABLES[name]
        rows = self.fetch(query, *(_BEFORE_ALL[name] if after is None else after), limit)
        return rows, rows[-1][:key] if rows else None

    def meta(self, name: str) -> int:
        """A number that the outbox keeps; 0 where there is none."""
        found = self.fetch("SELECT value FROM meta WHERE name = ?", name)
        return int(found[0][0]) if found else 0
