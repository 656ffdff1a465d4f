"""What goes over the bus between nodes. Pure: no sockets, clock or await.

A payload is a line of text, ``fastchat/1 NODE KIND WORDS``, and then what the kind has: events as they are,
one per line, as JSON has no line breaks. So a body is encoded once, by the store, and never again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from fastchat.cluster.interface import PAYLOAD_BYTES
from fastchat.store.interface import SLOTS, Committed, slot_of

VERSION = "fastchat/1"

EVENTS: Final = "events"
"""Committed events; a list of room and seq in the first line, a body in each of the next ones."""
PEOPLE: Final = "people"
"""What one node's People tells another's."""
BEAT: Final = "beat"
"""The node is alive; its People's number in the first line."""
BYE: Final = "bye"
"""The node stops."""

KINDS = frozenset({EVENTS, PEOPLE, BEAT, BYE})


class EnvelopeError(ValueError):
    """What came over the bus is nothing that this version sends."""


class OtherVersion(EnvelopeError):
    """What came over the bus is of another version of fastchat, or of something else."""

    def __init__(self, version: str) -> None:
        super().__init__(f"payloads of {version!r}, and this node reads those of {VERSION!r}")
        self.version = version


@dataclass(frozen=True, slots=True)
class Envelope:
    """One payload, its first line read."""

    node: str
    kind: str
    words: bytes
    """The rest of the first line."""
    content: bytes
    """What follows the first line."""


# Subjects


def subject_of(cluster: str, room: str) -> str:
    """Where a room's events go: rooms of two to everyone, as their people may be anywhere."""
    return subject_for_all(cluster) if room.startswith("@") else slot_subject(cluster, slot_of(room))


def slot_subject(cluster: str, slot: int) -> str:
    """Where the events of all rooms of a slot go."""
    assert 0 <= slot < SLOTS
    return f"{cluster}.slot.{slot}"


def subject_for_all(cluster: str) -> str:
    """Where every node listens."""
    return f"{cluster}.nodes"


def subject_for(cluster: str, node: str) -> str:
    """Where one node listens."""
    return f"{cluster}.node.{node}"


# Encoding


def encode_events(node: str, committed: Sequence[Committed]) -> Iterator[bytes]:
    """Payloads of about ``PAYLOAD_BYTES`` at most; a larger event has one of its own."""
    start, size = 0, 0
    for i, each in enumerate(committed):
        length = len(each.body or b"") + len(each.room) + 32
        if size + length > PAYLOAD_BYTES and i > start:
            yield _encode_some(node, committed[start:i])
            start, size = i, 0
        size += length
    if start < len(committed):
        yield _encode_some(node, committed[start:])


def _encode_some(node: str, committed: Sequence[Committed]) -> bytes:
    names = orjson.dumps([[each.room, each.seq] for each in committed])
    head = b"%s %s %s %s" % (VERSION.encode(), node.encode(), EVENTS.encode(), names)
    return b"\n".join([head, *(each.body or b"" for each in committed)])


def encode(node: str, kind: str, words: int | None = None, content: bytes = b"") -> bytes:
    """A payload of any other kind."""
    return f"{VERSION} {node} {kind} {'' if words is None else words}\n".encode() + content


# Parsing


def parse_envelope(payload: bytes) -> Envelope:
    """Reads the first line alone. Raises EnvelopeError."""
    head, _, content = payload.partition(b"\n")
    version, _, rest = head.partition(b" ")
    if version != VERSION.encode():
        raise OtherVersion(version[:40].decode(errors="replace"))
    node, _, rest = rest.partition(b" ")
    kind, _, words = rest.partition(b" ")
    try:
        envelope = Envelope(node.decode("ascii"), kind.decode("ascii"), words, content)
    except UnicodeDecodeError:
        raise EnvelopeError("a first line that is no text") from None
    if not envelope.node or envelope.kind not in KINDS:
        raise EnvelopeError(f"a payload of kind {envelope.kind[:40]!r} from node {envelope.node[:40]!r}")
    return envelope


def parse_number(envelope: Envelope) -> int:
    """The number in the first line. Raises EnvelopeError."""
    if not envelope.words.isdigit():
        raise EnvelopeError(f"{envelope.kind} without a number")
    return int(envelope.words)


def parse_events(envelope: Envelope) -> list[Committed]:
    """What the node has committed. Raises EnvelopeError."""
    bodies = envelope.content.split(b"\n")
    try:
        names = orjson.loads(envelope.words)
        committed = [
            Committed(room, seq, body or None) for (room, seq), body in zip(names, bodies, strict=True)
        ]
    except (ValueError, TypeError) as error:
        raise EnvelopeError(f"events that cannot be read: {error}") from None
    for each in committed:
        if not isinstance(each.room, str) or type(each.seq) is not int or each.seq < 0:
            raise EnvelopeError(f"an event without a room or seq: {each.room!r}, {each.seq!r}")
    return committed
