"""Commands from other services by a JetStream work queue, which all nodes take from."""

import asyncio
import random
from collections.abc import Callable, Mapping

from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy
from nats.js.errors import NotFoundError

from fastchat.broker.answers import UNANSWERED_MAX, Answers, Taken, pass_on, retry_delay_s
from fastchat.broker.interface import Delivery
from fastchat.broker.nats import subjects
from fastchat.broker.nats.client import Client, NatsLink
from fastchat.broker.nats.streams import ensure_stream, jetstream

ACK_WAIT_S = 15.0
"""A node that says nothing of a command for so long has died: another one gets it."""

CHECK_INTERVAL_S = 10.0
DEAD_LETTERS_MAX = 100_000
REASON_BYTES = 4096
CONSUMER = "fastchat"


class NatsInbox(NatsLink):
    """The stream is ``FASTCHAT_INBOX`` with the subject ``fastchat.inbox``, where fastchat is the name.

    What can never be done goes to ``fastchat.inbox.dead``, kept by the stream ``FASTCHAT_DEAD``, with the
    header ``reason``.
    """

    def __init__(self, url: str, name: str, ack_wait_s: float = ACK_WAIT_S) -> None:
        super().__init__(url, "inbox")
        self._name = name
        self._ack_wait_s = ack_wait_s
        self._on_delivery: Callable[[Delivery], None] = lambda delivery: None
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._answers: Answers[str] = Answers(self._work.set)
        self._stream = ""

    def listen(self, on_delivery: Callable[[Delivery], None]) -> None:
        self._on_delivery = on_delivery

    async def _connect(self) -> None:
        client = await self._open()
        context = jetstream(client)
        self._stream = await ensure_stream(
            context,
            subjects.stream(self._name, "inbox"),
            subjects.inbox(self._name),
            retention=RetentionPolicy.WORK_QUEUE,
        )
        await ensure_stream(
            context,
            subjects.stream(self._name, "dead"),
            subjects.dead_letters(self._name),
            keep_entries=DEAD_LETTERS_MAX,
        )
        await self._ensure_consumer(context)

    async def _ensure_consumer(self, context: JetStreamContext) -> None:
        try:
            await context.consumer_info(self._stream, CONSUMER)
        except NotFoundError:
            config = ConsumerConfig(
                durable_name=CONSUMER,
                deliver_subject=subjects.deliveries(self._name),
                deliver_group=CONSUMER,
                filter_subject=subjects.inbox(self._name),
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=self._ack_wait_s,
                max_ack_pending=UNANSWERED_MAX,
                max_deliver=-1,
            )
            await context.add_consumer(self._stream, config)

    def _on_connection(self) -> None:
        super()._on_connection()
        self._work.set()  # answers that the last connection did not take

    async def _serve(self) -> None:
        client = self._client
        assert client is not None
        # Not before: what is delivered has to be answered.
        await client.receive(subjects.deliveries(self._name), self._on_received, queue=CONSUMER)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(client.watch())
            tasks.create_task(self._answer(client))
            tasks.create_task(self._hold(client))
            tasks.create_task(self._check(client))

    def _on_received(self, subject: str, payload: bytes, reply: str, headers: Mapping[str, str]) -> None:
        sequence, times, stored = _parse_reply(reply)
        own_id = headers.get("Nats-Msg-Id", "")
        taken = Taken(sequence, reply, payload, times)
        # A stream that is made anew counts from one again; the time at which it was kept makes it unique.
        delivery = self._answers.take(taken, own_id or f"{self._stream}-{sequence}-{stored}")
        if delivery is not None:
            pass_on(delivery, self._on_delivery)

    async def _answer(self, client: Client) -> None:
        ready = self._answers.ready
        while True:
            await self._work.wait()
            self._work.clear()
            while ready:
                await self._tell(client, ready[0])
                ready.popleft()
            self._idle.set()

    async def _tell(self, client: Client, taken: Taken[str]) -> None:
        if taken.verdict == "retry":
            delay_ns = int(retry_delay_s(taken.times, random.random()) * 1e9)
            await client.post(taken.mark, b'-NAK {"delay": %d}' % delay_ns)
            return
        if taken.verdict == "reject":
            reason = taken.reason.encode()[:REASON_BYTES].decode(errors="ignore")
            await jetstream(client).publish(
                subjects.dead_letters(self._name),
                taken.body,
                headers={"reason": reason, "Nats-Msg-Id": f"{self._stream}-{_parse_reply(taken.mark)[2]}"},
            )
        await client.post(taken.mark, b"+ACK")

    async def _hold(self, client: Client) -> None:
        """Says of what is being worked on that it is, before its time is over."""
        while True:
            await asyncio.sleep(self._ack_wait_s / 3)
            for taken in tuple(self._answers.unanswered.values()):
                await client.post(taken.mark, b"+WPI")

    async def _check(self, client: Client) -> None:
        """Nobody says when the consumer is removed; without it, nothing would ever come."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            await jetstream(client).consumer_info(self._stream, CONSUMER)

    async def _finish(self) -> None:
        while self._answers.ready:
            self._idle.clear()
            await self._idle.wait()
        await super()._finish()


def _parse_reply(reply: str) -> tuple[str, int, str]:
    """The stream's number for the message, how often it was delivered, and when it was kept, in ns.

    ``$JS.ACK.STREAM.CONSUMER.TIMES.NUMBER.CONSUMER_NUMBER.TIME.PENDING``, with domain and account behind
    ACK and more words at the end in its second version.
    """
    words = reply.split(".")
    if len(words) > 9:
        words = [*words[:2], *words[4:]]
    return words[5], int(words[4]), words[7]
