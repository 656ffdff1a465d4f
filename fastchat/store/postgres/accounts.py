"""Accounts in PostgreSQL, and their rooms of two."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, fields, replace
from typing import Any

import asyncpg

from fastchat.store.directory import taken
from fastchat.store.facts import blocking
from fastchat.store.interface import Account, Direct
from fastchat.store.postgres.connection import Connection
from fastchat.store.postgres.schema import escape, unescape

PAGE_MAX = 1000  # accounts
DIRECTS_MAX = 500  # rooms of two that one user is told of

_NAMES = tuple(field.name for field in fields(Account))
_COLUMNS = ", ".join(_NAMES)
_HOLDERS = ", ".join(f"${number}" for number in range(1, len(_NAMES) + 1))
_PAGE = f"SELECT {_COLUMNS} FROM accounts WHERE key > $1 ORDER BY key LIMIT $2"
_ADD = f"INSERT INTO accounts ({_COLUMNS}) VALUES ({_HOLDERS})"
_CHANGE = f"UPDATE accounts SET ({_COLUMNS}) = ({_HOLDERS}) WHERE key = ${len(_NAMES) + 1}"
_FIND = f"SELECT {_COLUMNS} FROM accounts WHERE key = $1"

# By user, with the fact by which it blocks. When the newest event came in says which room is the newest.
_DIRECTS = f"""
    SELECT asked.nth, found.name, found.head, found.seq, found.blocked
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (who, fact, nth) CROSS JOIN LATERAL (
        SELECT rooms.name, rooms.head, coalesce(marks.seq, 0) AS seq, facts.name IS NOT NULL AS blocked,
            events.at_ms, rooms.id
        FROM directs JOIN rooms ON rooms.id = directs.room_id
        LEFT JOIN events ON events.room_id = rooms.id AND events.seq = rooms.head
        LEFT JOIN marks ON marks.who = directs.who AND marks.room_id = rooms.id
        LEFT JOIN facts ON facts.room_id = rooms.id AND facts.name = asked.fact
        WHERE directs.who = asked.who AND (events.seq IS NOT NULL OR facts.name IS NOT NULL)
        ORDER BY events.at_ms DESC NULLS LAST, rooms.id DESC LIMIT {DIRECTS_MAX}
    ) AS found
    ORDER BY asked.nth, found.at_ms DESC NULLS LAST, found.id DESC
"""

# Locked in order, as other nodes may do so at the same time.
_SAVE_SEEN = """
    WITH seen AS (
        SELECT key, at_ms FROM unnest($1::text[], $2::bigint[]) AS seen (key, at_ms)
    ), later AS MATERIALIZED (
        SELECT key, at_ms FROM accounts JOIN seen USING (key) WHERE seen_at_ms < at_ms
        ORDER BY key FOR UPDATE OF accounts
    )
    UPDATE accounts SET seen_at_ms = greatest(seen_at_ms, at_ms) FROM later WHERE accounts.key = later.key
"""


def reader_of(column: str) -> Callable[[Connection, Sequence[str]], Any]:
    """What reads the accounts that have these values in the column (``key`` or ``subject``)."""
    query = f"SELECT {_COLUMNS} FROM accounts WHERE {column} = ANY ($1::text[])"

    async def read(connection: Connection, values: Sequence[str]) -> list[Account | None]:
        asked = [escape(value) for value in dict.fromkeys(values)]
        found = (_parse(row) for row in await connection.fetch(query, asked))
        accounts = {getattr(account, column): account for account in found}
        return [accounts.get(value) for value in values]

    return read


async def read_accounts(connection: Connection, after: str, limit: int) -> list[Account]:
    """Accounts by key, those behind ``after``."""
    return [_parse(row) for row in await connection.fetch(_PAGE, escape(after), max(0, min(limit, PAGE_MAX)))]


def row_of(account: Account) -> list[Any]:
    """Its columns, in the order of its fields."""
    return [escape(value) if isinstance(value, str) else value for value in astuple(account)]


def _parse(row: Sequence[Any]) -> Account:
    values: list[Any] = [unescape(value) if isinstance(value, str) else value for value in row]
    return Account(*values)


async def add_account(connection: Connection, account: Account, *, again: bool) -> None:
    """Adds it. Raises WireError where the key or subject is there already.

    ``again``: nobody knows whether it was added a moment ago.
    """
    try:
        await connection.execute(_ADD, *row_of(account))
    except asyncpg.UniqueViolationError:
        row = await connection.fetchrow(_FIND, escape(account.key)) if again else None
        if row is None or _parse(row) != account:
            raise taken(account) from None


async def change_account(
    connection: Connection, key: str, changes: Mapping[str, Any], *, again: bool
) -> Account | None:
    """Changes it; returns what it is then, None where there is none.

    Raises WireError where the new key or subject is another's. ``again`` as above.
    """
    keys = [key, changes["key"]] if again and "key" in changes else [key]
    async with connection.transaction():
        for each in keys:
            row = await connection.fetchrow(f"{_FIND} FOR UPDATE", escape(each))
            if row is not None:
                break
        else:
            return None
        account = replace(_parse(row), **changes)
        try:
            await connection.execute(_CHANGE, *row_of(account), escape(each))
        except asyncpg.UniqueViolationError:
            raise taken(account) from None
    return account


async def save_seen(connection: Connection, at_ms: Mapping[str, int]) -> None:
    """Keeps when accounts, by key, were last there."""
    await connection.execute(_SAVE_SEEN, [escape(key) for key in at_ms], list(at_ms.values()))


async def read_directs(connection: Connection, users: Sequence[str]) -> list[Sequence[Direct]]:
    """Each user's rooms of two that have events, the newest first."""
    names = [escape(user) for user in users]
    answers: list[list[Direct]] = [[] for _ in users]
    for nth, *row in await connection.fetch(_DIRECTS, names, [escape(blocking(user)) for user in users]):
        answers[nth - 1].append(Direct(*row))
    return list(answers)
