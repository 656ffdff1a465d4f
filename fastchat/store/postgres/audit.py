"""The audit log in PostgreSQL: one row for each act of moderation and of an operator."""

from collections.abc import Sequence
from dataclasses import astuple

from fastchat.store.interface import AuditEntry, Retention
from fastchat.store.postgres.connection import Connection
from fastchat.store.postgres.schema import escape, unescape

PAGE_MAX = 1000  # entries
TRIM_STEP = 1000  # entries deleted in one transaction

_COLUMNS = "at_ms, actor, action, room, target, detail"
_ADD = f"INSERT INTO audit ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6)"
# Who asks again asks soon: it is among the newest.
_IS_THERE = f"""
    SELECT EXISTS (
        SELECT FROM (SELECT {_COLUMNS} FROM audit ORDER BY id DESC LIMIT 10000) AS newest
        WHERE ({_COLUMNS}) = ($1::bigint, $2::text, $3::text, $4::text, $5::text, $6::text)
    )
"""
_PAGE = f"SELECT id, {_COLUMNS} FROM audit WHERE id < $1 ORDER BY id DESC LIMIT $2"
# It ends before the first one that is to be kept: times need not be in order, since clocks are set.
_TRIM = f"""
    WITH oldest AS (
        SELECT id, id <= $1 OR at_ms < $2 AS due FROM audit ORDER BY id LIMIT {TRIM_STEP}
    )
    DELETE FROM audit WHERE id IN (
        SELECT id FROM oldest
        WHERE id < coalesce((SELECT min(id) FROM oldest WHERE NOT due), {1 << 62})
    )
"""
# Numbers have gaps here, where a transaction failed or nodes add at once: so they are counted.
_LAST_BEYOND = "SELECT id FROM audit ORDER BY id DESC OFFSET $1 LIMIT 1"

Entries = Sequence[tuple[int, AuditEntry]]


async def add_entry(connection: Connection, entry: AuditEntry, *, again: bool = False) -> None:
    """Adds an entry. ``again``: nobody knows whether it was added a moment ago."""
    row = [escape(value) if isinstance(value, str) else value for value in astuple(entry)]
    if again and await connection.fetchval(_IS_THERE, *row):
        return
    await connection.execute(_ADD, *row)


async def read_entries(connection: Connection, before: int, limit: int) -> Entries:
    """Entries with numbers below ``before`` (0: all), the newest first."""
    rows = await connection.fetch(_PAGE, before or 1 << 62, max(0, min(limit, PAGE_MAX)))
    return [(number, AuditEntry(at_ms, *map(unescape, texts))) for number, at_ms, *texts in rows]


async def trim_entries(connection: Connection, keep: Retention, now_ms: int) -> bool:
    """Deletes some of the oldest that are not to be kept; returns whether there may be more of them."""
    last = await connection.fetchval(_LAST_BEYOND, keep.events) if keep.events else None
    since_ms = now_ms - int(keep.age_s * 1000) if keep.age_s else 0
    done: str = await connection.execute(_TRIM, last or 0, since_ms)
    return done == f"DELETE {TRIM_STEP}"
