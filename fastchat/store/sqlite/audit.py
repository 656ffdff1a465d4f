"""The audit log in the file: one row for each act of moderation and of an operator."""

import sqlite3
from collections.abc import Sequence

import orjson

from fastchat.store.interface import AuditEntry, Retention
from fastchat.store.sqlite.schema import Statement

PAGE_MAX = 1000  # entries
TRIM_STEP = 200  # entries deleted in one transaction

_COLUMNS = "at_ms, actor, action, room, target, detail"
_INSERT = f"INSERT INTO audit (key, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"
_PAGE = f"""
    SELECT json_group_array(json_array(id, {_COLUMNS})) FROM (
        SELECT id, {_COLUMNS} FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?
    )
"""
# It ends before the first one that is to be kept: times need not be in order, since clocks are set.
_TOO_OLD = f"""
    WITH oldest AS (
        SELECT id, id <= (SELECT max(id) FROM audit) - :events OR at_ms < :since_ms AS due
        FROM audit ORDER BY id LIMIT {TRIM_STEP}
    )
    SELECT max(id) FROM oldest WHERE id < coalesce((SELECT min(id) FROM oldest WHERE NOT due), {1 << 62})
"""

Entries = Sequence[tuple[int, AuditEntry]]


def add_entry(connection: sqlite3.Connection, entry: AuditEntry, key: int | None = None) -> int:
    """Adds an entry, of the event with this key where it tells of one; returns its number."""
    row = (key, entry.at_ms, entry.actor, entry.action, entry.room, entry.target, entry.detail)
    number = connection.execute(_INSERT, row).lastrowid
    assert number is not None
    return number


def remove_entries(*numbers: int) -> tuple[Statement, ...]:
    """What takes them back where their commit has failed."""
    return tuple(("DELETE FROM audit WHERE id = ?", (number,)) for number in numbers)


def read_entries(connection: sqlite3.Connection, before: int, limit: int) -> Entries:
    """Entries with numbers below ``before`` (0: all), the newest first."""
    bounds = (before or 1 << 62, max(0, min(limit, PAGE_MAX)))
    (found,) = connection.execute(_PAGE, bounds).fetchone()
    return [(number, AuditEntry(*fields)) for number, *fields in orjson.loads(found)]


def trim_entries(connection: sqlite3.Connection, keep: Retention, now_ms: int) -> bool:
    """Deletes some of the oldest that are not to be kept; returns whether there may be more of them."""
    bounds = {
        "events": keep.events or 1 << 62,
        "since_ms": now_ms - int(keep.age_s * 1000) if keep.age_s else 0,
    }
    (last,) = connection.execute(_TOO_OLD, bounds).fetchone()
    if last is None:
        return False
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("DELETE FROM audit WHERE id <= ?", (last,))
    connection.execute("COMMIT")
    return True
