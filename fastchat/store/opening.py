"""Which store an operator's URL names, and which rooms are kept elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import platformdirs

from fastchat.store.interface import AUDIT_KEPT, Retention, SendingStore
from fastchat.store.memory import MemoryStore
from fastchat.store.mixed import MixedStore
from fastchat.store.sqlite import SqliteStore, StoreError
from fastchat.store.sqlite.schema import Durability


def sqlite_path(url: str) -> Path | None:
    """The file that a store's URL names; None for others. ``sqlite:`` is one in the user's data folder."""
    if not url.startswith("sqlite:"):
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
    audit: Retention = AUDIT_KEPT,
) -> SendingStore:
    """The store for ``url``, whose rooms are in memory where ``in_memory(room)`` says so. Raises StoreError.

    ``deliver(callback, *args)`` runs callbacks in the loop's thread.
    """
    path = sqlite_path(url)
    if path is None and url != "memory:":
        raise StoreError("there is no PostgreSQL store in this version")
    if path is None:
        return MemoryStore()
    durable = SqliteStore(path, deliver=deliver, durability=durability, retention=retention, audit=audit)
    return MixedStore(durable, MemoryStore(durable.note), in_memory)
