"""The store's interface: a log per room. Pure: no sockets, clock or await.

The store is the truth: it numbers the events and remembers which message ids it has seen. Answers come
through callbacks, so that a store in memory answers at once and one on a disk after its commit, and nothing
above can tell which it talks to.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from fastchat._ring import Ring
from fastchat.messages import WireError


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that has no ``seq`` yet. ``at_ms`` is when it came in, in milliseconds since 1970."""

    author: str
    at_ms: int
    text: str
    id: str | None = None
    data: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """A message that is kept: ``body`` is the event's JSON; None where the same id had been stored before."""

    seq: int
    at_ms: int
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Page:
    """Events of a log in order; ``more`` tells whether there are further ones in the direction of reading."""

    bodies: list[bytes]
    more: bool


class RoomLog(Protocol):
    """One room's events, numbered 1, 2, 3 … without holes."""

    epoch: str
    """Names this numbering: it is another one when the log had to begin anew."""

    def append(self, draft: Draft, done: Callable[[Stored | WireError], None]) -> None:
        """Keeps the message and calls ``done`` once, in order of ``seq``, when it is as durable as promised.

        The same author and id again gives the first one's ``seq``. MUST NOT block.
        """

    def read(
        self, after: int, before: int, limit: int, newest: bool, done: Callable[[Page | WireError], None]
    ) -> None:
        """Reads events with ``after < seq < before``, at most ``limit``: the oldest or the ``newest``.

        A page is also bounded in bytes (``PAGE_BYTES``). MUST NOT block.
        """


PAGE_BYTES = 48 * 1024
"""About the most that one page carries: a reply of this size fits below the usual high watermark."""


class Store(Protocol):
    """Every room's log."""

    def open(self, room: str, ring: Ring) -> RoomLog:
        """The log of a room, whose newest events will be in ``ring``."""

    def close(self) -> None:
        """Finishes what was begun and lets go of files and threads."""
