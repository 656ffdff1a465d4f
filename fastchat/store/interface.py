"""The store's interface: a log per room. Pure: no sockets, clock or await.

The store is the truth: it numbers the events, remembers which ids it has seen, and knows what became of a
message. Answers come through callbacks, so that a store in memory answers at once and one on a disk after its
commit, and nothing above can tell which it talks to. Every callback is called exactly once, in the loop's
thread, with a WireError where the store cannot do it (``unavailable``: nothing has been stored).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fastchat._events import Draft as Draft
from fastchat._events import Kind as Kind
from fastchat._events import Stored as Stored
from fastchat._ring import Ring
from fastchat.messages import WireError

PAGE_BYTES = 48 * 1024
"""About the most that one page carries: a reply of this size fits below the usual high watermark."""

BLOCK_EVENTS = 128
"""Events of a log are read for replay in aligned blocks of this many, so that readers share them."""


@dataclass(frozen=True, slots=True)
class Page:
    """JSON objects in order; ``more`` tells whether there are further ones in the direction of reading."""

    bodies: Sequence[bytes]
    more: bool


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive events of a log: ``bodies[i]`` has ``seq`` ``first + i``.

    Starts where it was asked for, or at the oldest event that is left; may be empty only at the head.
    """

    first: int
    bodies: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of a room's log is kept; 0 means no limit."""

    events: int = 0
    age_s: float = 0.0
    size_bytes: int = 0


class RoomLog(Protocol):
    """One room's events, numbered 1, 2, 3 … without holes."""

    room: str
    epoch: str
    """Names this numbering: it is another one when the log had to begin anew."""
    durable: bool
    """Whether events outlive the ring (and the process); where not, the ring is all there is."""

    @property
    def head(self) -> int:
        """The ``seq`` of the newest event that is kept; 0 in a new log."""

    @property
    def first(self) -> int:
        """The ``seq`` of the oldest event that is kept; ``head + 1`` where there is none."""

    def attach(self, ring: Ring) -> None:
        """Tells where the newest events are held; called once, before anything else."""

    def append(self, draft: Draft, done: Callable[[Stored | WireError], None]) -> None:
        """Keeps the event and calls ``done``, in order of ``seq``, when it is as durable as promised.

        The same author and id again gives the first one's ``seq``. Refuses a change of what is not there
        (``no_such_message``) and of what is not the author's (``forbidden``). MUST NOT block.
        """

    def read(
        self, after: int, before: int, limit: int, newest: bool, done: Callable[[Page | WireError], None]
    ) -> None:
        """Reads messages with ``after < seq < before`` in their current state, at most ``limit``.

        The oldest or the ``newest`` of them; a page is also bounded in bytes (PAGE_BYTES). MUST NOT block.
        """

    def replay(self, after: int, done: Callable[[Block | WireError], None]) -> None:
        """Reads the events that follow ``after``, to the end of its aligned block. MUST NOT block."""


class Store(Protocol):
    """Every room's log, and what users have read of them."""

    def open(self, room: str, done: Callable[[RoomLog | WireError], None]) -> None:
        """The log of a room, which is a new one where there is none. MUST NOT block."""

    def mark(self, marks: Mapping[tuple[str, str], int]) -> None:
        """Remembers how far users have read, by user and room; never goes back. MUST NOT block."""

    def marks(
        self, user: str, rooms: Sequence[str], done: Callable[[Mapping[str, int] | WireError], None]
    ) -> None:
        """How far the user has read each of the rooms; rooms without a mark are missing."""

    def search(
        self,
        rooms: Sequence[str],
        query: str,
        before_ms: int | None,
        limit: int,
        done: Callable[[Page | WireError], None],
    ) -> None:
        """Messages of the rooms that contain all words of the query, the newest first, as they are now.

        ``before_ms`` is the time of the oldest one of the page before. A page ends between two messages of
        different times, so that this is exact, unless all of its messages are of one millisecond.
        """

    @property
    def problem(self) -> str | None:
        """Why nothing can be stored at the moment; None when all is well."""

    def close(self) -> None:
        """Finishes what was begun and lets go of files and threads. Blocks; call it outside the loop."""
