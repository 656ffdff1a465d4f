"""Commands on RabbitMQ: a durable queue, and another one for what can never be done."""

import asyncio
import random
from collections.abc import Callable
from functools import partial

from aiormq.abc import DeliveredMessage

from fastchat.broker.answers import UNANSWERED_MAX, pass_on
from fastchat.broker.interface import Delivery
from fastchat.broker.rabbitmq.channel import Channel
from fastchat.broker.rabbitmq.connection import RabbitLink
from fastchat.broker.rabbitmq.frames import Publisher
from fastchat.log import get_logger

RETRY_AFTER_S = 1.0
"""About when a command comes again that could not be done: it stays unanswered until then."""
REASON_BYTES = 1024

_logger = get_logger(__name__)


class RabbitInbox(RabbitLink):
    """Services publish to the queue ``<name>.inbox`` by the default exchange, or bind it where they like."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url, "inbox")
        self.queue = f"{name}.inbox"
        self.dead_letters = f"{name}.inbox.dead"
        self._on_delivery: Callable[[Delivery], None] = lambda delivery: None
        self._dead: Publisher | None = None
        self._done: list[int] = []
        self._rejected: list[tuple[DeliveredMessage, str]] = []
        self._again: list[int] = []
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._timers: dict[int, asyncio.TimerHandle] = {}

    def listen(self, on_delivery: Callable[[Delivery], None]) -> None:
        self._on_delivery = on_delivery

    async def _connect(self) -> None:
        channel = await self._open(confirms=True)
        self._forget_answers()
        self._dead = Publisher(channel.number, channel.frame_max_bytes, "", persistent=True, mandatory=True)
        try:
            await channel.queue_declare(self.dead_letters, durable=True)
            await channel.queue_declare(self.queue, durable=True)
            await channel.basic_qos(prefetch_count=UNANSWERED_MAX)
            channel.on_consumer_cancel_callbacks.add(lambda frame: channel.close(ConnectionError(
                f"the queue {self.queue} was not there any more: it is declared again"
            )))  # fmt: skip
            await channel.basic_consume(self.queue, partial(self._on_delivered, channel))
        except Exception as error:
            raise self._explained(error) from None

    async def _on_delivered(self, channel: Channel, message: DeliveredMessage) -> None:
        delivery = Delivery(
            body=message.body,
            id=message.header.properties.message_id or "",
            accept=partial(self._accept, channel, message),
            reject=partial(self._reject, channel, message),
            retry=partial(self._retry, channel, message),
        )
        pass_on(delivery, self._on_delivery)

    # Answers to those of a connection that is lost do nothing: they come again, under other numbers.

    def _accept(self, channel: Channel, message: DeliveredMessage) -> None:
        if channel is self._channel:
            self._done.append(_tag(message))
            self._work.set()

    def _reject(self, channel: Channel, message: DeliveredMessage, reason: str) -> None:
        if channel is self._channel:
            self._rejected.append((message, reason))
            self._work.set()

    def _retry(self, channel: Channel, message: DeliveredMessage) -> None:
        if channel is self._channel:
            delay_s = RETRY_AFTER_S * (0.5 + random.random())
            loop = asyncio.get_running_loop()
            tag = _tag(message)
            self._timers[tag] = loop.call_later(delay_s, self._retry_now, tag)

    def _retry_now(self, tag: int) -> None:
        del self._timers[tag]
        self._again.append(tag)
        self._work.set()

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch())
            tasks.create_task(self._answer_all())

    async def _answer_all(self) -> None:
        channel = self._channel
        assert channel is not None
        while True:
            self._idle.set()
            await self._work.wait()
            self._work.clear()
            self._idle.clear()
            done, self._done = self._done, []
            rejected, self._rejected = self._rejected, []
            again, self._again = self._again, []
            if done:
                await channel.acknowledge(done)
            if again:
                await channel.requeue(again)
            if rejected:
                await self._bury(channel, rejected)

    async def _bury(self, channel: Channel, rejected: list[tuple[DeliveredMessage, str]]) -> None:
        """Publishes to the dead letters; acknowledges what the broker has there."""
        assert self._dead is not None
        encoded = []
        for message, reason in rejected:
            text = reason.encode()[:REASON_BYTES].decode(errors="ignore")
            message_id = message.header.properties.message_id or ""
            encoded.append(self._dead.encode(self.dead_letters, message.body, message_id, {"reason": text}))
        confirmations = await channel.publish_all(encoded)
        outcomes = await asyncio.gather(*confirmations, return_exceptions=True)
        buried = []
        for (message, _), outcome in zip(rejected, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                _logger.warning("dead letter refused", queue=self.dead_letters, reason=str(outcome))
                self._retry(channel, message)
            else:
                buried.append(_tag(message))
        if buried:
            await channel.acknowledge(buried)

    def _forget_answers(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._done, self._rejected, self._again = [], [], []

    async def _finish(self) -> None:
        # Waits for what has been answered; the rest comes again.
        while self._work.is_set() or not self._idle.is_set():
            self._idle.clear()
            await self._idle.wait()
        await super()._finish()

    async def _disconnect(self) -> None:
        self._forget_answers()
        await super()._disconnect()


def _tag(message: DeliveredMessage) -> int:
    """What the broker calls this delivery on its channel; it gives one to each."""
    return message.delivery_tag or 0
