"""Ways to give clients what they have missed: from a ring, from SQLite's blocks, by a query for each of them.

``catch_up(clients)`` begins with so many who have missed the same events, and returns when they are served.
Transports take everything.
"""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from benchmarks.micro.broadcasters import HIGH_WATER_BYTES, LOW_WATER_BYTES, open_server_connections
from benchmarks.micro.transports import NullTransport, make_event
from fastchat._fanout import Fanout, Writer
from fastchat._ring import Profile
from fastchat._websocket import TEXT, encode_frame
from fastchat.room import Room, RoomSettings
from fastchat.rooms import Hub
from fastchat.store import BLOCK_EVENTS
from fastchat.store.sqlite import SqliteStore
from tests.pump import Pump, message
from tests.twins.stage import Implementation, encode_lagged


class CatchUp(Protocol):
    """A room with a past."""

    def catch_up(self, clients: int) -> None:
        """Serves so many, from their cursors to the head."""

    def close(self) -> None:
        """Lets go of files and threads."""


class FromRing:
    """All that was missed is in the room's ring."""

    def __init__(self, implementation: Implementation, events: int) -> None:
        self._implementation = implementation
        self._ready: list[Callable[[], object]] = []
        self._fanout = implementation.fanout.Fanout(self._ready.append, time.monotonic, encode_lagged)
        self._channel = self._fanout.channel("room", 1 << 30)
        self._profile = implementation.ring.Profile("ws", "websocket", HIGH_WATER_BYTES, LOW_WATER_BYTES)
        for seq in range(1, events + 1):
            self._channel.publish(implementation.ring.Event(seq, make_event()))
        self._turn()

    def on_writable(self) -> None:
        """Nobody replies here."""

    def _turn(self) -> None:
        while self._ready:
            self._ready.pop()()

    def catch_up(self, clients: int) -> None:
        """They come, and leave when they are served."""
        subscriptions = []
        for _ in range(clients):
            writer = self._implementation.fanout.Writer(self._fanout, self._profile, NullTransport(), self)
            subscriptions.append(writer.subscribe(self._channel, 0))
        self._turn()
        for subscription in subscriptions:
            assert subscription.seq == self._channel.ring.head_seq
            subscription.writer.close()

    def close(self) -> None:
        """Nothing to let go of."""


class _Loop:
    """The event loop's part: ticks at once, what threads deliver when there is nothing else to do."""

    def __init__(self) -> None:
        self._soon: deque[Callable[[], object]] = deque()
        self.call_soon = self._soon.append
        self.pump = Pump()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Presence, and another try when the file fails: not in so short a time."""

    def run_until(self, done: Callable[[], bool]) -> None:
        while True:
            while self._soon:
                self._soon.popleft()()
            if done():
                return
            self.pump.turn()


class FromSqlite:
    """The ring holds the last one of them. What was missed is read anew each time.

    One block is remembered all the same, so that the events lie in two at least: they take turns.
    """

    def __init__(self, path: Path, events: int) -> None:
        self._after = max(0, BLOCK_EVENTS - events // 2)
        self._loop = loop = _Loop()
        self._store = SqliteStore(path, deliver=loop.pump.deliver, durability="normal")
        self._hub = Hub(
            Fanout(loop.call_soon, time.monotonic, encode_lagged),
            self._store,
            RoomSettings(ring_bytes=1, replay_bytes=1),
            clock=time.monotonic,
            call_later=loop.call_later,
        )
        self._profile = Profile("ws", "websocket", HIGH_WATER_BYTES, LOW_WATER_BYTES)
        self._room = self._open()
        stored: list[object] = []
        for _ in range(self._after + events):
            self._room.post(message("x" * 64, "somebody"), None, stored.append)
        loop.run_until(lambda: len(stored) == self._room.head == self._after + events)

    def _open(self) -> Room:
        rooms: list[Any] = []
        self._hub.open("lobby", rooms.append)
        self._loop.run_until(lambda: bool(rooms))
        (room,) = rooms
        assert isinstance(room, Room)
        return room

    def on_writable(self) -> None:
        """Nobody replies here."""

    def catch_up(self, clients: int) -> None:
        """They come, and leave when they are served."""
        hub, room = self._hub, self._room
        memberships = []
        for number in range(clients):
            writer = Writer(hub.fanout, self._profile, NullTransport(), self)
            memberships.append(hub.enter(room, writer, f"user-{number}", self._after, None))
        waiting = deque(memberships)

        def are_served() -> bool:
            while waiting and waiting[0].subscription.seq == room.head:
                waiting.popleft()
            return not waiting

        self._loop.run_until(are_served)
        for number, membership in enumerate(memberships):
            hub.leave(room, membership.subscription.writer, f"user-{number}")
            membership.subscription.writer.close()

    def close(self) -> None:
        """Closes the file."""
        self._store.close()


class QueryEach:
    """A query for each client, a frame and a write of `websockets`' for each event. Needs a running loop."""

    def __init__(self, path: Path, events: int) -> None:
        self._connection = sqlite3.connect(path)
        self._connection.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY, body TEXT)")
        rows = [(seq, make_event().decode()) for seq in range(1, events + 1)]
        self._connection.executemany("INSERT INTO events VALUES (?, ?)", rows)
        self._connection.commit()

    def catch_up(self, clients: int) -> None:
        """One after the other."""
        for connection in open_server_connections([NullTransport() for _ in range(clients)]):
            rows = self._connection.execute("SELECT body FROM events WHERE seq > ? ORDER BY seq", (0,))
            for (body,) in rows:
                connection.protocol.send_text(body.encode())
                connection.send_data()

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()


class WriteEach:
    """The events in a list, framed and written one by one."""

    def __init__(self, events: int) -> None:
        self._bodies: Sequence[bytes] = [make_event()] * events

    def catch_up(self, clients: int) -> None:
        """One after the other."""
        for _ in range(clients):
            transport = NullTransport()
            for body in self._bodies:
                transport.write(encode_frame(TEXT, body))

    def close(self) -> None:
        """Nothing to let go of."""
