"""Every kind of store, for tests of what all of them promise."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from fastchat.store import MemoryStore
from fastchat.store.mixed import MixedStore
from fastchat.store.postgres.store import PostgresStore
from fastchat.store.sending import SendingStore
from fastchat.store.sqlite import SqliteStore
from tests.pump import OpenRoom, Pump
from tests.services import postgres

NOW_MS = 10_000
"""When all tests of stores happen, in milliseconds since 1970."""


def open_memory(path: Path, pump: Pump) -> SendingStore:
    return MemoryStore()


def open_sqlite(path: Path, pump: Pump) -> SqliteStore:
    return SqliteStore(path, deliver=pump.deliver, durability="normal", wall_ms=lambda: NOW_MS)


def open_mixed(path: Path, pump: Pump) -> SendingStore:
    """Every room but the games is durable."""
    durable = open_sqlite(path, pump)
    return MixedStore(durable, MemoryStore(durable.note), lambda room: room == "games")


def open_postgres(path: Path, pump: Pump) -> PostgresStore:
    """In a database of this process's, which is made empty first."""
    return PostgresStore(empty_database(), deliver=pump.deliver, durability="normal", wall_ms=lambda: NOW_MS)


_databases: list[str] = []


def empty_database() -> str:
    """On the server that all tests share."""
    server = postgres.SHARED.server()
    if not _databases:
        _databases.append(server.create_database())
    else:
        server.execute("DROP SCHEMA IF EXISTS fastchat CASCADE", _databases[0].rpartition("/")[2])
    return _databases[0]


STORES: Mapping[str, Callable[[Path, Pump], SendingStore]] = {
    "memory": open_memory,
    "sqlite": open_sqlite,
    "mixed": open_mixed,
}

"""Those that need nothing but this process."""

ALL_STORES = {**STORES, "postgres": open_postgres}


@contextmanager
def opened(kind: str, name: str = "lobby") -> Iterator[OpenRoom]:
    """A room in a store of this kind."""
    pump = Pump()
    with TemporaryDirectory() as folder:
        store = ALL_STORES[kind](Path(folder, "chat.db"), pump)
        try:
            yield OpenRoom(store, pump, name)
        finally:
            store.close()


def other_room(room: OpenRoom, name: str = "games") -> OpenRoom:
    """Another room in the same store."""
    return OpenRoom(room.store, room.pump, name)
