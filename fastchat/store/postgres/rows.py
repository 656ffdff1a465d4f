"""How rows of a file become rows of the database, table by table. Pure: SQL."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from fastchat.store.postgres.schema import escape
from fastchat.store.words import encode_words

Row = tuple[Any, ...]
Statement = tuple[str, Sequence[Any]]
"""SQL and its parameters."""

_SEQ_BITS = 40  # of a key in the file: room id << 40 | seq
_SEQ_MASK = (1 << _SEQ_BITS) - 1


@dataclass(frozen=True)
class Table:
    """What stores rows, given as columns, so that doing it again comes to the same."""

    convert: Callable[[Row], Row]
    """A row of the file as one of the database."""
    queries: Sequence[str]
    before: str | None = None
    """What empties it, where rows may be gone since."""

    def statements(self, rows: Sequence[Row]) -> list[Statement]:
        """Stores the rows."""
        values = columns([self.convert(row) for row in rows])
        return [(query, values) for query in self.queries]


def columns(rows: Sequence[Row], count: int = 0) -> list[list[Any]]:
    """The rows' columns, of which there are ``count`` where there are no rows."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(count)]


def _state(row: Row) -> Row:
    key, body = row
    text = orjson.loads(body).get("text")
    return key >> _SEQ_BITS, key & _SEQ_MASK, body, None if text is None else encode_words(text)


def _account(row: Row) -> Row:
    key, name, password, subject, operator, disabled, *times = row
    texts = (None if text is None else escape(text) for text in (password, subject))
    return escape(key), escape(name), *texts, bool(operator), bool(disabled), *times


_STATES = "unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[]) AS new (room_id, seq, body, words)"

TABLES = {
    "states": Table(
        _state,
        (
            f"""INSERT INTO states (room_id, seq, version, body)
            SELECT room_id, seq, 0, body FROM {_STATES}
            ON CONFLICT (room_id, seq) DO UPDATE SET body = excluded.body""",
            f"""UPDATE events SET words = new.words::tsvector FROM {_STATES}
            WHERE events.room_id = new.room_id AND events.seq = new.seq""",
        ),
    ),
    "facts": Table(
        lambda row: (row[0], escape(row[1]), row[2]),
        (
            """INSERT INTO facts (room_id, name, value)
            SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[])
            ON CONFLICT (room_id, name) DO UPDATE SET value = excluded.value""",
        ),
        before="DELETE FROM facts",
    ),
    "directs": Table(
        lambda row: (escape(row[0]), row[1]),
        (
            """INSERT INTO directs (who, room_id) SELECT * FROM unnest($1::text[], $2::bigint[])
            ON CONFLICT DO NOTHING""",
        ),
    ),
    "marks": Table(
        lambda row: (escape(row[0]), row[1], row[2]),
        (
            """INSERT INTO marks (who, room_id, seq)
            SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])
            ON CONFLICT (who, room_id) DO UPDATE SET seq = excluded.seq""",
        ),
    ),
    "accounts": Table(
        _account,
        (
            """INSERT INTO accounts (key, name, password, subject, operator, disabled, created_at_ms,
                seen_at_ms, valid_from_ms)
            SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::boolean[],
                $7::bigint[], $8::bigint[], $9::bigint[])
            ON CONFLICT DO NOTHING""",
        ),
        before="DELETE FROM accounts",
    ),
    "audit": Table(
        lambda row: (row[0], row[1], *map(escape, row[2:])),
        (
            """INSERT INTO audit (id, at_ms, actor, action, room, target, detail) OVERRIDING SYSTEM VALUE
            SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
                $7::text[])
            ON CONFLICT DO NOTHING""",
        ),
        before="DELETE FROM audit",
    ),
    "notices": Table(
        lambda row: row,
        (
            """INSERT INTO notices (number, slot, at_ms, body) OVERRIDING SYSTEM VALUE
            SELECT * FROM unnest($1::bigint[], $2::integer[], $3::bigint[], $4::text[])
            ON CONFLICT DO NOTHING""",
        ),
        before="DELETE FROM notices",
    ),
}
"""In the order in which they are copied, behind rooms and events."""
