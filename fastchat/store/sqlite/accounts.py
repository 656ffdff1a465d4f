"""Accounts in the file, and their rooms of two."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, fields, replace
from typing import Any

import orjson

from fastchat.store.directory import taken
from fastchat.store.facts import blocking
from fastchat.store.interface import Account, Direct
from fastchat.store.pairs import users_of
from fastchat.store.sqlite.schema import Statement

PAGE_MAX = 1000  # accounts
DIRECTS_MAX = 500  # rooms of two that one user is told of

_COLUMNS = ", ".join(field.name for field in fields(Account))
_ROW = f"json_array({_COLUMNS})"
_PAGE = f"""
    SELECT json_group_array({_ROW}) FROM (SELECT * FROM accounts WHERE key > ? ORDER BY key LIMIT ?)
"""
_KEEP = f"REPLACE INTO accounts ({_COLUMNS}) VALUES ({', '.join('?' for _ in fields(Account))})"
_REMOVE = "DELETE FROM accounts WHERE key = ?"

# When the newest event came in says which room is the newest. By user, with the fact by which it blocks.
_DIRECTS = f"""
    SELECT json_group_array(json((
        SELECT json_group_array(json_array(name, head, seq, blocked)) FROM (
            SELECT rooms.name AS name, rooms.head AS head, coalesce(marks.seq, 0) AS seq,
                facts.name IS NOT NULL AS blocked
            FROM directs CROSS JOIN rooms ON rooms.id = directs.room_id
            LEFT JOIN events ON events.key = rooms.id << 40 | rooms.head
            LEFT JOIN marks ON marks.user = directs.user AND marks.room_id = rooms.id
            LEFT JOIN facts ON facts.room_id = rooms.id AND facts.name = asked.value ->> 1
            WHERE directs.user = asked.value ->> 0 AND (events.key IS NOT NULL OR facts.name IS NOT NULL)
            ORDER BY events.at_ms DESC, rooms.id DESC LIMIT {DIRECTS_MAX}
        )
    ))) FROM json_each(?) AS asked
"""

SAVE_SEEN = """
    UPDATE accounts SET seen_at_ms = max(seen_at_ms, seen.at_ms)
    FROM (SELECT value ->> 0 AS key, value ->> 1 AS at_ms FROM json_each(?)) AS seen
    WHERE accounts.key = seen.key
"""
"""Of rows of key and milliseconds, as JSON."""


def has_accounts(connection: sqlite3.Connection) -> bool:
    """Whether there is any account."""
    return connection.execute("SELECT 1 FROM accounts LIMIT 1").fetchone() is not None


def reader_of(column: str) -> Callable[[sqlite3.Connection, Sequence[str]], list[Account | None]]:
    """What reads the accounts that have these values in the column (``key`` or ``subject``)."""

    def read(connection: sqlite3.Connection, values: Sequence[str]) -> list[Account | None]:
        asked = list(dict.fromkeys(values))
        # Parameters of their own: as JSON, SQLite would end a string at a zero character.
        holders = ", ".join("?" * len(asked))
        query = f"SELECT json_group_array({_ROW}) FROM accounts WHERE {column} IN ({holders})"
        (found,) = connection.execute(query, asked).fetchone()
        accounts = {getattr(account, column): account for account in _parse(found)}
        return [accounts.get(value) for value in values]

    return read


def read_accounts(connection: sqlite3.Connection, after: str, limit: int) -> list[Account]:
    """Accounts by key, those behind ``after``."""
    (found,) = connection.execute(_PAGE, (after, max(0, min(limit, PAGE_MAX)))).fetchone()
    return _parse(found)


def _parse(found: str) -> list[Account]:
    accounts = (Account(*row) for row in orjson.loads(found))
    return [
        replace(account, operator=bool(account.operator), disabled=bool(account.disabled))
        for account in accounts
    ]


def add_account(connection: sqlite3.Connection, account: Account) -> tuple[Statement, ...]:
    """Adds it; returns what takes it back. Raises WireError where the key or subject is there already."""
    _check_free(connection, account)
    connection.execute(_KEEP, astuple(account))
    return ((_REMOVE, (account.key,)),)


def change_account(
    connection: sqlite3.Connection, key: str, changes: Mapping[str, Any]
) -> tuple[Account | None, tuple[Statement, ...]]:
    """Changes it; returns what it is then, None where there is none, and what takes that back.

    Raises WireError where the new key or subject is another's.
    """
    (before,) = _read_by_key(connection, [key])
    if before is None:
        return None, ()
    account = replace(before, **changes)
    _check_free(connection, account, key)
    connection.execute(_REMOVE, (key,))
    connection.execute(_KEEP, astuple(account))
    return account, ((_REMOVE, (account.key,)), (_KEEP, astuple(before)))


_read_by_key = reader_of("key")


def _check_free(connection: sqlite3.Connection, account: Account, own_key: str = "") -> None:
    query = "SELECT 1 FROM accounts WHERE (key = ? OR subject = ?) AND key <> ?"
    if connection.execute(query, (account.key, account.subject, own_key)).fetchone() is not None:
        raise taken(account)


def read_directs(connection: sqlite3.Connection, users: Sequence[str]) -> list[Sequence[Direct]]:
    """Each user's rooms of two that have events, the newest first."""
    asked = [(user, blocking(user)) for user in users]
    (found,) = connection.execute(_DIRECTS, (orjson.dumps(asked).decode(),)).fetchone()
    answers = [
        [Direct(room, head, cursor, bool(blocked)) for room, head, cursor, blocked in rows]
        for rows in orjson.loads(found)
    ]
    # SQLite's JSON ends a string at a zero character: nobody is to get another's.
    return [
        [direct for direct in directs if user in users_of(direct.room)]
        for user, directs in zip(users, answers, strict=True)
    ]
