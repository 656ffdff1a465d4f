"""Events on RabbitMQ: a durable topic exchange, persistent messages, a batch of confirmations."""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiormq.exceptions import DeliveryError, PublishError

from fastchat.broker.interface import Outgoing
from fastchat.broker.rabbitmq.channel import Confirmation
from fastchat.broker.rabbitmq.connection import RabbitLink
from fastchat.broker.rabbitmq.frames import Publisher
from fastchat.log import get_logger

CONTENT_TYPE = "application/cloudevents+json"

_logger = get_logger(__name__)


class RabbitEvents(RabbitLink):
    """Routing keys are the events' own, such as ``message.lobby``; ``message_id`` is the event's id."""

    def __init__(self, url: str, name: str, queue: str = "") -> None:
        """``queue`` is durable and gets all events; empty where services declare their own."""
        super().__init__(url, "events")
        self.exchange = f"{name}.events"
        self._queue = queue
        self._publisher: Publisher | None = None
        self._refusal: str | None = None
        self._queue_is_gone = asyncio.Event()

    @property
    def problem(self) -> str | None:
        return super().problem or self._refusal

    async def _connect(self) -> None:
        channel = await self._open(confirms=True)
        try:
            await channel.exchange_declare(self.exchange, exchange_type="topic", durable=True)
            if self._queue:
                await channel.queue_declare(self._queue, durable=True)
                await channel.queue_bind(self._queue, self.exchange, "#")
        except Exception as error:
            raise self._explained(error) from None
        self._queue_is_gone.clear()
        # Without a queue of ours it is not our business whether anybody listens.
        self._publisher = Publisher(
            channel.number, channel.frame_max_bytes, self.exchange,
            content_type=CONTENT_TYPE, persistent=True, mandatory=bool(self._queue),
        )  # fmt: skip

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch())
            tasks.create_task(self._watch_queue())

    async def _watch_queue(self) -> None:
        await self._queue_is_gone.wait()
        raise ConnectionError(f"the queue {self._queue} was not there any more: it is declared again")

    async def send(self, events: Sequence[Outgoing]) -> int:
        channel, publisher = self._channel, self._publisher
        if not events or channel is None or publisher is None or not self.is_connected or self._blocked:
            return 0
        messages = [publisher.encode(event.key, event.body, event.id) for event in events]
        message_ids = [event.id for event in events] if self._queue else ()
        try:
            confirmations = await channel.publish_all(messages, message_ids)
        except (RuntimeError, ConnectionError):
            await asyncio.sleep(0)
            return 0  # it has just been lost: the link says why
        # A broker that is full confirms when it is so no more: until then this waits: nothing is sent twice.
        waiting: asyncio.Future[Any] = asyncio.gather(*confirmations, return_exceptions=True)
        lost: asyncio.Future[Any] = channel.lost
        try:
            await asyncio.wait({waiting, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for confirmation in confirmations:
                confirmation.cancel()  # those that are done stay as they are
            channel.forget(message_ids)
        return self._count(events, confirmations)

    def _count(self, events: Sequence[Outgoing], confirmations: Sequence[Confirmation]) -> int:
        """How many the broker has, up to the first that it has not; tells why not."""
        for index, confirmation in enumerate(confirmations):
            if not confirmation.done() or confirmation.cancelled():
                return index
            if (error := confirmation.exception()) is not None:
                self._refuse(events[index], error)
                for later in confirmations[index + 1 :]:
                    if later.done() and not later.cancelled():
                        later.exception()  # looked at, so that asyncio does not report it
                return index
        self._refusal = None
        return len(events)

    def _refuse(self, event: Outgoing, error: BaseException) -> None:
        if isinstance(error, PublishError):
            reason = f"no queue takes {event.key}, not even {self._queue}"
            self._queue_is_gone.set()
        elif isinstance(error, DeliveryError):
            reason = f"a queue refuses {event.key}: it is full, or RabbitMQ could not keep the event"
        else:
            return  # the connection was lost: the link says why
        refusal = f"RabbitMQ at {self.where}: {reason}"
        if refusal != self._refusal:
            _logger.warning("event refused", server=self.where, id=event.id, reason=refusal)
        self._refusal = refusal
