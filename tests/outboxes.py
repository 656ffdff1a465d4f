"""An outbox of any kind, as its contract's tests use it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import orjson

from fastchat.store.interface import Store, slot_of
from fastchat.store.sending import Backlog, Notice, SendingStore, Unsent
from tests.pump import Pump


class Box:
    """The outbox of a store, and how often it has said that something waits."""

    def __init__(self, store: Store, pump: Pump) -> None:
        self.outbox = outbox = cast("SendingStore", store)
        self.pump = pump
        self.told = 0
        outbox.watch(self._on_waiting)

    def _on_waiting(self) -> None:
        self.told += 1

    def begin(self) -> None:
        assert self.pump.answer(self.outbox.begin_sending) is None

    def unsent(self, limit: int = 1000, slots: Collection[int] | None = None) -> Unsent:
        found = self.pump.answer(lambda done: self.outbox.unsent(slots, limit, done))
        assert isinstance(found, Unsent), found
        return found

    def waiting(self, limit: int = 1000, slots: Collection[int] | None = None) -> dict[str, list[int]]:
        """The ``seq`` of the events that wait by room, as far as they come at once."""
        found = self.unsent(limit, slots)
        for events in found.events:
            seqs = [orjson.loads(body)["seq"] for body in events.bodies]
            assert seqs == [*range(events.first, events.first + len(seqs))]
            assert {orjson.loads(body)["room"] for body in events.bodies} == {events.room}
        return {each.room: [*range(each.first, each.first + len(each.bodies))] for each in found.events}

    def bodies(self, limit: int = 1000) -> list[bytes]:
        """The notices that wait, as far as they come at once."""
        return [notice.body for notice in self.unsent(limit).notices]

    def sent(self, heads: Mapping[str, int] | None = None, notices: Sequence[int] = ()) -> None:
        assert self.pump.answer(lambda done: self.outbox.sent(heads or {}, notices, done)) is None

    def backlog(self) -> Backlog:
        found = self.pump.answer(self.outbox.backlog)
        assert isinstance(found, Backlog), found
        return found

    def notify(self, *about: Any) -> None:
        self.outbox.notify([notice(each) for each in about])


def notice(about: Any, subject: str = "lobby") -> Notice:
    """A notice that tells of this; of which room decides its slot."""
    return Notice(0, slot_of(subject), orjson.dumps({"subject": subject, "data": about}))
