"""Whether the file takes something and gives it back: a number that grows, and is read by another thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial

from fastchat.messages import WireError
from fastchat.store.probe import check
from fastchat.store.sqlite.reader import Reader
from fastchat.store.sqlite.writer import Job, Writer

_COUNT = """
    INSERT INTO meta (name, value) VALUES ('probes', 1)
    ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value
"""


def probe(writer: Writer, reader: Reader, done: Callable[[WireError | None], None]) -> None:
    """One commit, for which the disk is waited for as for a message, and one read."""
    check(lambda counted: writer.submit(Job(_count, counted)), partial(reader.submit, _read), done)


def _count(connection: sqlite3.Connection) -> int:
    number: int
    ((number,),) = connection.execute(_COUNT).fetchall()
    return number


def _read(connection: sqlite3.Connection) -> int:
    number: int
    (number,) = connection.execute("SELECT max(value) FROM meta WHERE name = 'probes'").fetchone()
    return number
