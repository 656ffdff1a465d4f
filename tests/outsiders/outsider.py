"""What another service does: it reads events, sends commands, and looks into the dead letters."""

from dataclasses import dataclass
from typing import Protocol, Self


@dataclass(frozen=True)
class Kept:
    """A message as the broker has it."""

    key: str
    """Of an event; empty for a dead letter."""
    id: str
    body: bytes
    reason: str = ""
    """Of a dead letter."""


class Outsider(Protocol):
    """``name`` everywhere is ``broker.name``."""

    @classmethod
    async def connect(cls, url: str) -> Self: ...

    async def events(self, name: str) -> list[Kept]:
        """All that are kept, in order."""

    async def send_command(self, name: str, body: bytes, command_id: str = "") -> None:
        """Returns when the broker has it. The inbox has been opened before."""

    async def dead_letters(self, name: str) -> list[Kept]:
        """All that are kept, in order."""

    async def waiting(self, name: str) -> int:
        """How many commands there are that have not been answered for good."""

    async def close(self) -> None: ...
