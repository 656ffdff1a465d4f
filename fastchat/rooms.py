"""The hub: all rooms, who is in them, and who is online. Pure: no sockets, clock or await.

The hub is given a clock and a ``call_later``; it never looks for them itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from secrets import randbits

from fastchat._fanout import Fanout, Writer
from fastchat.auth.interface import Accounts, Authenticator
from fastchat.auth.names import name_key
from fastchat.cluster.interface import Names, Openings, Others
from fastchat.guest_rooms import GuestRooms
from fastchat.hooks.interface import Hooks, Kind
from fastchat.messages import Close, Code, WireError
from fastchat.notices import NoticeTaker
from fastchat.people import Role, User
from fastchat.permissions import no_such_room
from fastchat.population import OnlineSession, Population
from fastchat.presence import CallLater, Circumstances
from fastchat.replay import BlockCache
from fastchat.room import Membership, Room, RoomSettings
from fastchat.store import Direct, Draft, RoomLog, Store
from fastchat.store.facts import fold
from fastchat.store.pairs import part_of, parts_of


class Hub:
    """Every room and everybody of one server.

    ``authenticator`` tells who clients are, and ``accounts`` is for operators; without them there are no
    accounts, and everybody is a guest.
    """

    def __init__(
        self,
        fanout: Fanout,
        store: Store,
        settings: RoomSettings,
        *,
        clock: Callable[[], float],
        call_later: CallLater,
        population: Population | None = None,
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
        self.sessions_from = randbits(64)
        self.population = Population() if population is None else population
        self.authenticator: Authenticator | None = None
        self.accounts: Accounts | None = None
        self.blocks = BlockCache(settings.replay_bytes)
        self.circumstances = Circumstances(settings, clock, call_later, self.mark)
        self.hooks: Hooks | None = None
        self.notices: NoticeTaker | None = None
        """Who tells other services; None where there is no broker."""
        # Of other nodes: None on a single one.
        self.names: Names | None = None
        self.openings: Openings | None = None
        self.others: Others | None = None
        self.away = self.circumstances.away
        self.guest_rooms: GuestRooms[Room] = GuestRooms()

    # Rooms

    def ring_bytes(self, name: str) -> int:
        """The limit of a room's ring."""
        own = self.settings.ring_bytes_of(name)
        return self.settings.ring_bytes if own is None else own

    def open(self, name: str, done: Callable[[Room | WireError], None]) -> None:
        """The room, from the store where it isn't in use; a new one where there is none.

        ``done`` has it for that moment: a room without members may be let go of right after it.
        """
        room = self.rooms.get(name)
        if room is not None:
            done(room)
            return
        waiting = self._opening.setdefault(name, [])
        waiting.append(done)
        if len(waiting) == 1:
            if self.openings is not None:
                self.openings.on_open(name)
            self.store.open(name, partial(self._on_open, name))

    def _on_open(self, name: str, log: RoomLog | WireError) -> None:
        waiting = self._opening.pop(name)
        if isinstance(log, WireError):
            if self.openings is not None:
                self.openings.on_let_go(name)
            for done in waiting:
                done(log)
            return
        room = self.rooms[name] = Room(self, log)
        # The first one may leave again before the next one comes in.
        room.awaited += 1
        for done in waiting:
            done(room)
        room.awaited -= 1
        self.retire(room)

    def find(self, name: str, done: Callable[[Room | WireError], None]) -> None:
        """As ``open``, but a room in which there is nothing and nobody is ``no_such_room``."""

        def on_open(room: Room | WireError) -> None:
            if isinstance(room, Room) and not room.members and not room.head:
                room = no_such_room(name)
            done(room)

        self.open(name, on_open)

    def enter(
        self,
        room: Room,
        writer: Writer,
        user: str,
        after: int | None,
        epoch: str | None,
        read_up_to: int = 0,
    ) -> Membership:
        """Makes the user a member, and starts a cursor behind ``after``. MUST be called as ``open`` answers.

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
        self._empty.pop(room.name, None)
        subscription = writer.subscribe(room.channel, after)
        room.presence.enter(user, read_up_to)
        if self.hooks is not None and room.members[user] == 1:
            self.hooks.tell(Kind.ON_JOIN, self.population.find(user) or User(user), room.name)
        if self.notices is not None and room.members[user] == 1:
            self.notices.joined(room.name, user, len(room.members))
        return Membership(room, subscription, reset)

    def membership(self, name: str, writer: Writer) -> Membership | None:
        """The writer's in this room, if it is there."""
        room = self.rooms.get(name)
        subscription = None if room is None else writer.subscription(room.channel)
        return None if room is None or subscription is None else Membership(room, subscription)

    def leave(self, room: Room, writer: Writer, user: str) -> None:
        """Takes a member out. A writer that was closed has no subscription any more."""
        subscription = writer.subscription(room.channel)
        if subscription is not None:
            subscription.cancel()
        room.presence.exit(user)
        if self.hooks is not None and user not in room.members:
            self.hooks.tell(Kind.ON_LEAVE, self.population.find(user) or User(user), room.name)
        if self.notices is not None and user not in room.members:
            self.notices.left(room.name, user, len(room.members))
        self.retire(room)

    def carry_out(self, room: Room, act: Draft) -> None:
        """Takes those out of the room who may not be there any more, on all their devices at this node."""
        fields = act.fields
        action, reason = fields["action"], fields.get("reason")
        if action in ("kick", "ban"):
            for session in self.population.sessions(fields["user"]):
                # Names that look alike are one in the population, and two in the rules.
                if fold(session.user) == fold(fields["user"]):
                    session.expel(room.name, act.author, reason)
        elif action == "access":
            for name in list(room.members):
                for session in self.population.sessions(name):
                    if room.role(session.person, act.at_ms) is Role.OUTSIDER:
                        session.expel(room.name, act.author, reason)

    def give_up(self, room: Room) -> None:
        """Has those who are in the room here come back to it: it is opened anew then."""
        for name in list(room.members):
            for session in self.population.sessions(name):
                if room.name in session.rooms:
                    session.end(Close.RESTART, f"room {room.name} has to be opened anew; come back")
        if self.rooms.get(room.name) is room:
            del self.rooms[room.name]
            self._empty.pop(room.name, None)

    def hold(self, room: Room) -> None:
        """Keeps a room, whether it has members or not, until ``release``."""
        room.awaited += 1
        self._empty.pop(room.name, None)

    def release(self, room: Room) -> None:
        """Ends one ``hold``."""
        room.awaited -= 1
        self.retire(room)

    def retire(self, room: Room) -> None:
        """Lets go of a room that nobody is in here, but not at once if there is anything in it."""
        if room.in_use or room.awaited or self.rooms.get(room.name) is not room:
            return
        if room.head == 0 and (room.rules is None or not room.rules.rules.facts):
            self._let_go(room.name)
            return
        self._empty[room.name] = None
        if len(self._empty) > self.settings.empty_kept:
            self._let_go(next(iter(self._empty)))

    def _let_go(self, name: str) -> None:
        del self.rooms[name]
        self._empty.pop(name, None)
        if self.openings is not None:
            self.openings.on_let_go(name)

    # What users have read

    def mark(self, user: str, room: str, seq: int) -> None:
        """Has the store remember how far a user has read; many marks are stored together."""
        if not self._marks:
            self.call_later(self.settings.presence_interval_s, self.store_marks)
        if seq > self._marks.get((user, room), 0):
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
            if isinstance(stored, WireError) or not self._marks:
                done(stored)
                return
            known = {room: max(stored.get(room, 0), self._marks.get((user, room), 0)) for room in rooms}
            done({room: seq for room, seq in known.items() if seq})

        if rooms:
            self.store.marks(user, rooms, on_read)
        else:
            done({})

    def rename(
        self, rooms: list[Room], session: OnlineSession, person: User, marks: Mapping[str, int]
    ) -> None:
        """Lets a guest in ``rooms`` go on as somebody else, who has read them up to ``marks``.

        Raises WireError when somebody else has the name.
        """
        old, before = session.user, session.person
        self.population.check(session, person)
        renamed = name_key(person.name) != name_key(old)
        if (person.name, person.guest) != (before.name, before.guest):
            self.forget_guest(before)
            rooms = [room for room in rooms if not room.name.startswith("@")]
        self.population.rename(session, person)
        if renamed or not person.guest:
            self.release_name(before)
        self.away.pop(old, None)
        if self.others is not None:
            self.others.on_renamed(old)
        for room in rooms:
            room.presence.exit(old)
            room.presence.enter(person.name, marks.get(room.name, 0))
            if self.notices is not None and person.name != old:
                members = len(room.members)
                if old not in room.members:
                    self.notices.left(room.name, old, members)
                if room.members[person.name] == 1:
                    self.notices.joined(room.name, person.name, members)

    def set_away(self, user: str, text: str | None) -> None:
        """The user is away on all connections, as ``text`` says; or back where it is None."""
        if self.notices is not None and self.away.get(user) != text:
            for name in {name for session in self.population.sessions(user) for name in session.rooms}:
                if (room := self.rooms.get(name)) is not None:
                    self.notices.away(name, user, text, len(room.members))
        self.show_away(user, text)
        if self.others is not None:
            self.others.on_away(user, text)

    def show_away(self, user: str, text: str | None) -> None:
        """As ``set_away``, of which the other nodes know."""
        names = {name for session in self.population.sessions(user) for name in session.rooms}
        # A room that nobody here is in need not be open.
        rooms = [room.presence for name in names if (room := self.rooms.get(name)) is not None]
        self.circumstances.set_away(user, text, rooms)

    def depart(self, session: OnlineSession) -> None:
        """The session is over, and has left its rooms. May be called again."""
        if self.names is not None and session in self.population.sessions(session.user):
            self.release_name(session.person)
        self.population.leave(session)
        self.forget_guest(session.person)
        if session.user in self.away and not self.population.sessions(session.user):
            del self.away[session.user]

    def claim_name(self, person: User, done: Callable[[User | WireError], None]) -> None:
        """Has a guest's name for it alone on all nodes, until ``release_name``; without a name it gets one.

        An account's name is its own anyway: it is answered as it is, and so is everybody on a single node.
        """
        if self.names is None or not person.guest:
            done(person)
            return
        if not person.name:
            person = replace(person, name=self.population.free_name())
        self.names.claim(person.name, lambda error: done(person if error is None else error))

    def release_name(self, person: User) -> None:
        """Gives up what ``claim_name`` has answered."""
        if self.names is not None and person.guest:
            self.names.release(person.name)

    def store_seen(self, wall_ms: int) -> None:
        """Has the store remember of the accounts that came or went that they were seen by now."""
        if self.population.unsaved:
            self.store.seen(dict.fromkeys(self.population.unsaved, wall_ms))
            self.population.unsaved.clear()

    # Rooms of two

    def forget_guest(self, guest: User, *, elsewhere: bool = False) -> None:
        """Lets go of the rooms of two of a guest who has gone or is called otherwise now.

        The guest's own node sees to it that the store does so, too.
        """
        if not guest.guest:
            return
        for room in self.guest_rooms.forget(part_of(guest)):
            for part in parts_of(room.name):
                for session in self.population.sessions(part.removeprefix("~")):
                    session.expel(room.name, None, f"{guest.name} has gone")
            if self.rooms.get(room.name) is room:
                self._let_go(room.name)
            if self.others is not None and not elsewhere:
                self.others.on_forgotten(room.name)

    def members_of(self, name: str) -> int:
        """How many people are in a room, whether it is open here or not."""
        room = self.rooms.get(name)
        if room is not None:
            return len(room.members)
        return 0 if self.others is None else self.others.members_of(name)

    def directs(self, user: str, done: Callable[[Sequence[Direct] | WireError], None]) -> None:
        """An account's own rooms of two, the newest first, and how far it has read them by now."""

        def on_read(found: Sequence[Direct] | WireError) -> None:
            if not isinstance(found, WireError):
                found = [
                    replace(each, cursor=max(each.cursor, self._marks.get((user, each.room), 0)))
                    for each in found
                ]
            done(found)

        self.store.directs(user, on_read)

    def set_ring_bytes(self, ring_bytes: int) -> None:
        """Changes every room's limit at once."""
        self.settings.ring_bytes = ring_bytes
        for room in self.rooms.values():
            room.channel.ring.set_limit(self.ring_bytes(room.name))
