"""What a broker has been told of a chat, read when all is over; and whether that is all there was."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import aio_pika
import nats
import orjson
import redis.asyncio
from nats.js.api import AckPolicy, ConsumerConfig

from tests.clients import Document
from tests.crash.nodes import QUEUE
from tests.services.nats import Nats
from tests.services.rabbitmq import RabbitMQ
from tests.services.redis import Redis

FETCHED = 500
FETCH_TIMEOUT_S = 2.0
LOGGED = {f"chat.fastchat.{kind}" for kind in ("message", "edited", "deleted", "reacted", "moderated")}


class Recorder:
    """Every event that the broker has, in the order in which it took them."""

    def __init__(self, broker: Nats | Redis | RabbitMQ, name: str) -> None:
        self._broker = broker
        self._name = name
        self._taken: list[bytes] = []
        """Out of a queue, which does not have it any more."""

    async def read(self) -> list[Document]:
        """All there is by now."""
        if isinstance(self._broker, Nats):
            bodies = await _read_stream(self._broker.url, self._name)
        elif isinstance(self._broker, Redis):
            bodies = await _read_entries(self._broker.url, self._name)
        else:
            self._taken += await _read_queue(self._broker.url)
            bodies = self._taken
        return [orjson.loads(body) for body in bodies]


async def _read_stream(url: str, name: str) -> list[bytes]:
    client = await nats.connect(url)
    try:
        consumer = ConsumerConfig(ack_policy=AckPolicy.NONE)
        subscription = await client.jetstream().pull_subscribe(f"{name}.events.>", config=consumer)
        bodies: list[bytes] = []
        while True:
            try:
                messages = await subscription.fetch(FETCHED, FETCH_TIMEOUT_S)
            except TimeoutError:
                return bodies
            bodies += [message.data for message in messages]
    finally:
        await client.close()


async def _read_entries(url: str, name: str) -> list[bytes]:
    client = redis.asyncio.from_url(url)
    try:
        entries: Any = await client.xrange(f"{name}.events")
        return [fields[b"body"] for _, fields in entries]
    finally:
        await client.aclose()


async def _read_queue(url: str) -> list[bytes]:
    connection = await aio_pika.connect(url)
    async with connection:
        queue = await (await connection.channel()).get_queue(QUEUE)
        bodies: list[bytes] = []
        while (message := await queue.get(no_ack=True, fail=False)) is not None:
            bodies.append(message.body)
        return bodies


def compare(told: list[Document], log: Mapping[str, Mapping[int, Document]]) -> list[str]:
    """What is wrong: an event of the log that is missing, another one, out of order, or with two ids."""
    wrong: list[str] = []
    ids: dict[tuple[str, int], str] = {}
    newest: dict[str, int] = defaultdict(int)
    for event in told:
        if event["type"] not in LOGGED:
            continue
        data = event["data"]
        room, seq = data["room"], data["seq"]
        if data != log.get(room, {}).get(seq):
            wrong.append(f"{room} {seq} was told as {data}, the log's is {log.get(room, {}).get(seq)}")
        if ids.setdefault((room, seq), event["id"]) != event["id"]:
            wrong.append(f"{room} {seq} was told as {ids[room, seq]} and as {event['id']}")
        # What was told before may come again; what is new comes in its turn.
        if seq > newest[room] + 1:
            wrong.append(f"{room} {seq} was told behind {newest[room]}")
        newest[room] = max(newest[room], seq)
    if len(set(ids.values())) != len(ids):
        wrong.append("two events have one id")
    for room, events in log.items():
        if missing := sorted(seq for seq in events if (room, seq) not in ids):
            wrong.append(f"{room}: {len(missing)} of {len(events)} were never told, from {missing[0]} on")
    return wrong
