"""Deadlines: one timer for everything that may take equally long."""

import typing
from collections.abc import Callable


class TimerHandle(typing.Protocol):
    def cancel(self) -> None: ...


class Clock(typing.Protocol):
    """The part of an event loop that tells and keeps time."""

    def time(self) -> float: ...

    def call_later(self, delay: float, callback: Callable[[], object], /) -> TimerHandle: ...


Item = typing.TypeVar("Item")


class Deadlines(typing.Generic[Item]):
    """Calls `on_expire(item)` for every item that is not discarded within `seconds` (0: no limit).

    As all items may take equally long they expire in the order in which they came: the oldest one's timer
    is enough for all, and an item costs no timer of its own.
    """

    __slots__ = ("_clock", "_items", "_on_expire", "_timer", "seconds")

    def __init__(self, seconds: float, on_expire: Callable[[Item], object], clock: Clock) -> None:
        self.seconds = seconds
        self._on_expire = on_expire
        self._clock = clock
        self._items: dict[Item, float] = {}
        self._timer: TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: Item) -> None:
        """Starts an item's time. One that is there already keeps its deadline."""
        if item not in self._items:
            self._items[item] = self._clock.time() + self.seconds
            if self._timer is None and self.seconds > 0:
                self._timer = self._clock.call_later(self.seconds, self._expire)

    def discard(self, item: Item) -> None:
        # The timer stays: it finds out by itself whom it was for.
        self._items.pop(item, None)

    def stop(self) -> list[Item]:
        """Forgets all items, and returns them."""
        items = [*self._items]
        self._items.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return items

    def _expire(self) -> None:
        self._timer = None
        now = self._clock.time()
        # A loop's timer may come a clock tick early.
        due = now + 0.001
        while self._items:
            item, deadline = next(iter(self._items.items()))
            if deadline > due:
                self._timer = self._clock.call_later(deadline - now, self._expire)
                return
            del self._items[item]
            self._on_expire(item)
