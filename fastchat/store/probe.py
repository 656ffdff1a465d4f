"""Whether a store takes something and gives it back: a number that grows, by two ways. Pure."""

from collections.abc import Callable
from functools import partial

from fastchat.messages import WireError
from fastchat.store.errors import unavailable

Ask = Callable[[Callable[[int | WireError], None]], object]
"""Asks a store for a number, which is given to the callback as everywhere in a store."""


def check(count: Ask, read: Ask, done: Callable[[WireError | None], None]) -> None:
    """``count`` makes the number larger by one, and gives it after the commit; ``read`` what is there then.

    Others may count on in between: what is read is the same number or a higher one.
    """

    def on_counted(number: int | WireError) -> None:
        if isinstance(number, WireError):
            done(number)
        else:
            read(partial(on_read, number))

    def on_read(number: int, found: int | WireError) -> None:
        if isinstance(found, WireError):
            done(found)
        else:
            done(None if found >= number else unavailable("what was written cannot be read"))

    count(on_counted)
