"""What ``fastchat._events`` has to write, by building the object and having orjson encode it."""

from typing import Any

import orjson

from fastchat._events import Stored


def encode_event(
    kind: str,
    room: str,
    seq: int,
    author: str,
    at_ms: int,
    fields: dict[str, Any],
    event_id: str | None = None,
    of: int | None = None,
) -> bytes:
    """An event of the log."""
    event: dict[str, Any] = {"type": kind, "room": room, "seq": seq}
    if of is not None:
        event["of"] = of
    if event_id is not None:
        event["id"] = event_id
    return orjson.dumps({**event, "from": author, "at": at_ms, **fields})


def encode_sent(room: str, stored: Stored, event_id: str | None, ref: str | int | None) -> bytes:
    """The reply to who has sent an event."""
    sent: dict[str, Any] = {"type": "sent", "room": room, "seq": stored.seq, "at": stored.at_ms}
    if event_id is not None:
        sent["id"] = event_id
    if stored.body is None:
        sent["repeated"] = True
    if ref is not None:
        sent["ref"] = ref
    return orjson.dumps(sent)
