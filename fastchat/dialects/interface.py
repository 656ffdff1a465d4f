"""What a dialect is. Pure: no sockets, clock or await."""

from collections.abc import Sequence
from typing import Protocol

from fastchat.messages import Command, Reply
from fastchat.store import Stored


class Dialect(Protocol):
    """One way to talk to the server. Nothing below it knows which one a client speaks."""

    echo: bool
    """Whether the client gets its own messages back as events."""

    patient: bool
    """Whether commands that come too fast are read later instead of being refused."""

    def parse(self, payload: bytes) -> Sequence[Command]:
        """The commands in one message or line. Raises WireError."""

    def encode(self, reply: Reply) -> bytes:
        """A reply as it goes to the transport; empty where this dialect has nothing to say about it."""

    def encode_sent(self, room: str, stored: Stored, event_id: str | None, ref: str | int | None) -> bytes:
        """The reply ``sent`` to a command with this ``id`` and ``ref``; as ``encode``."""
