"""A room's rules while they change. Pure: no sockets, clock or await.

An act of moderation is an event of the room's log. What it forbids holds from the moment in which the store
is given the event, so that nothing of whom it concerns is stored behind it; what it allows holds once it is
stored, so that nobody acts on a right that was never given. Should the store fail, nothing has been.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastchat.messages import Code, WireError
from fastchat.people import Role, User
from fastchat.permissions import Action, Rules
from fastchat.store.facts import facts_of, fold
from fastchat.store.interface import Draft, Facts, Kind

PACED_MAX = 1000
"""So many people's last messages are remembered before those that count no more are looked for."""


class Moderation:
    """The rules of one room that has any, and those that it is about to have."""

    __slots__ = ("_ahead", "_forget_at", "_pending", "_said_at", "rules")

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._ahead: Rules | None = None  # as they will be when everything that is on its way is stored
        self._pending: list[Draft] = []
        self._said_at: dict[str, int] = {}  # of slow mode, by folded name
        self._forget_at = PACED_MAX

    @property
    def is_needless(self) -> bool:
        """Whether the room is like all others and nothing is on its way."""
        return not self.rules.facts and not self._pending and not self.rules.room.startswith("@")

    # What may be done

    def check(self, user: User, action: Action, now_ms: int) -> None:
        """Refuses what the user may not do, or will not be allowed to in a moment. Raises WireError."""
        self.rules.check(user, action, now_ms)
        if self._ahead is not None:
            self._ahead.check(user, action, now_ms)

    def pace(self, user: User, now_ms: int) -> None:
        """Counts one message towards slow mode. Raises WireError where it comes too soon."""
        wait_ms = self.rules.slow_mode_s * 1000
        if not wait_ms or self.rules.role(user, now_ms) >= Role.MODERATOR:
            return
        who = fold(user.name)
        left_ms = self._said_at.get(who, -wait_ms) + wait_ms - now_ms
        # A clock that was set back must not hold anybody up for longer than the interval.
        if 0 < left_ms <= wait_ms:
            raise WireError(
                Code.RATE_LIMITED,
                f"one message every {self.rules.slow_mode_s} seconds in room {self.rules.room}; "
                "wait and send it again",
                retry_after_ms=left_ms,
            )
        self._count(who, now_ms)

    def receive(self, author: str, at_ms: int) -> None:
        """Counts a message that another node has let pass."""
        if self.rules.slow_mode_s:
            self._count(fold(author), at_ms)

    def _count(self, who: str, at_ms: int) -> None:
        if len(self._said_at) >= self._forget_at:
            since_ms = at_ms - self.rules.slow_mode_s * 1000
            self._said_at = {name: at for name, at in self._said_at.items() if at > since_ms}
            # Looked through rarely, so that it costs little where many talk within one interval.
            self._forget_at = max(PACED_MAX, 2 * len(self._said_at))
        self._said_at[who] = at_ms

    # How it changes

    def propose(self, draft: Draft) -> None:
        """The store is given the event: what it forbids holds from now on."""
        self._pending.append(draft)
        self._look_ahead()

    def settle(self, draft: Draft, *, stored: bool) -> bool:
        """The store has answered for the event; returns whether it is an act that was proposed."""
        if draft not in self._pending:
            return False
        self._pending.remove(draft)
        if stored:
            self.change(facts_of(draft))
        else:
            self._look_ahead()
        return True

    def change(self, changes: Facts) -> None:
        """The facts are others now."""
        self.rules = self.rules.changed(changes)
        self._look_ahead()

    def _look_ahead(self) -> None:
        self._ahead = None
        for draft in self._pending:
            self._ahead = (self._ahead or self.rules).changed(facts_of(draft))

    def replace(self, facts: Facts) -> None:
        """The facts are these now; what is on its way stays on its way."""
        self.rules = Rules(self.rules.room, facts)
        self._look_ahead()

    def room_for(self, draft: Draft, most: int, now_ms: int) -> Facts | None:
        """Whether the room may have the facts that the event adds; 0 means that there is no limit.

        Answers the changes that make place first, by forgetting what is over: empty where none are needed,
        None where there is no place.
        """
        now = self._ahead or self.rules
        then = len(now.changed(facts_of(draft)).facts)
        if not most or then <= most or then <= len(now.facts):
            return {}
        expired = self.rules.expired(now_ms)
        return expired if expired and then - len(expired) <= most else None


def act_of(event: Mapping[str, Any]) -> Draft:
    """The act of moderation that an event of a log tells of."""
    fields = {name: value for name, value in event.items() if name not in _OF_EVERY_EVENT}
    return Draft(Kind.MODERATED, event["from"], event["at"], fields, event.get("id"))


_OF_EVERY_EVENT = frozenset({"type", "room", "seq", "of", "id", "from", "at"})


def rules_of(room: str, facts: Facts) -> Moderation | None:
    """None where the room is like all others, which costs the least."""
    moderation = Moderation(Rules(room, facts))
    return None if moderation.is_needless else moderation
