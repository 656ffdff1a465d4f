"""What waits for a broker, in PostgreSQL: events behind each room's cursor, and notices."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from fastchat.messages import WireError
from fastchat.store.outbox import share_out
from fastchat.store.postgres.changes import Changes
from fastchat.store.postgres.connection import Connection
from fastchat.store.sending import Backlog, Notice, Unsent, UnsentEvents

NOTICES_KEPT = 100_000
"""So many notices wait in the database, and as many here while it is away; the oldest beyond are dropped."""

NOTICES_AT_ONCE = 5000
"""In one statement."""

UNSENT_BYTES = 1 << 20
"""About the most that is taken at once, whatever the events' size."""

_BEGIN = "SELECT begin_sending()"
_NOTIFY = "SELECT notify_of($1, $2, $3, $4)"
_SENT = "SELECT sent($1, $2, $3)"
_NOTICES = """
    SELECT number, slot, body FROM notices WHERE slot = ANY ($1::integer[]) OR $1 IS NULL
    ORDER BY number LIMIT $2
"""

# Rooms with events that wait, behind the one that was last, then those before it.
_ROOMS = """
    SELECT room_id, name, epoch, greatest(published, first - 1), head
    FROM waiting JOIN rooms ON rooms.id = room_id
    WHERE (waiting.slot = ANY ($1::integer[]) OR $1 IS NULL) AND greatest(published, first - 1) < head
    ORDER BY room_id <= $2, room_id LIMIT $3
"""
_EVENTS = """
    SELECT asked.room_id, found.first, found.bodies
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS asked (room_id, after, share)
    CROSS JOIN LATERAL (
        SELECT min(seq) AS first, array_agg(body ORDER BY seq) AS bodies FROM (
            SELECT seq, body, sum(octet_length(body)) OVER (ORDER BY seq) - octet_length(body) AS before
            FROM events WHERE room_id = asked.room_id AND seq > after AND seq <= after + share
        ) AS oldest WHERE before < $4
    ) AS found
    WHERE found.bodies IS NOT NULL
"""
_BACKLOG = """
    SELECT coalesce(sum(head - greatest(published, first - 1)), 0)::bigint,
        (SELECT notices FROM outbox),
        coalesce(least(min(events.at_ms), (SELECT at_ms FROM notices ORDER BY number LIMIT 1)), 0),
        (SELECT dropped FROM outbox)
    FROM waiting JOIN rooms ON rooms.id = waiting.room_id
    LEFT JOIN events ON events.room_id = rooms.id AND events.seq = greatest(published, first - 1) + 1
"""


class PostgresOutbox:
    """See ``Outbox``. No more than ``keep_notices`` wait."""

    def __init__(self, changes: Changes, keep_notices: int = NOTICES_KEPT) -> None:
        self._changes = changes
        self._keep_notices = keep_notices
        self._new: list[Notice] = []  # that are not in the database yet
        self._submitted = False
        self._dropped = 0  # and not counted in the database yet
        self._last_room = 0  # id of the room that was served last
        self.on_waiting: Callable[[], None] = lambda: None

    def watch(self, on_waiting: Callable[[], None]) -> None:
        """Called after each commit of events or notices."""
        self.on_waiting = on_waiting

    def begin_sending(self, done: Callable[[WireError | None], None]) -> None:
        """Answers after the commit."""
        self._changes.submit(lambda connection: _execute(connection, _BEGIN), done)

    # Notices

    def notify(self, notices: Sequence[Notice]) -> None:
        """All that gather meanwhile are kept together; where that fails, they are later."""
        self._new.extend(notices)
        self._drop()
        self._submit()

    def _drop(self) -> None:
        if (excess := len(self._new) - self._keep_notices) > 0:
            del self._new[:excess]
            self._dropped += excess

    def _submit(self) -> None:
        if not self._new or self._submitted:
            return
        self._submitted = True
        taken: list[Notice] = []
        dropped, self._dropped = self._dropped, 0

        async def run(connection: Connection) -> None:
            self._submitted = False  # what comes in between is submitted again
            # The loop adds at the end meanwhile: the list stays the same one.
            some = self._new[:NOTICES_AT_ONCE]
            del self._new[: len(some)]
            taken.extend(some)
            slots, bodies = [notice.slot for notice in taken], [notice.body.decode() for notice in taken]
            await connection.execute(_NOTIFY, slots, bodies, self._keep_notices, dropped)

        def on_kept(result: WireError | None) -> None:
            if result is None:
                self._submit()
                self.on_waiting()
                return
            self._submitted = False
            self._dropped += dropped
            self._new[:0] = taken
            self._drop()
            self._changes.later(self._submit)

        self._changes.submit(run, on_kept)

    # What waits

    def unsent(
        self, slots: Collection[int] | None, limit: int, done: Callable[[Unsent | WireError], None]
    ) -> None:
        """Rooms take turns, so that a busy one cannot hold up the others."""
        asked = None if slots is None else list(slots)
        self._changes.submit(lambda connection: self._read(connection, asked, limit), done)

    async def _read(self, connection: Connection, slots: Sequence[int] | None, limit: int) -> Unsent:
        most_notices = max(1, limit // 4)
        notices = [
            Notice(number, slot, body.encode())
            for number, slot, body in await connection.fetch(_NOTICES, slots, most_notices)
        ]
        limit -= len(notices)
        rooms = await connection.fetch(_ROOMS, slots, self._last_room, limit)
        waiting = [head - done for _, _, _, done, head in rooms]
        events = await _read_events(connection, rooms, share_out(waiting, limit))
        if events:
            self._last_room = rooms[-1][0]
        taken = sum(len(each.bodies) for each in events)
        more = taken < sum(waiting) or len(rooms) >= limit or len(notices) == most_notices
        return Unsent(events, notices, more)

    def sent(
        self, heads: Mapping[str, int], notices: Sequence[int], done: Callable[[WireError | None], None]
    ) -> None:
        """Answers after the commit."""
        values = [list(heads), list(heads.values()), list(notices)]
        self._changes.submit(lambda connection: _execute(connection, _SENT, *values), done)

    def backlog(self, done: Callable[[Backlog | WireError], None]) -> None:
        """With those notices that are not in the database yet."""

        async def read(connection: Connection) -> Backlog:
            events, notices, oldest_ms, dropped = await connection.fetchrow(_BACKLOG)
            return Backlog(events, notices + len(self._new), oldest_ms, dropped + self._dropped)

        self._changes.submit(read, done)


async def _read_events(
    connection: Connection, rooms: Sequence[Sequence[Any]], shares: Sequence[int]
) -> list[UnsentEvents]:
    """The oldest events that wait in these rooms, so many of each."""
    if not rooms:
        return []
    ids, done = [room[0] for room in rooms], [room[3] for room in rooms]
    rows = await connection.fetch(_EVENTS, ids, done, shares, max(1, UNSENT_BYTES // len(rooms)))
    found = {room_id: (first, [body.encode() for body in bodies]) for room_id, first, bodies in rows}
    return [
        UnsentEvents(name, epoch, *found[room_id]) for room_id, name, epoch, _, _ in rooms if room_id in found
    ]


async def _execute(connection: Connection, query: str, *values: Any) -> None:
    await connection.execute(query, *values)
