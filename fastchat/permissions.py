"""Who may do what in a room: roles, and the rules that a room has. Pure: no sockets, clock or await.

``LEAST`` is the table: it tells the least role for each action. Which role somebody has, a room's ``Rules``
tell, which are its facts (see ``store/facts.py``) read as such. Rooms without facts are public and have no
rules: everybody is a member there of whom ``User`` does not say otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from fastchat.messages import Code, WireError
from fastchat.people import Role, User
from fastchat.store.facts import blocking, fold
from fastchat.store.interface import Facts
from fastchat.store.pairs import parts_of


class Action(StrEnum):
    """What is done in a room."""

    CREATE = "create"
    JOIN = "join"
    LEAVE = "leave"
    LIST = "list"
    HISTORY = "history"
    SEARCH = "search"
    MEMBERS = "members"
    ROOM = "room"
    ACK = "ack"
    SEND = "send"
    EDIT = "edit"
    DELETE = "delete"
    REACT = "react"
    TYPING = "typing"
    DELETE_OTHERS = "delete_others"
    TOPIC = "topic"
    SLOW = "slow"
    INVITE = "invite"
    KICK = "kick"
    BAN = "ban"
    UNBAN = "unban"
    MUTE = "mute"
    UNMUTE = "unmute"
    ROLE = "role"
    APPOINT = "appoint"
    ACCESS = "access"


LEAST: Mapping[Action, Role] = {
    Action.CREATE: Role.MEMBER,
    Action.LEAVE: Role.OUTSIDER,
    Action.JOIN: Role.READER,
    Action.LIST: Role.READER,
    Action.HISTORY: Role.READER,
    Action.SEARCH: Role.READER,
    Action.MEMBERS: Role.READER,
    Action.ROOM: Role.READER,
    Action.ACK: Role.READER,
    Action.SEND: Role.MEMBER,
    Action.EDIT: Role.MEMBER,
    Action.DELETE: Role.MEMBER,
    Action.REACT: Role.MEMBER,
    Action.TYPING: Role.MEMBER,
    Action.DELETE_OTHERS: Role.MODERATOR,
    Action.TOPIC: Role.MODERATOR,
    Action.SLOW: Role.MODERATOR,
    Action.INVITE: Role.MODERATOR,
    Action.KICK: Role.MODERATOR,
    Action.BAN: Role.MODERATOR,
    Action.UNBAN: Role.MODERATOR,
    Action.MUTE: Role.MODERATOR,
    Action.UNMUTE: Role.MODERATOR,
    Action.ROLE: Role.MODERATOR,
    Action.APPOINT: Role.OWNER,
    Action.ACCESS: Role.OWNER,
}
"""The least role for each action. ``ROLE`` makes readers and members, ``APPOINT`` moderators and owners."""

INSIDE = frozenset(
    {
        Action.LEAVE,
        Action.SEARCH,
        Action.ACK,
        Action.SEND,
        Action.EDIT,
        Action.DELETE,
        Action.REACT,
        Action.TYPING,
    }
)
"""What only those do who are in the room."""

ROLES: Mapping[str, Role] = {role.name.lower(): role for role in Role if role is not Role.OUTSIDER}
"""The roles that can be given, by their names on the wire and in facts."""

OPERATOR_RANK = Role.OWNER + 1

_ON_OTHERS = (Action.KICK, Action.BAN, Action.MUTE, Action.DELETE_OTHERS)


class Rules:
    """What a room's facts allow. Never changed: a change makes another one."""

    __slots__ = ("_pair", "facts", "room")

    def __init__(self, room: str, facts: Facts) -> None:
        self.room = room
        self.facts = facts
        self._pair = frozenset(map(fold, parts_of(room))) if room.startswith("@") else None

    def changed(self, changes: Facts) -> Rules:
        """The rules after the changes; None takes a fact away."""
        return Rules(
            self.room,
            {name: value for name, value in {**self.facts, **changes}.items() if value is not None},
        )

    @property
    def access(self) -> str:
        """``public``, ``invite`` (everybody knows of it) or ``private``."""
        access: str = self.facts.get("access", "public")
        return access

    @property
    def topic(self) -> str | None:
        """What the room is about."""
        return self.facts.get("topic")

    @property
    def slow_mode_s(self) -> int:
        """The seconds between two messages of one person who is no moderator; 0 for none."""
        interval_s: int = self.facts.get("slow_mode_s", 0)
        return interval_s

    @property
    def settings(self) -> Facts:
        """What is told of the room to those who may know of it: what is not the usual."""
        told = {"access": "access", "topic": "topic", "slow_mode_s": "interval_s"}
        return {wire: self.facts[name] for name, wire in told.items() if name in self.facts}

    def people(self, now_ms: int) -> dict[str, Any]:
        """By folded name: ``roles``, who is ``invited``, and until when who is ``banned`` or ``muted``."""
        told: dict[str, Any] = {"roles": {}, "invited": [], "banned": {}, "muted": {}}
        places = {"role": "roles", "ban": "banned", "mute": "muted"}
        for fact, value in self.facts.items():
            what, _, who = fact.partition(" ")
            if what == "invited":
                told["invited"].append(who)
            elif what in places and (what == "role" or self._lasts(what, who, now_ms)):
                told[places[what]][who] = value
        return told

    # Who somebody is here

    def role(self, user: User, now_ms: int) -> Role:
        """What the user is at this time, in milliseconds since 1970."""
        who = fold(user.name)
        if self._pair is not None:
            return self._role_in_pair(user, who)
        if user.operator:
            return Role.OWNER
        if self._lasts("ban", who, now_ms):
            return Role.OUTSIDER
        role = min(self._standing(user, who), user.most)
        if role > Role.READER and self._lasts("mute", who, now_ms):
            return Role.READER
        return role

    def rank(self, user: User) -> int:
        """How far up the user stands, muted or banned or not: one acts only on people below oneself."""
        if user.operator:
            return OPERATOR_RANK
        return self._standing(user, fold(user.name))

    def _standing(self, user: User, who: str) -> Role:
        granted = user.granted(self.room)
        if granted is not None:
            return granted
        # A guest's name is anybody's tomorrow: nothing that was given to it counts.
        given = None if user.guest else self.facts.get(f"role {who}")
        if given is not None:
            return ROLES[given]
        if "access" not in self.facts or (not user.guest and f"invited {who}" in self.facts):
            return Role.MEMBER
        return Role.OUTSIDER

    def _role_in_pair(self, user: User, who: str) -> Role:
        assert self._pair is not None
        me = f"~{who}" if user.guest else who
        if me not in self._pair:
            return Role.OUTSIDER
        granted = user.granted(self.room)
        return min(
            Role.READER if self._blocked_by_other(me) else Role.MEMBER,
            user.most,
            Role.OWNER if granted is None else granted,
        )

    def blocks(self, part: str) -> bool:
        """Whether one of two (see ``pairs.part_of``) has blocked the other one."""
        return blocking(part) in self.facts

    def _blocked_by_other(self, me: str) -> bool:
        assert self._pair is not None
        return any(self.blocks(other) for other in self._pair if other != me)

    def _lasts(self, what: str, who: str, now_ms: int) -> bool:
        until = self.facts.get(f"{what} {who}")
        return until is not None and (until == 0 or until > now_ms)

    @property
    def owners(self) -> list[str]:
        """The folded names of those who own the room."""
        return [name.removeprefix("role ") for name, value in self.facts.items() if _is_owner(name, value)]

    def expired(self, now_ms: int) -> Facts:
        """The changes that take away the bans and mutes that are over."""
        return {
            name: None
            for name, value in self.facts.items()
            if name.startswith(("ban ", "mute ")) and 0 < value <= now_ms
        }

    # What somebody may do here

    def check(self, user: User, action: Action, now_ms: int) -> None:
        """Refuses what the user may not do here. Raises WireError."""
        role = self.role(user, now_ms)
        if role < LEAST[action]:
            raise self._refusal(user, action, role, now_ms)

    def may_see(self, user: User, now_ms: int) -> bool:
        """Whether the room is in the user's list of rooms."""
        if self.role(user, now_ms) >= LEAST[Action.LIST]:
            return True
        return self._is_known_to(user)

    def _is_known_to(self, user: User) -> bool:
        """Whether the user, who is an outsider, may know that the room is there."""
        hidden = self._pair is not None or self.access == "private"
        return not hidden and user.granted(self.room) is None

    def _refusal(self, user: User, action: Action, role: Role, now_ms: int) -> WireError:
        who = fold(user.name)
        if self._pair is None and self._lasts("ban", who, now_ms):
            return self._sanction(
                Code.BANNED, f"{user.name} is banned from room {self.room}", "ban", who, now_ms
            )
        if role == Role.OUTSIDER:
            if not self._is_known_to(user):
                return no_such_room(self.room)
            return WireError(
                Code.FORBIDDEN,
                f"room {self.room} is for those who are invited; ask its owners to invite you",
                field="room",
            )
        if self._pair is not None and LEAST[action] == Role.MEMBER and user.most >= Role.MEMBER:
            return WireError(Code.REFUSED, "you cannot write to this person", field="room")
        if LEAST[action] <= self._standing(user, who) and self._lasts("mute", who, now_ms):
            return self._sanction(
                Code.MUTED, f"{user.name} is muted in room {self.room}", "mute", who, now_ms
            )
        text = (
            f"{action.replace('_', ' ')} needs the role {LEAST[action].name.lower()} in room {self.room}; "
            f"{user.name} is {role.name.lower()}"
        )
        hint = "; sign in with an account" if user.guest and user.most < LEAST[action] <= Role.MEMBER else ""
        return WireError(Code.FORBIDDEN, text + hint, field="room")

    def _sanction(self, code: Code, text: str, what: str, who: str, now_ms: int) -> WireError:
        until = self.facts[f"{what} {who}"]
        if not until:
            return WireError(code, text, field="room")
        return WireError(
            code, f"{text} for {_duration(until - now_ms)} more", field="room", retry_after_ms=until - now_ms
        )

    # Acts on people

    def check_target(self, actor: User, action: Action, target: User) -> None:
        """Refuses an act on oneself, and on who is not below oneself. Raises WireError."""
        if action not in _ON_OTHERS:
            return
        if _is_same(actor, target):
            raise WireError(Code.BAD_FIELD, f"you cannot {action} yourself", field="user")
        if self.rank(target) >= self.rank(actor):
            raise WireError(
                Code.FORBIDDEN, f"{target.name} is not below you in room {self.room}", field="user"
            )

    def check_appointment(self, actor: User, target: User, role: str, now_ms: int) -> None:
        """Refuses a role that the actor cannot give to the target. Raises WireError."""
        given = ROLES[role]
        if given > Role.MEMBER:
            self.check(actor, Action.APPOINT, now_ms)
        if not _is_same(actor, target):
            if self.rank(target) >= self.rank(actor):
                raise WireError(
                    Code.FORBIDDEN, f"{target.name} is not below you in room {self.room}", field="user"
                )
        elif given < self.rank(actor) and self.owners == [fold(actor.name)] and not actor.operator:
            raise WireError(
                Code.FORBIDDEN,
                f"{actor.name} is the last owner of room {self.room}; make somebody else an owner first",
                field="user",
            )


def no_such_room(room: str) -> WireError:
    """What is answered where there is no room, and where nobody may learn that there is one."""
    return WireError(Code.NO_SUCH_ROOM, f"there is no room {room}; rooms lists those there are", field="room")


def _is_same(one: User, other: User) -> bool:
    return fold(one.name) == fold(other.name)


def _is_owner(name: str, value: Any) -> bool:
    return value == "owner" and name.startswith("role ")


def _duration(ms: int) -> str:
    seconds = max(1, round(ms / 1000))
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}s"
    return f"{seconds} second{'' if seconds == 1 else 's'}"
