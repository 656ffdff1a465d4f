"""Another node's people: how what it tells of them is applied. Pure: no sockets, clock or await."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from fastchat.cluster import changes
from fastchat.cluster.absence import Absence, Word
from fastchat.cluster.changes import Change, person_of
from fastchat.cluster.hearing import BEGIN, END, Hearing
from fastchat.cluster.remote import RemoteRooms, RemoteSession
from fastchat.messages import Close
from fastchat.people import User
from fastchat.rooms import Hub


class Neighbour:
    """Another node: how it is heard, its sessions, and the ``serial`` of its newest command."""

    __slots__ = ("hearing", "name", "serial", "sessions", "stale", "stale_words")

    def __init__(self, name: str, hearing: Hearing, serial: int) -> None:
        self.name = name
        self.hearing = hearing
        self.serial = serial
        self.sessions: dict[int, RemoteSession] = {}
        # What the snapshot that is being applied has not told of yet.
        self.stale: set[int] = set()
        self.stale_words: set[str] = set()

    def go(self) -> None:
        """It is not there any more: all that is left to do is to take its people out."""
        self.hearing.queue.clear()
        self.hearing.queue.extend([changes.WENT, number] for number in self.sessions)


class Company(Protocol):
    """This node's own people."""

    def describe_again(self, name: str) -> None:
        """What somebody may do has changed."""

    def hear_absence(self, user: str) -> None:
        """Another node knows something of whether the user is away."""

    def meet(self, room: str, seq: int = 0) -> None:
        """Brings this node's connections of the two into their room, as this event is stored there.

        Without ``seq`` something may be; then who has something to read.
        """

    def keep(self, room: str) -> None:
        """Keeps a room of two as long as its guest is here."""


class Neighbourhood:
    """Applies what other nodes tell to the hub."""

    def __init__(self, hub: Hub, rooms: RemoteRooms, absence: Absence, company: Company) -> None:
        self._hub = hub
        self._rooms = rooms
        self._absence = absence
        self._company = company
        self._nodes: dict[RemoteSession, Neighbour] = {}
        self._handlers: Mapping[str, Callable[[Neighbour, Change], None]] = {
            BEGIN[0]: self._begin,
            END[0]: self._end,
            changes.CAME: self._come,
            changes.WENT: self._go,
            changes.JOINED: self._join,
            changes.LEFT: self._leave,
            changes.READ: self._read,
            changes.TYPING: self._typing,
            changes.AWAY: self._away,
            changes.DIRECT: self._direct,
            changes.SEND_AWAY: self._send_away,
            changes.OPERATOR: self._set_operator,
        }

    def apply(self, node: Neighbour, change: Change) -> None:
        """Applies one change. One of a kind that is not known is a newer version's, and left alone."""
        handler = self._handlers.get(change[0])
        if handler is not None:
            handler(node, change)

    # Snapshots

    def _begin(self, node: Neighbour, change: Change) -> None:
        node.stale = set(node.sessions)
        node.stale_words = set(self._absence.users(node.name))

    def _end(self, node: Neighbour, change: Change) -> None:
        # Behind what the snapshot has told, and before what comes after it.
        node.hearing.queue.extendleft([changes.WENT, number] for number in node.stale)
        node.stale = set()
        for user in node.stale_words:
            self._absence.forget(node.name, user)
            self.show_absence(user)
        node.stale_words = set()

    # Sessions

    def _come(self, node: Neighbour, change: Change) -> None:
        number, rooms = change[1], change[4]
        person = person_of(change)
        node.stale.discard(number)
        session = node.sessions.get(number)
        if session is not None and (session.user, session.person.guest) != (person.name, person.guest):
            self._take_out(node, session)
            session = None
        if session is None:
            session = node.sessions[number] = RemoteSession(node.name, number)
            self._nodes[session] = node
            self._hub.population.enter_elsewhere(session, person)
            if len(self._absence):
                self.show_absence(person.name)
        session.person = person
        for room in [each for each in session.places if each not in rooms]:
            self._rooms.leave(session, room)
        for room, cursor in rooms.items():
            self._enter(session, room, cursor)

    def _go(self, node: Neighbour, change: Change) -> None:
        session = node.sessions.get(change[1])
        if session is not None:
            self._take_out(node, session)

    def drop(self, session: RemoteSession) -> None:
        """The session is known to be over, before its node has said so."""
        node = self._nodes.get(session)
        if node is not None:
            self._take_out(node, session)

    def _take_out(self, node: Neighbour, session: RemoteSession) -> None:
        del node.sessions[session.number]
        del self._nodes[session]
        for room in [*session.places]:
            self._rooms.leave(session, room)
        user, person = session.user, session.person
        self._hub.population.leave_elsewhere(session)
        if person.guest:
            self._forget_guest(person)
        if len(self._absence) and not any(
            isinstance(each, RemoteSession) and each.node == node.name and each.user == user
            for each in self._hub.population.sessions(user)
        ):
            self._absence.forget(node.name, user)
            self.show_absence(user)

    def _forget_guest(self, guest: User) -> None:
        """Rooms of two go with their guest, unless somebody else is called so by now."""
        if not any(each.person.guest for each in self._hub.population.sessions(guest.name)):
            self._hub.forget_guest(guest, elsewhere=True)

    # Rooms

    def _enter(self, session: RemoteSession, room: str, cursor: int) -> None:
        if self._rooms.join(session, room, cursor) and room.startswith("@"):
            self._company.meet(room)

    def _join(self, node: Neighbour, change: Change) -> None:
        _, number, room, cursor = change
        session = node.sessions.get(number)
        if session is not None:
            self._enter(session, room, cursor)

    def _leave(self, node: Neighbour, change: Change) -> None:
        _, number, room = change
        session = node.sessions.get(number)
        if session is not None:
            self._rooms.leave(session, room)

    def _read(self, node: Neighbour, change: Change) -> None:
        _, number, room, seq = change
        session = node.sessions.get(number)
        if session is not None:
            self._rooms.read(session, room, seq)

    def _typing(self, node: Neighbour, change: Change) -> None:
        _, number, name = change
        session = node.sessions.get(number)
        room = self._hub.rooms.get(name)
        if session is not None and room is not None and name in session.places:
            room.presence.typing(session.user, None)

    def _direct(self, node: Neighbour, change: Change) -> None:
        _, room, seq = change
        if seq:
            self._company.meet(room, seq)
        else:
            self._company.keep(room)

    # Who is away

    def _away(self, node: Neighbour, change: Change) -> None:
        _, user, *word = change
        node.stale_words.discard(user)
        self._absence.receive(node.name, user, Word(*word))
        self._company.hear_absence(user)
        self.show_absence(user)

    def show_absence(self, user: str) -> None:
        """Has this node's clients know what the nodes know by now."""
        text = self._absence.text(user)
        if self._hub.population.sessions(user):
            self._hub.show_away(user, text)
        elif text is None:
            self._hub.away.pop(user, None)

    # Commands

    def _is_done(self, node: Neighbour, change: Change) -> bool:
        serial: int = change[1]
        if serial <= node.serial:
            return True
        node.serial = serial
        return False

    def _send_away(self, node: Neighbour, change: Change) -> None:
        if not self._is_done(node, change):
            _, _, name, code, reason = change
            self._hub.population.send_away_here(name, Close(code), reason)

    def _set_operator(self, node: Neighbour, change: Change) -> None:
        if not self._is_done(node, change):
            _, _, name, operator = change
            self._hub.population.set_operator_here(name, operator)
            self._company.describe_again(name)
