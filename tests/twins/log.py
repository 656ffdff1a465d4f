"""A log that answers when the test likes, and the way from it into a fan-out and into its twin."""

from collections.abc import Callable
from typing import Any

from fastchat.messages import Code, WireError
from fastchat.replay import RETRY_S, BlockCache, Replay
from fastchat.store import BLOCK_EVENTS, Block
from tests.twins.stage import TWIN, Stage

UNAVAILABLE = WireError(Code.UNAVAILABLE, "the disk is full")


class Request:
    """Somebody waits for the events behind ``after``; ``block`` is what was read for it, once it was."""

    def __init__(self, after: int, done: Callable[[Block | WireError], None]) -> None:
        self.after = after
        self.done = done
        self.block: Block | None = None


class FakeLog:
    """Answers when it is told to; ``at_once`` answers from within the question.

    ``trimmed`` is the last event that it has let go of.
    """

    def __init__(self, room: str, block_events: int) -> None:
        self.room = room
        self.block_events = block_events
        self.bodies: list[bytes] = []
        self.trimmed = 0
        self.requests: list[Request] = []
        self.asked = 0
        self.at_once = False

    def replay(self, after: int, done: Callable[[Block | WireError], None]) -> None:
        self.asked += 1
        request = Request(after, done)
        if self.at_once:
            request.done(self.block(after))
        else:
            self.requests.append(request)

    def block(self, after: int) -> Block:
        """To the end of the aligned block, or of the one that begins with the oldest event that is left."""
        after = max(after, self.trimmed)
        end = (after // self.block_events + 1) * self.block_events
        return Block(after + 1, self.bodies[after:end])

    def read(self, index: int) -> None:
        """Reads for a request; what is committed from now on is not in the answer."""
        request = self.requests[index % len(self.requests)]
        request.block = request.block or self.block(request.after)

    def answer(self, index: int = 0) -> None:
        self.read(index)
        request = self.requests.pop(index % len(self.requests))
        assert request.block is not None
        request.done(request.block)

    def fail(self, index: int = 0) -> None:
        self.requests.pop(index % len(self.requests)).done(UNAVAILABLE)


class TwinSource:
    """Gives the twin a ring of its own kind."""

    def __init__(self, stage: Stage, source: Replay) -> None:
        self.stage = stage
        self.source = source

    def fetch(self, channel: Any, after: int) -> Any:
        block = self.source.fetch(channel, after)
        if block is None:
            return None
        ring = self.stage.implementation.ring.Ring(1 << 40, block.first_seq - 1)
        for event in block.events(0, 1 << 62, 1 << 20, 1 << 40):
            ring.append(self.stage.implementation.ring.Event(event.seq, event.body))
        return ring


class DurableRoom:
    """A channel with a log behind it: ``commit`` is what the store does, ``publish`` what the room does."""

    def __init__(
        self,
        stage: Stage,
        name: str,
        ring_bytes: int,
        cache: BlockCache,
        timers: list[Callable[[], None]],
        block_events: int = BLOCK_EVENTS,
    ) -> None:
        """What has to be tried again later goes to the ``timers``."""

        def call_later(delay_s: float, callback: Callable[[], None]) -> None:
            assert delay_s == RETRY_S
            timers.append(callback)

        self.stage = stage
        self.channel = stage.channel(name, ring_bytes)
        self.log = FakeLog(name, block_events)
        log: Any = self.log
        self.replay = Replay(log, cache, call_later)
        self.channel.source = TwinSource(stage, self.replay) if stage.implementation is TWIN else self.replay

    def commit(self, size: int = 0) -> None:
        self.log.bodies.append(self.stage.event(self.channel, len(self.log.bodies) + 1, size).body)

    @property
    def unpublished(self) -> int:
        return len(self.log.bodies) - int(self.channel.ring.head_seq)

    def publish(self) -> None:
        """The oldest event that was committed and not published."""
        seq = self.channel.ring.head_seq + 1
        self.channel.publish(self.stage.implementation.ring.Event(seq, self.log.bodies[seq - 1]))

    def say(self, size: int = 0) -> None:
        self.commit(size)
        self.publish()

    def trim(self, count: int) -> None:
        """The newest event stays."""
        self.log.trimmed = min(self.log.trimmed + count, max(0, len(self.log.bodies) - 1))
