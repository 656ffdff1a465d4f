"""A store's answers, with what it has not stored yet: how far users have read, when they were seen. Pure.

Who has marked something and then asks is to be told it, although it may be stored only later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from fastchat.messages import WireError
from fastchat.store.interface import Account, Direct
from fastchat.store.unsaved import Save, Unsaved

Marked = tuple[str, str]
"""A user and a room."""


class Overlay:
    """What is not stored yet, and answers that know of it.

    Each question's method takes who waits for the answer, and returns who is to be given what the store has
    read. WireErrors pass as they are.
    """

    def __init__(self, save_marks: Save[Marked], save_seen: Save[str]) -> None:
        self.unsaved_marks = Unsaved[Marked](save_marks)
        self.unsaved_seen = Unsaved[str](save_seen)

    def save(self) -> None:
        """Stores what could not be stored before."""
        self.unsaved_marks.save()
        self.unsaved_seen.save()

    def account(
        self, done: Callable[[Account | WireError | None], None]
    ) -> Callable[[Account | WireError | None], None]:
        """For one account, or none."""
        return lambda found: done(self._as_seen(found) if isinstance(found, Account) else found)

    def accounts(
        self, done: Callable[[Sequence[Account] | WireError], None]
    ) -> Callable[[Sequence[Account] | WireError], None]:
        """For a page of accounts."""

        def on_read(found: Sequence[Account] | WireError) -> None:
            done(found if isinstance(found, WireError) else [self._as_seen(account) for account in found])

        return on_read

    def _as_seen(self, account: Account) -> Account:
        seen_at_ms = self.unsaved_seen.get(account.key)
        if seen_at_ms is None or seen_at_ms <= account.seen_at_ms:
            return account
        return replace(account, seen_at_ms=seen_at_ms)

    def directs(
        self, user: str, done: Callable[[Sequence[Direct] | WireError], None]
    ) -> Callable[[Sequence[Direct] | WireError], None]:
        """For a user's rooms of two."""

        def on_read(found: Sequence[Direct] | WireError) -> None:
            done(found if isinstance(found, WireError) else [self._as_read(user, direct) for direct in found])

        return on_read

    def _as_read(self, user: str, direct: Direct) -> Direct:
        cursor = self.unsaved_marks.get((user, direct.room))
        return direct if cursor is None else replace(direct, cursor=max(cursor, direct.cursor))

    def marks(
        self, user: str, rooms: Sequence[str], done: Callable[[Mapping[str, int] | WireError], None]
    ) -> Callable[[Mapping[str, int] | WireError], None]:
        """For how far the user has read these rooms, as it is now: what it marks later is no part of it."""
        unsaved = self.unsaved_marks
        fresh = {room: seq for room in rooms if (seq := unsaved.get((user, room))) is not None}

        def on_read(saved: Mapping[str, int] | WireError) -> None:
            if isinstance(saved, WireError):
                done(saved)
            else:
                done({**saved, **{room: max(seq, saved.get(room, 0)) for room, seq in fresh.items()}})

        return on_read if fresh else done
