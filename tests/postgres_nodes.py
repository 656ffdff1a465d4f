"""Nodes on one PostgreSQL database in one process, with a bus between them that a test may disturb."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest

from fastchat.store import Stored
from fastchat.store.interface import Committed
from fastchat.store.postgres.store import PostgresStore
from tests.pump import OpenRoom, Pump
from tests.services import postgres
from tests.stores import NOW_MS


@pytest.fixture
def url() -> Iterator[str]:
    """Of a new database on the server that all tests share."""
    server = postgres.SHARED.server()
    url = server.create_database()
    yield url
    server.drop_database(url)


class Nodes:
    """Stores of several nodes in one process, with a bus between them that a test may disturb."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pump = Pump()
        self.stores: list[PostgresStore] = []
        self.lost: Callable[[Committed], bool] = lambda committed: False

    def start(self, **options: Any) -> PostgresStore:
        usual: dict[str, Any] = {"alone": False, "durability": "normal", "url": self.url}
        store = PostgresStore(deliver=self.pump.deliver, wall_ms=lambda: NOW_MS, **(usual | options))
        store.observe(partial(self._publish, store))
        self.stores.append(store)
        return store

    def _publish(self, sender: PostgresStore, committed: Sequence[Committed]) -> None:
        heard = [each for each in committed if not self.lost(each)]
        for store in self.stores:
            if store is not sender:
                self.pump.deliver(store.receive, heard)

    def room(self, store: PostgresStore, name: str = "lobby") -> "Room":
        return Room(store, self.pump, name)

    def wait_until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            self.pump.turn()

    def close(self) -> None:
        for store in self.stores:
            store.close()


class Room(OpenRoom):
    """An open room, with what it was told in the order in which it was."""

    def __post_init__(self) -> None:
        self.told: list[int] = []
        super().__post_init__()

    def on_foreign(self, stored: Stored) -> None:
        super().on_foreign(stored)
        self.told.append(stored.seq)

    def bodies(self) -> list[bytes]:
        return [event.body for event in self.ring.events(0, 1 << 50, 100_000, 1 << 40)]
