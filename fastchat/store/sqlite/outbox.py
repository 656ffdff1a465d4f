"""What waits for a broker, in the file: events behind each room's cursor, and notices.

All is read in the writer's thread, within a transaction: so nothing is sent that a failed commit has left and
the next one takes back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import orjson

from fastchat.messages import WireError
from fastchat.store.interface import slot_of
from fastchat.store.outbox import NOTICES_HELD, share_out
from fastchat.store.sending import Backlog, Notice, Unsent, UnsentEvents
from fastchat.store.sqlite.reader import Reader
from fastchat.store.sqlite.schema import SEQ_BITS, SEQ_MASK
from fastchat.store.sqlite.upkeep import Upkeep
from fastchat.store.sqlite.writer import Job, Writer

NOTICES_KEPT = 100_000
"""So many notices wait in the file; the oldest beyond are dropped. They take some 40 MB."""

UNSENT_BYTES = 1 << 20
"""About the most that is taken at once, whatever the events' size."""

# A room whose events wait behind ``done``; what trimming took while nobody sent is gone.
_ROOMS = """
    SELECT json_group_array(json_array(id, name, epoch, done, head)) FROM (
        SELECT id, name, epoch, max(published, first - 1) AS done, head
        FROM rooms INDEXED BY rooms_to_publish
        WHERE published < head AND id > ? AND id <= ? ORDER BY id LIMIT ?
    )
"""

# For each room a line with the first key and the number of events, then these, one a line.
_EVENTS = """
    SELECT group_concat((
        SELECT min(key) || ' ' || count(*) || char(10) || group_concat(body, char(10)) FROM (
            SELECT key, body FROM (
                SELECT key, body, length(body) AS size, sum(length(body)) OVER (ORDER BY key) AS total
                FROM events WHERE key > asked.value ->> 0 AND key <= asked.value ->> 1
            ) WHERE total - size < ? ORDER BY key
        )
    ), char(10)) FROM json_each(?) AS asked
"""

_NOTICES = """
    SELECT group_concat(number || ' ' || slot || ' ' || body, char(10)) FROM (
        SELECT number, slot, body FROM notices
        WHERE ?1 IS NULL OR slot IN (SELECT value FROM json_each(?1)) ORDER BY number LIMIT ?2
    )
"""

_BACKLOG = f"""
    SELECT json_array(
        (SELECT coalesce(sum(head - max(published, first - 1)), 0)
            FROM rooms INDEXED BY rooms_to_publish WHERE published < head),
        (SELECT min(at_ms) FROM rooms INDEXED BY rooms_to_publish
            JOIN events ON key = rooms.id << {SEQ_BITS} | max(published, first - 1) + 1
            WHERE published < head),
        (SELECT count(*) FROM notices),
        (SELECT at_ms FROM notices ORDER BY number LIMIT 1),
        coalesce((SELECT value FROM meta WHERE name = 'notices_dropped'), 0)
    )
"""

_SENT_EVENTS = """
    UPDATE rooms SET published = min(head, max(published, sent.seq))
    FROM (SELECT value ->> 0 AS name, value ->> 1 AS seq FROM json_each(?)) AS sent
    WHERE rooms.name = sent.name AND published IS NOT NULL
"""
_SENT_NOTICES = "DELETE FROM notices WHERE number IN (SELECT value FROM json_each(?))"

_DROP_OLDEST = "DELETE FROM notices WHERE number <= (SELECT max(number) FROM notices) - ?"
_COUNT_DROPPED = """
    INSERT INTO meta (name, value) VALUES ('notices_dropped', ?)
    ON CONFLICT (name) DO UPDATE SET value = value + excluded.value
"""
_ROWS_MAX = 256  # in one statement

Row = tuple[int, str, str, int, int]


class SqliteOutbox:
    """See ``Outbox``; part of the store, which calls ``save`` when the file can be written to again."""

    def __init__(
        self, writer: Writer, searcher: Reader, upkeep: Upkeep, wall_ms: Callable[[], int], keep_notices: int
    ) -> None:
        self._writer = writer
        self._searcher = searcher
        self._upkeep = upkeep
        self._wall_ms = wall_ms
        self._keep_notices = keep_notices
        self._unkept: list[tuple[Notice, int]] = []  # with their times; not in the file yet
        self._lost = 0  # that could not be kept while the file could not be written to
        self._last_room = 0  # id of the room that was served last
        self._on_waiting: Callable[[], None] = lambda: None

    def watch(self, on_waiting: Callable[[], None]) -> None:
        """Called after each commit of events or notices."""
        self._on_waiting = self._writer.on_commit = on_waiting

    def begin_sending(self, done: Callable[[WireError | None], None]) -> None:
        """From now on trimming looks where the brokers' cursors are."""

        def run(connection: sqlite3.Connection) -> None:
            if connection.execute("INSERT OR IGNORE INTO meta VALUES ('sending', 1)").rowcount:
                connection.execute("UPDATE rooms SET published = head")
            self._upkeep.sending = True

        self._writer.submit(Job(run, done))

    # Notices

    def notify(self, notices: Sequence[Notice]) -> None:
        """In a transaction of their own, which does not wait for the disk; tried again as marks are."""
        now_ms = self._wall_ms()
        self._unkept += [(notice, now_ms) for notice in notices]
        self.save_notices()

    def save_notices(self) -> None:
        """Keeps what is not kept yet, if there is anything."""
        if not self._unkept:
            return
        notices, self._unkept = self._unkept, []

        def run(connection: sqlite3.Connection) -> None:
            (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM notices").fetchone()
            job.undo = (("DELETE FROM notices WHERE number > ?", (last,)),)
            keep_notices(connection, notices, self._keep_notices)

        def on_kept(result: WireError | None) -> None:
            if result is None:
                self._on_waiting()
                return
            self._unkept = notices + self._unkept
            excess = max(0, len(self._unkept) - NOTICES_HELD)
            self._lost += excess
            del self._unkept[:excess]

        job = Job(run, on_kept, volatile=True)
        self._writer.submit(job)

    # What waits

    def unsent(
        self, slots: Collection[int] | None, limit: int, done: Callable[[Unsent | WireError], None]
    ) -> None:
        """Rooms take turns, so that a busy one cannot hold up the others."""
        self._writer.submit(Job(partial(self._read_unsent, slots=slots, limit=limit), done))

    def _read_unsent(
        self, connection: sqlite3.Connection, slots: Collection[int] | None, limit: int
    ) -> Unsent:
        notices = read_notices(connection, slots, most_notices := max(1, limit // 4))
        limit -= len(notices)
        rows = self._next_rooms(connection, slots, limit)
        events = read_events(connection, rows, limit)
        if events:
            self._last_room = rows[-1][0]
        taken = sum(len(each.bodies) for each in events)
        waiting = sum(head - done for _, _, _, done, head in rows)
        more = taken < waiting or len(rows) >= limit or len(notices) == most_notices
        return Unsent(events, notices, more)

    def _next_rooms(
        self, connection: sqlite3.Connection, slots: Collection[int] | None, limit: int
    ) -> list[Row]:
        """Rooms with events that wait, behind the one that was last, then those before it."""
        most = limit if slots is None else -1  # the slot is not in the file
        rows: list[Row] = []
        for span in (self._last_room, 1 << 62), (0, self._last_room):
            if len(rows) < limit:
                found = orjson.loads(connection.execute(_ROOMS, (*span, most)).fetchone()[0])
                rows += [row for row in found if slots is None or slot_of(row[1]) in slots]
        return rows[:limit]

    def sent(
        self, heads: Mapping[str, int], notices: Sequence[int], done: Callable[[WireError | None], None]
    ) -> None:
        """Does not wait for the disk: after a power cut some are sent again."""
        rows = orjson.dumps([*heads.items()]).decode()
        numbers = orjson.dumps(notices).decode()

        def run(connection: sqlite3.Connection) -> None:
            connection.execute(_SENT_EVENTS, (rows,))
            if notices:
                connection.execute(_SENT_NOTICES, (numbers,))

        self._writer.submit(Job(run, done, volatile=True))

    def backlog(self, done: Callable[[Backlog | WireError], None]) -> None:
        """Reads in the searcher's thread: nobody waits for it."""

        def on_read(found: Backlog | WireError) -> None:
            if isinstance(found, Backlog):
                times = [at_ms for _, at_ms in self._unkept[:1]] + [found.oldest_ms] * bool(found.oldest_ms)
                found = Backlog(
                    found.events,
                    found.notices + len(self._unkept),
                    min(times, default=0),
                    found.dropped + self._lost,
                )
            done(found)

        self._searcher.submit(read_backlog, on_read)


def keep_notices(connection: sqlite3.Connection, notices: Sequence[tuple[Notice, int]], most: int) -> None:
    """Adds notices with their times; drops, and counts, the oldest ones beyond ``most``."""
    for start in range(0, len(notices), _ROWS_MAX):
        some = notices[start : start + _ROWS_MAX]
        values = [value for notice, at_ms in some for value in (notice.slot, at_ms, notice.body.decode())]
        rows = ", ".join(["(?, ?, ?)"] * len(some))
        connection.execute(f"INSERT INTO notices (slot, at_ms, body) VALUES {rows}", values)
    if (dropped := connection.execute(_DROP_OLDEST, (most,)).rowcount) > 0:
        connection.execute(_COUNT_DROPPED, (dropped,))


def read_notices(connection: sqlite3.Connection, slots: Collection[int] | None, limit: int) -> list[Notice]:
    """The oldest notices of these slots."""
    asked = None if slots is None else orjson.dumps([*slots]).decode()
    (text,) = connection.execute(_NOTICES, (asked, limit)).fetchone()
    lines = (line.split(b" ", 2) for line in text.encode().split(b"\n")) if text else ()
    return [Notice(int(number), int(slot), body) for number, slot, body in lines]


def read_events(connection: sqlite3.Connection, rows: Sequence[Row], limit: int) -> list[UnsentEvents]:
    """The oldest events that wait in these rooms, at most ``limit``."""
    if not rows:
        return []
    shares = share_out([head - done for _, _, _, done, head in rows], limit)
    spans = [
        (room_id << SEQ_BITS | done, room_id << SEQ_BITS | done + share)
        for (room_id, _, _, done, _), share in zip(rows, shares, strict=True)
    ]
    size = max(1, UNSENT_BYTES // len(rows))
    (text,) = connection.execute(_EVENTS, (size, orjson.dumps(spans).decode())).fetchone()
    lines = text.encode().split(b"\n") if text else []
    found: dict[int, tuple[int, Sequence[bytes]]] = {}  # by room: the first seq, and the events
    at = 0
    while at < len(lines):
        key, count = map(int, lines[at].split())
        found[key >> SEQ_BITS] = key & SEQ_MASK, lines[at + 1 : at + 1 + count]
        at += 1 + count
    return [
        UnsentEvents(name, epoch, *found[room_id]) for room_id, name, epoch, _, _ in rows if room_id in found
    ]


def read_backlog(connection: sqlite3.Connection) -> Backlog:
    """How much waits in the file."""
    (found,) = connection.execute(_BACKLOG).fetchone()
    events, oldest_event_ms, notices, oldest_notice_ms, dropped = orjson.loads(found)
    times = [at_ms for at_ms in (oldest_event_ms, oldest_notice_ms) if at_ms is not None]
    return Backlog(events, notices, min(times, default=0), dropped)
