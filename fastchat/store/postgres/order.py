"""The events of one room in their order, whoever has stored them. Pure: no sockets, clock or await.

Own events come with the answers of their commits, those of other nodes from a bus that loses, repeats and
reorders. Each is told when all before it have been told, and no event is told twice.
"""

from collections.abc import Callable

Tell = Callable[[bool], None]
"""Tells of an event in its turn. False: it has been told already, as another node's, and is not new."""


class Order:
    """Where one room stands: everything up to ``head`` has been told."""

    __slots__ = ("_expected", "_waiting", "head")

    def __init__(self, head: int) -> None:
        self.head = head
        self._expected = head
        self._waiting: dict[int, tuple[Tell, bool]] = {}

    def add_own(self, seq: int, tell: Tell) -> None:
        """An event that was stored here: its sender is answered in any case, and in the order of the room."""
        if seq > self.head:
            self._waiting[seq] = (tell, True)
            self._tell()
            return
        try:
            tell(False)
        finally:
            self._tell()  # what is held

    def add_foreign(self, seq: int, tell: Tell) -> None:
        """An event that was heard of, or read."""
        if seq == self.head + 1 and not self._waiting:  # nearly always
            self.head = seq
            tell(True)
            return
        self.hold_foreign(seq, tell)
        self._tell()

    def hold_foreign(self, seq: int, tell: Tell) -> None:
        """As ``add_foreign``, but it is told with whatever is added next, or with ``release``."""
        if seq > self.head:
            self._waiting.setdefault(seq, (tell, False))

    def release(self) -> None:
        """Tells what is held, up to the first that is missing."""
        self._tell()

    @property
    def waits(self) -> bool:
        """Whether anything is held, or waits for what is missing before it."""
        return bool(self._waiting)

    def expect(self, seq: int) -> None:
        """There are events up to this one, wherever they are."""
        self._expected = max(self._expected, seq)

    @property
    def gap(self) -> tuple[int, int] | None:
        """The events that are missing first: behind the first number, up to the second one. None: none is."""
        if self.head + 1 in self._waiting:
            return None  # held
        # What is told in turn leaves nothing behind it, so this is asked for when something is amiss.
        if self._waiting:
            return self.head, min(self._waiting) - 1
        return (self.head, self._expected) if self._expected > self.head else None

    def _tell(self) -> None:
        failure: Exception | None = None
        while (waiting := self._waiting.pop(self.head + 1, None)) is not None:
            self.head += 1
            try:
                waiting[0](True)
            except Exception as error:  # the others are to have theirs
                failure = failure or error
        if failure is not None:
            raise failure
