"""What a subscriber has got of a room's log, and whether that is all of it, once and in order. Pure."""

from __future__ import annotations

import enum


class Seam(enum.Enum):
    """How an event joins the one before."""

    WHOLE = "whole"
    HOLE = "hole"
    REPEAT = "repeat"


class RoomCursor:
    """A room's ``seq`` as far as this client has read, across its connections.

    ``missing`` and ``lagged`` count events that did not come; the second were announced by the server.
    """

    __slots__ = ("cursor", "epoch", "head_at_join", "joined", "lagged", "missing", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.epoch: str | None = None
        self.cursor = 0
        self.head_at_join = 0
        self.joined = False
        self.missing = 0
        self.lagged = 0

    @property
    def caught_up(self) -> bool:
        """Whether everything that there was when the room was (re)joined has come."""
        return self.joined and self.cursor >= self.head_at_join

    def receive_joined(self, head: int, epoch: str, *, reset: bool) -> None:
        """The first time the log is followed from its head on; later from where it was left."""
        if reset:
            self.cursor = 0
        elif self.epoch is None:
            self.cursor = head
        self.epoch, self.head_at_join, self.joined = epoch, head, True

    def receive_event(self, seq: int) -> Seam:
        """An event of the log has come. After a hole the log is followed from the event on."""
        expected = self.cursor + 1
        if seq == expected:
            self.cursor = seq
            return Seam.WHOLE
        if seq < expected:
            return Seam.REPEAT
        self.missing += seq - expected
        self.cursor = seq
        return Seam.HOLE

    def receive_lagged(self, first: int, last: int) -> Seam:
        """The server says that the events from ``first`` to ``last`` are gone."""
        expected = self.cursor + 1
        if last < expected:
            return Seam.REPEAT
        self.lagged += last - max(first, expected) + 1
        self.cursor = last
        if first < expected:
            return Seam.REPEAT
        if first > expected:
            self.missing += first - expected
            return Seam.HOLE
        return Seam.WHOLE


class OwnMessages:
    """A sender's own messages: each is acknowledged once and comes back to its sender exactly once."""

    __slots__ = ("_unacknowledged", "_undelivered")

    def __init__(self) -> None:
        self._unacknowledged: dict[str, tuple[str, float | None]] = {}
        self._undelivered: dict[str, int] = {}

    def send(self, message_id: str, text: str, now: float) -> None:
        self._unacknowledged[message_id] = (text, now)
        self._undelivered[message_id] = 0

    def send_again(self) -> list[tuple[str, str]]:
        """Ids and texts of what has no answer, oldest first; their time would be the outage's: forgotten."""
        again = [(message_id, text) for message_id, (text, _) in self._unacknowledged.items()]
        for message_id, text in again:
            self._unacknowledged[message_id] = (text, None)
        return again

    def receive_sent(self, message_id: str, seq: int) -> float | None:
        """The time at which it was sent; None where that means nothing."""
        if message_id in self._undelivered:
            self._undelivered[message_id] = seq
        entry = self._unacknowledged.pop(message_id, None)
        return None if entry is None else entry[1]

    def receive_own(self, message_id: str) -> bool:
        """Whether it was waited for: False says that it has appeared twice."""
        return self._undelivered.pop(message_id, None) is not None

    def drop(self, message_id: str) -> None:
        """The server has refused it."""
        self._unacknowledged.pop(message_id, None)
        self._undelivered.pop(message_id, None)

    def take_lost(self, cursor: int) -> list[str]:
        """Those that were acknowledged up to the cursor and did not come; they are forgotten."""
        lost = [message_id for message_id, seq in self._undelivered.items() if 0 < seq <= cursor]
        for message_id in lost:
            del self._undelivered[message_id]
        return lost
