"""Trimming what retention does not keep, when nobody waits for it. Of several nodes one does so at a time.

Each step is one short transaction, so that no commit waits long for it.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from fastchat.ending import end
from fastchat.store.interface import Retention
from fastchat.store.postgres.audit import trim_entries
from fastchat.store.postgres.connection import Connection, Server, disconnect
from fastchat.store.postgres.errors import describe
from fastchat.store.postgres.schema import unescape
from fastchat.store.postgres.thread import LoopThread

TRIM_STEP = 200  # events deleted in one transaction
TRIM_LOOK = 1000  # rooms looked at in one query
PASS_S = 10.0  # every room is looked at this often, at most
LOCK = "hashtext('fastchat'), hashtext('upkeep')"

# A node that is halted in the middle of a step holds up a room for all.
_PATIENCE = "SET idle_in_transaction_session_timeout = '2s'"
_LOOK = f"""
    SELECT id, name, head, first, size_bytes FROM rooms WHERE id > $1 ORDER BY id LIMIT {TRIM_LOOK}
"""
_NUMBERS = "SELECT head, first, size_bytes FROM rooms WHERE id = $1 FOR NO KEY UPDATE"
# What a broker has not confirmed is not trimmed.
_CONFIRMED = "SELECT published FROM waiting WHERE room_id = $1"

# How far to delete, and how many bytes that is. It ends before the first event that is to be kept: times need
# not be in order, since clocks are set. ``total`` is the size of everything up to an event.
_OLDEST = f"""
    WITH oldest AS (
        SELECT seq, at_ms, size, sum(size) OVER (ORDER BY seq) AS total FROM (
            SELECT seq, at_ms, octet_length(body) AS size
            FROM events WHERE room_id = $1 AND seq >= $2 AND seq <= $3 ORDER BY seq LIMIT {TRIM_STEP}
        ) AS next
    )
    SELECT max(seq), max(total)::bigint FROM oldest WHERE seq < coalesce((
        SELECT min(seq) FROM oldest WHERE seq >= $4 AND at_ms >= $5 AND total - size >= $6
    ), {1 << 62})
"""
_DELETE = "DELETE FROM {table} WHERE room_id = $1 AND seq <= $2"
_TRIMMED = "UPDATE rooms SET first = $2 + 1, size_bytes = size_bytes - $3 WHERE id = $1"
_OLD_WRITERS = "DELETE FROM writers WHERE used_at < now() - interval '7 days'"

logger = logging.getLogger(__name__)


class Upkeep:
    """Works through the database in passes, on a connection of its own that it has for each."""

    def __init__(
        self,
        thread: LoopThread,
        server: Server,
        retention: Callable[[str], Retention],
        wall_ms: Callable[[], int],
        audit: Retention,
        on_trimmed: Callable[[str, int], object],
    ) -> None:
        """``retention`` tells for a room how much of it is kept, ``audit`` how much of the audit log.

        ``on_trimmed(room, first)`` is called in the thread.
        """
        self._thread = thread
        self._server = server
        self._retention = retention
        self._wall_ms = wall_ms
        self._audit = audit
        self._on_trimmed = on_trimmed
        self._task: asyncio.Task[None] | None = None
        thread.call(self._start)

    def _start(self) -> None:
        self._task = self._thread.loop.create_task(self._run())

    async def close(self) -> None:
        """Ends between two steps, or in the middle of one, which has no effect then. In the thread."""
        if self._task is not None:
            await end([self._task])

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PASS_S)
            try:
                connection = await self._server.connect("upkeep")
                try:
                    await connection.execute(_PATIENCE)
                    if await connection.fetchval(f"SELECT pg_try_advisory_lock({LOCK})"):
                        await self.run_pass(connection)
                finally:
                    await disconnect(connection)
            except Exception as error:
                logger.info("upkeep of the message store has to wait: %s", describe(error))

    async def run_pass(self, connection: Connection) -> None:
        """Trims every room, and the audit log."""
        last = 0
        while rows := await connection.fetch(_LOOK, last):
            for room_id, key, head, first, size_bytes in rows:
                name = unescape(key)
                keep = self._retention(name)
                if (
                    (keep.events and head - first + 1 > keep.events)
                    or (keep.size_bytes and size_bytes > keep.size_bytes)
                    or keep.age_s
                ):
                    while await self._trim(connection, room_id, name, keep):
                        pass
            last = rows[-1][0]
        while await trim_entries(connection, self._audit, self._wall_ms()):
            pass
        await connection.execute(_OLD_WRITERS)

    async def _trim(self, connection: Connection, room_id: int, name: str, keep: Retention) -> bool:
        """Deletes the oldest events that are not to be kept; returns whether there may be more of them."""
        async with connection.transaction():
            row = await connection.fetchrow(_NUMBERS, room_id)
            if row is None:
                return False
            head, first, size_bytes = row
            upto = head - 1  # the newest event stays: it carries the numbering
            if (confirmed := await connection.fetchval(_CONFIRMED, room_id)) is not None:
                upto = min(upto, confirmed)
            bounds = self._bounds(keep, head, size_bytes)
            last, total = await connection.fetchrow(_OLDEST, room_id, first, upto, *bounds)
            if last is None:
                return False
            for table in "events", "states":
                await connection.execute(_DELETE.format(table=table), room_id, last)
            await connection.execute(_TRIMMED, room_id, last, total)
        self._on_trimmed(name, last + 1)
        return True

    def _bounds(self, keep: Retention, head: int, size_bytes: int) -> Sequence[Any]:
        """An event is kept from this ``seq``, from this time, and behind so many bytes."""
        return (
            max(head - keep.events + 1, 0) if keep.events else 0,
            self._wall_ms() - int(keep.age_s * 1000) if keep.age_s else 0,
            max(size_bytes - keep.size_bytes, 0) if keep.size_bytes else 0,
        )
