"""The interface of what waits in a store for a broker. Pure: no sockets, clock or await."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fastchat.messages import WireError
from fastchat.store.interface import Store


@dataclass(frozen=True, slots=True)
class UnsentEvents:
    """Consecutive events of a room that no broker has confirmed: ``bodies[i]`` has ``seq`` ``first + i``."""

    room: str
    epoch: str
    first: int
    bodies: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that is no event of a room's log, for other services: a session, a receipt, presence."""

    number: int
    """The store's own; 0 before it is kept."""
    slot: int
    body: bytes
    """A CloudEvent as JSON, ready to be sent."""


@dataclass(frozen=True, slots=True)
class Unsent:
    """The oldest of what waits, at most as much as was asked for; ``more`` tells whether there is more."""

    events: Sequence[UnsentEvents]
    notices: Sequence[Notice]
    more: bool


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much waits: events of rooms and notices, and since when, in ms since 1970 (0: nothing waits)."""

    events: int
    notices: int
    oldest_ms: int
    dropped: int
    """Notices that were dropped since the store was made, as there were too many (see ``keep_notices``).

    In memory: since it was opened, and events with them that rings have moved on over.
    """


class Outbox(Protocol):
    """What other services have not been told yet. The log of a room is its own outbox: a cursor in it.

    A durable store is one. ``slots`` are those whose work this process does; None means all.
    """

    def begin_sending(self, done: Callable[[WireError | None], None]) -> None:
        """From the first call on events wait to be sent; what was there before does not. Again: no effect.

        What waits is not trimmed.
        """

    def watch(self, on_waiting: Callable[[], None]) -> None:
        """Whom to tell, in the loop's thread, that something may wait: once for all that one commit has.

        MUST be called once, before ``begin_sending``; who is told takes what waits until there is no more.
        """

    def notify(self, notices: Sequence[Notice]) -> None:
        """Keeps notices with the next commit; drops the oldest beyond a limit. MUST NOT block."""

    def unsent(
        self, slots: Collection[int] | None, limit: int, done: Callable[[Unsent | WireError], None]
    ) -> None:
        """The oldest that waits, each room's events in order."""

    def sent(
        self, heads: Mapping[str, int], notices: Sequence[int], done: Callable[[WireError | None], None]
    ) -> None:
        """A broker has confirmed events up to these ``seq`` by room, and these notices."""

    def backlog(self, done: Callable[[Backlog | WireError], None]) -> None:
        """How much waits in all slots."""


class SendingStore(Store, Outbox, Protocol):
    """A store that is an outbox too, as all of ours are."""
