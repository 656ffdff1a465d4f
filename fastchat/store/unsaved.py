"""Numbers that only grow, on their way into a store, such as how far somebody has read. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Generic, Protocol, TypeVar

from fastchat.messages import WireError

Key = TypeVar("Key", bound=Hashable)
Numbers = Callable[[], Mapping[Key, int]]


class Save(Protocol[Key]):
    """Stores what ``take`` answers, which it calls in the thread that stores it, in one transaction."""

    def __call__(self, take: Numbers[Key], done: Callable[[WireError | None], None], /) -> object:
        """``done`` as everywhere in a store."""


class Unsaved(Generic[Key]):
    """What is not stored yet. It is tried again, when it is to be hoped that it can be stored: ``save``.

    While the store is busy all that comes gathers, and is stored together.
    """

    def __init__(self, submit: Save[Key]) -> None:
        self._submit = submit
        self._numbers: dict[Key, int] = {}
        self._saved: Mapping[Key, int] = {}  # last: who has read before that may be answered only now
        self._submitted = False  # and not taken yet

    def __bool__(self) -> bool:
        return bool(self._numbers)

    def get(self, key: Key) -> int | None:
        """What is not stored yet, or was not when somebody read who has no answer yet."""
        number = self._numbers.get(key)
        return self._saved.get(key) if number is None else number

    def add(self, numbers: Mapping[Key, int]) -> None:
        """Has them all stored in one transaction."""
        for key, number in numbers.items():
            self._numbers[key] = max(number, self._numbers.get(key, 0))
        self.save()

    def save(self) -> None:
        """Stores what is not stored yet, if there is anything."""
        if not self._numbers or self._submitted:
            return
        self._submitted = True
        taken: dict[Key, int] = {}

        def take() -> Mapping[Key, int]:
            nonlocal taken
            # In this order: what comes in between is submitted again.
            self._submitted = False
            taken = dict(self._numbers)
            return taken

        def on_saved(result: WireError | None) -> None:
            if not taken:
                self._submitted = False  # the store is closed: it has not even looked
            if result is None:
                self._saved = taken
                for key, number in taken.items():
                    if self._numbers.get(key) == number:
                        del self._numbers[key]

        self._submit(take, on_saved)
