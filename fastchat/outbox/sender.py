"""Sends what waits in the store to the broker, in order, for as long as it takes.

One batch at a time is in memory. It is asked for when a commit says that there is something, and now and then
for what another node has left. When the broker has confirmed it the store is told; until then it waits there.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Collection, Coroutine, Generator
from typing import Any, Generic, TypeVar

from fastchat import log
from fastchat.asking import ask
from fastchat.broker.interface import EventSink
from fastchat.cloudevents import EventEncoder
from fastchat.ending import end
from fastchat.messages import WireError
from fastchat.outbox.batch import Batch
from fastchat.outbox.pace import Pace, retry_s
from fastchat.store.sending import Backlog, Outbox, Unsent

POLL_S = 1.0
"""How often it is looked for what nobody has told of: what another node has left."""

GATHER_S = 0.05
"""The shortest time from one batch to the next: each is a commit, to note that it was sent."""

BACKLOG_S = 2.0
"""How often the backlog is counted."""

SILENT_S = 10.0
"""A broker that confirms nothing for so long is a problem, even where it says nothing."""

CLOSING_S = 0.02
"""How often it is looked whether all was sent before the end."""

BACKGROUND = 2.0
"""What a broker's client does in tasks of its own (confirmations) is taken to cost as much as sending."""

Answer = TypeVar("Answer")

logger = log.get_logger(__name__)


class Sender:
    """``slots`` are those whose work this process does at first (see ``take_slots``); None means all.

    ``flush`` is called before the last batch: whoever collects notices hands them over.
    """

    def __init__(
        self,
        outbox: Outbox,
        sink: EventSink,
        encoder: EventEncoder,
        *,
        slots: Collection[int] | None = None,
        flush: Callable[[], None] = lambda: None,
    ) -> None:
        self._outbox = outbox
        self._sink = sink
        self._encoder = encoder
        self._slots = slots
        self._flush = flush
        self._waiting = asyncio.Event()
        self._pace = Pace()
        self._failures = 0
        self._sending_since: float | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._unsettled: Batch | None = None  # confirmed by the broker, but the store does not know yet
        self._settled = 0
        self.backlog = Backlog(0, 0, 0, 0)
        """How much waited when it was counted last."""
        self.sent = 0
        """Events and notices that were confirmed since the start."""

    @property
    def problem(self) -> str | None:
        """Why nothing can be sent at the moment; None when all is well."""
        if self._sink.problem is not None:
            return self._sink.problem
        since = self._sending_since
        if since is not None and (silent_s := time.monotonic() - since) > SILENT_S:
            return f"the broker has confirmed nothing for {silent_s:.0f} s"
        return None

    async def start(self) -> None:
        """Connects, and begins to send. Raises BrokerError as ``EventSink.start`` does.

        MUST be awaited before anybody may say anything: from its return on events wait to be sent. Where the
        store does not answer it is asked again until it does.
        """
        await self._sink.start()
        self._outbox.watch(self.wake)
        while (error := await ask(self._outbox.begin_sending)) is not None:
            await self._wait_to_retry(error.message)
        self._tasks = [
            asyncio.create_task(self._send_for_ever(), name="outbox"),
            asyncio.create_task(self._count_for_ever(), name="outbox-backlog"),
        ]

    def wake(self) -> None:
        """Something waits."""
        self._waiting.set()

    def take_slots(self, slots: Collection[int]) -> None:
        """Their work is this process's from now on, and no other one is."""
        self._slots = slots
        self.wake()

    async def close(self, within_s: float = 1.0) -> None:
        """Sends what waits, as far as it goes within that time, and disconnects. May be called again."""
        tasks, self._tasks = self._tasks, []
        self._flush()
        if tasks and self.problem is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._until_empty(), within_s)
        await end(tasks)
        await self._sink.close()

    async def _until_empty(self) -> None:
        while self.problem is None:
            found: Unsent | WireError = await ask(lambda done: self._outbox.unsent(self._slots, 1, done))
            if isinstance(found, WireError) or not (found.events or found.notices):
                return
            self.wake()
            await asyncio.sleep(CLOSING_S)

    # The backlog

    async def _count_for_ever(self) -> None:
        while True:
            try:
                await self.count()
            except Exception:
                logger.exception("what waits for the broker could not be counted")
            await asyncio.sleep(BACKLOG_S)

    async def count(self) -> None:
        """Counts what waits; where the store cannot tell, the last number stands."""
        found: Backlog | WireError = await ask(self._outbox.backlog)
        if isinstance(found, Backlog):
            self.backlog = found

    # Sending

    async def _send_for_ever(self) -> None:
        late_s = pause_s = 0.0
        while True:
            self._waiting.clear()
            batch_at = time.monotonic()
            self._pace.begin(batch_at, time.thread_time(), late_s)
            try:
                pause_s, more = await self._send_some()
                if self._failures:
                    self._failures = 0
                    logger.info("events go to the broker again")
            except _NotSentError as error:
                await self._wait_to_retry(str(error))
                continue
            except Exception as error:
                logger.exception("events could not be sent")
                await self._wait_to_retry(repr(error))
                continue
            began_at = time.monotonic()
            if pause_s:
                await asyncio.sleep(pause_s)
            late_s = max(0.0, time.monotonic() - began_at - pause_s)
            if not more:
                # Not wait_for: in Python 3.11 that forgets a cancellation that comes with what it waits for.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await self._waiting.wait()
                if (rest_s := batch_at + GATHER_S - time.monotonic()) > 0:
                    await asyncio.sleep(rest_s)

    async def _wait_to_retry(self, reason: str) -> None:
        self._failures += 1
        if self._failures == 1:
            logger.warning("events for other services wait", reason=reason)
        await asyncio.sleep(retry_s(self._failures, random.random()))

    async def _send_some(self) -> tuple[float, bool]:
        """Sends one batch; returns the pause to make, and whether more waits. Raises _NotSentError."""
        if self._unsettled is not None:
            await self._settle()
        slots = self._slots
        if slots is not None and not slots:
            return 0.0, False
        size = self._pace.size
        unsent: Unsent | WireError = await ask(lambda done: self._outbox.unsent(slots, size, done))
        if isinstance(unsent, WireError):
            raise _NotSentError(unsent.message)
        if not unsent.events and not unsent.notices:
            return 0.0, False
        cpu = time.thread_time()
        metered = Metered(self._send(unsent))
        batch = await metered
        await self._settle()
        now, cpu_now = time.monotonic(), time.thread_time()
        # While it was under way the thread did the chat's work, too.
        cost_s = min(cpu_now - cpu, BACKGROUND * metered.cpu_s)
        return self._pace.end(now, cpu_now, cost_s, batch.taken), unsent.more

    async def _send(self, unsent: Unsent) -> Batch:
        batch = Batch(self._encoder, unsent)
        count = len(batch.outgoing)
        confirmed = 0
        if count:
            self._sending_since = time.monotonic()
            try:
                confirmed = await self._sink.send(batch.outgoing)
            finally:
                self._sending_since = None
        self._unsettled, self._settled = batch, confirmed
        self.sent += confirmed
        if confirmed < count:
            await self._settle()
            raise _NotSentError(self._sink.problem or "the broker did not take all events")
        return batch

    async def _settle(self) -> None:
        """Tells the store what the broker has, before anything more is taken. Raises _NotSentError."""
        if self._unsettled is None:
            return
        heads, notices = self._unsettled.confirmed(self._settled)
        if heads or notices:
            error: WireError | None = await ask(lambda done: self._outbox.sent(heads, notices, done))
            if error is not None:
                raise _NotSentError(error.message)
        self._unsettled = None


class _NotSentError(Exception):
    """What waits has to wait longer, and why."""


class Metered(Generic[Answer]):
    """Awaits a coroutine, and measures how much of the processor its own steps take."""

    def __init__(self, coroutine: Coroutine[Any, Any, Answer]) -> None:
        self._steps = coroutine.__await__()
        self.cpu_s = 0.0

    def __await__(self) -> Generator[Any, Any, Answer]:
        thrown: BaseException | None = None
        while True:
            began_at = time.thread_time()
            try:
                awaited = self._steps.send(None) if thrown is None else self._steps.throw(thrown)
            except StopIteration as stop:
                answer: Answer = stop.value
                return answer
            finally:
                self.cpu_s += time.thread_time() - began_at
            thrown = None
            try:
                yield awaited
            except BaseException as error:
                thrown = error
