from enum import StrEnum
from typing import Any

class Kind(StrEnum):
    MESSAGE = "message"
    EDITED = "edited"
    DELETED = "deleted"
    REACTED = "reacted"
    MODERATED = "moderated"

class Draft:
    kind: Kind
    author: str
    at_ms: int
    fields: dict[str, Any]
    id: str | None
    of: int | None
    def __init__(
        self,
        kind: Kind,
        author: str,
        at_ms: int,
        fields: dict[str, Any],
        id: str | None = None,  # noqa: A002
        of: int | None = None,
    ) -> None: ...
    def encode(self, room: str, seq: int) -> bytes: ...

class Stored:
    seq: int
    at_ms: int
    body: bytes | None
    def __init__(self, seq: int, at_ms: int, body: bytes | None) -> None: ...

def encode_event(
    kind: str,
    room: str,
    seq: int,
    author: str,
    at_ms: int,
    fields: dict[str, Any],
    event_id: str | None = None,
    of: int | None = None,
) -> bytes: ...
def encode_sent(room: str, stored: Stored, event_id: str | None, ref: str | int | None) -> bytes: ...
