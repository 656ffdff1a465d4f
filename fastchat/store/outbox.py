"""What waits for a broker, where the store is in memory. Pure: no sockets, clock or await.

Rings are all there is: an event waits as long as it is in its room's ring, which outlives the room while
something in it waits. What a ring has moved on over is gone, and counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from fastchat._ring import Ring
from fastchat.store.interface import slot_of
from fastchat.store.sending import Backlog, Notice, Unsent, UnsentEvents

NOTICES_HELD = 10_000
"""So many notices wait in memory."""

LOGS_HELD = 1000
"""The rings of so many logs are held although something in them waits; of more, the longest one goes."""

UNSENT_BYTES = 1 << 20
"""About the most that is taken at once."""


def share_out(waiting: Sequence[int], limit: int) -> list[int]:
    """How many to take of each, ``limit`` in all: the same of each, and more where others have less."""
    shares = [0] * len(waiting)
    left = limit
    order = sorted(range(len(waiting)), key=waiting.__getitem__)
    for place, index in enumerate(order):
        shares[index] = min(waiting[index], left // (len(order) - place))
        left -= shares[index]
    return shares


@dataclass(slots=True)
class _Waiting:
    """A log of which something waits: what is behind ``published``."""

    room: str
    epoch: str
    ring: Ring
    published: int
    since_ms: int


class MemoryOutbox:
    """The outbox of logs that are rings, and of notices in memory. It is None in a log while nobody sends."""

    def __init__(self, keep_notices: int = NOTICES_HELD) -> None:
        self._waiting: dict[str, list[_Waiting]] = {}  # by room, those of its logs, the oldest first
        self._logs = 0
        self._notices: deque[Notice] = deque()
        self._keep_notices = keep_notices
        self._numbered = 0
        self._dropped = 0
        self.on_waiting: Callable[[], None] = lambda: None

    def note(self, room: str, epoch: str, ring: Ring, at_ms: int) -> None:
        """An event is about to be added to the ring."""
        logs = self._waiting.get(room)
        if logs is not None and logs[-1].epoch == epoch:
            return
        waiting = _Waiting(room, epoch, ring, ring.head_seq, at_ms)
        if logs is None:
            self._waiting[room] = [waiting]
        else:
            logs.append(waiting)
        self._logs += 1
        if self._logs > LOGS_HELD:
            self._forget(self._waiting[next(iter(self._waiting))][0])
        self.on_waiting()

    def _forget(self, waiting: _Waiting) -> None:
        """Nothing of the log waits any more: it was sent, or is lost."""
        self._dropped += waiting.ring.head_seq - waiting.published
        logs = self._waiting[waiting.room]
        logs.remove(waiting)
        self._logs -= 1
        if not logs:
            del self._waiting[waiting.room]

    def notify(self, notices: Sequence[Notice]) -> None:
        """Keeps notices; drops, and counts, the oldest beyond the limit."""
        for notice in notices:
            self._numbered += 1
            self._notices.append(Notice(self._numbered, notice.slot, notice.body))
        while len(self._notices) > self._keep_notices:
            self._notices.popleft()
            self._dropped += 1
        self.on_waiting()

    def unsent(self, slots: Collection[int] | None, limit: int) -> Unsent:
        """The oldest that waits; rooms take turns."""
        mine = (notice for notice in self._notices if slots is None or notice.slot in slots)
        notices = [*islice(mine, most_notices := max(1, limit // 4))]
        limit -= len(notices)
        logs = [*islice(self._first_logs(slots), limit)]
        for waiting in logs:  # who was served goes to the end
            self._waiting[waiting.room] = self._waiting.pop(waiting.room)
        shares = share_out([waiting.ring.head_seq - waiting.published for waiting in logs], limit)
        size = max(1, UNSENT_BYTES // max(1, len(logs)))
        events = [self._take(waiting, share, size) for waiting, share in zip(logs, shares, strict=True)]
        left = sum(
            log.ring.head_seq + 1 - each.first - len(each.bodies)
            for log, each in zip(logs, events, strict=True)
        )
        more = left > 0 or len(notices) == most_notices or len(logs) == limit
        return Unsent([each for each in events if each.bodies], notices, more)

    def _first_logs(self, slots: Collection[int] | None) -> Iterator[_Waiting]:
        for room, logs in self._waiting.items():
            if slots is None or slot_of(room) in slots:
                yield logs[0]

    def _take(self, waiting: _Waiting, most: int, size_bytes: int) -> UnsentEvents:
        ring = waiting.ring
        if (lost := ring.first_seq - 1 - waiting.published) > 0:
            self._dropped += lost
            waiting.published += lost
        after = waiting.published
        found = ring.events(after, ring.head_seq + 1, most, size_bytes) if most else []
        return UnsentEvents(waiting.room, waiting.epoch, after + 1, [event.body for event in found])

    def sent(self, heads: Mapping[str, int], notices: Sequence[int]) -> None:
        """Forgets them."""
        for room, seq in heads.items():
            if (logs := self._waiting.get(room)) is None:
                continue
            waiting = logs[0]
            waiting.published = max(waiting.published, min(seq, waiting.ring.head_seq))
            if waiting.published == waiting.ring.head_seq:
                self._forget(waiting)
        if notices:
            gone = set(notices)
            self._notices = deque(notice for notice in self._notices if notice.number not in gone)

    def backlog(self) -> Backlog:
        """How much waits; of notices in memory no time is known."""
        logs = [waiting for logs in self._waiting.values() for waiting in logs]
        events = sum(waiting.ring.head_seq - waiting.published for waiting in logs)
        oldest_ms = min((waiting.since_ms for waiting in logs), default=0)
        return Backlog(events, len(self._notices), oldest_ms, self._dropped)
