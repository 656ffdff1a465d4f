"""In which order commands are carried out while the store takes its time. Pure: no sockets, clock or await.

Storing
-------
Commands that store an event may be many at once: the store answers them in their order, and commits them
together. Whatever might tell that they are not stored yet (``history``, ``leave``, …) waits for all of them.

Asking
------
A command that asks the store something is alone: the next ones wait for its answer.

Bounds
------
While a session is ``blocked``, its client is not read from. What came with the same read and has been parsed
already is kept: at most what one line of a person's comes to, or the rooms of one ``resume``. It waits, too,
while answers have nowhere to go.
"""

from collections import deque
from collections.abc import Callable, Sequence

UNSTORED_MAX = 256
"""Events of one connection that may wait for the store before its client is not read from any more."""

KeptCommand = Callable[[], None]


class Turns:
    """Lets commands be carried out one after the other, however late the store answers."""

    __slots__ = ("_after_storing", "_awaited", "_busy", "_going_on", "_kept", "_unstored")

    def __init__(self) -> None:
        self._busy = False  # a command waits for the store, and the next ones for it
        self._after_storing = False  # what it waits for is all that was sent before it
        self._unstored = 0
        self._going_on = False
        self._awaited = False  # somebody was told to wait for ``on_unblocked``
        self._kept: deque[KeptCommand] | None = None

    def on_unblocked(self) -> None:
        """Commands are taken again, or everything has been answered. A duty of the subclass.

        Called once after ``blocked`` was True or ``idle`` was False.
        """
        raise NotImplementedError

    def has_room(self) -> bool:
        """Whether answers have somewhere to go; if not, ``go_on_with_kept`` follows. The subclass's duty."""
        raise NotImplementedError

    @property
    def blocked(self) -> bool:
        """Whether the next command has to wait, so that the client should not be read from."""
        if self._busy or self._kept or self._unstored >= UNSTORED_MAX:
            self._awaited = True
            return True
        return False

    @property
    def idle(self) -> bool:
        """Whether everything that was received has been answered."""
        if self._busy or self._kept or self._unstored:
            self._awaited = True
            return False
        return True

    # Storing

    def begin_storing(self) -> None:
        """The store was given an event."""
        self._unstored += 1

    def end_storing(self) -> None:
        """The store has answered for an event, and so has the session."""
        self._unstored -= 1
        if self._after_storing:
            if not self._unstored:
                self._after_storing = False
                self.go_on()
        elif self._awaited:
            self._tell_unblocked()

    def _tell_unblocked(self) -> None:
        """MUST be called only where somebody was told to wait."""
        if not self.blocked:
            self._awaited = False
            self.on_unblocked()

    # Waiting

    def must_wait(self, *, beside_storing: bool) -> bool:
        """Whether a command has to be kept; those ``beside_storing`` need not wait for events."""
        if self._unstored and not beside_storing and not self._busy:
            self._busy = self._after_storing = True
        return self._busy or (bool(self._kept) and not self._going_on)

    def wait(self) -> None:
        """Keeps the next commands until ``go_on``."""
        self._busy = True

    def keep(self, command: KeptCommand) -> None:
        """Carries it out when its turn comes."""
        if self._going_on:
            self.keep_first([command])  # it was kept already: those behind it came later
        elif self._kept is None:
            self._kept = deque([command])
        else:
            self._kept.append(command)

    def keep_first(self, commands: Sequence[KeptCommand]) -> None:
        """Carries them out before everything that is kept."""
        if self._kept is None:
            self._kept = deque(commands)
        else:
            self._kept.extendleft(reversed(commands))

    def go_on(self) -> None:
        """Carries out what was kept, until a command has to wait again."""
        self._busy = False
        # A store that answers at once comes back to here while a kept command is carried out.
        if self._going_on:
            return
        self._going_on = True
        try:
            while self._kept and not self._busy and self.has_room():
                self._kept.popleft()()
        finally:
            self._going_on = False
        if self._awaited:
            self._tell_unblocked()

    def go_on_with_kept(self) -> None:
        """Answers have somewhere to go again."""
        if not self._busy:
            self.go_on()

    def forget_kept(self) -> None:
        """What was kept is not carried out any more."""
        self._kept = None
