"""The brokers that the contract tests run on: real ones, with what is ours and what is another service's."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from fastchat.broker.interface import Bus, Delivery, EventSink, InboxSource
from fastchat.broker.nats.bus import NatsBus
from fastchat.broker.nats.events import NatsEvents
from fastchat.broker.nats.inbox import NatsInbox
from fastchat.broker.rabbitmq.bus import RabbitBus
from fastchat.broker.rabbitmq.events import RabbitEvents
from fastchat.broker.rabbitmq.inbox import RabbitInbox
from fastchat.broker.redis.bus import RedisBus
from fastchat.broker.redis.events import RedisEvents
from fastchat.broker.redis.inbox import RedisInbox
from tests.outsiders import Outsider
from tests.outsiders.nats import NatsOutsider
from tests.outsiders.rabbitmq import RabbitOutsider
from tests.outsiders.redis import RedisOutsider
from tests.services import nats, rabbitmq, redis
from tests.services.service import Service, Shared

TIMEOUT_S = 30.0
LOOK_EVERY_S = 0.005

ACK_WAIT_S = 1.0
"""Short, for tests that wait for it: a command whose node has died comes again after it."""


@dataclass(frozen=True)
class Kind:
    """One kind of broker. The openers take a URL and a name."""

    shared: Shared[Any]
    service: Callable[[], Service]
    bus: Callable[[str, str], Bus]
    events: Callable[[str, str], EventSink]
    inbox: Callable[[str, str], InboxSource]
    outsider: Callable[[str], Any]

    @property
    def url(self) -> str:
        """Of the one that tests share, which they leave as it is."""
        return str(self.shared.server().url)

    @asynccontextmanager
    async def another(self, url: str) -> AsyncIterator[Outsider]:
        """Another service, connected."""
        outsider: Outsider = await self.outsider(url)
        try:
            yield outsider
        finally:
            await outsider.close()


KINDS = {
    "nats": Kind(
        nats.SHARED, nats.Nats, NatsBus, NatsEvents,
        lambda url, name: NatsInbox(url, name, ACK_WAIT_S), NatsOutsider.connect,
    ),
    "rabbitmq": Kind(
        rabbitmq.SHARED, rabbitmq.RabbitMQ, RabbitBus,
        lambda url, name: RabbitEvents(url, name, f"{name}.all"), RabbitInbox, RabbitOutsider.connect,
    ),
    "redis": Kind(
        redis.SHARED, redis.Redis, RedisBus, RedisEvents,
        lambda url, name: RedisInbox(url, name, ACK_WAIT_S), RedisOutsider.connect,
    ),
}  # fmt: skip


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keeps what is logged of trouble that is made on purpose, in modules that import this."""
    with capture_logs():
        yield


def new_name() -> str:
    """A ``broker.name`` that no other test has."""
    return f"t{uuid4().hex[:12]}"


async def until(done: Callable[[], object], what: str, timeout_s: float = TIMEOUT_S) -> None:
    """Returns as soon as it is so."""
    try:
        async with asyncio.timeout(timeout_s):
            while not done():  # noqa: ASYNC110 - it may be about anything
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s:g} s: {what}") from None


class Node:
    """One who listens on a bus, and remembers."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.heard: list[tuple[str, bytes]] = []
        self.connections = 0
        self.subjects: set[str] = set()
        bus.listen(self._on_message, self._on_connected)

    def _on_message(self, subject: str, payload: bytes) -> None:
        self.heard.append((subject, payload))

    def _on_connected(self) -> None:
        self.connections += 1

    def subscribe(self, *subjects: str) -> None:
        self.subjects.update(subjects)
        for subject in subjects:
            self.bus.subscribe(subject)


async def hears(sender: Node, *receivers: Node) -> None:
    """Returns when the receivers hear the sender on all their subjects; what they have heard is forgotten."""
    token = uuid4().bytes
    async with asyncio.timeout(TIMEOUT_S):
        while missing := _missing(token, receivers):
            for subject in missing:
                sender.bus.publish(subject, token)
            await asyncio.sleep(0.02)
    end = uuid4().bytes
    for subject in _missing(end, receivers):
        sender.bus.publish(subject, end)
    await until(lambda: not _missing(end, receivers), "heard the end")
    for receiver in receivers:
        receiver.heard.clear()


def _missing(payload: bytes, receivers: Sequence[Node]) -> set[str]:
    """The subjects on which somebody has not heard it."""
    return {
        subject
        for receiver in receivers
        for subject in receiver.subjects - {heard for heard, body in receiver.heard if body == payload}
    }


class Worker:
    """One who takes commands, and answers only as it is told to."""

    def __init__(self, inbox: InboxSource) -> None:
        self.inbox = inbox
        self.taken: list[Delivery] = []
        inbox.listen(self.taken.append)

    @property
    def bodies(self) -> list[bytes]:
        return [delivery.body for delivery in self.taken]
