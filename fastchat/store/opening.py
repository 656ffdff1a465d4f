"""Which store an operator's URL names, and which rooms are kept elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import platformdirs

from fastchat.messages import WireError
from fastchat.store.found import merge_pages
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
    # As in file URLs the path is absolute; who writes a fourth slash for that means the same.
    return Path("/" + url.removeprefix("sqlite:").lstrip("/"))


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

    def open(self, room: str, done: Callable[[RoomLog | WireError], None]) -> None:
        """From the store that keeps the room."""
        (self._memory if self._in_memory(room) else self._durable).open(room, done)

    def mark(self, marks: Mapping[tuple[str, str], int]) -> None:
        """Each where its room is."""
        memory = {key: seq for key, seq in marks.items() if self._in_memory(key[1])}
        durable = {key: seq for key, seq in marks.items() if key not in memory}
        for store, some in ((self._memory, memory), (self._durable, durable)):
            if some:
                store.mark(some)

    def marks(
        self, user: str, rooms: Sequence[str], done: Callable[[Mapping[str, int] | WireError], None]
    ) -> None:
        """Of both."""

        def ask(store: Store, some: Sequence[str], on_answer: Callable[[Any], None]) -> None:
            store.marks(user, some, on_answer)

        self._ask(
            rooms, ask, lambda answers: {room: seq for marks in answers for room, seq in marks.items()}, done
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

        def ask(store: Store, some: Sequence[str], on_answer: Callable[[Any], None]) -> None:
            store.search(some, query, before_ms, limit, on_answer)

        self._ask(rooms, ask, partial(merge_pages, limit=limit), done)

    def _ask(
        self,
        rooms: Sequence[str],
        ask: Callable[[Store, Sequence[str], Callable[[Any], None]], None],
        merge: Callable[[list[Any]], Any],
        done: Callable[[Any], None],
    ) -> None:
        """Asks each store for its own rooms: what one has alone need not wait for the other."""
        memory = [room for room in rooms if self._in_memory(room)]
        if len(memory) in (0, len(rooms)):
            ask(self._memory if memory else self._durable, rooms, done)
            return
        durable = [room for room in rooms if room not in memory]

        def on_durable(one: Any) -> None:
            if isinstance(one, WireError):
                done(one)
            else:
                ask(self._memory, memory, partial(on_memory, one))

        def on_memory(one: Any, other: Any) -> None:
            done(other if isinstance(other, WireError) else merge([one, other]))

        ask(self._durable, durable, on_durable)

    @property
    def problem(self) -> str | None:
        """The durable store's."""
        return self._durable.problem

    def close(self) -> None:
        """Closes both."""
        self._durable.close()
        self._memory.close()
