"""Whether the database takes something and gives it back: a number that grows, by two connections."""

from __future__ import annotations

from collections.abc import Callable

from fastchat.messages import WireError
from fastchat.store.postgres.changes import Changes
from fastchat.store.postgres.connection import Connection, Reader
from fastchat.store.postgres.errors import unavailable

_COUNT = """
    INSERT INTO meta (name, value) VALUES ('probes', '1')
    ON CONFLICT (name) DO UPDATE SET value = (meta.value::bigint + 1)::text RETURNING value::bigint
"""
_READ = "SELECT max(value::bigint) FROM meta WHERE name = 'probes'"


def probe(changes: Changes, reader: Reader, done: Callable[[WireError | None], None]) -> None:
    """One commit and one read. All nodes count on: each finds its own number or a higher one."""

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

    changes.submit(_count, on_written)


async def _count(connection: Connection) -> int:
    number: int = await connection.fetchval(_COUNT)
    return number


async def _read(connection: Connection) -> int:
    number: int = await connection.fetchval(_READ)
    return number
