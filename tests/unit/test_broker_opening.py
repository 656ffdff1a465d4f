"""Which broker an address is of, and what is said where its library is missing."""

import sys

import pytest

from fastchat.broker.interface import BrokerError
from fastchat.broker.opening import BROKERS, open_bus, open_events, open_inbox
from fastchat.broker.rabbitmq.bus import RabbitBus
from fastchat.broker.rabbitmq.events import RabbitEvents
from fastchat.broker.rabbitmq.inbox import RabbitInbox


async def test_amqp_is_rabbitmq() -> None:
    for url in ("amqp://127.0.0.1", "amqps://user:word@127.0.0.1:5671/chat"):
        bus, events, inbox = open_bus(url, "a"), open_events(url, "a", queue="q"), open_inbox(url, "a")
        assert isinstance(bus, RabbitBus)
        assert isinstance(events, RabbitEvents)
        assert isinstance(inbox, RabbitInbox)
        assert (bus.exchange, events.exchange, inbox.queue) == ("a.bus", "a.events", "a.inbox")


def test_other_schemes_are_refused() -> None:
    with pytest.raises(BrokerError, match="amqp://, amqps://, nats://"):
        open_bus("kafka://127.0.0.1", "fastchat")


@pytest.mark.parametrize(("scheme", "library"), [("amqp", "aiormq"), ("nats", "nats"), ("redis", "redis")])
def test_a_library_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, scheme: str, library: str
) -> None:
    package = BROKERS[scheme][0]
    for module in [name for name in sys.modules if name.startswith(f"fastchat.broker.{package}.")]:
        monkeypatch.delitem(sys.modules, module)
    for module in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(BrokerError, match=rf"pip install 'fastchat-server\[{package}\]'"):
        open_bus(f"{scheme}://127.0.0.1", "fastchat")
