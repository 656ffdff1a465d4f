"""Who is in a room, what they have read, what the others are told of it. Pure: no sockets, clock or await.

All of it is ephemeral: it is announced beside the room's log, to those who are there.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any, Protocol

from fastchat._fanout import Channel, Subscription
from fastchat.messages import encode_presence, encode_receipts, encode_typing

CallLater = Callable[[float, Callable[[], None]], Any]


class PresenceSettings(Protocol):
    """How often members are told, and up to which size of the room by name."""

    presence_interval_s: float
    presence_names: int


class Circumstances:
    """What the presence of all rooms shares: settings, time, and where marks are kept."""

    __slots__ = ("call_later", "clock", "mark", "settings")

    def __init__(
        self,
        settings: PresenceSettings,
        clock: Callable[[], float],
        call_later: CallLater,
        mark: Callable[[str, str, int], None],
    ) -> None:
        """``mark`` has the store remember how far a user has read a room."""
        self.settings = settings
        self.clock = clock
        self.call_later = call_later
        self.mark = mark


class Presence:
    """One room's members: ``members`` has the number of connections of each by name."""

    __slots__ = (
        "_came",
        "_channel",
        "_circumstances",
        "_cursors",
        "_due",
        "_published_at",
        "_receipts",
        "_went",
        "members",
    )

    def __init__(self, channel: Channel, circumstances: Circumstances) -> None:
        self._channel = channel
        self._circumstances = circumstances
        self.members: dict[str, int] = {}
        self._cursors: dict[str, int] = {}  # how far members have read, of those who have read anything
        self._receipts: dict[str, int] = {}
        self._came: dict[str, None] = {}
        self._went: dict[str, None] = {}
        self._published_at = float("-inf")
        self._due = False

    def enter(self, user: str, cursor: int = 0) -> None:
        """Counts one more connection of ``user``, who has read up to ``cursor``; announces the first one."""
        connections = self.members.get(user, 0)
        self.members[user] = connections + 1
        if cursor > self._cursors.get(user, 0):
            self._cursors[user] = min(cursor, self._channel.ring.head_seq)
        if connections == 0:
            self._announce(user, self._came, self._went)

    def exit(self, user: str) -> None:
        """Counts one connection less; the last one's end is announced."""
        connections = self.members[user]
        if connections > 1:
            self.members[user] = connections - 1
        else:
            del self.members[user]
            self._cursors.pop(user, None)
            self._announce(user, self._went, self._came)

    def _announce(self, user: str, side: dict[str, None], other: dict[str, None]) -> None:
        if user in other:
            del other[user]  # came and went between two announcements: nobody needs to know
        else:
            side[user] = None
        self._announce_soon()

    def _announce_soon(self) -> None:
        if not self._due:
            self._due = True
            here = self._circumstances
            wait_s = self._published_at + here.settings.presence_interval_s - here.clock()
            here.call_later(max(0.0, wait_s), self._publish)

    def _publish(self) -> None:
        self._due = False
        came, went = list(self._came), list(self._went)
        most = self._circumstances.settings.presence_names
        receipts = dict(islice(self._receipts.items(), most))
        self._came.clear()
        self._went.clear()
        self._receipts.clear()
        if not self.members or not (came or went or receipts):
            return
        self._published_at = self._circumstances.clock()
        room, small = self._channel.name, len(self.members) <= most
        if came or went:
            named = small and len(came) + len(went) <= most
            names: tuple[list[str], list[str]] = (came, went) if named else ([], [])
            self._channel.announce(encode_presence(room, *names, len(self.members)))
        if receipts and small:
            self._channel.announce(encode_receipts(room, receipts))

    # What members have read

    def cursor(self, user: str) -> int:
        """The ``seq`` up to which a member has read."""
        return self._cursors.get(user, 0)

    def acknowledge(self, user: str, seq: int) -> None:
        """Remembers how far a member has read, never less; tells the room with the next announcement."""
        if seq > self._cursors.get(user, 0):
            self._cursors[user] = self._receipts[user] = seq
            self._circumstances.mark(user, self._channel.name, seq)
            self._announce_soon()

    def move_along(self, author: str, seq: int) -> None:
        """Who has read everything up to an own event has nothing new to read. Others need not be told."""
        if self._cursors.get(author, 0) == seq - 1 and author in self.members:
            self._cursors[author] = seq
            self._circumstances.mark(author, self._channel.name, seq)

    # What they do at the moment

    def typing(self, author: str, subscription: Subscription) -> None:
        """Tells the others that ``author`` is writing."""
        self._channel.announce(encode_typing(self._channel.name, author), subscription)
