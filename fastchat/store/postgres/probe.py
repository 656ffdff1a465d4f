"""Whether the database takes something and gives it back: a number that grows, by two connections."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fastchat.messages import WireError
from fastchat.store.postgres.changes import Changes
from fastchat.store.postgres.connection import Connection, Reader
from fastchat.store.probe import check

_COUNT = """
    INSERT INTO meta (name, value) VALUES ('probes', '1')
    ON CONFLICT (name) DO UPDATE SET value = (meta.value::bigint + 1)::text RETURNING value::bigint
"""
_READ = "SELECT max(value::bigint) FROM meta WHERE name = 'probes'"


def probe(changes: Changes, reader: Reader, done: Callable[[WireError | None], None]) -> None:
    """One commit and one read. All nodes count on: each finds its own number or a higher one."""
    check(partial(changes.submit, _count), partial(reader.submit, _read), done)


async def _count(connection: Connection) -> int:
    number: int = await connection.fetchval(_COUNT)
    return number


async def _read(connection: Connection) -> int:
    number: int = await connection.fetchval(_READ)
    return number
