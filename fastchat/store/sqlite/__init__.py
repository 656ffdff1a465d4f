"""The store in one SQLite file: nothing to install, one process, durable to the power of the disk."""

from fastchat.store.sqlite.backup import back_up
from fastchat.store.sqlite.schema import StoreError
from fastchat.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore", "StoreError", "back_up"]
