"""Numbers that only grow, on their way into the file: how far somebody has read, when somebody was there."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Generic, TypeVar

import orjson

from fastchat.messages import WireError
from fastchat.store.sqlite.writer import Job, Writer

Key = TypeVar("Key", bound=Hashable)


class Unsaved(Generic[Key]):
    """What is not in the file yet. It is tried again, when the file can be written to again: ``save``.

    ``statement`` stores rows, which it gets as JSON; ``row`` makes them.
    """

    def __init__(self, writer: Writer, statement: str, row: Callable[[Key, int], tuple[Any, ...]]) -> None:
        self._writer = writer
        self._statement = statement
        self._row = row
        self._numbers: dict[Key, int] = {}

    def get(self, key: Key) -> int | None:
        """What the file does not have yet."""
        return self._numbers.get(key)

    def add(self, numbers: Mapping[Key, int]) -> None:
        """Has them all stored in one transaction."""
        for key, number in numbers.items():
            self._numbers[key] = max(number, self._numbers.get(key, 0))
        self.save()

    def save(self) -> None:
        """Stores what is not stored yet, if there is anything."""
        if not self._numbers:
            return
        numbers = dict(self._numbers)
        rows = orjson.dumps([self._row(key, number) for key, number in numbers.items()]).decode()

        def run(connection: sqlite3.Connection) -> None:
            connection.execute(self._statement, (rows,))

        def on_saved(result: WireError | None) -> None:
            if result is None:
                for key, number in numbers.items():
                    if self._numbers.get(key) == number:
                        del self._numbers[key]

        self._writer.submit(Job(run, on_saved))
