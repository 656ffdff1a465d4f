"""What users have read, asked for by many at once: who asks while a read is under way shares the next one."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import orjson

from fastchat.messages import WireError
from fastchat.store.sqlite.reader import Reader

QUESTIONS_MAX = 1000
"""Questions that are answered with one read: about 10 ms of the reader's thread."""

Answer = Mapping[str, int] | WireError
Question = tuple[str, Sequence[str], Callable[[Answer], None]]

# By the number of the question. The order of the joins is ours: each asks for few of many.
_MARKS = """
    SELECT json_group_array(json_array(asked.key, rooms.name, marks.seq)) FROM json_each(?) AS asked
    CROSS JOIN json_each(asked.value, '$[1]') AS room
    CROSS JOIN rooms ON rooms.name = room.value
    CROSS JOIN marks ON marks.user = asked.value ->> 0 AND marks.room_id = rooms.id
"""


class MarkReader:
    """Reads marks in the reader's thread. When everyone comes back at once, a read for each would be dear."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._waiting: deque[Question] = deque()
        self._reading = False

    def ask(self, user: str, rooms: Sequence[str], done: Callable[[Answer], None]) -> None:
        """How far the user has read each of the rooms; rooms without a mark are missing."""
        self._waiting.append((user, rooms, done))
        self._go_on()

    def _go_on(self) -> None:
        if self._waiting and not self._reading:
            self._reading = True
            # Taken when the reader's turn comes, so that it has everyone who has asked by then.
            taken: list[Question] = []
            self._reader.submit(lambda connection: self._read(connection, taken), self._on_read(taken))

    def _read(self, connection: sqlite3.Connection, taken: list[Question]) -> list[dict[str, int]]:
        while self._waiting and len(taken) < QUESTIONS_MAX:
            taken.append(self._waiting.popleft())
        asked = orjson.dumps([(user, rooms) for user, rooms, _ in taken]).decode()
        (found,) = connection.execute(_MARKS, (asked,)).fetchone()
        answers: list[dict[str, int]] = [{} for _ in taken]
        for number, room, seq in orjson.loads(found):
            answers[number][room] = seq
        return answers

    def _on_read(self, taken: list[Question]) -> Callable[[list[dict[str, int]] | WireError], None]:
        def answer(answers: list[dict[str, int]] | WireError) -> None:
            self._reading = False
            # Where not even a thread could be had, nobody has taken the first question.
            asked = taken or [self._waiting.popleft()]
            self._go_on()
            for number, (_, _, done) in enumerate(asked):
                done(answers if isinstance(answers, WireError) else answers[number])

        return answer
