"""One room's log in PostgreSQL: what is appended here, and what other nodes append, in one order."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

from fastchat._ring import Ring
from fastchat.messages import WireError
from fastchat.store.interface import Block, Draft, Facts, Follower, Page, Stored
from fastchat.store.postgres import reading
from fastchat.store.postgres.batch import Append, RoomState
from fastchat.store.postgres.connection import Reader
from fastchat.store.postgres.order import Order
from fastchat.store.postgres.reading import RoomFound
from fastchat.store.postgres.writer import Writer

BUS_WAIT_S = 0.02
"""For what is missing: it may be under way on the bus, or be an own commit that is about to be answered."""

HOLD_S = 0.01
"""For which, or for twice as long at most, other nodes' messages wait for an own commit that is under way."""

READ_RETRY_S = 1.0

_MESSAGE = b'{"type":"message"'

logger = logging.getLogger(__name__)


class Home(Protocol):
    """The store, as its logs see it."""

    writer: Writer
    reader: Reader

    def attach(self, log: PostgresLog) -> None:
        """It wants to hear what other nodes store in its room."""

    def later(self, delay_s: float, callback: Callable[[], object]) -> None:
        """Has it called in the loop's thread."""


class PostgresLog:
    """One room's log in the database.

    While own events are being committed, other nodes' messages are held and told together with these: so
    everybody here gets both in one write.
    """

    __slots__ = (
        "__weakref__", "_awaited", "_filling", "_follower", "_held", "_holds", "_limited", "_order", "_store",
        "_under_way", "epoch", "facts", "room", "state", "version",
    )  # fmt: skip

    durable = True

    def __init__(self, store: Home, state: RoomState, found: RoomFound) -> None:
        self._store = store
        self._follower: Follower | None = None
        self._order = Order(found.head)
        self._filling = False
        self._under_way = 0  # own events that are not answered yet
        self._held = False
        self._holds = 0  # how often, since the beginning
        self._limited = False
        self._awaited: list[tuple[int, Callable[[WireError | None], None]]] = []
        """Who is to be answered when everything up to an event has been told."""
        self.state = state
        self.room = state.name
        self.epoch = state.epoch
        self.facts = found.facts
        self.version = found.version
        """Of the facts that the follower knows; its own changes do not count."""

    @property
    def head(self) -> int:
        """The ``seq`` of the newest event that has been told."""
        return self._order.head

    @property
    def first(self) -> int:
        """The ``seq`` of the oldest event that trimming has left."""
        return self.state.first

    def attach(self, ring: Ring, follower: Follower) -> None:
        """The ring is a cache here."""
        self._follower = follower
        self._store.attach(self)

    def refresh(self, done: Callable[[WireError | None], None]) -> None:
        """Asks the database how far the room is by now."""

        def on_heads(heads: dict[str, tuple[str, int, int, int]] | WireError) -> None:
            if isinstance(heads, WireError):
                done(heads)
                return
            epoch, head, *_ = heads.get(self.room, (self.epoch, 0, 0, 0))
            if epoch != self.epoch or head <= self.head:
                done(None)
                return
            self._awaited.append((head, done))
            self.expect(head)

        self._store.reader.submit(partial(reading.read_heads, names=[self.room]), on_heads)

    def append(self, draft: Draft, done: Callable[[Stored | WireError], None]) -> None:
        """Answers after the commit, in its turn among the events of other nodes."""
        self._under_way += 1
        self._store.writer.submit(Append(self, draft, self.version, partial(self._answer, done)))

    def _answer(self, done: Callable[[Stored | WireError], None], result: Stored | WireError) -> None:
        self._under_way -= 1
        try:
            done(result)
        finally:
            if self._held and not self._under_way:  # it was not stored, and tells nothing
                self._release()

    def set_facts(self, changes: Facts, done: Callable[[WireError | None], None]) -> None:
        """Answers after the commit."""
        self._store.writer.submit(Append(self, changes, self.version, done))

    def read(
        self, after: int, before: int, limit: int, newest: bool, done: Callable[[Page | WireError], None]
    ) -> None:
        """Reads only what has been told already."""
        before = min(before, self.head + 1)
        query = partial(
            reading.read_page, room=self.state, after=after, before=before, limit=limit, newest=newest
        )
        self._store.reader.submit(query, done)

    def replay(self, after: int, done: Callable[[Block | WireError], None]) -> None:
        """Reads only what has been told already."""
        query = partial(reading.read_block, room=self.state, after=after, head=self.head)
        self._store.reader.submit(query, done)

    # What has been stored

    def on_stored(self, stored: Stored, done: Callable[[Stored], None]) -> None:
        """An own event: its sender is answered in its turn."""

        def tell(new: bool) -> None:
            done(stored if new else Stored(stored.seq, stored.at_ms, None))

        self._held = False
        try:
            self._order.add_own(stored.seq, tell)
        finally:
            self._look_for_gaps()

    def on_foreign(self, seq: int, body: bytes) -> None:
        """An event that the bus has brought, or that was read."""
        self._order.add_foreign(seq, partial(self._tell, seq, body))

    def expect(self, head: int) -> None:
        """There are events up to this one."""
        self._order.expect(head)
        self._look_for_gaps()

    def on_facts(self, version: int, facts: Facts) -> None:
        """Another node has changed the facts."""
        if version > self.version:
            self.version = version
            if self._follower is not None:
                self._follower.on_facts(facts)

    def receive(self, seq: int, body: bytes) -> None:
        """As ``on_foreign``, or held; what is missing before it is read after a moment."""
        # What was committed here may wait for just this event: then there is nothing to hold it for.
        is_next = not self._order.waits and seq == self.head + 1
        if self._under_way and (self._held or is_next) and body.startswith(_MESSAGE):
            self._hold(seq, body)
            return
        self._held = False
        try:
            self.on_foreign(seq, body)
        finally:
            self._look_for_gaps()

    def _hold(self, seq: int, body: bytes) -> None:
        if not self._held:
            self._held = True
            self._holds += 1
            self._limit()
        self._order.hold_foreign(seq, partial(self._tell, seq, body))

    def _limit(self) -> None:
        """Has what is held told in time, whatever becomes of the own commit."""
        if not self._limited:
            self._limited = True
            self._store.later(HOLD_S, partial(self._on_limit, self._holds))

    def _on_limit(self, holds: int) -> None:
        self._limited = False
        if self._held and self._holds != holds:  # since a moment ago
            self._limit()
        elif self._held:
            self._release()

    def _release(self) -> None:
        self._held = False
        try:
            self._order.release()
        finally:
            self._look_for_gaps()

    def _tell(self, seq: int, body: bytes, new: bool) -> None:
        self.state.head = max(self.state.head, seq)
        if self._follower is not None:
            self._follower.on_foreign(Stored(seq, at_ms_of(body), body))

    def _look_for_gaps(self) -> None:
        if self._awaited:
            self._answer_awaited()
        if not self._filling and self._order.gap is not None:
            self._filling = True
            self._store.later(BUS_WAIT_S, self._fill)

    def _answer_awaited(self) -> None:
        due = [done for head, done in self._awaited if head <= self.head]
        self._awaited = [(head, done) for head, done in self._awaited if head > self.head]
        for done in due:
            done(None)

    def _fill(self) -> None:
        if self._awaited:
            self._answer_awaited()
        if (gap := self._order.gap) is None:
            self._filling = False
            return
        after, upto = gap
        query = partial(reading.read_events, name=self.room, after=after, upto=upto)
        self._store.reader.submit(query, partial(self._on_read, after))

    def _on_read(self, after: int, found: tuple[int, list[bytes]] | WireError) -> None:
        if isinstance(found, WireError):
            self._store.later(READ_RETRY_S, self._fill)
            return
        first, bodies = found
        if first != after + 1 or not bodies:
            logger.warning(
                "room %s has been trimmed beyond event %d, the newest that this node has told; its people "
                "here are sent away to come back, keep more of it (keep_events and the like)",
                self.room,
                after,
            )
            if self._follower is not None:
                self._follower.on_lost()
            return  # with _filling set: nothing is looked for any more
        try:
            for seq, body in enumerate(bodies, first):
                self.on_foreign(seq, body)
        finally:
            self._fill()


def at_ms_of(body: bytes) -> int:
    """When the event came in. What stands before it in the JSON has no quotes but escaped ones."""
    start = body.index(b',"at":') + 6
    return int(body[start : body.find(b",", start)])  # where nothing follows: all but the brace
