"""What happens in a chat as CloudEvents 1.0, for other services. Pure: no sockets, clock or await.

An event of a room's log becomes one without being parsed: its JSON is put into ``data`` as clients get it.
What is no event of a log (who came and went, what was read) is a notice, made here with a name of its own.
The same event always has the same id, so that who gets it twice can tell.
"""

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

from fastchat.broker.interface import Outgoing
from fastchat.store.interface import slot_of
from fastchat.store.sending import Notice, UnsentEvents

KINDS = ("message", "moderation", "receipt", "presence", "session")
"""What a service may ask for; the first word of a routing key."""

TYPE_PREFIX = "chat.fastchat."
CONNECTED = "session.connected"
DISCONNECTED = "session.disconnected"


_MODERATION = frozenset({b"moderated"})
# What else a log may hold, now or one day, is what becomes of messages.
_BODY_START = b'{"type":"'
_AT = b',"at":'


class EventEncoder:
    """Events of rooms' logs, as far as they are wanted.

    ``kinds`` are those of KINDS to be sent; rooms of two are only sent with ``directs``.
    """

    def __init__(self, cluster: str, kinds: Collection[str] = KINDS, *, directs: bool = False) -> None:
        self._source = source_of(cluster).encode()
        self._kinds = frozenset(kinds)
        self._directs = directs

    def wants(self, kind: str, room: str = "") -> bool:
        """Whether such events of the room are to be sent; of no room where it is empty."""
        return kind in self._kinds and (self._directs or not room.startswith("@"))

    def encode(self, unsent: UnsentEvents) -> list[tuple[int, Outgoing]]:
        """Those of the events that are wanted, each with its ``seq``, in order.

        Raises ValueError for what is no event of a log.
        """
        room = unsent.room
        wanted = [kind for kind in ("message", "moderation") if self.wants(kind, room)]
        if not wanted:
            return []
        prefix = f"{unsent.epoch}:{room}:"
        subject = orjson.dumps(room)
        source = self._source
        outgoing: list[tuple[int, Outgoing]] = []
        for seq, body in enumerate(unsent.bodies, unsent.first):
            name = _type_of(body)
            kind = "moderation" if name in _MODERATION else "message"
            if kind not in wanted:
                continue
            event_id = f"{prefix}{seq}"
            event = (
                b'{"specversion":"1.0","id":"%b","source":%b,"type":"chat.fastchat.%b","subject":%b,"time":"%b",'
                b'"datacontenttype":"application/json","data":%b}'
            ) % (event_id.encode(), source, name, subject, _time_of(body), body)
            outgoing.append((seq, Outgoing(f"{kind}.{room}", event_id, event)))
        return outgoing


def source_of(cluster: str) -> str:
    """The ``source`` of all events of a chat, as JSON."""
    return orjson.dumps(f"/fastchat/{cluster}").decode()


def _type_of(body: bytes) -> bytes:
    if not body.startswith(_BODY_START):
        raise ValueError(f"not an event of a room's log: {body[:80]!r}")
    return body[len(_BODY_START) : body.index(b'"', len(_BODY_START))]


def _time_of(body: bytes) -> bytes:
    # Only the name of a field can look like this: a quote in a string has a backslash before it.
    start = body.index(_AT) + len(_AT)
    end = start
    while body[end] in b"-0123456789":
        end += 1
    seconds, ms = divmod(int(body[start:end]), 1000)
    return b"%b.%03dZ" % (_second(seconds), ms)


@lru_cache(64)
def _second(seconds: int) -> bytes:
    """RFC 3339 without what is behind the seconds; the ends of the calendar stand for what is beyond them."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()[:19].encode()
    except (ValueError, OverflowError, OSError):
        return b"0001-01-01T00:00:00" if seconds < 0 else b"9999-12-31T23:59:59"


class NoticeEncoder:
    """Notices of one process. ``process`` is a name that no other one has, and has never had."""

    def __init__(self, cluster: str, process: str, wall_ms: Callable[[], int]) -> None:
        self._source = f"/fastchat/{cluster}"
        self._process = process
        self._wall_ms = wall_ms
        self._count = 0

    def encode(self, event_type: str, subject: str, data: bytes) -> Notice:
        """A notice whose ``data`` is this JSON; ``subject`` is the room or user that it is about."""
        self._count += 1
        seconds, ms = divmod(self._wall_ms(), 1000)
        body = orjson.dumps(
            {
                "specversion": "1.0",
                "id": f"{self._process}:{self._count}",
                "source": self._source,
                "type": TYPE_PREFIX + event_type,
                "subject": subject,
                "time": f"{_second(seconds).decode()}.{ms:03d}Z",
                "datacontenttype": "application/json",
                "data": orjson.Fragment(data),
            }
        )
        return Notice(0, slot_of(subject), body)


def outgoing_of(notice: Notice) -> Outgoing:
    """The notice with its routing key: of a session its type, of a room its type and the room."""
    event: dict[str, Any] = orjson.loads(notice.body)
    kind: str = event["type"].removeprefix(TYPE_PREFIX)
    key = kind if kind in (CONNECTED, DISCONNECTED) else f"{kind}.{event['subject']}"
    return Outgoing(key, event["id"], notice.body)
