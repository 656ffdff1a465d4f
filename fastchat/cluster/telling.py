"""What a node tells the others of its own people, in numbered lists. Pure: no sockets, clock or await.

All that happens in one turn of the loop is told together. Commands are remembered for a while, as a snapshot
does not tell what was to be done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

import orjson

from fastchat.cluster.changes import (
    CHANGES,
    COMMANDS,
    JOINED,
    LEFT,
    OPERATOR,
    READ,
    SEND_AWAY,
    SNAPSHOT,
    WENT,
    Change,
    describe,
)
from fastchat.cluster.interface import Outside, Somebody
from fastchat.presence import CallLater

PIECE_COST = 1000
"""So many sessions and rooms are told at once: some 60 KB, and a millisecond to encode or to apply."""

COMMANDS_MAX = 1000
"""Commands that are remembered for nodes that could not hear them."""


class Own:
    """One of this node's sessions. ``rooms`` has the number of its seats by room."""

    __slots__ = ("number", "rooms", "session", "told")

    def __init__(self, number: int, session: Somebody) -> None:
        self.number = number
        self.session = session
        self.rooms: dict[str, int] = {}
        self.told = False


class Snapshot:
    """One that is being told to a node, piece by piece."""

    __slots__ = ("ask", "index", "left", "since")

    def __init__(self, ask: int, since: int, left: list[Own | Change]) -> None:
        self.ask = ask
        self.since = since
        self.left = left
        self.index = 0


class Telling:
    """This node's people.

    ``cursor(user, room)`` is how far somebody has read; ``standing()`` what a snapshot has beside sessions.
    """

    def __init__(
        self,
        outside: Outside,
        call_later: CallLater,
        cursor: Callable[[str, str], int],
        standing: Callable[[], Iterable[Change]],
    ) -> None:
        self.number = 0
        self._outside = outside
        self._call_later = call_later
        self._cursor = cursor
        self._standing = standing
        self._own: dict[Somebody, Own] = {}
        self._sessions = 0
        self._described: dict[Own, None] = {}  # of whom all is to be told
        self._changes: list[Change] = []
        self._read: dict[tuple[int, str], int] = {}
        self._commands: deque[tuple[int, Change]] = deque(maxlen=COMMANDS_MAX)
        self._serial = 0
        self._snapshots: dict[str, Snapshot] = {}
        self._due = False
        self._serving = False

    # What happens

    def come(self, session: Somebody) -> None:
        """The session has come, or is somebody else by now."""
        own = self._own.get(session)
        if own is None:
            self._sessions += 1
            own = self._own[session] = Own(self._sessions, session)
        self._described[own] = None
        self._tell_soon()

    def go(self, session: Somebody) -> None:
        """The session is over; may be told again."""
        own = self._own.pop(session, None)
        if own is None:
            return
        self._described.pop(own, None)
        if own.told:
            self.tell([WENT, own.number])

    def join(self, session: Somebody, room: str) -> None:
        """The session has one more seat in the room."""
        own = self._own.get(session)
        if own is None:
            return
        own.rooms[room] = own.rooms.get(room, 0) + 1
        if own.rooms[room] == 1 and own not in self._described:
            self.tell([JOINED, own.number, room, self._cursor(session.user, room)])

    def leave(self, session: Somebody, room: str) -> None:
        """The session has one seat less."""
        own = self._own.get(session)
        if own is None or room not in own.rooms:
            return
        own.rooms[room] -= 1
        if own.rooms[room]:
            return
        del own.rooms[room]
        if own not in self._described:
            self.tell([LEFT, own.number, room])

    def read(self, session: Somebody, room: str, seq: int) -> None:
        """The session's user has read so far."""
        own = self._own.get(session)
        if own is not None:
            self._read[own.number, room] = seq
            self._tell_soon()

    def tell_of(self, session: Somebody, kind: str, *rest: object) -> None:
        """Anything else about one session."""
        own = self._own.get(session)
        if own is not None:
            self.tell([kind, own.number, *rest])

    def send_away(self, name: str, code: int, reason: str) -> None:
        """Has all nodes end somebody's sessions."""
        self._serial += 1
        self.tell([SEND_AWAY, self._serial, name, int(code), reason])

    def set_operator(self, name: str, operator: bool) -> None:
        """Has all nodes know that somebody is an operator, or is not."""
        self._serial += 1
        self.tell([OPERATOR, self._serial, name, operator])

    def tell(self, change: Change) -> None:
        """Tells a change with the others of this turn of the loop, in their order."""
        self._changes.append(change)
        self._tell_soon()

    def _tell_soon(self) -> None:
        if not self._due:
            self._due = True
            self._call_later(0, self._on_due)

    def _on_due(self) -> None:
        self._due = False
        self.flush()

    def flush(self) -> None:
        """Tells what has not been told yet."""
        if not (self._described or self._changes or self._read):
            return
        changes: list[Change] = [self._describe(own) for own in self._described]
        changes += self._changes
        # Behind the rest: a session that has left meanwhile is no matter then.
        changes += ([READ, session, room, seq] for (session, room), seq in self._read.items())
        self._described, self._changes, self._read = {}, [], {}
        for some in _cut(changes):
            self.number += 1
            self._commands += ((self.number, change) for change in some if change[0] in COMMANDS)
            self._outside.tell_all(orjson.dumps([CHANGES, self.number, some]))

    def _describe(self, own: Own) -> Change:
        own.told = True
        user = own.session.user
        rooms = {room: self._cursor(user, room) for room in own.rooms}
        return describe(own.number, own.session.person, rooms)

    def accounts(self) -> list[str]:
        """The names of this node's people who have accounts."""
        return list({session.user for session in self._own if not session.person.guest})

    # Snapshots

    def begin_snapshot(self, node: str, ask: int, since: int) -> None:
        """Tells that node everything, a piece in each turn of the loop; commands behind ``since``."""
        self._snapshots[node] = Snapshot(ask, since, [*self._own.values(), *self._standing()])
        if not self._serving:
            self._serving = True
            self._serve()

    def end_snapshot(self, node: str) -> None:
        """That node is gone."""
        self._snapshots.pop(node, None)

    def _serve(self) -> None:
        self.flush()  # what a piece tells is as of ``number``
        for node, snapshot in [*self._snapshots.items()]:
            changes = self._take_piece(snapshot)
            is_last = not snapshot.left
            piece = [SNAPSHOT, snapshot.ask, snapshot.index, is_last, self.number, changes]
            self._outside.tell(node, orjson.dumps(piece))
            snapshot.index += 1
            if is_last:
                del self._snapshots[node]
        self._serving = bool(self._snapshots)
        if self._serving:
            self._call_later(0, self._serve)

    def _take_piece(self, snapshot: Snapshot) -> list[Change]:
        changes: list[Change] = []
        if not snapshot.index:
            changes += (change for number, change in self._commands if number > snapshot.since)
        cost = 0
        while snapshot.left and cost < PIECE_COST:
            own = snapshot.left.pop()
            if isinstance(own, list):
                changes.append(own)
                cost += 1
            elif self._own.get(own.session) is own:
                changes.append(self._describe(own))
                cost += 1 + len(own.rooms)
        return changes


def _cut(changes: list[Change]) -> Iterator[list[Change]]:
    """Lists that cost about PIECE_COST at most."""
    start = cost = 0
    for i, change in enumerate(changes):
        cost += cost_of(change)
        if cost >= PIECE_COST:
            yield changes[start : i + 1]
            start, cost = i + 1, 0
    if start < len(changes):
        yield changes[start:]


def cost_of(change: Change) -> int:
    """How much there is to do for a change."""
    return 1 + len(change[4]) if change[0] == "c" and len(change) > 4 else 1
