"""What other services may ask for, as JSON. Pure: no sockets, clock or await.

A command is one of the wire protocol's under another name, so that its fields are checked by the same table.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from fastchat.auth.names import normalize_name
from fastchat.messages import ID_LENGTH_MAX, Code, Command, WireError, check_command, parse_object

KINDS: dict[str, tuple[str, frozenset[str]]] = {
    # command: (what it is called in the wire protocol, the fields that it may have beside command and id)
    "post": ("send", frozenset({"room", "from", "text", "data"})),
    "create": ("create", frozenset({"room", "access", "topic"})),
    "kick": ("kick", frozenset({"room", "user", "reason"})),
}


@dataclass(frozen=True, slots=True)
class Order:
    """A command that is in order: ``wire`` as a client would send it, ``author`` as it wants to be called."""

    wire: Command
    author: str | None


def parse_order(body: bytes, delivery_id: str, limit_bytes: int) -> Order:
    """Reads a command. Raises WireError where it is malformed.

    ``delivery_id`` is the broker's name for it, which stands in where it has no ``id`` of its own.
    """
    if len(body) > limit_bytes:
        raise WireError(Code.TOO_LARGE, f"the command is {len(body)} bytes long; {limit_bytes} are allowed")
    fields = parse_object(body)
    kind = fields.pop("command", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise WireError(Code.UNKNOWN_TYPE, f"command must be one of {', '.join(KINDS)}", field="command")
    wire_kind, allowed = KINDS[kind]
    if unknown := fields.keys() - allowed - {"id"}:
        name = min(unknown)[:64]
        raise WireError(
            Code.BAD_FIELD,
            f"{kind} has no field {name!r}; it has id, {', '.join(sorted(allowed))}",
            field=name,
        )
    author = _take_author(fields)
    if "id" not in fields:
        fields["id"] = _id_of(delivery_id)
    wire = {"type": wire_kind, **fields}
    check_command(wire)
    if wire["room"].startswith("@"):
        raise WireError(
            Code.BAD_FIELD, "room is a room of two, which is nobody else's; name another one", field="room"
        )
    return Order(wire, author)


def _take_author(fields: dict[str, Any]) -> str | None:
    if "from" not in fields:
        return None
    author = fields.pop("from")
    if not isinstance(author, str):
        raise WireError(Code.BAD_FIELD, "from must be a string", field="from")
    return normalize_name(author, "from")


def _id_of(delivery_id: str) -> str:
    if not delivery_id:
        raise WireError(
            Code.BAD_FIELD,
            "id is missing; give each command one of its own, and the same one when it is sent again",
            field="id",
        )
    if len(delivery_id) <= ID_LENGTH_MAX:
        return delivery_id
    return sha256(delivery_id.encode()).hexdigest()
