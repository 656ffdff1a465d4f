"""Who is online, by name, and on how many connections. Pure: no sockets, clock or await.

A guest is one connection, and its name is its own while it lasts. An account may have many, which share
``Devices``; a guest has no such object, so that ten thousand of them cost an entry each. People who are
connected to other nodes are registered beside those who are here; only what is asked of a connection is done
on its own node.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from secrets import token_hex
from typing import Protocol

from fastchat.auth.names import name_key
from fastchat.cluster.interface import Others
from fastchat.messages import Close, Code, WireError
from fastchat.people import User
from fastchat.rate import take, wait_s

NOBODY = User("")
"""Who a session is before its ``hello``."""


class OnlineSession(Protocol):
    """A session, as it is registered here. The registry alone writes ``user``, ``person`` and ``devices``."""

    user: str
    person: User
    devices: Devices | None

    @property
    def rooms(self) -> list[str]:
        """The names of the rooms that it is in."""

    def end(self, code: Close, reason: str) -> None:
        """Says good-bye and closes; leaves the registry before it returns."""

    def expel(self, room: str, by: str | None, reason: str | None) -> None:
        """Leaves the room, if it is there, and tells the client why."""

    def tell_expiry(self, expires_in_ms: int) -> None:
        """Tells the client that its token will not be taken for much longer."""


class Devices:
    """The connections of one account, and what they share."""

    __slots__ = ("arrivals", "elsewhere", "full_at", "sessions")

    def __init__(self) -> None:
        self.sessions: list[OnlineSession] = []
        self.elsewhere = 0
        """How many of them are on other nodes."""
        self.arrivals: dict[OnlineSession, dict[str, int]] = {}
        """Sessions that take no rooms of two yet, and those that they have to come back to when they do."""
        self.full_at = 0.0
        """When the account may send a whole burst again (see ``rate``)."""

    def wait_s(self, now: float, rate_per_s: float, burst: int, commands: int = 1) -> float:
        """The seconds until the account's connections together may send so many commands."""
        return wait_s(self.full_at, now, self._share(rate_per_s), burst, commands)

    def take(self, now: float, rate_per_s: float) -> None:
        """Takes a token of those that the account's connections have together."""
        self.full_at = take(self.full_at, now, self._share(rate_per_s))

    def _share(self, rate_per_s: float) -> float:
        """What this node's connections may have of it: nodes do not ask each other for every message."""
        if not self.elsewhere:
            return rate_per_s
        everywhere = len(self.sessions)
        return rate_per_s * max(1, everywhere - self.elsewhere) / everywhere

    def rooms(self) -> set[str]:
        """The rooms that any of the connections is in, those of two left out."""
        return {room for session in self.sessions for room in session.rooms if not room.startswith("@")}


class Population:
    """Every session that is online, by the key of its user's name.

    An account may have at most ``connections_per_user`` (0 means no limit). Who came with a token that ends
    is told ``notice_ms`` ahead.
    """

    def __init__(self, connections_per_user: int = 0, notice_ms: int = 60_000) -> None:
        self._limit = connections_per_user
        self._notice_ms = notice_ms
        self._online: dict[str, OnlineSession | Devices] = {}
        self._namesakes: dict[str, list[OnlineSession]] = {}
        # Guests whose name somebody else has: those of nodes that could not hear each other for a while.
        self.others: Others | None = None
        """Who is told about it on other nodes; None on a single node."""
        self._expiry = Expiry()
        self.unsaved: set[str] = set()
        """The keys of accounts that came or went since the store was told when they were seen."""
        self.endings = 0
        """How often somebody was sent away: who was let in by what was true before has to ask again."""

    # Coming and going

    def enter(self, session: OnlineSession, person: User) -> None:
        """The session is this person's from now on; a guest without a name gets one.

        Raises WireError where a guest's name is taken or an account has connections enough. A guest who has
        the name of an account that comes is sent away.
        """
        if not person.name:
            person = replace(person, name=self.free_name())
        key = self.check(session, person)
        if person.guest:
            self._online[key] = session
            session.devices = None
        else:
            session.devices = self._join_devices(session, person.name, key)
        session.person = person
        session.user = person.name
        self._watch(session)
        if self.others is not None:
            self.others.on_came(session)

    def enter_elsewhere(self, session: OnlineSession, person: User) -> None:
        """A session of another node, which has let it in, is this person's.

        A guest who has the name of an account that comes there is sent away.
        """
        key = name_key(person.name)
        if not person.guest:
            session.devices = self._join_devices(session, person.name, key, elsewhere=True)
        elif key in self._online:
            self._namesakes.setdefault(key, []).append(session)
        else:
            self._online[key] = session
        session.person = person
        session.user = person.name

    def check(self, session: OnlineSession, person: User) -> str:
        """The key of the name, if the session may become this person. Raises WireError as ``enter`` does."""
        key = name_key(person.name)
        present = self._online.get(key)
        if person.guest:
            if present is not None and present is not session:
                raise name_taken(person.name)
        elif isinstance(present, Devices) and self._limit and len(present.sessions) >= self._limit:
            raise WireError(
                Code.TOO_MANY_CONNECTIONS,
                f"{person.name} has {self._limit} connections; close one of them first",
            )
        return key

    def _join_devices(
        self, session: OnlineSession, name: str, key: str, *, elsewhere: bool = False
    ) -> Devices:
        while (present := self._online.get(key)) is not None and not isinstance(present, Devices):
            present.end(Close.SIGNED_OUT, f"the name {name} is an account's; come back under another one")
            if self._online.get(key) is present:  # has no connection here to end
                del self._online[key]
                self._namesakes.setdefault(key, []).append(present)
        if present is None:
            present = self._online[key] = Devices()
        if elsewhere:
            present.elsewhere += 1
        elif len(present.sessions) == present.elsewhere:
            self.unsaved.add(key)
        present.sessions.append(session)
        return present

    def rename(self, session: OnlineSession, person: User) -> None:
        """A guest goes on under another name, or as an account. Raises WireError, and is who it was then."""
        old = name_key(session.user)
        if name_key(person.name) != old:
            self.enter(session, person)
            self._give_up(old)
        elif person.guest:
            session.person = person
            session.user = person.name
            self._watch(session)
            if self.others is not None:
                self.others.on_came(session)
        else:
            del self._online[old]
            self.enter(session, person)

    def leave(self, session: OnlineSession) -> None:
        """The session is over; may be called again, and by who has never come."""
        devices = session.devices
        key = name_key(session.user)
        if devices is None:
            if self._online.get(key) is session:
                self._give_up(key)
            elif self._namesakes:
                self._forget_namesake(key, session)
        else:
            session.devices = None
            devices.arrivals.pop(session, None)
            devices.sessions.remove(session)
            if len(devices.sessions) == devices.elsewhere:
                self.unsaved.add(key)
            if not devices.sessions:
                self._give_up(key)
        self._expiry.discard(session)
        if self.others is not None:
            self.others.on_went(session)

    def leave_elsewhere(self, session: OnlineSession) -> None:
        """A session of another node is over, or is somebody else from now on."""
        devices = session.devices
        key = name_key(session.user)
        if devices is None:
            if self._online.get(key) is session:
                self._give_up(key)
            else:
                self._forget_namesake(key, session)
            return
        session.devices = None
        devices.elsewhere -= 1
        devices.sessions.remove(session)
        if not devices.sessions:
            self._give_up(key)

    def _give_up(self, key: str) -> None:
        """The name is free, or another guest's who came by it elsewhere."""
        del self._online[key]
        if self._namesakes and (namesakes := self._namesakes.get(key)):
            self._online[key] = namesakes[0]
            self._forget_namesake(key, namesakes[0])

    def _forget_namesake(self, key: str, session: OnlineSession) -> None:
        namesakes = self._namesakes.get(key, [])
        if session in namesakes:
            namesakes.remove(session)
            if not namesakes:
                del self._namesakes[key]

    def free_name(self) -> str:
        """For a guest who has given none."""
        name = f"guest-{token_hex(2)}"
        while name in self._online:
            name = f"guest-{token_hex(4)}"
        return name

    # Who is there

    def __len__(self) -> int:
        """How many people are online, on however many connections."""
        return len(self._online)

    def sessions(self, name: str) -> Sequence[OnlineSession]:
        """The user's sessions; none where nobody who is called so is online."""
        present = self._online.get(name_key(name))
        if present is None:
            return ()
        return tuple(present.sessions) if isinstance(present, Devices) else (present,)

    def find(self, name: str) -> User | None:
        """Who is online under this name, or one that looks like it."""
        sessions = self.sessions(name)
        return sessions[0].person if sessions else None

    # Sending away

    def send_away(self, name: str, code: Close, reason: str, *, but: OnlineSession | None = None) -> None:
        """Ends the user's sessions, all ``but`` one, on all nodes."""
        self.send_away_here(name, code, reason, but=but)
        if self.others is not None:
            self.others.on_sent_away(name, code, reason)

    def send_away_here(
        self, name: str, code: Close, reason: str, *, but: OnlineSession | None = None
    ) -> None:
        """Ends the user's sessions on this node."""
        self.endings += 1
        for session in self.sessions(name):
            if session is not but:
                session.end(code, reason)

    def set_operator(self, name: str, operator: bool) -> None:
        """The user is an operator from now on, or not any more, wherever it is connected."""
        self.set_operator_here(name, operator)
        if self.others is not None:
            self.others.on_operator(name, operator)

    def set_operator_here(self, name: str, operator: bool) -> None:
        """As ``set_operator``, of the sessions that are known on this node."""
        for session in self.sessions(name):
            session.person = replace(session.person, operator=operator)

    # Tokens that end

    def renew(self, session: OnlineSession, person: User) -> None:
        """The session's user has another token."""
        session.person = replace(person, name=session.user)
        self._watch(session)
        if self.others is not None:
            self.others.on_came(session)

    def _watch(self, session: OnlineSession) -> None:
        expires_at_ms = session.person.expires_at_ms
        if expires_at_ms is None:
            self._expiry.discard(session)
        else:
            self._expiry.put(session, expires_at_ms - self._notice_ms)

    def check_expiry(self, wall_ms: int) -> None:
        """Tells those whose tokens end soon, and ends the sessions of those whose have ended."""
        for session in self._expiry.take_due(wall_ms):
            expires_at_ms = session.person.expires_at_ms
            assert expires_at_ms is not None
            if expires_at_ms <= wall_ms:
                session.end(Close.TOKEN_EXPIRED, "the token has expired; come back with another one")
            else:
                self._expiry.put(session, expires_at_ms)
                session.tell_expiry(expires_at_ms - wall_ms)


class Expiry:
    """Sessions by the time at which they are due, in milliseconds since 1970."""

    def __init__(self) -> None:
        self._due_at: dict[OnlineSession, int] = {}
        # Entries that ``_due_at`` does not confirm are of sessions that are gone or due at another time.
        self._heap: list[tuple[int, int, OnlineSession]] = []
        self._numbers = count()  # so that no two sessions are compared

    def __len__(self) -> int:
        return len(self._due_at)

    def put(self, session: OnlineSession, at_ms: int) -> None:
        """The session is due then, and at no other time."""
        self._due_at[session] = at_ms
        heapq.heappush(self._heap, (at_ms, next(self._numbers), session))
        self._forget_stale()

    def discard(self, session: OnlineSession) -> None:
        """The session is not due any more."""
        if self._due_at.pop(session, None) is not None:
            self._forget_stale()

    def take_due(self, at_ms: int) -> list[OnlineSession]:
        """Those that are due by now, who are not any more."""
        due: list[OnlineSession] = []
        while self._heap and self._heap[0][0] <= at_ms:
            when, _, session = heapq.heappop(self._heap)
            if self._due_at.get(session) == when:
                del self._due_at[session]
                due.append(session)
        return due

    def _forget_stale(self) -> None:
        if len(self._heap) > 2 * len(self._due_at) + 64:
            self._heap = [(due, next(self._numbers), each) for each, due in self._due_at.items()]
            heapq.heapify(self._heap)


def name_taken(name: str) -> WireError:
    """Somebody else is called so, or so much like it that one would be taken for the other."""
    return WireError(Code.NAME_TAKEN, f"user {name} is taken; choose another name", field="user")
