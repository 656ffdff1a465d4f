"""Where the events of rooms are kept: an interface, and what stands behind it."""

from fastchat.store.errors import StoreError
from fastchat.store.interface import (
    BLOCK_EVENTS,
    NO_FACTS,
    Account,
    AuditEntry,
    Block,
    Direct,
    Draft,
    Facts,
    Kind,
    Page,
    Retention,
    RoomLog,
    RoomSummary,
    Store,
    Stored,
)
from fastchat.store.memory import MemoryStore
from fastchat.store.opening import open_store, sqlite_path
from fastchat.store.sqlite import back_up

__all__ = [
    "BLOCK_EVENTS",
    "NO_FACTS",
    "Account",
    "AuditEntry",
    "Block",
    "Direct",
    "Draft",
    "Facts",
    "Kind",
    "MemoryStore",
    "Page",
    "Retention",
    "RoomLog",
    "RoomSummary",
    "Store",
    "StoreError",
    "Stored",
    "back_up",
    "open_store",
    "sqlite_path",
]
