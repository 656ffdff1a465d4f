"""The hub: rooms, who is in them, and who has which name. Pure: no sockets, clock or await.

A room is a log (``store``), its newest part in memory (``Channel``), and its members. The hub is given a
clock and a ``call_later``; it never looks for them itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from fastchat._fanout import Channel, Fanout, Subscription, Writer
from fastchat._ring import Event
from fastchat.messages import Code, WireError, encode_presence, encode_typing
from fastchat.store import Draft, RoomLog, Store, Stored

CallLater = Callable[[float, Callable[[], None]], Any]


@dataclass(slots=True)
class RoomSettings:
    """What all rooms have in common.

    ``ring_bytes`` bounds each room's events in memory; ``empty_kept`` rooms without members keep their
    history; members who come and go are announced at most once per ``presence_interval_s``, and by name
    only in rooms of at most ``presence_names`` members.
    """

    ring_bytes: int = 1 << 20
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
        "_went",
        "channel",
        "log",
        "members",
        "name",
    )

    def __init__(self, hub: "Hub", name: str) -> None:
        self._hub = hub
        self.name = name
        self.channel: Channel = hub.fanout.channel(name, hub.settings.ring_bytes)
        self.log: RoomLog = hub.store.open(name, self.channel.ring)
        self.members: dict[str, int] = {}
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
        if not self._presence_due:
            self._presence_due = True
            wait_s = self._presence_at + self._hub.settings.presence_interval_s - self._hub.clock()
            self._hub.call_later(max(0.0, wait_s), self._publish_presence)

    def _publish_presence(self) -> None:
        self._presence_due = False
        came, went = list(self._came), list(self._went)
        self._came.clear()
        self._went.clear()
        if not self.members or not (came or went):
            return
        self._presence_at = self._hub.clock()
        if len(self.members) > self._hub.settings.presence_names:
            came, went = [], []
        self._publish_ephemeral(encode_presence(self.name, came, went, len(self.members)))

    def post(
        self, draft: Draft, hidden_from: Subscription | None, done: Callable[[Stored | WireError], None]
    ) -> None:
        """Stores the message, delivers it to the members, and calls ``done``.

        ``hidden_from``: the author's own subscription, where the author has no use for an echo.
        """

        def on_stored(stored: Stored | WireError) -> None:
            if isinstance(stored, Stored) and stored.body is not None:
                writer_id = hidden_from.writer.id if hidden_from is not None else 0
                self.channel.publish(Event(stored.seq, stored.body, hidden_from=writer_id), hidden_from)
            done(stored)

        self.log.append(draft, on_stored)

    def typing(self, author: str, subscription: Subscription) -> None:
        """Tells the others that ``author`` is writing."""
        self._publish_ephemeral(encode_typing(self.name, author), subscription)

    def _publish_ephemeral(self, body: bytes, hidden_from: Subscription | None = None) -> None:
        writer_id = hidden_from.writer.id if hidden_from is not None else 0
        event = Event(self.head, body, ephemeral=True, hidden_from=writer_id)
        self.channel.publish(event, hidden_from)


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
        self._names: set[str] = set()

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

    def room(self, name: str) -> Room:
        """A room that exists. Raises WireError."""
        room = self.rooms.get(name)
        if room is None:
            raise WireError(Code.NO_SUCH_ROOM, f"there is no room {name}; join it to open it", field="room")
        return room

    def join(self, writer: Writer, user: str, name: str, after: int | None, epoch: str | None) -> Membership:
        """Enters a room, which is opened if it isn't there, and starts a cursor behind ``after``.

        When ``epoch`` is not the log's, ``after`` means nothing any more and everything that is held comes.
        Raises WireError when ``after`` lies in the future.
        """
        room = self.rooms.get(name) or Room(self, name)
        reset = epoch is not None and epoch != room.log.epoch
        if reset:
            after = 0
        elif after is not None and after > room.head:
            raise WireError(
                Code.BAD_FIELD,
                f"after is {after} but the newest event of {name} has seq {room.head}; leave after out, "
                "or send the epoch that it belongs to",
                field="after",
            )
        self.rooms[name] = room
        self._empty.pop(name, None)
        subscription = writer.subscribe(room.channel, after)
        room.enter(user)
        return Membership(room, subscription, reset)

    def leave(self, membership: Membership, user: str) -> None:
        """Takes a member out; an empty room is kept for a while if anything was said in it."""
        room = membership.room
        membership.subscription.cancel()
        room.exit(user)
        if room.members:
            return
        if room.head == 0:
            del self.rooms[room.name]
            return
        self._empty[room.name] = None
        if len(self._empty) > self.settings.empty_kept:
            longest_empty = next(iter(self._empty))
            del self._empty[longest_empty]
            del self.rooms[longest_empty]

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
            room.channel.ring.set_limit(ring_bytes)
