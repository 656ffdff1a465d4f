"""One who publishes and one who listens, by each broker's own client and by our buses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import aio_pika
import nats
import redis.asyncio
from aio_pika.abc import AbstractIncomingMessage
from nats.aio.msg import Msg

from fastchat.broker.opening import open_bus

SUBJECT = "bench"

Publish = Callable[[bytes], Awaitable[None]]
OnMessage = Callable[[bytes], None]
Way = Callable[[str, OnMessage], AbstractAsyncContextManager[Publish]]
"""Connects twice to the broker at a URL; gives what publishes on one connection and is heard on the other."""


@contextlib.asynccontextmanager
async def ours(url: str, on_message: OnMessage) -> AsyncIterator[Publish]:
    """Two of our buses, as two nodes have them."""
    sender, receiver = open_bus(url, "benchmark"), open_bus(url, "benchmark")
    sender.listen(lambda subject, payload: None, lambda: None)
    receiver.listen(lambda subject, payload: on_message(payload), lambda: None)
    receiver.subscribe(SUBJECT)

    async def publish(payload: bytes) -> None:
        sender.publish(SUBJECT, payload)

    try:
        await receiver.start()
        await sender.start()
        yield publish
    finally:
        await sender.close()
        await receiver.close()


@contextlib.asynccontextmanager
async def nats_py(url: str, on_message: OnMessage) -> AsyncIterator[Publish]:
    async def on_msg(message: Msg) -> None:
        on_message(message.data)

    sender, receiver = await nats.connect(url), await nats.connect(url)

    async def publish(payload: bytes) -> None:
        await sender.publish(SUBJECT, payload)

    try:
        await receiver.subscribe(SUBJECT, cb=on_msg)
        await receiver.flush()
        yield publish
    finally:
        await sender.close()
        await receiver.close()


@contextlib.asynccontextmanager
async def redis_py(url: str, on_message: OnMessage) -> AsyncIterator[Publish]:
    sender, receiver = redis.asyncio.Redis.from_url(url), redis.asyncio.Redis.from_url(url)

    async def publish(payload: bytes) -> None:
        await sender.publish(SUBJECT, payload)

    async with receiver.pubsub() as channel:
        await channel.subscribe(SUBJECT)

        async def listen() -> None:
            async for message in channel.listen():
                if message["type"] == "message":
                    on_message(message["data"])

        listening = asyncio.create_task(listen())
        try:
            yield publish
        finally:
            listening.cancel()
            await asyncio.wait([listening])
            await sender.aclose()
    await receiver.aclose()


@contextlib.asynccontextmanager
async def aio_pika_alone(url: str, on_message: OnMessage) -> AsyncIterator[Publish]:
    async def on_delivery(message: AbstractIncomingMessage) -> None:
        on_message(message.body)

    async with await aio_pika.connect(url) as sending, await aio_pika.connect(url) as receiving:
        there = await receiving.channel()
        queue = await there.declare_queue(exclusive=True)
        await queue.bind(await there.declare_exchange("benchmark.alone", auto_delete=True), SUBJECT)
        await queue.consume(on_delivery, no_ack=True)
        # Nobody waits for confirmations on a bus.
        here = await sending.channel(publisher_confirms=False)
        exchange = await here.get_exchange("benchmark.alone")

        async def publish(payload: bytes) -> None:
            await exchange.publish(aio_pika.Message(payload), SUBJECT)

        yield publish


LIBRARIES: dict[str, tuple[str, Way]] = {
    "NATS": ("nats-py", nats_py),
    "Redis": ("redis-py", redis_py),
    "RabbitMQ": ("aio-pika", aio_pika_alone),
}
"""By bus: its own client's name, and how it is used."""
