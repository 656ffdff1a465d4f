"""One batch on its way to the broker: what it consists of, and how far it was confirmed. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastchat.broker.interface import Outgoing
from fastchat.cloudevents import EventEncoder, outgoing_of
from fastchat.store.sending import Notice, Unsent, UnsentEvents


@dataclass(frozen=True, slots=True)
class _Part:
    """The events ``first`` … ``last`` of one room, of which those with these ``seqs`` are sent."""

    room: str
    first: int
    last: int
    seqs: Sequence[int]


class Batch:
    """What waits, as far as it is wanted, in the order in which it is sent."""

    def __init__(self, encoder: EventEncoder, unsent: Unsent) -> None:
        self.outgoing: list[Outgoing] = []
        self.taken = len(unsent.notices) + sum(len(events.bodies) for events in unsent.events)
        """How much of what waits it is, wanted or not."""
        self._parts = [self._add(encoder, events) for events in unsent.events]
        self._notices: Sequence[Notice] = unsent.notices
        self.outgoing += map(outgoing_of, unsent.notices)

    def _add(self, encoder: EventEncoder, events: UnsentEvents) -> _Part:
        encoded = encoder.encode(events)
        self.outgoing += [outgoing for _, outgoing in encoded]
        last = events.first + len(events.bodies) - 1
        return _Part(events.room, events.first, last, [seq for seq, _ in encoded])

    def confirmed(self, count: int) -> tuple[dict[str, int], list[int]]:
        """What need not be sent any more if the broker has the first ``count``: by room up to which ``seq``.

        And the numbers of notices. What is not wanted goes with what was before it.
        """
        heads: dict[str, int] = {}
        for part in self._parts:
            size = len(part.seqs)
            if count >= size:
                heads[part.room] = part.last
            elif (head := part.seqs[count] - 1) >= part.first:
                heads[part.room] = head
            count = max(0, count - size)
        return heads, [notice.number for notice in self._notices[:count]]
