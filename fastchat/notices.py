"""What services are told beside logs: sessions, presence, receipts. Pure: no sockets, clock or await.

It is collected for a moment, so that a herd that joins a room is one notice and not thousands.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from fastchat.cloudevents import CONNECTED, DISCONNECTED, NoticeEncoder
from fastchat.messages import encode_presence, encode_receipts
from fastchat.people import User
from fastchat.store.sending import Notice

HOLD_S = 0.05
"""For so long it is collected."""

NAMED_MAX = 500
"""Members that one notice names: with names as long as they may be it takes some 64 KB."""


class NoticeTaker(Protocol):
    """Whom the hub tells what happens. MUST NOT block."""

    def connected(self, person: User, session: str) -> None:
        """Somebody has come to the server; ``session`` names the connection."""

    def disconnected(self, person: User, session: str) -> None:
        """The connection has ended, or goes on as somebody else."""

    def joined(self, room: str, user: str, members: int) -> None:
        """The first connection of the user is in the room, which has so many members now."""

    def left(self, room: str, user: str, members: int) -> None:
        """The last connection of the user has left the room."""

    def away(self, room: str, user: str, text: str | None, members: int) -> None:
        """The user is away, and has said the text; or is back, where it is None."""

    def read(self, room: str, user: str, seq: int) -> None:
        """The user has acknowledged everything up to ``seq``."""


@dataclass(slots=True)
class _Changes:
    """What one notice is going to tell of a room's members: of each one thing."""

    room: str
    members: int = 0
    joined: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    away: dict[str, str] = field(default_factory=dict)
    back: list[str] = field(default_factory=list)
    named: set[str] = field(default_factory=set)

    def encode(self) -> bytes:
        """As members are told of it on the chat's wire."""
        return encode_presence(self.room, self.joined, self.left, self.members, self.away, self.back)


class Notices:
    """Collects for HOLD_S, then hands ``keep`` what there is.

    ``wants(kind, room)`` tells what is to be sent at all (see ``EventEncoder.wants``).
    """

    def __init__(
        self,
        encoder: NoticeEncoder,
        wants: Callable[[str, str], bool],
        keep: Callable[[Sequence[Notice]], None],
        call_later: Callable[[float, Callable[[], None]], Any],
    ) -> None:
        self._encoder = encoder
        self._wants = wants
        self._keep = keep
        self._call_later = call_later
        self._due = False
        self._ready: list[Notice] = []
        self._changes: dict[str, _Changes] = {}
        self._receipts: dict[str, dict[str, int]] = {}

    # What happens

    def connected(self, person: User, session: str) -> None:
        """Told at once, so that the times of sessions are right."""
        self._tell_session(CONNECTED, person, session)

    def disconnected(self, person: User, session: str) -> None:
        """Told at once, as ``connected`` is."""
        self._tell_session(DISCONNECTED, person, session)

    def _tell_session(self, event_type: str, person: User, session: str) -> None:
        if not self._wants("session", ""):
            return
        data = orjson.dumps({"user": person.name, "guest": person.guest, "session": session})
        self._ready.append(self._encoder.encode(event_type, person.name, data))
        self._keep_soon()

    def joined(self, room: str, user: str, members: int) -> None:
        """Told with the next notice of the room."""
        if (changes := self._changes_of(room, user, members)) is not None:
            changes.joined.append(user)

    def left(self, room: str, user: str, members: int) -> None:
        """Told with the next notice of the room."""
        if (changes := self._changes_of(room, user, members)) is not None:
            changes.left.append(user)

    def away(self, room: str, user: str, text: str | None, members: int) -> None:
        """Told with the next notice of the room."""
        if (changes := self._changes_of(room, user, members)) is None:
            return
        if text is None:
            changes.back.append(user)
        else:
            changes.away[user] = text

    def _changes_of(self, room: str, user: str, members: int) -> _Changes | None:
        """Where to note what the user does; None where nobody is told of it."""
        # Who is in a room of two is nobody's business.
        if room.startswith("@") or not self._wants("presence", room):
            return None
        changes = self._changes.get(room)
        # Who comes and goes at once is told of twice: services that count are to be right.
        if changes is not None and (user in changes.named or len(changes.named) >= NAMED_MAX):
            self._take_changes(changes)
            changes = None
        if changes is None:
            changes = self._changes[room] = _Changes(room)
        changes.named.add(user)
        changes.members = members
        self._keep_soon()
        return changes

    def read(self, room: str, user: str, seq: int) -> None:
        """Told with the next notice of the room; the last one counts."""
        if self._wants("receipt", room):
            receipts = self._receipts.setdefault(room, {})
            if user not in receipts and len(receipts) >= NAMED_MAX:
                self._take_receipts(room)
                receipts = self._receipts[room] = {}
            receipts[user] = seq
            self._keep_soon()

    # What is told of it

    def _keep_soon(self) -> None:
        if not self._due:
            self._due = True
            self._call_later(HOLD_S, self.flush)

    def flush(self) -> None:
        """Hands over what has been collected."""
        self._due = False
        for changes in [*self._changes.values()]:
            self._take_changes(changes)
        for room in [*self._receipts]:
            self._take_receipts(room)
        if self._ready:
            ready, self._ready = self._ready, []
            self._keep(ready)

    def _take_changes(self, changes: _Changes) -> None:
        del self._changes[changes.room]
        self._ready.append(self._encoder.encode("presence", changes.room, changes.encode()))

    def _take_receipts(self, room: str) -> None:
        receipts = self._receipts.pop(room)
        self._ready.append(self._encoder.encode("receipt", room, encode_receipts(room, receipts)))
