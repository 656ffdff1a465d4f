"""Somebody else's service at each broker: reads what a server has sent, with the broker's own client."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import aio_pika
import nats
import redis.asyncio

from tests.events_document import EventsDocument
from tests.outsiders.nats import parse_subject
from tests.services import nats as nats_service
from tests.services import rabbitmq
from tests.services import redis as redis_service
from tests.services.service import Service

DOCUMENT = EventsDocument()


@dataclass
class Received:
    """One event, each time that it came."""

    key: str
    id: str
    event: dict[str, Any]


@dataclass
class EventReader(ABC):
    """Reads what came for ``name`` (see ``broker.name``); everything stays in ``received``, repeats too."""

    url: str
    name: str
    received: list[Received] = field(default_factory=list)

    @property
    def settings(self) -> tuple[str, ...]:
        """What the server needs to be told."""
        return f"broker.url={self.url}", f"broker.name={self.name}"

    @abstractmethod
    async def read(self) -> None:
        """Takes what has come since."""

    def take(self, key: str, event_id: str, body: bytes) -> None:
        event = DOCUMENT.check(body)
        assert event["id"] == event_id
        self.received.append(Received(key, event_id, event))

    @property
    def types(self) -> list[str]:
        return [each.event["type"].removeprefix("chat.fastchat.") for each in self.received]

    def log(self, room: str) -> list[dict[str, Any]]:
        """The data of a room's events in the order of their first arrival, repeats left out."""
        events = {
            each.id: each.event["data"]
            for each in self.received[::-1]
            if each.key in (f"message.{room}", f"moderation.{room}")
        }
        return [*events.values()][::-1]


class RabbitReader(EventReader):
    """By a durable queue that the server declares."""

    @property
    def queue(self) -> str:
        return f"{self.name}-archive"

    @property
    def settings(self) -> tuple[str, ...]:
        return (*super().settings, f"broker.queue={self.queue}")

    async def read(self) -> None:
        async with await aio_pika.connect(self.url) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(self.queue, durable=True)
            while (message := await queue.get(no_ack=True, fail=False)) is not None:
                assert message.delivery_mode is aio_pika.DeliveryMode.PERSISTENT
                assert message.routing_key is not None
                self.take(message.routing_key, message.message_id or "", message.body)


class NatsReader(EventReader):
    """From the stream, by the numbers of its messages."""

    last = 0

    async def read(self) -> None:
        client = await nats.connect(self.url)
        try:
            stream, jetstream = f"{self.name}_events".upper(), client.jetstream()
            try:
                state = (await jetstream.stream_info(stream)).state
            except nats.js.errors.NotFoundError:
                return
            while self.last < state.last_seq:
                self.last += 1
                message = await jetstream.get_msg(stream, self.last)
                assert message.subject is not None
                assert message.headers is not None
                key = parse_subject(self.name, message.subject)
                self.take(key, message.headers["Nats-Msg-Id"], message.data or b"")
        finally:
            await client.close()


class RedisReader(EventReader):
    """From the stream, by the names of its entries."""

    last = "0"

    async def read(self) -> None:
        async with redis.asyncio.Redis.from_url(self.url) as client:
            entries: Any = await client.xrange(f"{self.name}.events", f"({self.last}")
            for entry, fields in entries:
                self.last = entry.decode()
                self.take(fields[b"key"].decode(), fields[b"id"].decode(), fields[b"body"])


KINDS: dict[str, tuple[type[EventReader], Any]] = {
    "rabbitmq": (RabbitReader, rabbitmq.SHARED),
    "nats": (NatsReader, nats_service.SHARED),
    "redis": (RedisReader, redis_service.SHARED),
}


def shared_reader(kind: str, name: str) -> EventReader:
    """At the broker of this kind that the test run shares."""
    reader, shared = KINDS[kind]
    service: Service = shared.server()
    return reader(service.url, name)
