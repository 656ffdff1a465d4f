"""Whether the file takes something and gives it back: a number that grows, and is read by another thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from fastchat.messages import WireError
from fastchat.store.sqlite.reader import Reader
from fastchat.store.sqlite.writer import Job, Writer, unavailable

_COUNT = """
    INSERT INTO meta (name, value) VALUES ('probes', 1)
    ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value
"""


def probe(writer: Writer, reader: Reader, done: Callable[[WireError | None], None]) -> None:
    """One commit, for which the disk is waited for as for a message, and one read."""

    def on_written(number: int | WireError) -> None:
        if isinstance(number, WireError):
            done(number)
        else:
            reader.submit(_read, lambda found: on_read(number, found))

    def on_read(number: int, found: int | WireError) -> None:
        if isinstance(found, WireError):
            done(found)
        else:
            done(None if found >= number else unavailable("what was written cannot be read"))

    writer.submit(Job(_count, on_written))


def _count(connection: sqlite3.Connection) -> int:
    number: int
    ((number,),) = connection.execute(_COUNT).fetchall()
    return number


def _read(connection: sqlite3.Connection) -> int:
    number: int
    (number,) = connection.execute("SELECT max(value) FROM meta WHERE name = 'probes'").fetchone()
    return number
