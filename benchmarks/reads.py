"""How often the store is read when many cursors are brought forward at once: a real store, no sockets."""

from __future__ import annotations

import collections
import queue
import sqlite3
import time
from collections.abc import Callable
from typing import Any

from fastchat._fanout import Fanout, Writer
from fastchat._ring import Profile
from fastchat.messages import WireError, encode_lagged
from fastchat.room import Room, RoomSettings
from fastchat.rooms import Hub
from fastchat.store import BLOCK_EVENTS, Draft, Kind
from fastchat.store.sqlite import SqliteStore
from fastchat.store.sqlite.reader import Reader

from .brokers import data_folder
from .plan import Plan


class _Loop:
    """The event loop's part: what threads hand over and what ticks ask for is called here."""

    def __init__(self) -> None:
        self._handed_over: queue.SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]]] = (
            queue.SimpleQueue()
        )
        self._soon: collections.deque[Callable[[], object]] = collections.deque()

    def call_soon(self, callback: Callable[[], object]) -> None:
        self._soon.append(callback)

    def call_soon_threadsafe(self, callback: Callable[..., object], *arguments: Any) -> None:
        self._handed_over.put((callback, arguments))

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> None:
        """Presence and retries: not in so short a time."""

    def run_until(self, done: Callable[[], bool]) -> None:
        while not done():
            while self._soon:
                self._soon.popleft()()
            if not done():
                callback, arguments = self._handed_over.get(timeout=60)
                callback(*arguments)


class _CountingReader(Reader):
    """Counts what it is asked."""

    reads = 0

    def submit(self, query: Callable[[sqlite3.Connection], Any], done: Callable[[Any], None]) -> None:
        self.reads += 1
        super().submit(query, done)


class _Transport:
    """Takes everything and counts the lines."""

    def __init__(self) -> None:
        self.lines = 0

    def write(self, data: bytes | memoryview, /) -> None:
        self.lines += bytes(data).count(b"\n")

    def writelines(self, data: list[bytes], /) -> None:
        for piece in data:
            self.write(piece)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        raise RuntimeError("a transport was given up")

    def get_extra_info(self, name: str) -> None:
        return None


class _Owner:
    def on_writable(self) -> None:
        pass


def count_reads(plan: Plan) -> tuple[int, int]:
    """Return how often the store was read for all clients, and how many blocks hold what they missed."""
    loop = _Loop()
    fanout = Fanout(loop.call_soon, time.monotonic, encode_lagged)
    with data_folder() as folder:
        store = SqliteStore(folder / "reads.db", deliver=loop.call_soon_threadsafe, durability="normal")
        hub = Hub(
            fanout, store, RoomSettings(ring_bytes=1024), clock=time.monotonic, call_later=loop.call_later
        )
        room = _open(hub, loop)
        store.reader.close()
        reader = _CountingReader(folder / "reads.db", loop.call_soon_threadsafe, "reader")
        store.reader = reader
        after = room.head - plan.returning_behind
        transports = [_Transport() for _ in range(plan.returning_clients)]
        profile = Profile("lines", "lines", 65536, 32768)
        for i, transport in enumerate(transports):
            hub.enter(room, Writer(fanout, profile, transport, _Owner()), f"u{i}", after, None)
        loop.run_until(lambda: all(transport.lines >= plan.returning_behind for transport in transports))
        store.close()
    return reader.reads, (room.head - 1) // BLOCK_EVENTS - after // BLOCK_EVENTS + 1


def _open(hub: Hub, loop: _Loop) -> Room:
    """A room with some thousand messages, hardly one of them in memory."""
    rooms: list[Room | WireError] = []
    hub.open("bench", rooms.append)
    loop.run_until(lambda: bool(rooms))
    (room,) = rooms
    assert isinstance(room, Room)
    stored: list[object] = []
    for i in range(1000):
        draft = Draft(Kind.MESSAGE, "sender", 1_700_000_000_000 + i, {"text": "m" * 64})
        room.post(draft, None, stored.append)
    loop.run_until(lambda: len(stored) == 1000)
    return room
