"""A store that is the ring: what the ring forgets is gone. Pure: no sockets, clock or await."""

from collections.abc import Callable
from secrets import token_hex

from fastchat._ring import Ring
from fastchat.messages import WireError, encode_message
from fastchat.store.interface import PAGE_BYTES, Draft, Page, RoomLog, Stored


class MemoryLog:
    """The log of a room that lives as long as the room does."""

    __slots__ = ("_ring", "_room", "_sent", "epoch")

    def __init__(self, room: str, ring: Ring) -> None:
        self.epoch = token_hex(6)
        self._room = room
        self._ring = ring
        self._sent: dict[tuple[str, str], tuple[int, int]] = {}

    def append(self, draft: Draft, done: Callable[[Stored | WireError], None]) -> None:
        """Numbers the message and answers at once."""
        key = (draft.author, draft.id) if draft.id is not None else None
        if key is not None and (first := self._sent.get(key)) and first[0] >= self._ring.first_seq:
            done(Stored(*first, None))
            return
        seq = self._ring.head_seq + 1
        body = encode_message(self._room, seq, draft.author, draft.at_ms, draft.text, draft.id, draft.data)
        if key is not None:
            self._sent[key] = (seq, draft.at_ms)
            self._forget_old()
        done(Stored(seq, draft.at_ms, body))

    def _forget_old(self) -> None:
        """An id is remembered as long as its message is held; looked at rarely, so that it costs little."""
        if len(self._sent) > 2 * len(self._ring) + 64:
            oldest = self._ring.first_seq
            self._sent = {key: first for key, first in self._sent.items() if first[0] >= oldest}

    def read(
        self, after: int, before: int, limit: int, newest: bool, done: Callable[[Page | WireError], None]
    ) -> None:
        """Reads from the ring and answers at once."""
        events = self._ring.events(after, before, limit, PAGE_BYTES, newest)
        if not events:
            more = False
        elif newest:
            more = events[0].seq > max(after + 1, self._ring.first_seq)
        else:
            more = events[-1].seq < min(before - 1, self._ring.head_seq)
        done(Page([event.body for event in events], more))


class MemoryStore:
    """Rooms whose history is what their rings hold: for trying out, and for rooms that need none."""

    def open(self, room: str, ring: Ring) -> RoomLog:
        """A new log; rooms that were closed before are forgotten, so its epoch is new."""
        return MemoryLog(room, ring)

    def close(self) -> None:
        """Nothing to finish."""
