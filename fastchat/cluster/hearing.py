"""What another node tells, in its order and without holes. Pure: no sockets, clock or await.

Lists of changes are numbered. Where one is missing, or nothing is known of a node yet, a snapshot is asked
for. The node cuts it over many turns of the loop while its people come and go, so each piece says how things
were at a number of its own: a piece comes behind the changes up to that number and before the next ones.
When all of it is there, it is put in line with the changes in between; what is not in it is gone by its end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from fastchat.cluster.changes import Change

EARLY_MAX = 10_000
"""Lists of changes that are kept while a snapshot is awaited."""

BEGIN: Final[Change] = ["begin"]
"""A snapshot begins: what is not told until its end is not so any more."""

END: Final[Change] = ["end"]
"""It ends."""


class Request:
    """A snapshot that was asked for, as far as it has come."""

    __slots__ = ("ask", "last", "moved", "pieces")

    def __init__(self, ask: int) -> None:
        self.ask = ask
        self.pieces: dict[int, tuple[int, list[Change]]] = {}
        self.last: int | None = None
        self.moved = False
        """Whether a piece has come since somebody looked."""


class Hearing:
    """One other node; ``queue`` has what is to be applied, from the left.

    ``heard`` is the number up to which it is known. ``ask(ask, since)`` asks the node for a snapshot.
    """

    def __init__(self, heard: int, ask: Callable[[int, int], None]) -> None:
        self.heard = heard
        self.queue: deque[Change] = deque()
        self._ask = ask
        self._asks = 0
        self._request: Request | None = None
        self._early: dict[int, list[Change]] = {}

    @property
    def complete(self) -> bool:
        """Whether no snapshot is awaited."""
        return self._request is None

    def request(self) -> None:
        """Asks for a snapshot, once more if one was asked for."""
        self._asks += 1
        self._request = Request(self._asks)
        self._ask(self._asks, self.heard)

    def awaits(self, ask: int) -> bool:
        """Whether the answer to this request is awaited."""
        return self._request is not None and self._request.ask == ask

    def request_again(self) -> bool:
        """Asks again for a snapshot of which nothing has come since the last call; whether it did."""
        request = self._request
        assert request is not None
        if not request.moved:
            self.request()
            return True
        request.moved = False
        return False

    def receive_changes(self, number: int, changes: list[Change]) -> None:
        """A list of changes has come, in whatever order."""
        if number <= self.heard:
            return
        if self._request is None and number == self.heard + 1:
            self.heard = number
            self.queue.extend(changes)
            return
        if len(self._early) < EARLY_MAX:  # beyond it the next snapshot has what is left out here
            self._early[number] = changes
        if self._request is None:
            self.request()
        else:
            self._complete()

    def receive_number(self, number: int) -> None:
        """The node has told so many lists of changes."""
        if self._request is None and number > self.heard:
            self.request()

    def receive_piece(self, ask: int, index: int, is_last: bool, number: int, changes: list[Change]) -> None:
        """A piece of a snapshot has come, maybe of an earlier one."""
        request = self._request
        if request is None or request.ask != ask:
            return
        request.pieces[index] = (number, changes)
        request.moved = True
        if is_last:
            request.last = index
        self._complete()

    def _complete(self) -> None:
        """Puts the snapshot in line, if all of it is there and all changes between its pieces."""
        request = self._request
        assert request is not None
        if request.last is None or len(request.pieces) <= request.last:
            return
        first, last = request.pieces[0][0], request.pieces[request.last][0]
        if sum(first < number <= last for number in self._early) < last - first:
            return
        self._request = None
        self.queue.append(BEGIN)
        number = first
        for index in range(request.last + 1):
            piece_number, changes = request.pieces[index]
            while number < piece_number:
                number += 1
                self.queue.extend(self._early[number])
            self.queue.extend(changes)
        self.queue.append(END)
        self._go_on(max(self.heard, last))

    def _go_on(self, heard: int) -> None:
        early = self._early
        while (changes := early.get(heard + 1)) is not None:
            heard += 1
            self.queue.extend(changes)
        self.heard = heard
        self._early = {number: changes for number, changes in early.items() if number > heard}
        if self._early:
            self.request()
