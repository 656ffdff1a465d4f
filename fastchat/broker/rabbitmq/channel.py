"""A channel that publishes batches: one piece of bytes for all messages, one turn at the channel's lock.

Of the library it takes the channel's state: its numbering of messages, who waits for which confirmation, and
the connection's queue of what is to be written.
"""

import asyncio
from collections.abc import Sequence

from aiormq.abc import AbstractConnection, ChannelFrame
from aiormq.channel import Channel as LibraryChannel
from aiormq.exceptions import ChannelInvalidStateError
from pamqp import commands

Confirmation = asyncio.Future[object]
"""Done when the broker has the message; with an exception where it refuses it."""


class Channel(LibraryChannel):
    """One channel. ``lost`` is done with the reason when it, or its connection, is gone."""

    def __init__(self, connection: AbstractConnection, number: int, *, confirms: bool) -> None:
        super().__init__(connection, number, publisher_confirms=confirms)
        self.lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    @property
    def frame_max_bytes(self) -> int:
        return int(self.max_content_size + self.CONTENT_FRAME_SIZE)

    async def publish_all(
        self, messages: Sequence[bytes], message_ids: Sequence[str] = ()
    ) -> Sequence[Confirmation]:
        """Sends messages that are encoded as frames; returns their confirmations, if the channel has them.

        ``message_ids`` of those that may be returned, which the broker tells by these alone. Raises what the
        library raises on a channel that is gone.
        """
        confirmations: list[Confirmation] = []
        loop = asyncio.get_running_loop()
        async with self.lock:
            if self.publisher_confirms:
                for _ in messages:
                    self.delivery_tag += 1
                    confirmation: Confirmation = loop.create_future()
                    self.confirmations[self.delivery_tag] = confirmation
                    confirmations.append(confirmation)
                first = self.delivery_tag - len(messages) + 1
                for tag, message_id in enumerate(message_ids, first):
                    self.message_id_delivery_tag[message_id] = tag
            await self.write_queue.put(ChannelFrame(payload=b"".join(messages), should_close=False))
        return confirmations

    def forget(self, message_ids: Sequence[str]) -> None:
        """Nobody waits for these any more."""
        for message_id in message_ids:
            self.message_id_delivery_tag.pop(message_id, None)

    async def acknowledge(self, tags: Sequence[int]) -> None:
        """Acknowledges these deliveries, each by itself, as one piece of bytes."""
        await self._write([commands.Basic.Ack(delivery_tag=tag) for tag in tags])

    async def requeue(self, tags: Sequence[int]) -> None:
        """Has these deliveries come again, to whoever is there."""
        await self._write([commands.Basic.Nack(delivery_tag=tag, requeue=True) for tag in tags])

    async def flush(self) -> None:
        """Returns when what was queued is written, as far as the socket lets it.

        Without, the library keeps as much as comes; and it drops what is queued when it says goodbye.
        """
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self.write_queue.put(ChannelFrame(payload=b"", should_close=False, drain_future=written))
        await written

    async def _write(self, frames: Sequence[commands.Basic.Ack | commands.Basic.Nack]) -> None:
        if self.is_closed:
            raise ChannelInvalidStateError("the channel is closed")
        await self.write_queue.put(ChannelFrame.marshall(self.number, frames))

    async def close(  # as the library calls it
        self,
        exc: BaseException | type[BaseException] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> None:
        if not self.lost.done():
            self.lost.set_result(exc if isinstance(exc, BaseException) else None)
        await super().close(exc, timeout)
