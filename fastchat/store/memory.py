"""A store that is the ring: what the ring forgets is gone. Pure: no sockets, clock or await."""

from collections.abc import Callable, Mapping, Sequence
from secrets import token_hex

import orjson

from fastchat._ring import Event, Ring
from fastchat.messages import Code, WireError, encode_event
from fastchat.store.interface import PAGE_BYTES, Block, Draft, Kind, Page, RoomLog, Stored
from fastchat.store.states import State, change, check_change


class MemoryLog:
    """The log of a room that lives as long as the room does."""

    __slots__ = ("_ring", "_sent", "_states", "epoch", "room")

    durable = False
    _ring: Ring

    def __init__(self, room: str) -> None:
        self.room = room
        self.epoch = token_hex(6)
        self._sent: dict[tuple[str, str], tuple[int, int]] = {}
        self._states: dict[int, State] = {}  # of changed messages alone, by seq

    @property
    def head(self) -> int:
        """The ``seq`` of the newest event."""
        return self._ring.head_seq

    def attach(self, ring: Ring) -> None:
        """The ring is all there is of this log."""
        self._ring = ring

    def append(self, draft: Draft, done: Callable[[Stored | WireError], None]) -> None:
        """Numbers the event and answers at once."""
        key = (draft.author, draft.id) if draft.id is not None else None
        if key is not None and (first := self._sent.get(key)) and first[0] >= self._ring.first_seq:
            done(Stored(*first, None))
            return
        if draft.of is not None:
            message = self._state(draft.of)
            try:
                check_change(draft, message)
            except WireError as error:
                done(error)
                return
            assert message is not None
            self._states[draft.of] = change(message, draft)
        seq = self._ring.head_seq + 1
        body = encode_event(draft.kind, self.room, seq, draft)
        if key is not None:
            self._sent[key] = (seq, draft.at_ms)
        self._forget_old()
        done(Stored(seq, draft.at_ms, body))

    def _state(self, seq: int) -> State | None:
        """The current state of a message; None where there is none."""
        if seq < self._ring.first_seq:
            return None
        if seq in self._states:
            return self._states[seq]
        found = self._ring.events(seq - 1, seq + 1, 1, PAGE_BYTES)
        if not found:
            return None
        event: State = orjson.loads(found[0].body)
        return event if event["type"] == Kind.MESSAGE else None

    def _forget_old(self) -> None:
        """Ids and states are kept as long as their events; looked at rarely, so that it costs little."""
        if len(self._sent) + len(self._states) > 2 * len(self._ring) + 64:
            oldest = self._ring.first_seq
            self._sent = {key: first for key, first in self._sent.items() if first[0] >= oldest}
            self._states = {seq: state for seq, state in self._states.items() if seq >= oldest}
