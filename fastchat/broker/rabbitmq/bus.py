"""The bus on RabbitMQ: a direct exchange, and for each node a queue that ends with its connection."""

import asyncio
from collections.abc import Mapping, Sequence
from secrets import token_hex
from typing import Any

from aiormq.abc import DeliveredMessage
from pamqp.common import FieldTable

from fastchat.broker.bus import MAX_WAITING_BYTES, BusLink
from fastchat.broker.interface import BrokerError
from fastchat.broker.rabbitmq.connection import RabbitLink
from fastchat.broker.rabbitmq.frames import Publisher

_TO_OURSELVES = ""
"""Stands for a subject: nobody else hears of it."""


class RabbitBus(BusLink, RabbitLink):
    """Subjects are routing keys. A node that does not read loses the oldest of what waits for it."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url)
        self.exchange = f"{name}.bus"
        self._queue = ""
        self._publisher: Publisher | None = None
        self._own_queue: Publisher | None = None
        self._probes: dict[bytes, asyncio.Future[None]] = {}

    async def _connect(self) -> None:
        channel = await self._open(confirms=False, on_delivery=self._on_delivered)
        # Of the connection before there may be a queue that the broker has not noticed to be over.
        self._queue = f"{self.exchange}.{token_hex(4)}"
        try:
            await channel.exchange_declare(self.exchange, exchange_type="direct")
            limit: FieldTable = {"x-max-length-bytes": MAX_WAITING_BYTES, "x-overflow": "drop-head"}
            await channel.queue_declare(self._queue, exclusive=True, auto_delete=True, arguments=limit)
            await self._ask_again()
            await channel.basic_consume(self._queue, _never, no_ack=True, exclusive=True)
        except Exception as error:
            raise self._explained(error) from None
        self._publisher = Publisher(channel.number, channel.frame_max_bytes, self.exchange)
        # By the default exchange, which knows every queue by its name.
        self._own_queue = Publisher(channel.number, channel.frame_max_bytes, "")

    async def _change(self, changes: Mapping[str, bool]) -> None:
        channel = self._channel
        assert channel is not None
        *before, last = changes.items()
        for subject, wanted in before:
            if wanted:
                await channel.queue_bind(self._queue, self.exchange, subject, nowait=True)
            else:
                await channel.queue_unbind(self._queue, self.exchange, subject)
        # The broker does one after the other: when it answers the last, it has done them all.
        subject, wanted = last
        if wanted:
            await channel.queue_bind(self._queue, self.exchange, subject)
        else:
            await channel.queue_unbind(self._queue, self.exchange, subject)

    async def _send(self, batch: Sequence[tuple[str, bytes]]) -> None:
        channel, publisher, own = self._channel, self._publisher, self._own_queue
        assert channel is not None
        assert publisher is not None
        assert own is not None
        await channel.publish_all(
            [
                publisher.encode(subject, payload) if subject else own.encode(self._queue, payload)
                for subject, payload in batch
            ]
        )
        # A broker that is full reads nothing for as long as that lasts: what comes meanwhile waits before us.
        await channel.flush()

    async def probe(self) -> None:
        channel = self._channel
        if channel is None or not self.is_connected:
            raise BrokerError(self.problem or f"RabbitMQ at {self.where} is away")
        token = token_hex(8).encode()
        back = self._probes[token] = asyncio.get_running_loop().create_future()
        lost: asyncio.Future[Any] = channel.lost
        # In its turn, behind what has been published and subscribed to.
        self._waiting.append((_TO_OURSELVES, token))
        self._waiting_bytes += len(token)
        self._work.set()
        try:
            await asyncio.wait({back, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._probes[token]
        if not back.done():
            raise BrokerError(self.problem or f"RabbitMQ at {self.where}: the connection was lost")

    def _on_delivered(self, exchange: str, key: str, body: bytes) -> None:
        if exchange:
            self._deliver(key, body)
        elif (back := self._probes.get(body)) is not None and not back.done():
            back.set_result(None)

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pump())
            tasks.create_task(self._watch())

    async def _finish(self) -> None:
        await BusLink._finish(self)
        await RabbitLink._finish(self)


async def _never(message: DeliveredMessage) -> None:
    """What the library would call, if it got deliveries."""
