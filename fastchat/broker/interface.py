"""What a broker does: a bus between nodes, events for other services, commands from them. Pure: no I/O here.

Each is a connection of its own, so that events that are not taken quickly hold up nothing else. All connect
again by themselves, after delays that grow and are spread; none raises for a broker that is away.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


class BrokerError(Exception):
    """The broker cannot be used as the settings say. One line that says what to do."""


class Connected(Protocol):
    """What all three have in common."""

    async def start(self) -> None:
        """Begins to connect, and waits a moment for it.

        Raises BrokerError for what only other settings can mend: an address without a host, wrong
        credentials, a client library that is not installed. A broker that is away is none of these: see
        ``problem``.
        """

    async def close(self) -> None:
        """Finishes what was begun, within a second, and disconnects. May be called again."""

    @property
    def problem(self) -> str | None:
        """Why the broker cannot be used at the moment; None when all is well."""


class Bus(Connected, Protocol):
    """Payloads to every node that listens to a subject: fast, in order per sender, and forgetful.

    Subjects are words of ``[a-z0-9-]`` with dots between. A node may hear what it publishes
    itself: receivers tell by what is in the payload.
    """

    def publish(self, subject: str, payload: bytes) -> None:
        """Sends with the end of this turn of the loop; forgets it without a connection. MUST NOT block."""

    def subscribe(self, subject: str) -> None:
        """Listens from about now on, also after a lost connection. MUST NOT block."""

    def unsubscribe(self, subject: str) -> None:
        """Listens no more."""

    async def probe(self) -> None:
        """Has something go to the broker and come back on the connection that is listened on.

        Returns when it has; who asks has a limit of time. Raises BrokerError without a connection.
        """

    def listen(self, on_message: Callable[[str, bytes], None], on_connected: Callable[[], None]) -> None:
        """Whom to call, in the loop's thread; called once, before ``start``.

        ``on_connected()`` after each connection, once the subscriptions are there again: what was published
        in between is lost.
        """


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event for other services."""

    key: str
    """What kind of event, and of which room: ``message.lobby``, ``session.connected``."""
    id: str
    """The same for the same event: receivers, and brokers that can, drop repeats by it."""
    body: bytes
    """A CloudEvent as JSON."""


class EventSink(Connected, Protocol):
    """Events to other services, kept by the broker."""

    async def send(self, events: Sequence[Outgoing]) -> int:
        """Sends all, in order and without waiting in between, then waits for the broker to confirm them.

        Returns how many of them, from the first on, it has. Less than all means that it went away, or refused
        the next one: the reason is logged and in ``problem``. The rest may be sent again.
        """


@dataclass(frozen=True, slots=True)
class Delivery:
    """A command that came in. One of the three MUST be called, once; until then it comes again."""

    body: bytes
    id: str
    """The broker's own name for the message, or its sender's; empty where there is none."""
    accept: Callable[[], None]
    """It is done, and durably so."""
    reject: Callable[[str], None]
    """It can never be done: it goes to the dead letters, with the reason."""
    retry: Callable[[], None]
    """It cannot be done at the moment: it comes again, to this node or another one, after a delay."""


class InboxSource(Connected, Protocol):
    """Commands from other services. Every message goes to one node."""

    def listen(self, on_delivery: Callable[[Delivery], None]) -> None:
        """Whom to call, in the loop's thread; called once, before ``start``.

        At most 256 are unanswered at a time.
        """
