"""Which store an operator's URL names, and which rooms are kept elsewhere."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import platformdirs

from fastchat.messages import WireError
from fastchat.store.interface import Page, Retention, RoomLog, Store
from fastchat.store.memory import MemoryStore
from fastchat.store.sqlite import SqliteStore
from fastchat.store.sqlite.schema import Durability


def sqlite_path(url: str) -> Path | None:
    """The file that a store's URL names; None for memory. ``sqlite:`` is one in the user's data folder."""
    if url == "memory:":
        return None
    if url == "sqlite:":
        return platformdirs.user_data_path("fastchat") / "fastchat.db"
    return Path(url.removeprefix("sqlite://"))


def open_store(
    url: str,
    *,
    deliver: Callable[..., object],
    durability: Durability = "full",
    retention: Callable[[str], Retention] = lambda room: Retention(),
    in_memory: Callable[[str], bool] = lambda room: False,
) -> Store:
    """The store for ``url``, whose rooms are in memory where ``in_memory(room)`` says so. Raises StoreError.

    ``deliver(callback, *args)`` runs callbacks in the loop's thread.
    """
    path = sqlite_path(url)
    if path is None:
        return MemoryStore()
    durable = SqliteStore(path, deliver=deliver, durability=durability, retention=retention)
    return MixedStore(durable, MemoryStore(), in_memory)


class MixedStore:
    """Two stores as one: some rooms are in memory only."""

    def __init__(self, durable: Store, memory: Store, in_memory: Callable[[str], bool]) -> None:
        self._durable = durable
        self._memory = memory
        self._in_memory = in_memory

    def _split(self, rooms: Sequence[str]) -> tuple[list[str], list[str]]:
        return [room for room in rooms if not self._in_memory(room)], [r for r in rooms if self._in_memory(r)]

    def open(self, room: str, done: Callable[[RoomLog | WireError], None]) -> None:
        """From the store that keeps the room."""
        (self._memory if self._in_memory(room) else self._durable).open(room, done)

    def mark(self, marks: Mapping[tuple[str, str], int]) -> None:
        """Each where its room is."""
        self._memory.mark({key: seq for key, seq in marks.items() if self._in_memory(key[1])})
        self._durable.mark({key: seq for key, seq in marks.items() if not self._in_memory(key[1])})

    def marks(
        self, user: str, rooms: Sequence[str], done: Callable[[Mapping[str, int] | WireError], None]
    ) -> None:
        """Of both."""

        def merge(first: Any, second: Any) -> Mapping[str, int]:
            return {**first, **second}

        durable, memory = self._split(rooms)
        self._both(
            partial(self._durable.marks, user, durable),
            partial(self._memory.marks, user, memory),
            merge,
            done,
        )

    def search(
        self,
        rooms: Sequence[str],
        query: str,
        before_ms: int | None,
        limit: int,
        done: Callable[[Page | WireError], None],
    ) -> None:
        """In both, the newest first."""

        def merge(first: Page, second: Page) -> Page:
            if not second.bodies:
                return first
            bodies = sorted([*first.bodies, *second.bodies], key=lambda body: -int(orjson.loads(body)["at"]))
            return Page(bodies[:limit], first.more or second.more or len(bodies) > limit)

        durable, memory = self._split(rooms)
        self._both(
            partial(self._durable.search, durable, query, before_ms, limit),
            partial(self._memory.search, memory, query, before_ms, limit),
            merge,
            done,
        )

    def _both(
        self,
        first: Callable[[Callable[[Any], None]], None],
        second: Callable[[Callable[[Any], None]], None],
        merge: Callable[[Any, Any], Any],
        done: Callable[[Any], None],
    ) -> None:
        def on_first(one: Any) -> None:
            if isinstance(one, WireError):
                done(one)
            else:
                second(lambda other: done(other if isinstance(other, WireError) else merge(one, other)))

        first(on_first)

    @property
    def problem(self) -> str | None:
        """The durable store's."""
        return self._durable.problem

    def close(self) -> None:
        """Closes both."""
        self._durable.close()
        self._memory.close()
