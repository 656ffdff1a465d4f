"""The brokers that the contract tests run on: real ones, with what is ours and what is another service's."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from fastchat.broker.interface import Bus, Delivery, EventSink, InboxSource
from fastchat.broker.nats.bus import NatsBus
from fastchat.broker.nats.events import NatsEvents
from fastchat.broker.nats.inbox import NatsInbox
from fastchat.broker.redis.bus import RedisBus
from fastchat.broker.redis.events import RedisEvents
from fastchat.broker.redis.inbox import RedisInbox
from tests.outsiders import Outsider
from tests.outsiders.nats import NatsOutsider
from tests.outsiders.redis import RedisOutsider
from tests.services import nats, redis
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
    "redis": Kind(
        redis.SHARED, redis.Redis, RedisBus, RedisEvents,
        lambda url, name: RedisInbox(url, name, ACK_WAIT_S), RedisOutsider.connect,
    ),
}  # fmt: skip


def new_name() -> str:
    """A ``broker.name`` that no other test has."""
    return f"t{uuid4().hex[:12]}"


async def until(done: Callable[[], object], what: str, timeout_s: float = TIMEOUT_S) -> None:
    """Returns as soon as it is so."""
    try:
        async with asyncio.timeout(timeout_s):
            while not done():
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s:g} s: {what}") from None


class Node:
    """One who listens on a bus, and remembers."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.heard: list[tuple[str, bytes]] = []
        self.connections = 0
        bus.listen(self._on_message, self._on_connected)

    def _on_message(self, subject: str, payload: bytes) -> None:
        self.heard.append((subject, payload))

    def _on_connected(self) -> None:
        self.connections += 1

    async def settle(self) -> None:
        """Has the broker know all that was subscribed to, and heard everything that was sent before."""
        await asyncio.sleep(0)
        async with asyncio.timeout(TIMEOUT_S):
            await self.bus.probe()


class Worker:
    """One who takes commands, and answers only as it is told to."""

    def __init__(self, inbox: InboxSource) -> None:
        self.inbox = inbox
        self.taken: list[Delivery] = []
        inbox.listen(self.taken.append)

    @property
    def bodies(self) -> list[bytes]:
        return [delivery.body for delivery in self.taken]
