"""Which broker an address is of. Imports nothing that is not used, and says what is not installed."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from fastchat.broker.interface import BrokerError, Bus, EventSink, InboxSource

BROKERS = {
    "amqp": ("rabbitmq", "Rabbit"),
    "amqps": ("rabbitmq", "Rabbit"),
    "nats": ("nats", "Nats"),
    "tls": ("nats", "Nats"),
    "redis": ("redis", "Redis"),
    "rediss": ("redis", "Redis"),
}
"""By scheme: the package here, which is the extra's name too, and what its classes' names begin with."""


def open_bus(url: str, name: str) -> Bus:
    """Raises BrokerError, as all of these, where the library is missing or the address is of no broker."""
    bus: Bus = _class_of(url, "bus", "Bus")(url, name)
    return bus


def open_events(url: str, name: str, *, queue: str = "", keep_entries: int = 0) -> EventSink:
    """``queue``: see ``broker.queue``; ``keep_entries``: see ``broker.keep_entries``, 0 is no limit."""
    of_rabbitmq = BROKERS.get(url.partition("://")[0], ("", ""))[0] == "rabbitmq"
    events: EventSink = _class_of(url, "events", "Events")(url, name, queue if of_rabbitmq else keep_entries)
    return events


def open_inbox(url: str, name: str) -> InboxSource:
    inbox: InboxSource = _class_of(url, "inbox", "Inbox")(url, name)
    return inbox


def _class_of(url: str, module: str, noun: str) -> Callable[..., Any]:
    scheme = url.partition("://")[0]
    if scheme not in BROKERS:
        raise BrokerError(f"broker.url: begin it with one of {', '.join(f'{one}://' for one in BROKERS)}")
    package, prefix = BROKERS[scheme]
    try:
        found = import_module(f"fastchat.broker.{package}.{module}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("fastchat"):
            raise
        extra = f"fastchat-server[{package}]"
        raise BrokerError(
            f"broker.url: {scheme}:// needs the library {error.name}: pip install '{extra}'"
        ) from None
    wanted: Callable[..., Any] = getattr(found, f"{prefix}{noun}")
    return wanted
