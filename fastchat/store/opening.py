"""Which store an operator's URL names, and which rooms are kept elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from fastchat.store.interface import AUDIT_KEPT, Retention
from fastchat.store.memory import MemoryStore
from fastchat.store.mixed import MixedStore
from fastchat.store.sending import SendingStore
from fastchat.store.sqlite import SqliteStore, StoreError
from fastchat.store.sqlite.schema import Durability

if TYPE_CHECKING:
    from fastchat.store.postgres.store import PostgresStore


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
    lease_s: float | None = None,
) -> SendingStore:
    """The store for ``url``, whose rooms are in memory where ``in_memory(room)`` says so. Raises StoreError.

    ``deliver(callback, *args)`` runs callbacks in the loop's thread. Several nodes may share a PostgreSQL
    where they have a bus: ``lease_s`` is how long a silent one counts as alive, and all rooms are durable.
    Without, the database is this process's alone.
    """
    if url.startswith(("postgresql:", "postgres:")):
        shared = _open_postgres(url, deliver, durability, retention, audit, lease_s)
        return shared if lease_s is not None else MixedStore(shared, MemoryStore(shared.note), in_memory)
    path = sqlite_path(url)
    if path is None:
        return MemoryStore()
    durable = SqliteStore(path, deliver=deliver, durability=durability, retention=retention, audit=audit)
    return MixedStore(durable, MemoryStore(durable.note), in_memory)


def _open_postgres(
    url: str,
    deliver: Callable[..., object],
    durability: Durability,
    retention: Callable[[str], Retention],
    audit: Retention,
    lease_s: float | None,
) -> PostgresStore:
    try:
        from fastchat.store.postgres.sharing import LEASE_S
        from fastchat.store.postgres.store import PostgresStore
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise StoreError(
            "a PostgreSQL store needs asyncpg; install it with: pip install 'fastchat-server[postgres]'"
        ) from None
    return PostgresStore(
        url,
        deliver=deliver,
        durability=durability,
        retention=retention,
        audit=audit,
        alone=lease_s is None,
        lease_s=LEASE_S if lease_s is None else lease_s,
    )
