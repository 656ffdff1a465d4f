"""Sessions of other nodes, and the rooms that they are in. Pure: no sockets, clock or await."""

from __future__ import annotations

from collections.abc import Mapping

from fastchat.messages import Close
from fastchat.people import User
from fastchat.population import NOBODY, Devices
from fastchat.rooms import Hub

NO_CURSORS: Mapping[str, int] = {}


class RemoteSession:
    """Somebody who is connected to another node, which alone can do anything to the connection.

    ``number`` is that node's name for it.
    """

    __slots__ = ("devices", "node", "number", "person", "places", "user")

    def __init__(self, node: str, number: int) -> None:
        self.node = node
        self.number = number
        self.user = ""
        self.person: User = NOBODY
        self.devices: Devices | None = None
        self.places: list[str] = []

    @property
    def rooms(self) -> list[str]:
        """The names of the rooms that it is in."""
        return self.places

    def end(self, code: Close, reason: str) -> None:
        """Its own node ends it."""

    def expel(self, room: str, by: str | None, reason: str | None) -> None:
        """Its own node has it leave."""

    def tell_expiry(self, expires_in_ms: int) -> None:
        """Its own node tells it."""


class RemotePlaces:
    """Who is in a room on other nodes: how many sessions of each user, and how far users have read."""

    __slots__ = ("cursors", "members", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.members: dict[str, int] = {}
        self.cursors: dict[str, int] = {}


class RemoteRooms:
    """All rooms that anybody is in on another node; those that are open here show it."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._places: dict[str, RemotePlaces] = {}

    def __len__(self) -> int:
        return len(self._places)

    def members(self, room: str) -> Mapping[str, int]:
        """By user, on how many connections they are in the room."""
        places = self._places.get(room)
        return NO_CURSORS if places is None else places.members

    def cursors(self, room: str) -> Mapping[str, int]:
        """By user, how far they have read, of those who have read anything."""
        places = self._places.get(room)
        return NO_CURSORS if places is None else places.cursors

    def join(self, session: RemoteSession, room: str, cursor: int) -> bool:
        """The session is in the room, whose user has read it up to ``cursor``; whether it was not before."""
        if room in session.places:
            self.read(session, room, cursor)
            return False
        places = self._places.get(room)
        if places is None:
            places = self._places[room] = RemotePlaces(room)
        session.places.append(places.name)  # one string for all who are there
        places.members[session.user] = places.members.get(session.user, 0) + 1
        open_here = self._hub.rooms.get(room)
        if open_here is not None:
            open_here.presence.enter(session.user)
        self._follow(session.user, room, cursor)
        return True

    def leave(self, session: RemoteSession, room: str) -> None:
        """The session is not in the room any more; nothing changes where it was not."""
        if room not in session.places:
            return
        session.places.remove(room)
        places = self._places[room]
        places.members[session.user] -= 1
        if not places.members[session.user]:
            del places.members[session.user]
            places.cursors.pop(session.user, None)
            if not places.members:
                del self._places[room]
        open_here = self._hub.rooms.get(room)
        if open_here is not None:
            open_here.presence.exit(session.user)

    def read(self, session: RemoteSession, room: str, seq: int) -> None:
        """The session's user has said to have read so far."""
        if room not in session.places:
            return
        open_here = self._hub.rooms.get(room)
        if open_here is not None:
            open_here.presence.receive_receipt(session.user, seq)
        self._follow(session.user, room, seq)

    def _follow(self, user: str, room: str, cursor: int) -> None:
        if not cursor:
            return
        cursors = self._places[room].cursors
        if cursor > cursors.get(user, 0):
            cursors[user] = cursor
            open_here = self._hub.rooms.get(room)
            if open_here is not None:
                open_here.presence.follow(user, cursor)
