"""Another service at RabbitMQ."""

from typing import Self

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage

from tests.outsiders.outsider import Kept


class RabbitOutsider:
    """See `Outsider`. It reads events from the queue ``<name>.all``, and remembers what it has read."""

    def __init__(self, connection: AbstractConnection, channel: AbstractChannel) -> None:
        self._connection = connection
        self._channel = channel
        self._read_so_far: dict[str, list[Kept]] = {}

    @classmethod
    async def connect(cls, url: str) -> Self:
        connection = await aio_pika.connect(url)
        return cls(connection, await connection.channel())

    async def events(self, name: str) -> list[Kept]:
        return await self._read(f"{name}.all")

    async def send_command(self, name: str, body: bytes, command_id: str = "") -> None:
        message = aio_pika.Message(body, message_id=command_id or None)
        await self._channel.default_exchange.publish(message, routing_key=f"{name}.inbox")

    async def dead_letters(self, name: str) -> list[Kept]:
        return await self._read(f"{name}.inbox.dead")

    async def waiting(self, name: str) -> int:
        queue = await self._channel.declare_queue(f"{name}.inbox", durable=True)
        return queue.declaration_result.message_count or 0

    async def _read(self, name: str) -> list[Kept]:
        queue = await self._channel.declare_queue(name, durable=True)
        kept = self._read_so_far.setdefault(name, [])
        while (message := await queue.get(fail=False)) is not None:
            kept.append(_kept(message))
            await message.ack()
        return [*kept]

    async def close(self) -> None:
        await self._connection.close()


def _kept(message: AbstractIncomingMessage) -> Kept:
    reason = message.headers.get("reason", "")
    return Kept(message.routing_key or "", message.message_id or "", message.body, str(reason))
