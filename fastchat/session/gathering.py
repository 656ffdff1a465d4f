"""Rooms of two: both people's connections are brought into them. Pure: no sockets, clock or await.

Whatever is said in such a room, every connection of both people gets: who is online is brought in before it
is stored, with the cursor that this user has; who comes later finds it unread (see ``arrive``). A connection
that is about to come in is left alone until it has come back to what it asked for (``Devices.arrivals``), and
is told then: so nothing is lost in between, and nothing comes twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial

from fastchat.messages import Code, Command, WireError
from fastchat.people import Role
from fastchat.permissions import Action
from fastchat.room import Membership, Room
from fastchat.rooms import Hub
from fastchat.session.conversation import Conversation
from fastchat.store import Direct
from fastchat.store.pairs import has_guest, part_of, parts_of

Cursors = Mapping[str, int]
"""By user, how far it has read the room."""

Found = tuple[Room, Cursors]


def gather(
    session: Conversation, command: Command, name: str, wall_ms: int, then: Callable[[], None]
) -> None:
    """Calls ``then`` when all connections of both are in the room of two; refuses who may not write there."""
    room = session.hub.rooms.get(name)
    if room is not None and not any(True for _ in _absent(session.hub, name)):
        check_writer(session, room, wall_ms)
        then()
        return

    def answer(found: Found) -> None:
        room, cursors = found
        check_writer(session, room, wall_ms)
        bring_in(session.hub, room, cursors)
        then()

    session.ask(command, partial(reach, session.hub, name), answer)


def check_writer(session: Conversation, room: Room, wall_ms: int) -> None:
    """Refuses who may not write in the room of two. Raises WireError."""
    rules = room.rules
    assert rules is not None, "a room of two has rules"
    if rules.rules.blocks(part_of(session.person)):
        raise WireError(Code.REFUSED, "you have blocked this person; unblock first", field="to")
    rules.check(session.person, Action.SEND, wall_ms)


def reach(hub: Hub, name: str, done: Callable[[Found | WireError], None]) -> None:
    """The room of two, and how far both have read it; it is there for as long as ``done`` takes."""

    def on_room(room: Room | WireError) -> None:
        if isinstance(room, WireError):
            done(room)
            return
        if (error := keep_with_guests(hub, room)) is not None:
            done(error)
            return
        room.awaited += 1
        _CursorReading(hub, room, done).go_on()

    hub.open(name, on_room)


def keep_with_guests(hub: Hub, room: Room) -> WireError | None:
    """Keeps a room of two with a guest as long as its guests are there, if they are."""
    if not has_guest(room.name):
        return None
    for part in parts_of(room.name):
        if part.startswith("~"):
            guest = hub.population.find(part[1:])
            if guest is None or part_of(guest) != part:
                return no_such_user(part[1:])
            most = hub.settings.guest_rooms
            if most and hub.guest_rooms.count(part) >= most and not hub.guest_rooms.has(room):
                return WireError(
                    Code.TOO_MANY_ROOMS, f"{part[1:]} is a guest, who may talk to {most} people", field="to"
                )
    if not hub.guest_rooms.has(room):
        hub.guest_rooms.keep(room)
        if hub.others is not None:
            hub.others.on_kept(room.name)
    return None


class _CursorReading:
    """Reads the cursors of those who have to be brought in; the others' are known.

    An object, as functions that call each other would keep the room until the collector looks.
    """

    __slots__ = ("cursors", "done", "hub", "room", "users")

    def __init__(self, hub: Hub, room: Room, done: Callable[[Found | WireError], None]) -> None:
        self.hub = hub
        self.room = room
        self.done = done
        self.cursors: dict[str, int] = {}
        names = names_of(room.name)
        self.users = [name for name in names if any(True for _ in _absent(hub, room.name, name))]

    def go_on(self) -> None:
        """Asks for the next one's."""
        if self.users:
            user = self.users.pop()
            self.hub.marks(user, [self.room.name], partial(self._on_marks, user))
        else:
            self._finish((self.room, self.cursors))

    def _on_marks(self, user: str, marks: Cursors | WireError) -> None:
        if isinstance(marks, WireError):
            self._finish(marks)
        else:
            self.cursors[user] = marks.get(self.room.name, 0)
            self.go_on()

    def _finish(self, answer: Found | WireError) -> None:
        gone = self.hub.rooms.get(self.room.name) is not self.room
        self.done(no_such_user("who was here a moment ago") if gone else answer)
        self.room.awaited -= 1
        self.hub.retire(self.room)


def names_of(room: str) -> Sequence[str]:
    """The names of the two."""
    return [part.removeprefix("~") for part in parts_of(room)]


def _sessions(hub: Hub, part: str) -> Iterator[Conversation]:
    """The connections of one of the two, who is a guest or is not."""
    for session in hub.population.sessions(part.removeprefix("~")):
        # Programs in the server's own process have no connection.
        if isinstance(session, Conversation) and part_of(session.person) == part:
            yield session


def _absent(hub: Hub, room: str, user: str | None = None) -> Iterator[Conversation]:
    """The connections that have to be brought in, of one of the two or of both."""
    for part in parts_of(room):
        if user is not None and part.removeprefix("~") != user:
            continue
        for session in _sessions(hub, part):
            arrival = session.devices.arrivals.get(session) if session.devices is not None else None
            if arrival is not None:
                if room not in arrival:
                    yield session
            elif hub.membership(room, session.peer.writer) is None and may_take(session, room):
                yield session


def may_take(session: Conversation, room: str) -> bool:
    """Whether the connection is brought into one more room of two."""
    granted = session.person.granted(room)
    limit = session.limits.rooms_per_connection
    return granted is not Role.OUTSIDER and (
        not limit or sum(name.startswith("@") for name in session.rooms) < limit
    )


def bring_in(hub: Hub, room: Room, cursors: Cursors) -> None:
    """Lets all connections of both in that are not in the room yet."""
    for session in [*_absent(hub, room.name)]:
        _bring_in_one(session, room, cursors.get(session.user, 0))


def _bring_in_one(session: Conversation, room: Room, cursor: int, after: int | None = None) -> None:
    if session.devices is not None and session in session.devices.arrivals:
        session.devices.arrivals[session][room.name] = cursor
    else:
        take_in(session, room, cursor, after)


def take_in(session: Conversation, room: Room, cursor: int, after: int | None = None) -> None:
    """Lets one connection in, behind what its user has read or else behind ``after``, and tells it so."""
    cursor = min(max(cursor, room.presence.cursor(session.user)), room.head)
    after = cursor if after is None else min(after, cursor)
    membership = session.enter_room(room, after, None, cursor)
    tell_joined(session, {}, membership)


def tell_joined(session: Conversation, command: Command, membership: Membership, **told: object) -> None:
    """The answer to ``join``, and what is said where the server lets somebody in by itself."""
    room = membership.room
    head, cursor = room.head, room.presence.cursor(session.user)
    joined = {
        "type": "joined",
        "room": room.name,
        "head": head,
        "epoch": room.log.epoch,
        "members": len(room.members),
        "reset": membership.reset,
        "cursor": cursor,
        "unread": head - cursor,
        **told,
    }
    session.answer(command, joined)


# What is said on other nodes


def gather_here(hub: Hub, name: str, seq: int, done: Callable[[WireError | None], None]) -> None:
    """Brings this node's connections of both in: another node has stored this event there.

    They get it, whether their user has read it elsewhere by now or not. With ``seq`` 0 nothing is known to be
    stored, and only who has something to read is brought in.
    """

    def on_reached(found: Found | WireError) -> None:
        if isinstance(found, WireError):
            done(found)
            return
        room, cursors = found
        for session in [*_absent(hub, name)]:
            cursor = max(cursors.get(session.user, 0), room.presence.cursor(session.user))
            if seq or cursor < room.head:
                _bring_in_one(session, room, cursor, min(cursor, seq - 1) if seq else cursor)
        done(None)

    if any(True for _ in _absent(hub, name)):
        reach(hub, name, on_reached)
    else:
        done(None)


def keep_here(hub: Hub, name: str) -> None:
    """Another node keeps this room with a guest: so does this one."""
    reach(hub, name, lambda found: None)


# Coming in


def arrive(session: Conversation, done: Callable[[Sequence[Direct] | WireError], None]) -> None:
    """What an account's connection finds on return. MUST be called once it is in the population.

    ``settle`` MUST follow, and is what ends the arrival.
    """
    if session.devices is None:
        done(())
        return
    session.devices.arrivals[session] = {}
    session.hub.directs(session.user, done)


def returns(
    session: Conversation, directs: Sequence[Direct], resumed: Collection[str]
) -> list[Callable[[], None]]:
    """What has the connection join rooms of two with something unread, but those that it resumes itself."""
    return [
        partial(_return, session, each.room, each.cursor)
        for each in directs
        if each.head > each.cursor and each.room not in resumed
    ]


def settle(session: Conversation) -> None:
    """The arrival is over: from now on the connection is brought into rooms of two at once."""
    if session.devices is not None and (missed := session.devices.arrivals.pop(session, None)):
        session.keep_first([partial(_return, session, room, cursor) for room, cursor in missed.items()])


def _return(session: Conversation, name: str, cursor: int) -> None:
    if session.hub.membership(name, session.peer.writer) is not None or not may_take(session, name):
        return

    def answer(room: Room) -> None:
        if not room.head or session.hub.membership(name, session.peer.writer) is not None:
            return
        # Where its guest is not known here (any more), there is nothing to come back to.
        if keep_with_guests(session.hub, room) is None:
            take_in(session, room, cursor)

    session.ask({}, partial(session.hub.open, name), answer, name)


def no_such_user(name: str) -> WireError:
    """Nobody is called so, neither an account nor a guest who is here."""
    return WireError(Code.NO_SUCH_USER, f"there is no user {name}", field="to")
