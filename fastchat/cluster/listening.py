"""To which slots a node listens: those of the rooms that are open on it. Pure: no sockets, clock or await."""

from collections import Counter
from collections.abc import Callable

from fastchat.cluster.envelope import slot_subject
from fastchat.store.interface import slot_of


class Listening:
    """Subscribes to a slot before its first room is opened, and lets go of it some time after the last one.

    ``on_fresh()`` after a new slot: what was stored while the subscription was on its way nobody told.
    """

    def __init__(
        self,
        cluster: str,
        subscribe: Callable[[str], None],
        unsubscribe: Callable[[str], None],
        on_fresh: Callable[[], None],
    ) -> None:
        self._cluster = cluster
        self._subscribe = subscribe
        self._unsubscribe = unsubscribe
        self._on_fresh = on_fresh
        self._rooms: Counter[int] = Counter()
        self.slots: set[int] = set()
        self._idle: set[int] = set()

    def on_open(self, room: str) -> None:
        """The room's log is about to be opened; of rooms of two every node hears."""
        if room.startswith("@"):
            return
        slot = slot_of(room)
        self._rooms[slot] += 1
        if slot not in self.slots:
            self.slots.add(slot)
            self._subscribe(slot_subject(self._cluster, slot))
            self._on_fresh()

    def on_let_go(self, room: str) -> None:
        """The room is not in memory any more."""
        if room.startswith("@"):
            return
        slot = slot_of(room)
        self._rooms[slot] -= 1
        if not self._rooms[slot]:
            del self._rooms[slot]

    def sweep(self) -> None:
        """Lets go of slots that had no room at the last sweep either: rooms come and go within moments."""
        empty = {slot for slot in self.slots if slot not in self._rooms}
        for slot in empty & self._idle:
            self.slots.discard(slot)
            self._unsubscribe(slot_subject(self._cluster, slot))
        self._idle = empty - self._idle
