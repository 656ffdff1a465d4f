"""The hub: rooms, who is in them, and who has which name. Pure: no sockets, clock or await.

A room is a log (``store``), its newest part in memory (``Channel``), and its members. The hub is given a
clock and a ``call_later``; it never looks for them itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from secrets import token_hex
from typing import Any

from fastchat._fanout import Channel, Fanout, Subscription, Writer
from fastchat._ring import Event
from fastchat.messages import Code, WireError, encode_presence, encode_receipts, encode_typing
from fastchat.replay import BlockCache, Replay
from fastchat.store import Draft, RoomLog, Store, Stored

CallLater = Callable[[float, Callable[[], None]], Any]


@dataclass(slots=True)
class RoomSettings:
    """What all rooms have in common.

    ``ring_bytes`` bounds each room's events in memory; ``empty_kept`` rooms without members keep their
    history; members who come and go are announced at most once per ``presence_interval_s``, and by name
    only in rooms of at most ``presence_names`` members; so is what they have read. ``ring_bytes_of`` gives
    the limit of rooms that have one of their own; ``replay_bytes`` bounds what is kept of the events that
    were read again from the store, for all rooms together.
    """

    ring_bytes: int = 1 << 20
    ring_bytes_of: Callable[[str], int | None] = lambda room: None
    replay_bytes: int = 16 << 20
    empty_kept: int = 1000
    presence_interval_s: float = 1.0
    presence_names: int = 100


class Room:
    """One room: its log, its channel, its members."""

    __slots__ = (
        "_came",
        "_hub",
        "_presence_at",
        "_presence_due",
        "_receipts",
        "_went",
        "channel",
        "log",
        "members",
        "name",
        "unstored",
    )

    def __init__(self, hub: "Hub", log: RoomLog) -> None:
        self._hub = hub
        self.name = log.room
        self.log = log
        self.channel: Channel = hub.fanout.channel(self.name, hub.ring_bytes(self.name), log.head)
        log.attach(self.channel.ring)
        if log.durable:
            self.channel.source = Replay(log, hub.blocks, hub.call_later)
        self.members: dict[str, int] = {}
        self.unstored = 0  # events that the store has not answered for yet
        self._receipts: dict[str, int] = {}
        self._came: dict[str, None] = {}
        self._went: dict[str, None] = {}
        self._presence_at = float("-inf")
        self._presence_due = False

    @property
    def head(self) -> int:
        """The ``seq`` of the newest event of the log; 0 in a new room."""
        return self.channel.ring.head_seq

    def enter(self, user: str) -> None:
        """Counts one more connection of ``user``; the first one is announced."""
        connections = self.members.get(user, 0)
        self.members[user] = connections + 1
        if connections == 0:
            self._announce(user, self._came, self._went)

    def exit(self, user: str) -> None:
        """Counts one connection less; the last one's end is announced."""
        connections = self.members[user]
        if connections > 1:
            self.members[user] = connections - 1
        else:
            del self.members[user]
            self._announce(user, self._went, self._came)

    def _announce(self, user: str, side: dict[str, None], other: dict[str, None]) -> None:
        if user in other:
            del other[user]  # came and went between two announcements: nobody needs to know
        else:
            side[user] = None
        self._announce_soon()

    def _announce_soon(self) -> None:
        if not self._presence_due:
            self._presence_due = True
            wait_s = self._presence_at + self._hub.settings.presence_interval_s - self._hub.clock()
            self._hub.call_later(max(0.0, wait_s), self._publish_presence)

    def _publish_presence(self) -> None:
        self._presence_due = False
        came, went, receipts = list(self._came), list(self._went), dict(self._receipts)
        self._came.clear()
        self._went.clear()
        self._receipts.clear()
        if not self.members or not (came or went or receipts):
            return
        self._presence_at = self._hub.clock()
        most = self._hub.settings.presence_names
        large = len(self.members) > most or len(came) + len(went) > most
        if came or went:
            names: tuple[list[str], list[str]] = ([], []) if large else (came, went)
            self.channel.announce(encode_presence(self.name, *names, len(self.members)))
        if receipts and not large:
            self.channel.announce(encode_receipts(self.name, receipts))

    def post(
        self, draft: Draft, hidden_from: Subscription | None, done: Callable[[Stored | WireError], None]
    ) -> None:
        """Stores the event, delivers it to the members, and calls ``done``.

        ``hidden_from``: the author's own subscription, where the author has no use for an echo.
        """

        def on_stored(stored: Stored | WireError) -> None:
            self.unstored -= 1
            if isinstance(stored, Stored) and stored.body is not None:
                writer_id = hidden_from.writer.id if hidden_from is not None else 0
                self.channel.publish(Event(stored.seq, stored.body, hidden_from=writer_id), hidden_from)
            done(stored)
            if not self.members:
                self._hub.retire(self)

        self.unstored += 1
        self.log.append(draft, on_stored)

    def acknowledge(self, user: str, seq: int) -> None:
        """Remembers how far the user has read, and tells the room with the next announcement."""
        if seq > self._receipts.get(user, 0):
            self._receipts[user] = seq
            self._hub.mark(user, self.name, seq)
            self._announce_soon()

    def typing(self, author: str, subscription: Subscription) -> None:
        """Tells the others that ``author`` is writing."""
        self.channel.announce(encode_typing(self.name, author), subscription)


@dataclass(frozen=True, slots=True)
class Membership:
    """One connection in one room; ``reset`` says that the ``after`` it came with was of another epoch."""

    room: Room
    subscription: Subscription
    reset: bool


class Hub:
    """Every room and every name of one server."""

    def __init__(
        self,
        fanout: Fanout,
        store: Store,
        settings: RoomSettings,
        *,
        clock: Callable[[], float],
        call_later: CallLater,
    ) -> None:
        self.fanout = fanout
        self.store = store
        self.settings = settings
        self.clock = clock
        self.call_later = call_later
        self.rooms: dict[str, Room] = {}
        self._empty: dict[str, None] = {}  # rooms without members, the longest empty one first
        self._opening: dict[str, list[Callable[[Room | WireError], None]]] = {}
        self._marks: dict[tuple[str, str], int] = {}
        self._names: set[str] = set()
        self.blocks = BlockCache(settings.replay_bytes)

    # Names

    def claim_name(self, name: str | None) -> str:
        """Reserves a guest's name, or makes one up. Raises WireError when somebody has it."""
        if name is None:
            name = f"guest-{token_hex(2)}"
            while name in self._names:
                name = f"guest-{token_hex(4)}"
        key = name.casefold()
        if key in self._names:
            raise WireError(Code.NAME_TAKEN, f"user {name} is taken; choose another name", field="user")
        self._names.add(key)
        return name

    def release_name(self, name: str) -> None:
        """Lets somebody else have the name."""
        self._names.discard(name.casefold())

    # Rooms

    def ring_bytes(self, name: str) -> int:
        """The limit of a room's ring."""
        own = self.settings.ring_bytes_of(name)
        return self.settings.ring_bytes if own is None else own

    def open(self, name: str, done: Callable[[Room | WireError], None]) -> None:
        """The room, from the store where it isn't in use; a new one where there is none."""
        room = self.rooms.get(name)
        if room is not None:
            done(room)
            return
        waiting = self._opening.setdefault(name, [])
        waiting.append(done)
        if len(waiting) == 1:
            self.store.open(name, partial(self._on_open, name))

    def _on_open(self, name: str, log: RoomLog | WireError) -> None:
        opened: Room | WireError = log if isinstance(log, WireError) else Room(self, log)
        if isinstance(opened, Room):
            self.rooms[name] = opened
        for done in self._opening.pop(name):
            done(opened)
        if isinstance(opened, Room) and not opened.members:
            self.retire(opened)

    def find(self, name: str, done: Callable[[Room | WireError], None]) -> None:
        """As ``open``, but a room in which there is nothing and nobody is ``no_such_room``."""

        def on_open(room: Room | WireError) -> None:
            if isinstance(room, Room) and not room.members and not room.head:
                room = WireError(
                    Code.NO_SUCH_ROOM, f"there is no room {name}; join it to open it", field="room"
                )
            done(room)

        self.open(name, on_open)

    def enter(
        self, room: Room, writer: Writer, user: str, after: int | None, epoch: str | None
    ) -> Membership:
        """Makes the user a member, and starts a cursor behind ``after``.

        When ``epoch`` is not the log's, ``after`` means nothing any more and everything that is held comes.
        Raises WireError when ``after`` lies in the future.
        """
        reset = epoch is not None and epoch != room.log.epoch
        if reset:
            after = 0
        elif after is not None and after > room.head:
            raise WireError(
                Code.BAD_FIELD,
                f"after is {after} but the newest event of {room.name} has seq {room.head}; leave after out, "
                "or send the epoch that it belongs to",
                field="after",
            )
        self.rooms[room.name] = room
        self._empty.pop(room.name, None)
        subscription = writer.subscribe(room.channel, after)
        room.enter(user)
        return Membership(room, subscription, reset)

    def leave(self, membership: Membership, user: str) -> None:
        """Takes a member out."""
        membership.subscription.cancel()
        membership.room.exit(user)
        self.retire(membership.room)

    def retire(self, room: Room) -> None:
        """Lets go of a room without members, but not at once if there is anything in it."""
        if room.members or room.unstored or self.rooms.get(room.name) is not room:
            return
        if room.head == 0:
            del self.rooms[room.name]
            return
        self._empty[room.name] = None
        if len(self._empty) > self.settings.empty_kept:
            longest_empty = next(iter(self._empty))
            del self._empty[longest_empty]
            del self.rooms[longest_empty]

    # What users have read

    def mark(self, user: str, room: str, seq: int) -> None:
        """Has the store remember how far a user has read; many marks are stored together."""
        if not self._marks:
            self.call_later(self.settings.presence_interval_s, self.store_marks)
        self._marks[user, room] = seq

    def store_marks(self) -> None:
        """Hands the store what it has not been told yet."""
        if self._marks:
            marks, self._marks = self._marks, {}
            self.store.mark(marks)

    def marks(
        self, user: str, rooms: Sequence[str], done: Callable[[Mapping[str, int] | WireError], None]
    ) -> None:
        """How far the user has read each of the rooms, as far as there is a mark."""

        def on_read(stored: Mapping[str, int] | WireError) -> None:
            if isinstance(stored, WireError):
                done(stored)
                return
            fresh = {room: seq for room in rooms if (seq := self._marks.get((user, room))) is not None}
            done({**stored, **fresh})

        self.store.marks(user, rooms, on_read)

    def rename(self, rooms: list[Room], old: str, new: str) -> None:
        """Lets a member of ``rooms`` go on under another name. Raises WireError when somebody else has it."""
        if new.casefold() != old.casefold():
            self.claim_name(new)
            self.release_name(old)
        for room in rooms:
            room.exit(old)
            room.enter(new)

    def set_ring_bytes(self, ring_bytes: int) -> None:
        """Changes every room's limit at once."""
        self.settings.ring_bytes = ring_bytes
        for room in self.rooms.values():
            room.channel.ring.set_limit(self.ring_bytes(room.name))
