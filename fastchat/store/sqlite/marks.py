"""What users have read, in the file: asked for by many at once."""

import sqlite3
from collections.abc import Mapping, Sequence

import orjson

Question = tuple[str, Sequence[str]]
"""A user and rooms."""

# By the number of the question. The order of the joins is ours: each asks for few of many.
_MARKS = """
    SELECT json_group_array(json_array(asked.key, rooms.name, marks.seq)) FROM json_each(?) AS asked
    CROSS JOIN json_each(asked.value, '$[1]') AS room
    CROSS JOIN rooms ON rooms.name = room.value
    CROSS JOIN marks ON marks.user = asked.value ->> 0 AND marks.room_id = rooms.id
"""

SAVE_MARKS = """
    INSERT INTO marks (user, room_id, seq)
    SELECT value ->> 0, rooms.id, value ->> 2 FROM json_each(?) JOIN rooms ON rooms.name = value ->> 1
    WHERE true ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)
"""
"""Of rows of user, room and seq, as JSON."""


def read_marks(connection: sqlite3.Connection, questions: Sequence[Question]) -> list[Mapping[str, int]]:
    """How far each user has read each of its rooms; rooms without a mark are missing."""
    asked = orjson.dumps(questions).decode()
    (found,) = connection.execute(_MARKS, (asked,)).fetchone()
    answers: list[dict[str, int]] = [{} for _ in questions]
    for number, room, seq in orjson.loads(found):
        answers[number][room] = seq
    return list(answers)
