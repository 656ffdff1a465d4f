"""The hub: rooms, who is in them, and who is online. Pure: no sockets, clock or await.

A room is a log (``store``), its newest part in memory (``Channel``), and its members. The hub is given a
clock and a ``call_later``; it never looks for them itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from secrets import randbits
from typing import Literal

import orjson

from fastchat._fanout import Channel, Fanout, Subscription, Writer
from fastchat._ring import Event
from fastchat.auth.interface import Accounts, Authenticator
from fastchat.auth.names import name_key
from fastchat.cluster.interface import Names, Openings, Others
from fastchat.guest_rooms import GuestRooms
from fastchat.hooks.interface import Hooks, Kind
from fastchat.messages import Close, Code, WireError
from fastchat.moderation import Moderation, act_of, rules_of
from fastchat.notices import NoticeTaker
from fastchat.people import Role, User
from fastchat.permissions import Rules, no_such_room
from fastchat.population import OnlineSession, Population
from fastchat.presence import CallLater, Circumstances, Presence
from fastchat.rate import exceed, take, wait_s
from fastchat.replay import BlockCache, Replay
from fastchat.store import Direct, Draft, RoomLog, Store, Stored
from fastchat.store.facts import facts_of, fold
from fastchat.store.interface import Facts
from fastchat.store.pairs import part_of, parts_of


@dataclass(slots=True)
class RoomSettings:
    """What all rooms have in common.

    ``ring_bytes`` bounds each room's events in memory; ``empty_kept`` rooms without members keep their
    history; members who come and go are announced at most once per ``presence_interval_s``, and by name
    only in rooms of at most ``presence_names`` members; so is what they have read. A larger room sends at
    most ``presence_per_s`` of these events a second, over all its members. ``ring_bytes_of`` gives
    the limit of rooms that have one of their own; ``replay_bytes`` bounds what is kept of the events that
    were read again from the store, for all rooms together. ``create`` says who may open rooms that are not
    there, all but the ``lobby``; ``rules_max`` bounds the roles, invitations, bans and mutes of each room.
    """

    ring_bytes: int = 1 << 20
    ring_bytes_of: Callable[[str], int | None] = lambda room: None
    replay_bytes: int = 16 << 20
    empty_kept: int = 1000
    presence_interval_s: float = 1.0
    presence_names: int = 100
    presence_per_s: float = 1000.0
    messages_per_s: float = 0.0
    messages_per_s_of: Callable[[str], float | None] = lambda room: None
    lobby: str = "lobby"
    create: Literal["anyone", "accounts", "operators"] = "anyone"
    rules_max: int = 1000
    guest_rooms: int = 100


class Room:
    """One room: its log, its channel, its members, its rules.

    ``rules`` is None where the room is public and nobody has a role or is banned, which is the usual.
    """

    __slots__ = (
        "_full_at",
        "_hub",
        "awaited",
        "channel",
        "log",
        "members",
        "messages_per_s",
        "name",
        "presence",
        "rules",
    )

    def __init__(self, hub: Hub, log: RoomLog) -> None:
        self._hub = hub
        self.name = log.room
        self.log = log
        self.channel: Channel = hub.fanout.channel(self.name, hub.ring_bytes(self.name), log.head)
        log.attach(self.channel.ring, self)
        if log.durable:
            self.channel.source = Replay(log, hub.blocks, hub.call_later)
        # Who is in a room of two is nobody's business, not even the other one's.
        self.presence = Presence(self.channel, hub.circumstances, announced=not self.name.startswith("@"))
        self.members = self.presence.members
        if hub.others is not None:
            hub.others.on_open(self.name, self.presence)
        self.rules: Moderation | None = rules_of(self.name, log.facts)
        own_rate = hub.settings.messages_per_s_of(self.name)
        self.messages_per_s = hub.settings.messages_per_s if own_rate is None else own_rate
        self._full_at = 0.0  # when as many messages may come at once again as in a second
        self.awaited = 0  # answers that will need this room, whether it has members by then or not

    @property
    def head(self) -> int:
        """The ``seq`` of the newest event of the log; 0 in a new room."""
        return self.channel.ring.head_seq

    @property
    def in_use(self) -> bool:
        """Whether anybody is here by way of this node; ``members`` has those of all nodes."""
        return len(self.channel) > 0

    @property
    def is_new(self) -> bool:
        """Whether nobody has come and nothing has happened yet."""
        return not self.head and not self.members and self.rules is None

    def pace(self) -> None:
        """Counts one message towards what the room takes from all together. Raises WireError for too many.

        MUST be called only where ``messages_per_s`` is not 0.
        """
        now, rate = self._hub.clock(), self.messages_per_s
        if (left_s := wait_s(self._full_at, now, rate, max(1, int(rate)))) > 0:
            raise WireError(
                Code.RATE_LIMITED,
                f"room {self.name} takes {rate:g} messages a second from all; wait and send it again",
                retry_after_ms=int(left_s * 1000) + 1,
            )
        self._full_at = take(self._full_at, now, rate)

    def post(
        self, draft: Draft, hidden_from: Subscription | None, done: Callable[[Stored | WireError], None]
    ) -> None:
        """Stores the event, delivers it to the members, and calls ``done``.

        ``hidden_from``: the author's own subscription, where the author has no use for an echo.
        """

        def on_stored(stored: Stored | WireError) -> None:
            acted = self.rules is not None and self._settle(self.rules, draft, stored)
            if isinstance(stored, Stored) and stored.body is not None:
                writer_id = hidden_from.writer.id if hidden_from is not None else 0
                self.channel.publish(Event(stored.seq, stored.body, hidden_from=writer_id), hidden_from)
                self.presence.move_along(draft.author, stored.seq)
                if (others := self._hub.others) is not None and self.name[0] == "@":
                    others.on_direct(self.name, stored.seq)
            if acted:
                self._hub.carry_out(self, draft)
            done(stored)
            self.awaited -= 1
            if not len(self.channel):
                self._hub.retire(self)

        self.awaited += 1
        self.log.append(draft, on_stored)

    # What other nodes have stored

    def on_foreign(self, stored: Stored) -> None:
        """An event that another node has stored: the members get it in its turn.

        Hooks have been asked there, and what the room takes is counted wherever it comes from.
        """
        body = stored.body
        assert body is not None
        act = act_of(orjson.loads(body)) if body.startswith(_MODERATED) else None
        if act is not None:
            # The facts follow; who is told of the act may count on it.
            self._change(facts_of(act))
        self.channel.publish(Event(stored.seq, body), None)
        author = author_of(body)
        self.presence.move_along(author, stored.seq, marked=False)
        if act is not None:
            self._hub.carry_out(self, act)
        elif body.startswith(_MESSAGE):
            if self.rules is not None:
                self.rules.receive(author, stored.at_ms)
            if self.messages_per_s:
                rate = self.messages_per_s
                self._full_at = exceed(self._full_at, self._hub.clock(), rate, max(1, int(rate)))

    def on_facts(self, facts: Facts) -> None:
        """Another node has changed the rules."""
        if self.rules is None:
            self.rules = rules_of(self.name, facts)
            return
        self.rules.replace(facts)
        if self.rules.is_needless:
            self.rules = None

    def on_lost(self) -> None:
        """This node has missed what nobody has any more."""
        self._hub.give_up(self)

    # What its rules are

    def moderate(self, draft: Draft, done: Callable[[Stored | WireError], None]) -> None:
        """As ``post``, of an act of moderation: what it forbids holds from now on.

        Raises WireError where the room has as many roles, bans and the like as it may.
        """
        most = self._hub.settings.rules_max
        rules = self.rules or Moderation(Rules(self.name, {}))
        expired = rules.room_for(draft, most, draft.at_ms)
        if expired is None:
            raise WireError(
                Code.FORBIDDEN,
                f"room {self.name} has {most} roles, invitations, bans and mutes, as many as it may "
                "(rooms.rules_max); take some back first",
                field="room",
            )
        rules.propose(draft)
        self.rules = rules
        if expired:
            self.set_facts(expired, lambda error: None)  # should they stay, they still mean nothing
        self.post(draft, None, done)

    def _settle(self, rules: Moderation, draft: Draft, stored: Stored | WireError) -> bool:
        """The store has answered; returns whether an act of moderation takes effect."""
        happened = isinstance(stored, Stored) and stored.body is not None
        acted = rules.settle(draft, stored=happened)
        if rules.is_needless:
            self.rules = None
        return acted and happened

    def set_facts(self, changes: Facts, done: Callable[[WireError | None], None]) -> None:
        """Keeps facts that no event tells of; they hold once they are stored."""

        def on_stored(error: WireError | None) -> None:
            if error is None:
                self._change(changes)
            done(error)
            self.awaited -= 1
            if not self.in_use:
                self._hub.retire(self)

        self.awaited += 1
        self.log.set_facts(changes, on_stored)

    def _change(self, changes: Facts) -> None:
        rules = self.rules or Moderation(Rules(self.name, {}))
        rules.change(changes)
        self.rules = None if rules.is_needless else rules

    def role(self, user: User, now_ms: int) -> Role:
        """What the user is here at this time, in milliseconds since 1970."""
        rules = Rules(self.name, {}) if self.rules is None else self.rules.rules
        return rules.role(user, now_ms)


_MESSAGE = b'{"type":"message"'
_MODERATED = b'{"type":"moderated"'
_FROM = b'"from":"'


def author_of(body: bytes) -> str:
    """Who has brought an event about: found without reading all of it, as ``from`` is before what was said.

    A quotation mark inside of what comes before it is escaped, as in all of JSON; a name has none.
    """
    start = body.index(_FROM) + len(_FROM)
    return body[start : body.index(b'"', start)].decode()


@dataclass(slots=True)
class Membership:
    """One connection in one room, made when it is asked for: what is kept of it is the subscription.

    ``reset`` says that the ``after`` it came with was of another epoch; only ``Hub.enter`` tells.
    """

    room: Room
    subscription: Subscription
    reset: bool = False


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
            if isinstance(stored, WireError):
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
