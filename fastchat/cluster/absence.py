"""Who is away, as all nodes agree on it. Pure: no sockets, clock or await.

What a user has said last on leaving, or that it is back, is a *word*. Words are counted, so that of two the
later one is known; of two at once, that of the node whose name is greater. Each node where the user is
connected knows one, takes a later one over when it hears it, and tells so. The user's word is the latest of
them; it is forgotten with the user's last session on that node. So it outlives the node on which it was said,
and not the user's last session.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Word(NamedTuple):
    """Of two the greater one counts. ``text`` is None for who is back."""

    turn: int
    node: str
    text: str | None


class Absence:
    """The words of all users who have said any, by user and the node that knows it."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._words: dict[str, dict[str, Word]] = {}

    def __len__(self) -> int:
        return len(self._words)

    def text(self, user: str) -> str | None:
        """What the user has said on leaving; None where it has not left, or is back."""
        word = self._latest(user)
        return None if word is None else word.text

    def _latest(self, user: str) -> Word | None:
        words = self._words.get(user)
        return None if words is None else max(words.values(), key=lambda word: word[:2])

    def say(self, user: str, text: str | None) -> Word:
        """The user, who is on this node, has said so."""
        latest = self._latest(user)
        word = Word(1 if latest is None else latest.turn + 1, self._node, text)
        self._words.setdefault(user, {})[self._node] = word
        return word

    def receive(self, node: str, user: str, word: Word) -> None:
        """That node knows of this word."""
        words = self._words.setdefault(user, {})
        known = words.get(node)
        if known is None or word[:2] > known[:2]:
            words[node] = word

    def take_over(self, user: str) -> Word | None:
        """Knows the latest word of a user who is on this node, where it is news for this node."""
        latest = self._latest(user)
        if latest is None or self._words[user].get(self._node) == latest:
            return None
        self._words[user][self._node] = latest
        return latest

    def forget(self, node: str, user: str) -> None:
        """The user is not on that node any more."""
        words = self._words.get(user)
        if words is not None:
            words.pop(node, None)
            if not words:
                del self._words[user]

    def users(self, node: str) -> list[str]:
        """Those of whom that node knows a word."""
        return [user for user, words in self._words.items() if node in words]

    def own(self) -> Iterator[tuple[str, Word]]:
        """What this node knows, by user."""
        for user, words in self._words.items():
            if self._node in words:
                yield user, words[self._node]
