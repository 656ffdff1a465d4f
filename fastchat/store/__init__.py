"""Where the events of rooms are kept. Pure: an interface, and ``open_store`` to choose what is behind it."""

from fastchat.store.interface import Draft, Page, RoomLog, Store, Stored
from fastchat.store.memory import MemoryStore

__all__ = ["Draft", "MemoryStore", "Page", "RoomLog", "Store", "Stored", "open_store"]


def open_store(url: str) -> Store:
    """The store that ``url`` names. Raises ValueError, which lists the allowed ones."""
    if url == "memory:":
        return MemoryStore()
    raise ValueError(f"no store {url!r}; use 'memory:'")
