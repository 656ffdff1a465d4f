"""What is read of a room: its numbers and facts, pages of messages, blocks of events.

The JSON of events holds no raw line break, so that a page is text with one event a line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

import orjson

from fastchat.messages import SEQ_MAX
from fastchat.store.found import PAGE_MAX, cut_range
from fastchat.store.interface import BLOCK_EVENTS, NO_FACTS, Block, Facts, Kind, Page
from fastchat.store.pairs import has_guest
from fastchat.store.postgres.batch import RoomState
from fastchat.store.postgres.connection import Connection
from fastchat.store.postgres.schema import escape, unescape

_ROOM = """
    SELECT epoch, head, first, version,
        ARRAY(SELECT name FROM facts WHERE room_id = rooms.id ORDER BY name),
        ARRAY(SELECT value FROM facts WHERE room_id = rooms.id ORDER BY name)
    FROM rooms WHERE name = $1
"""
_ADD_ROOM = "INSERT INTO rooms (name, epoch) VALUES ($1, $2) ON CONFLICT DO NOTHING"
_HEADS = "SELECT name, epoch, head, first, version FROM rooms WHERE name = ANY ($1)"

_OF_ROOM = "room_id = (SELECT id FROM rooms WHERE name = $1)"
_LINES = "convert_to(string_agg(body, E'\\n' ORDER BY seq), 'UTF8'), count(*), min(seq)"
_BLOCK = f"SELECT {_LINES} FROM events WHERE {_OF_ROOM} AND seq > $2 AND seq <= $3"
_NEXT = f"SELECT min(seq) FROM events WHERE {_OF_ROOM} AND seq > $2 AND seq <= $3"
_PAGE = f"""
    SELECT {_LINES} FROM (
        SELECT seq, coalesce(states.body, events.body) AS body
        FROM events LEFT JOIN states USING (room_id, seq)
        WHERE {_OF_ROOM} AND seq > $2 AND seq < $3 AND kind = '{Kind.MESSAGE}'
        ORDER BY seq {{order}} LIMIT $4
    ) AS page
"""
_OLDEST = _PAGE.format(order="ASC")
_NEWEST = _PAGE.format(order="DESC")

_TO_CHANGE = f"""
    SELECT coalesce(states.body, message.body), coalesce(states.version, 0), repeated.seq, repeated.at_ms
    FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[])
        WITH ORDINALITY AS asked (name, of, author, id, nth)
    LEFT JOIN rooms ON rooms.name = asked.name
    LEFT JOIN events AS message
        ON message.room_id = rooms.id AND message.seq = asked.of AND message.kind = '{Kind.MESSAGE}'
    LEFT JOIN states ON states.room_id = rooms.id AND states.seq = asked.of
    LEFT JOIN events AS repeated
        ON repeated.room_id = rooms.id AND repeated.author = asked.author AND repeated.id = asked.id
    ORDER BY nth
"""


@dataclass(frozen=True, slots=True)
class RoomFound:
    """A room as it is in the database."""

    epoch: str
    head: int
    first: int
    version: int
    facts: Facts


async def read_room(connection: Connection, name: str, epoch: str) -> RoomFound:
    """The room's numbers and facts; those of a new room, with the given epoch, where there is none."""
    key = escape(name)
    if has_guest(name):
        # It may have been there before, and forgotten: who comes back must see that it is another one.
        await connection.execute(_ADD_ROOM, key, token_hex(6))
    row = await connection.fetchrow(_ROOM, key)
    if row is None:
        return RoomFound(epoch, 0, 1, 0, NO_FACTS)
    epoch, head, first, version, names, values = row
    facts = {unescape(fact): orjson.loads(value) for fact, value in zip(names, values, strict=True)}
    return RoomFound(epoch, head, first, version, facts or NO_FACTS)


async def read_heads(connection: Connection, names: Sequence[str]) -> dict[str, tuple[str, int, int, int]]:
    """By room its epoch, head, first event and the version of its facts."""
    rows = await connection.fetch(_HEADS, [escape(name) for name in names])
    return {unescape(name): tuple(numbers) for name, *numbers in rows}


async def read_events(connection: Connection, name: str, after: int, upto: int) -> tuple[int, list[bytes]]:
    """The events from behind ``after`` to ``upto``, a block of them at most, and the first one's ``seq``."""
    lines, count, lowest = await connection.fetchrow(
        _BLOCK, escape(name), after, min(upto, after + BLOCK_EVENTS)
    )
    return (lowest, lines.split(b"\n")) if count else (after + 1, [])


async def read_block(connection: Connection, room: RoomState, after: int, head: int) -> Block:
    """The events that follow ``after``, to the end of its aligned block, and none after ``head``."""
    after = max(after, room.first - 1)
    while after < head:
        end = min((after // BLOCK_EVENTS + 1) * BLOCK_EVENTS, head)
        lines, count, lowest = await connection.fetchrow(_BLOCK, room.key, after, end)
        if count:
            return Block(lowest, lines.split(b"\n"))
        # Trimmed away, maybe by another node.
        lowest = await connection.fetchval(_NEXT, room.key, after, head)
        if lowest is None:
            break
        after = lowest - 1
    return Block(after + 1, ())


async def read_page(
    connection: Connection, room: RoomState, after: int, before: int, limit: int, newest: bool
) -> Page:
    """Messages with ``after < seq < before`` in their current state, bounded by ``limit`` and PAGE_BYTES."""
    wanted = min(limit, PAGE_MAX)
    bounds = (min(max(bound, 0), SEQ_MAX) for bound in (after, before))
    lines, count, _ = await connection.fetchrow(_NEWEST if newest else _OLDEST, room.key, *bounds, wanted + 1)
    return cut_range(lines.split(b"\n") if count else (), wanted, newest=newest)


async def read_to_change(connection: Connection, asked: Sequence[Any]) -> list[tuple[Any, ...]]:
    """For each change, as columns of room, message, author and id: see ``Found``."""
    return [tuple(row) for row in await connection.fetch(_TO_CHANGE, *asked)]
