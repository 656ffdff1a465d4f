"""One room: a log, its newest part in memory, its members and its rules. Pure: no sockets, clock or await."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import orjson

from fastchat._fanout import Channel, Fanout, Subscription
from fastchat._ring import Event
from fastchat.cluster.interface import Others
from fastchat.messages import Code, WireError
from fastchat.moderation import Moderation, act_of, rules_of
from fastchat.people import MEMBER, Role, User
from fastchat.permissions import Rules
from fastchat.presence import CallLater, Circumstances, Presence
from fastchat.rate import exceed, take, wait_s
from fastchat.replay import BlockCache, Replay
from fastchat.store import Draft, RoomLog, Stored
from fastchat.store.facts import facts_of
from fastchat.store.interface import Facts

_MESSAGE = b'{"type":"message"'
_MODERATED = b'{"type":"moderated"'
_FROM = b'"from":"'


@dataclass(slots=True)
class RoomSettings:
    """What all rooms have in common.

    ``ring_bytes`` bounds each room's events in memory; ``empty_kept`` rooms without members keep their
    history; members who come and go are announced at most once per ``presence_interval_s``, and by name
    only in rooms of at most ``presence_names`` members; so is what they have read. A larger room sends at
    most ``presence_per_s`` of these events a second, over all its members. ``ring_bytes_of`` gives
    the limit of rooms that have one of their own; ``replay_bytes`` bounds what is kept of the events that
    were read again from the store, for all rooms together. ``create`` says who may open rooms that are not
    there, all but the ``lobby``; ``rules_max`` bounds the roles, invitations, bans and mutes of each room.
    """

    ring_bytes: int = 1 << 20
    ring_bytes_of: Callable[[str], int | None] = lambda room: None
    replay_bytes: int = 16 << 20
    empty_kept: int = 1000
    presence_interval_s: float = 1.0
    presence_names: int = 100
    presence_per_s: float = 1000.0
    messages_per_s: float = 0.0
    messages_per_s_of: Callable[[str], float | None] = lambda room: None
    lobby: str = "lobby"
    create: Literal["anyone", "accounts", "operators"] = "anyone"
    rules_max: int = 1000
    guest_rooms: int = 100


class RoomHome(Protocol):
    """The hub, as its rooms see it."""

    fanout: Fanout
    settings: RoomSettings
    clock: Callable[[], float]
    call_later: CallLater
    blocks: BlockCache
    circumstances: Circumstances
    others: Others | None

    def ring_bytes(self, name: str) -> int:
        """The limit of a room's ring."""

    def carry_out(self, room: Room, act: Draft) -> None:
        """An act of moderation has been stored: who may not be in the room any more leaves it."""

    def retire(self, room: Room) -> None:
        """Nobody may need the room any more."""

    def give_up(self, room: Room) -> None:
        """The room cannot go on: it is to be opened anew."""


class Room:
    """One room: its log, its channel, its members, its rules.

    ``rules`` is None where the room is public and nobody has a role or is banned, which is the usual.
    """

    __slots__ = (
        "_full_at",
        "_hub",
        "awaited",
        "channel",
        "log",
        "members",
        "messages_per_s",
        "name",
        "presence",
        "rules",
    )

    def __init__(self, hub: RoomHome, log: RoomLog) -> None:
        self._hub = hub
        self.name = log.room
        self.log = log
        self.channel: Channel = hub.fanout.channel(self.name, hub.ring_bytes(self.name), log.head)
        log.attach(self.channel.ring, self)
        if log.durable:
            self.channel.source = Replay(log, hub.blocks, hub.call_later)
        # Who is in a room of two is nobody's business, not even the other one's.
        self.presence = Presence(self.channel, hub.circumstances, announced=not self.name.startswith("@"))
        self.members = self.presence.members
        if hub.others is not None:
            hub.others.on_open(self.name, self.presence)
        self.rules: Moderation | None = rules_of(self.name, log.facts)
        own_rate = hub.settings.messages_per_s_of(self.name)
        self.messages_per_s = hub.settings.messages_per_s if own_rate is None else own_rate
        self._full_at = 0.0  # when as many messages may come at once again as in a second
        self.awaited = 0  # answers that will need this room, whether it has members by then or not

    @property
    def head(self) -> int:
        """The ``seq`` of the newest event of the log; 0 in a new room."""
        return self.channel.ring.head_seq

    @property
    def in_use(self) -> bool:
        """Whether anybody is here by way of this node; ``members`` has those of all nodes."""
        return len(self.channel) > 0

    @property
    def is_new(self) -> bool:
        """Whether nobody has come and nothing has happened yet."""
        return not self.members and self.rules is None and not self.head

    def pace(self) -> None:
        """Counts one message towards what the room takes from all together. Raises WireError for too many.

        MUST be called only where ``messages_per_s`` is not 0.
        """
        now, rate = self._hub.clock(), self.messages_per_s
        if (left_s := wait_s(self._full_at, now, rate, max(1, int(rate)))) > 0:
            raise WireError(
                Code.RATE_LIMITED,
                f"room {self.name} takes {rate:g} messages a second from all; wait and send it again",
                retry_after_ms=int(left_s * 1000) + 1,
            )
        self._full_at = take(self._full_at, now, rate)

    def post(
        self, draft: Draft, hidden_from: Subscription | None, done: Callable[[Stored | WireError], None]
    ) -> None:
        """Stores the event, delivers it to the members, and calls ``done``.

        ``hidden_from``: the author's own subscription, where the author has no use for an echo.
        """

        def on_stored(stored: Stored | WireError) -> None:
            acted = self.rules is not None and self._settle(self.rules, draft, stored)
            if isinstance(stored, Stored) and stored.body is not None:
                writer_id = hidden_from.writer.id if hidden_from is not None else 0
                self.channel.publish(Event(stored.seq, stored.body, hidden_from=writer_id), hidden_from)
                self.presence.move_along(draft.author, stored.seq)
                if (others := self._hub.others) is not None and self.name[0] == "@":
                    others.on_direct(self.name, stored.seq)
            if acted:
                self._hub.carry_out(self, draft)
            done(stored)
            self.awaited -= 1
            if not len(self.channel):
                self._hub.retire(self)

        self.awaited += 1
        self.log.append(draft, on_stored)

    # What other nodes have stored

    def on_foreign(self, stored: Stored) -> None:
        """An event that another node has stored: the members get it in its turn.

        Hooks have been asked there, and what the room takes is counted wherever it comes from.
        """
        body = stored.body
        assert body is not None
        act = act_of(orjson.loads(body)) if body.startswith(_MODERATED) else None
        if act is not None:
            # The facts follow; who is told of the act may count on it.
            self._change(facts_of(act))
        self.channel.publish(Event(stored.seq, body), None)
        author = author_of(body)
        self.presence.move_along(author, stored.seq, marked=False)
        if act is not None:
            self._hub.carry_out(self, act)
        elif body.startswith(_MESSAGE):
            if self.rules is not None:
                self.rules.receive(author, stored.at_ms)
            if self.messages_per_s:
                rate = self.messages_per_s
                self._full_at = exceed(self._full_at, self._hub.clock(), rate, max(1, int(rate)))

    def on_facts(self, facts: Facts) -> None:
        """Another node has changed the rules."""
        if self.rules is None:
            self.rules = rules_of(self.name, facts)
            return
        self.rules.replace(facts)
        if self.rules.is_needless:
            self.rules = None

    def on_lost(self) -> None:
        """This node has missed what nobody has any more."""
        self._hub.give_up(self)

    # What its rules are

    def moderate(self, draft: Draft, done: Callable[[Stored | WireError], None]) -> None:
        """As ``post``, of an act of moderation: what it forbids holds from now on.

        Raises WireError where the room has as many roles, bans and the like as it may.
        """
        most = self._hub.settings.rules_max
        rules = self.rules or Moderation(Rules(self.name, {}))
        expired = rules.room_for(draft, most, draft.at_ms)
        if expired is None:
            raise WireError(
                Code.FORBIDDEN,
                f"room {self.name} has {most} roles, invitations, bans and mutes, as many as it may "
                "(rooms.rules_max); take some back first",
                field="room",
            )
        rules.propose(draft)
        self.rules = rules
        if expired:
            self.set_facts(expired, lambda error: None)  # should they stay, they still mean nothing
        self.post(draft, None, done)

    def _settle(self, rules: Moderation, draft: Draft, stored: Stored | WireError) -> bool:
        """The store has answered; returns whether an act of moderation takes effect."""
        happened = isinstance(stored, Stored) and stored.body is not None
        acted = rules.settle(draft, stored=happened)
        if rules.is_needless:
            self.rules = None
        return acted and happened

    def set_facts(self, changes: Facts, done: Callable[[WireError | None], None]) -> None:
        """Keeps facts that no event tells of; they hold once they are stored."""

        def on_stored(error: WireError | None) -> None:
            if error is None:
                self._change(changes)
            done(error)
            self.awaited -= 1
            if not self.in_use:
                self._hub.retire(self)

        self.awaited += 1
        self.log.set_facts(changes, on_stored)

    def _change(self, changes: Facts) -> None:
        rules = self.rules or Moderation(Rules(self.name, {}))
        rules.change(changes)
        self.rules = None if rules.is_needless else rules

    def role(self, user: User, now_ms: int) -> Role:
        """What the user is here at this time, in milliseconds since 1970."""
        if self.rules is not None:
            return self.rules.rules.role(user, now_ms)
        if user.grants is None and not user.operator:
            return min(MEMBER, user.most)  # as rules have it that say nothing
        return Rules(self.name, {}).role(user, now_ms)


@dataclass(slots=True)
class Membership:
    """One connection in one room, made when it is asked for: what is kept of it is the subscription.

    ``reset`` says that the ``after`` it came with was of another epoch; only ``Hub.enter`` tells.
    """

    room: Room
    subscription: Subscription
    reset: bool = False


def author_of(body: bytes) -> str:
    """Who has brought an event about: found without reading all of it, as ``from`` is before what was said.

    A quotation mark inside of what comes before it is escaped, as in all of JSON; a name has none.
    """
    start = body.index(_FROM) + len(_FROM)
    return body[start : body.index(b'"', start)].decode()
