"""The same events to the same exchange, by three ways: the library alone, our sink, and out of the store."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Coroutine, Sequence

import aio_pika

from fastchat.asking import ask
from fastchat.broker.interface import Outgoing
from fastchat.broker.rabbitmq.events import CONTENT_TYPE, RabbitEvents
from fastchat.cloudevents import EventEncoder
from fastchat.outbox import Sender
from fastchat.store import Draft, Kind, RoomLog, Stored, open_store
from fastchat.store.sending import Unsent

NAME = "benchmark"
QUEUE = "benchmark.archive"
"""Durable, and bound to all events: without one RabbitMQ would throw them away."""
ROOMS = 20
TEXT = "x" * 64


@dataclasses.dataclass(frozen=True)
class Run:
    """One way, once."""

    events: int
    seconds: float
    cpu_s: float
    """Of this process: of whoever publishes, not of RabbitMQ."""

    @property
    def rate(self) -> float:
        return self.events / self.seconds

    @property
    def cpu_us(self) -> float:
        """Per event."""
        return self.cpu_s / self.events * 1e6


async def _timed(events: int, work: Callable[[], Coroutine[object, object, None]]) -> Run:
    began, cpu = time.perf_counter(), time.process_time()
    await work()
    return Run(events, time.perf_counter() - began, time.process_time() - cpu)


async def purge(url: str) -> None:
    """Empties the queue, so that no way finds a broker that is short of memory."""
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        await (await channel.get_queue(QUEUE)).purge()


async def library(url: str, events: Sequence[Outgoing], batch: int) -> Run:
    """aio-pika as its documentation has it: a batch of publishes, of which all confirmations are awaited."""
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        exchange = await channel.get_exchange(f"{NAME}.events")

        async def publish() -> None:
            for start in range(0, len(events), batch):
                await asyncio.gather(
                    *(
                        exchange.publish(
                            aio_pika.Message(
                                event.body, message_id=event.id, content_type=CONTENT_TYPE,
                                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                            ),
                            routing_key=event.key,
                        )
                        for event in events[start : start + batch]
                    )
                )  # fmt: skip

        return await _timed(len(events), publish)


async def sink(url: str, events: Sequence[Outgoing], batch: int) -> Run:
    """What sends events to RabbitMQ, by itself."""
    target = RabbitEvents(url, NAME, QUEUE)
    await target.start()

    async def send() -> None:
        for start in range(0, len(events), batch):
            part = events[start : start + batch]
            if await target.send(part) != len(part):
                raise RuntimeError(f"RabbitMQ did not take all events: {target.problem}")

    try:
        return await _timed(len(events), send)
    finally:
        await target.close()


class Committed:
    """A store with events in it that are committed and wait to be sent."""

    def __init__(self, url: str) -> None:
        loop = asyncio.get_running_loop()
        self.store = open_store(url, deliver=lambda callback, *args: _call(loop, callback, *args))

    async def fill(self, count: int) -> None:
        error = await ask(self.store.begin_sending)
        if error is not None:
            raise error
        logs: list[RoomLog] = [
            await ask(lambda done, room=room: self.store.open(room, done))  # type: ignore[misc]
            for room in (f"room-{number}" for number in range(ROOMS))
        ]
        stored = [asyncio.get_running_loop().create_future() for _ in range(count)]
        for number, future in enumerate(stored):
            draft = Draft(Kind.MESSAGE, "alice", 1_700_000_000_000 + number, {"text": TEXT}, f"m{number}")
            logs[number % ROOMS].append(draft, future.set_result)
        if not all(isinstance(answer, Stored) for answer in await asyncio.gather(*stored)):
            raise RuntimeError("not all events were stored")

    async def events(self, count: int) -> Sequence[Outgoing]:
        """As they are sent."""
        encoder = EventEncoder(NAME)
        unsent: Unsent = await ask(lambda done: self.store.unsent(None, count, done))
        return [outgoing for part in unsent.events for _, outgoing in encoder.encode(part)]

    async def close(self) -> None:
        await asyncio.to_thread(self.store.close)


def _call(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: object) -> None:
    loop.call_soon_threadsafe(callback, *args)


async def sender(url: str, store: Committed, count: int) -> Run:
    """All of it: read from the store, encoded, sent, confirmed, and noted in the store."""
    target = RabbitEvents(url, NAME, QUEUE)
    sending = Sender(store.store, target, EventEncoder(NAME))

    async def send() -> None:
        await sending.start()
        while sending.sent < count:
            await asyncio.sleep(0.005)
            if sending.problem is not None:
                raise RuntimeError(sending.problem)

    try:
        return await _timed(count, send)
    finally:
        await sending.close()
