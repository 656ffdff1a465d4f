"""Older events of a log, in blocks that all readers share. Pure: no sockets, clock or await.

A block is a Ring that never changes: events ``n * BLOCK_EVENTS + 1`` … ``(n + 1) * BLOCK_EVENTS`` of one log.
However many readers are behind, a block is read from the store once while it is remembered.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from fastchat._fanout import Channel
from fastchat._ring import Event, Ring
from fastchat.messages import WireError
from fastchat.store import BLOCK_EVENTS, Block, RoomLog

RETRY_S = 1.0
NO_LIMIT = 1 << 62


class BlockCache:
    """The blocks that were used last, of all rooms together at most ``limit_bytes``."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.size_bytes = 0
        self._blocks: OrderedDict[tuple[RoomLog, int], Ring] = OrderedDict()

    def __len__(self) -> int:
        return len(self._blocks)

    def __iter__(self) -> Iterator[Ring]:
        return iter(self._blocks.values())

    def get(self, log: RoomLog, index: int) -> Ring | None:
        """The block, if it is remembered."""
        block = self._blocks.get((log, index))
        if block is not None:
            self._blocks.move_to_end((log, index))
        return block

    def put(self, log: RoomLog, index: int, block: Ring) -> None:
        """Remembers a block, and forgets those that were not used for the longest time."""
        older = self._blocks.pop((log, index), None)
        self.size_bytes += block.size_bytes - (older.size_bytes if older is not None else 0)
        self._blocks[log, index] = block
        while self.size_bytes > self.limit_bytes and len(self._blocks) > 1:
            _, forgotten = self._blocks.popitem(last=False)
            self.size_bytes -= forgotten.size_bytes


class Replay:
    """The source of one channel (see ``Channel.source``): what its ring has forgotten, from the log.

    It knows the channel only while it reads for it, so that a channel that is let go of is freed at once.
    """

    def __init__(
        self, log: RoomLog, cache: BlockCache, call_later: Callable[[float, Callable[[], None]], Any]
    ) -> None:
        self._log = log
        self._cache = cache
        self._call_later = call_later
        self.asked: set[int] = set()  # the blocks that are being read, and those that will be tried again
        self._trimmed = 0  # the log has let go of everything up to this event

    def fetch(self, channel: Channel, after: int) -> Ring | None:
        """The block that holds the event after ``after``, or the oldest one; None while it is being read."""
        after = max(after, self._trimmed)
        block = self._remembered(after)
        index = after // BLOCK_EVENTS
        if block is None and index not in self.asked:
            self.asked.add(index)
            self._log.replay(index * BLOCK_EVENTS, partial(self._on_block, channel, index))
            # A log that answers at once has done so before anybody waits.
            block = self._remembered(max(after, self._trimmed))
        return block

    def _remembered(self, after: int) -> Ring | None:
        block = self._cache.get(self._log, after // BLOCK_EVENTS)
        # The newest block of a log grows: what is remembered of it may not reach far enough.
        return block if block is not None and block.head_seq > after else None

    def _on_block(self, channel: Channel, index: int, block: Block | WireError) -> None:
        if isinstance(block, WireError) or not (bodies := published(channel, block)):
            # Readers wait: the store will be there again, and nothing may be skipped.
            self._call_later(RETRY_S, partial(self._ask_again, channel, index))
            return
        self.asked.discard(index)
        ring = Ring(NO_LIMIT, block.first - 1)
        for seq, body in enumerate(bodies, block.first):
            ring.append(Event(seq, body))
        if block.first - 1 > index * BLOCK_EVENTS:
            self._trimmed = max(self._trimmed, block.first - 1)
            index = (block.first - 1) // BLOCK_EVENTS
        self._cache.put(self._log, index, ring)
        self._wake(channel, index)

    def _ask_again(self, channel: Channel, index: int) -> None:
        self.asked.discard(index)
        self._wake(channel, index)

    def _wake(self, channel: Channel, index: int) -> None:
        """Goes on with the readers of a block; with those of the oldest one go all who are before it."""
        start = index * BLOCK_EVENTS
        channel.wake(start if start > self._trimmed else 0, start + BLOCK_EVENTS)


def published(channel: Channel, block: Block) -> Sequence[bytes]:
    """Without what the store is ahead of the room: it is committed, and will be published in a moment."""
    return block.bodies[: max(0, channel.ring.head_seq + 1 - block.first)]
