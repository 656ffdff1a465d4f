"""Guests' names, claimed in the store for this node. Pure: no sockets, clock or await.

Those who come in the same turn of the loop share a claim, and those who go share a release. A name is given
back when nobody here needs it any more, and not at all if somebody claims it before the store was told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from fastchat.auth.names import name_key
from fastchat.messages import Code, WireError

Done = Callable[[WireError | None], None]


class Claims(Protocol):
    """Where names are claimed by key: see ``SharedStore``. What it is told takes effect in that order."""

    def claim(self, keys: Sequence[str], done: Callable[[Collection[str] | WireError], None]) -> None:
        """Answers those that others have."""

    def release(self, keys: Sequence[str]) -> None:
        """Gives names back."""


class ClaimedNames:
    """The ``Names`` of a hub in a cluster. ``on_claimed(name)`` when the store has given one to this node."""

    def __init__(
        self,
        claims: Claims,
        call_soon: Callable[[Callable[[], None]], object],
        on_claimed: Callable[[str], None],
    ) -> None:
        self._claims = claims
        self._call_soon = call_soon
        self._on_claimed = on_claimed
        self._holders: dict[str, int] = {}
        self._wanted: dict[str, list[tuple[str, Done]]] = {}  # by key, who asked under which name
        self._asked: dict[str, list[tuple[str, Done]]] = {}
        self._given_up: dict[str, None] = {}
        self._doubtful: dict[str, None] = {}  # the store failed, and may have done it all the same
        self._due = False

    def __len__(self) -> int:
        """How many names are held here."""
        return len(self._holders)

    def claim(self, name: str, done: Done) -> None:
        """See ``Names``."""
        key = name_key(name)
        if key in self._given_up:
            del self._given_up[key]  # the store was not told, so it is still this node's
            self._holders[key] = 1
            done(None)
        elif key in self._holders:
            self._holders[key] += 1
            done(None)
        elif key in self._asked:
            self._asked[key].append((name, done))
        else:
            self._wanted.setdefault(key, []).append((name, done))
            self._flush_soon()

    def release(self, name: str) -> None:
        """See ``Names``."""
        key = name_key(name)
        self._holders[key] -= 1
        if not self._holders[key]:
            del self._holders[key]
            self._given_up[key] = None
            self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._due:
            self._due = True
            self._call_soon(self.flush)

    def flush(self) -> None:
        """Tells the store what it has not been told yet."""
        self._due = False
        if given_up := [*self._given_up, *self._doubtful]:
            self._given_up, self._doubtful = {}, {}
            self._claims.release(given_up)
        if self._wanted:
            keys = list(self._wanted)
            self._asked.update(self._wanted)
            self._wanted = {}
            self._claims.claim(keys, lambda answer: self._on_answer(keys, answer))

    def _on_answer(self, keys: Sequence[str], answer: Collection[str] | WireError) -> None:
        for key in keys:
            asked = self._asked.pop(key)
            if isinstance(answer, WireError):
                self._doubtful[key] = None  # or else nobody else could ever have the name
                self._flush_soon()
            elif key not in answer:
                self._holders[key] = len(asked)
                self._on_claimed(asked[0][0])
            for name, done in asked:
                if isinstance(answer, WireError):
                    done(answer)
                else:
                    done(name_taken_elsewhere(name) if key in answer else None)

    def claim_again(self, done: Callable[[Collection[str] | WireError], None]) -> None:
        """This node was taken for dead: claims what is held here; answers the keys that others have."""
        if self._holders:
            self._claims.claim(list(self._holders), done)
        else:
            done(())


def name_taken_elsewhere(name: str) -> WireError:
    """Somebody on another node is called so, or so much like it that one would be taken for the other."""
    return WireError(Code.NAME_TAKEN, f"user {name} is taken; choose another name", field="user")
