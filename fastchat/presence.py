"""Who is in a room, what they have read, what the others are told of it. Pure: no sockets, clock or await.

All of it is ephemeral: it is announced beside the room's log, to those who are there.

Deltas
    An announcement has the difference to the one before: who is there now and was not then, who is gone, who
    has gone away or come back. What has come and gone in between is not in it, unless somebody was shown the
    state in between (``page``): whoever applies announcements to what ``page`` gave is right after each.
Large rooms
    Above ``presence_names`` members nobody is named, and counts come the more rarely the more members there
    are: a room sends at most ``presence_per_s`` of these events a second over all its members. So n people
    who join a room of m do not cost n times m events, but a few for each of them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Protocol

from fastchat._fanout import Channel, Subscription
from fastchat.messages import encode_presence, encode_receipts, encode_typing
from fastchat.roster import Roster

CallLater = Callable[[float, Callable[[], None]], Any]

TYPING_REPEAT_S = 2.0
"""Who says that he is writing again within this time has said nothing new."""

TYPING_EXPIRES_MS = 6000
"""For so long others may show somebody as writing; who goes on has said so again by then."""

LOOK_AGAIN_S = 1.0
"""How often a large room looks whether it may be counted already."""

SORTED_ANEW_MAX = 128
"""The names of so few members are sorted for every question; it takes 20 µs."""

Standing = tuple[bool, str | None]
"""Whether a user is in the room, and if away there, the text (maybe empty) that says why."""

ABSENT: Standing = (False, None)
HERE: Standing = (True, None)


class PresenceSettings(Protocol):
    """How often members are told, and up to which size of the room by name."""

    presence_interval_s: float
    presence_names: int
    presence_per_s: float


class Circumstances:
    """What the presence of all rooms shares: settings, time, who is away, and where marks are kept."""

    __slots__ = ("away", "call_later", "clock", "mark", "settings")

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
        self.away: dict[str, str] = {}  # by user, what they have said on leaving

    def set_away(self, user: str, text: str | None, rooms: Iterable[Presence]) -> None:
        """The user is away from now on, or back where ``text`` is None; has the ``rooms`` it is in told."""
        before = self.away.get(user)
        if before == text:
            return
        if text is None:
            del self.away[user]
        else:
            self.away[user] = text
        for room in rooms:
            if user in room.members:
                room.on_away(user, before)


class Presence:
    """One room's members: ``members`` has the number of connections of each by name.

    A room that is not ``announced`` tells nobody who is there, but what they have read and do.
    """

    __slots__ = (
        "_announced",
        "_channel",
        "_circumstances",
        "_counted",
        "_cursors",
        "_due",
        "_known",
        "_published_at",
        "_receipts",
        "_roster",
        "_typing",
        "_unnamed",
        "members",
    )

    def __init__(self, channel: Channel, circumstances: Circumstances, *, announced: bool = True) -> None:
        self._channel = channel
        self._circumstances = circumstances
        self._announced = announced
        self.members: dict[str, int] = {}
        self._cursors: dict[str, int] = {}  # how far members have read, of those who have read anything
        self._receipts: dict[str, int] = {}
        # What others may know of those who have changed: as announced, and as shown since.
        self._known: dict[str, tuple[Standing, ...]] = {}
        self._unnamed = False  # whether others have changed, too many to be named
        self._counted = -1  # the number of members that was announced last, if without names
        self._published_at = float("-inf")
        self._due = False
        self._typing: dict[str, float] | None = None
        self._roster: Roster | None = None

    # Who is there

    def begin(self, members: Mapping[str, int], cursors: Mapping[str, int]) -> None:
        """Those who are in the room by way of other nodes, before anybody else enters: nobody is told."""
        self.members.update(members)
        self._cursors.update(cursors)

    def enter(self, user: str, cursor: int = 0) -> None:
        """Counts one more connection of ``user``, who has read up to ``cursor``; announces the first one."""
        connections = self.members.get(user, 0)
        self.members[user] = connections + 1
        if cursor > self._cursors.get(user, 0):
            self._cursors[user] = min(cursor, self._channel.ring.head_seq)
        if connections == 0:
            if self._roster is not None:
                self._roster.add(user)
                self._forget_outlived_roster()
            self._note(user, ABSENT)

    def exit(self, user: str) -> None:
        """Counts one connection less; the last one's end is announced."""
        connections = self.members[user]
        if connections > 1:
            self.members[user] = connections - 1
            return
        before = self._standing(user)
        del self.members[user]
        self._cursors.pop(user, None)
        if self._typing is not None:
            self._typing.pop(user, None)
        if self._roster is not None:
            self._roster.discard(user)
            self._forget_outlived_roster()
        self._note(user, before)

    def on_away(self, user: str, before: str | None) -> None:
        """A member is away, or back, or away with another text than ``before``."""
        self._note(user, (True, before))

    def _standing(self, user: str) -> Standing:
        if user not in self.members:
            return ABSENT
        text = self._circumstances.away.get(user)
        return HERE if text is None else (True, text)

    # What is announced of it

    @property
    def named(self) -> bool:
        """Whether there are so few members that each can be told of all."""
        return len(self.members) <= self._circumstances.settings.presence_names

    def _note(self, user: str, before: Standing) -> None:
        if not self._announced:
            return
        if not self._unnamed and user not in self._known:
            if len(self._known) < self._circumstances.settings.presence_names:
                self._known[user] = (before,)
            else:
                self._unnamed = True
                self._known.clear()
        self._announce_soon()

    def _announce_soon(self) -> None:
        if not self._due:
            self._due = True
            # Looked at again before it is due, as the room may be a much smaller one by then.
            most_s = max(LOOK_AGAIN_S, self._circumstances.settings.presence_interval_s)
            self._circumstances.call_later(min(self._wait_s(), most_s), self._publish)

    def _wait_s(self) -> float:
        """The seconds until the next announcement may be made."""
        settings = self._circumstances.settings
        pause_s = settings.presence_interval_s
        if settings.presence_per_s and not self.named:
            pause_s = max(pause_s, len(self.members) / settings.presence_per_s)
        return max(0.0, self._published_at + pause_s - self._circumstances.clock())

    def _publish(self) -> None:
        self._due = False
        if not self.members:
            self._known.clear()
            self._receipts.clear()
            self._unnamed = False
            self._counted = -1
            return
        if self._wait_s() > 0:
            self._announce_soon()
            return
        bodies = [body for body in (self._take_presence(), self._take_receipts()) if body is not None]
        if bodies:
            self._published_at = self._circumstances.clock()
        for body in bodies:
            self._channel.announce(body)

    def _take_presence(self) -> bytes | None:
        """What is to be announced of who is there; None where there is nothing to tell."""
        room, count = self._channel.name, len(self.members)
        if not self._unnamed and not self._known:
            return None
        if self._unnamed or not self.named:
            if count == self._counted and not self.named:
                return None  # nobody was named before either; this stays to be told
            self._known.clear()
            self._unnamed = False
            self._counted = count
            return encode_presence(room, [], [], count, partial=True)
        joined, left, away, back = self._take_differences()
        if not (joined or left or away or back):
            return None
        self._counted = -1
        return encode_presence(room, joined, left, count, away, back)

    def _take_differences(self) -> tuple[list[str], list[str], dict[str, str], list[str]]:
        """Those who came, who went, who are away and who are back, since others have known of them."""
        joined: list[str] = []
        left: list[str] = []
        away: dict[str, str] = {}
        back: list[str] = []
        for user, known in self._known.items():
            now = there, text = self._standing(user)
            if all(standing == now for standing in known):
                continue
            if not there:
                left.append(user)
                continue
            if any(not was_there for was_there, _ in known):
                joined.append(user)
            elif text is None:
                back.append(user)
            if text is not None:
                away[user] = text
        self._known.clear()
        return joined, left, away, back

    # Who asks

    def page(self, after: str | None, limit: int) -> tuple[list[str], bool]:
        """The names of members that follow ``after`` in order, and whether there are further ones."""
        for user, known in self._known.items():
            if (now := self._standing(user)) not in known:
                self._known[user] = (*known, now)
        return self._sorted().page(after, limit)

    def sample(self, size: int) -> list[str]:
        """So many members, any of them with the same chance."""
        return self._sorted().sample(size)

    def away(self, users: list[str]) -> dict[str, str]:
        """Those of the users who are away, and what they have said on leaving."""
        texts = self._circumstances.away
        return {user: texts[user] for user in users if user in texts} if texts else {}

    def _sorted(self) -> Roster:
        if self._roster is not None:
            return self._roster
        roster = Roster(self.members)
        if len(self.members) > SORTED_ANEW_MAX:
            self._roster = roster
        return roster

    def _forget_outlived_roster(self) -> None:
        if self._roster is not None and self._roster.outlived:
            self._roster = None

    # What members have read

    def cursor(self, user: str) -> int:
        """The ``seq`` up to which a member has read, of the events that are known here."""
        return min(self._cursors.get(user, 0), self._channel.ring.head_seq)

    def acknowledge(self, user: str, seq: int) -> bool:
        """Remembers how far a member has read, never less; returns whether that is news."""
        news = self.receive_receipt(user, seq)
        if news:
            self._circumstances.mark(user, self._channel.name, seq)
        return news

    def receive_receipt(self, user: str, seq: int) -> bool:
        """As ``acknowledge``, where the mark is another node's to keep; tells the room before long.

        May be ahead of what is known of the room here.
        """
        if seq <= self._cursors.get(user, 0):
            return False
        self._cursors[user] = seq
        if self.named:
            self._receipts[user] = seq
            self._announce_soon()
        return True

    def follow(self, user: str, seq: int) -> None:
        """Another node knows that a member has read so far, which is nothing new to the others."""
        if seq > self._cursors.get(user, 0):
            self._cursors[user] = seq

    def move_along(self, author: str, seq: int, *, marked: bool = True) -> None:
        """Who has read everything up to an own event has nothing new to read. Others need not be told.

        Unless it is ``marked``, another node has the store remember it.
        """
        if self._cursors.get(author, 0) == seq - 1 and author in self.members:
            self._cursors[author] = seq
            if marked:
                self._circumstances.mark(author, self._channel.name, seq)

    def _take_receipts(self) -> bytes | None:
        most = self._circumstances.settings.presence_names
        receipts: Mapping[str, int] = dict(islice(self._receipts.items(), most))
        self._receipts.clear()
        return encode_receipts(self._channel.name, receipts) if receipts and self.named else None

    # What they do at the moment

    def typing(self, author: str, subscription: Subscription | None) -> bool:
        """Tells the others that ``author`` is writing; not in a large room, and not at every key.

        Returns whether it did. There is no ``subscription`` where the author is on another node.
        """
        if not self.named:
            return False
        now = self._circumstances.clock()
        if self._typing is None:
            self._typing = {}
        typing = self._typing
        if now - typing.get(author, float("-inf")) < TYPING_REPEAT_S:
            return False
        typing.pop(author, None)  # so that the one who wrote longest ago comes first
        typing[author] = now
        while now - typing[longest_ago := next(iter(typing))] >= TYPING_REPEAT_S:
            del typing[longest_ago]
        body = encode_typing(self._channel.name, author, TYPING_EXPIRES_MS)
        self._channel.announce(body, subscription)
        return True
