"""What people of other nodes cost a node: memory, bytes on the bus, and time to apply what is told."""

from __future__ import annotations

import dataclasses
import gc
import time
import tracemalloc
from collections.abc import Callable

from fastchat.cluster import envelope
from fastchat.messages import Close
from fastchat.people import User
from fastchat.population import Devices
from fastchat.store import Draft, Kind
from fastchat.store.interface import Committed
from tests.nodes import Nodes, Payload

SESSIONS = 20_000
ROOMS = 5
"""So many rooms each, of 500 in all; and none, for what a room adds."""
TEXT = "m" * 64
"""As long as those of the other benchmarks."""
TIMES = 20_000


class Account:
    """A session of an account, without a socket."""

    def __init__(self, name: str) -> None:
        self.user = name
        self.person = User(name)
        self.devices: Devices | None = None
        self.rooms: list[str] = []

    def end(self, code: Close, reason: str) -> None:
        """Nobody ends it."""

    def expel(self, room: str, by: str | None, reason: str | None) -> None:
        """Nobody does."""

    def tell_expiry(self, expires_in_ms: int) -> None:
        """It has no token."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one session, or of one change of it, to a node that hears of it."""

    bus_bytes: float
    cpu_us: float
    memory_bytes: float


class Told:
    """A node that tells, and another one that hears it when it has all been told."""

    def __init__(self) -> None:
        self.nodes = Nodes(2)
        self.accounts = [Account(f"user-{number}") for number in range(SESSIONS)]

    def hear(self, tell: Callable[[int, Account], object], *, memory: bool) -> Cost:
        """Tells it of each account, all at once; what that costs, either the memory or the time."""
        bus, loop = self.nodes.bus, self.nodes.loop
        bus.held = True
        for number, account in enumerate(self.accounts):
            tell(number, account)
        loop.advance(0)
        bus.held = False
        payloads: list[Payload] = bus.waiting
        bus.waiting = []
        size = sum(len(payload.content) for payload in payloads)
        gc.collect()
        if memory:
            tracemalloc.start()
        before, began_at = tracemalloc.get_traced_memory()[0], time.process_time()
        for payload in payloads:
            bus.deliver(payload)
            loop.advance(0)
        took_s = time.process_time() - began_at
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        return Cost(size / SESSIONS, took_s / SESSIONS * 1e6, grown / SESSIONS)

    def come(self, rooms: int) -> Callable[[int, Account], None]:
        """Enters the chat with so many rooms."""
        node = self.nodes.alive[0]

        def tell(number: int, account: Account) -> None:
            node.hub.population.enter(account, account.person)
            for each in range(rooms):
                node.people.on_joined(account, _room(number, each))

        return tell

    def read(self, number: int, account: Account) -> None:
        """Has read the first of its rooms a little further."""
        self.nodes.alive[0].people.on_read(account, _room(number, 0), 12_345)


def _room(number: int, each: int) -> str:
    return f"room-{(number + 100 * each) % 500}"


def measure() -> dict[str, Cost]:
    """By what is told: a session without rooms, one with ROOMS, that somebody has read something."""
    found = {}
    for name, rooms in ("session", 0), ("session in rooms", ROOMS):
        timed, weighed = Told(), Told()
        cost = timed.hear(timed.come(rooms), memory=False)
        memory_bytes = weighed.hear(weighed.come(rooms), memory=True).memory_bytes
        found[name] = dataclasses.replace(cost, memory_bytes=memory_bytes)
    cost, memory_bytes = (
        timed.hear(timed.read, memory=False),
        weighed.hear(weighed.read, memory=True).memory_bytes,
    )
    found["read"] = dataclasses.replace(cost, memory_bytes=memory_bytes)
    return found


def measure_events() -> Cost:
    """A message that another node has committed alone: on the bus, and to a node that reads it."""
    draft = Draft(Kind.MESSAGE, "user-12345", 1_795_000_000_000, {"text": TEXT}, "m-12345")
    event = Committed("room-123", 12_345, draft.encode("room-123", 12_345))
    (payload,) = envelope.encode_events("0123abcd", [event])
    began_at = time.process_time()
    for _ in range(TIMES):
        envelope.parse_events(envelope.parse_envelope(payload))
    return Cost(len(payload), (time.process_time() - began_at) / TIMES * 1e6, 0.0)
