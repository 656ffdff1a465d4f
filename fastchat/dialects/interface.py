"""What a dialect is. Pure: no sockets, clock or await."""

from collections.abc import Sequence
from typing import Protocol

from fastchat.messages import Command, Reply


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
