"""What users have read, in PostgreSQL: asked for by many at once."""

from collections.abc import Mapping, Sequence

from fastchat.store.postgres.connection import Connection
from fastchat.store.postgres.schema import escape

Question = tuple[str, Sequence[str]]
"""A user and rooms."""

_READ = """
    SELECT asked.nth, asked.name, marks.seq
    FROM unnest($1::integer[], $2::text[], $3::text[]) AS asked (nth, who, name)
    JOIN rooms ON rooms.name = asked.name
    JOIN marks ON marks.who = asked.who AND marks.room_id = rooms.id
"""
# In order, as other nodes may do so at the same time.
_SAVE = """
    INSERT INTO marks (who, room_id, seq)
    SELECT who, rooms.id, seq FROM unnest($1::text[], $2::text[], $3::bigint[]) AS read (who, name, seq)
    JOIN rooms USING (name) ORDER BY who, rooms.id
    ON CONFLICT (who, room_id) DO UPDATE SET seq = excluded.seq WHERE marks.seq < excluded.seq
"""


async def read_marks(connection: Connection, questions: Sequence[Question]) -> list[Mapping[str, int]]:
    """How far each user has read each of its rooms; rooms without a mark are missing."""
    asked = [
        (nth, escape(user), escape(room)) for nth, (user, rooms) in enumerate(questions) for room in rooms
    ]
    answers: list[dict[str, int]] = [{} for _ in questions]
    for nth, room, seq in await connection.fetch(_READ, *_columns(asked)):
        answers[nth][room] = seq
    return list(answers)


async def save_marks(connection: Connection, marks: Mapping[tuple[str, str], int]) -> None:
    """Keeps how far users have read rooms, by user and room."""
    rows = [(escape(user), escape(room), seq) for (user, room), seq in marks.items()]
    await connection.execute(_SAVE, *_columns(rows))


def _columns(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
