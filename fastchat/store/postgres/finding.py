"""Search in PostgreSQL, and which rooms there are."""

from collections.abc import Sequence

from fastchat.store.found import PAGE_MAX, cut_page, parse_query
from fastchat.store.interface import Page, RoomSummary
from fastchat.store.postgres.connection import Connection
from fastchat.store.words import encode_query

_ROOMS = """
    SELECT name, first, head, size_bytes FROM rooms WHERE name > $1 AND name NOT LIKE '@%'
    ORDER BY name LIMIT $2
"""

# Bodies are looked up for those alone that are wanted.
_SEARCH = """
    SELECT at_ms, coalesce(states.body, events.body) FROM (
        SELECT room_id, seq FROM events
        WHERE words @@ $1::text::tsquery AND at_ms < $2
            AND room_id IN (SELECT id FROM rooms WHERE name = ANY ($3::text[]))
        ORDER BY at_ms DESC, room_id DESC, seq DESC LIMIT $4
    ) AS found JOIN events USING (room_id, seq) LEFT JOIN states USING (room_id, seq)
    ORDER BY at_ms DESC, room_id DESC, seq DESC
"""


async def read_rooms(connection: Connection, after: str, limit: int) -> list[RoomSummary]:
    """Rooms by name, but for those of two."""
    return [RoomSummary(*row) for row in await connection.fetch(_ROOMS, after, max(0, limit))]


async def search(
    connection: Connection, rooms: Sequence[str], query: str, before_ms: int | None, limit: int
) -> Page:
    """Messages that contain all words of the query, the newest first. Raises WireError for a wrong query."""
    words = encode_query(parse_query(query))
    if words is None or not rooms:
        return Page((), more=False)
    wanted = min(limit, PAGE_MAX)
    before = before_ms if before_ms is not None else 1 << 62
    found = await connection.fetch(_SEARCH, words, before, list(rooms), wanted + 1)
    return cut_page([(at_ms, body.encode()) for at_ms, body in found], wanted)
