"""What moderation makes true of a room: facts out of events. Pure: no sockets, clock or await.

A fact has a name and a JSON value. These come from events, each is there only where it is not the usual:

===================  ==========================================================================
``access``           ``"private"`` or ``"invite"``; rooms without it are public
``topic``            what the room is about
``slow_mode_s``      the seconds between two messages of one person
``role NAME``        ``"owner"``, ``"moderator"`` or ``"reader"``
``invited NAME``     ``true``: may come into a room that is not public
``ban NAME``         until when, in milliseconds since 1970; 0 for ever
``mute NAME``        as ``ban``
===================  ==========================================================================

``NAME`` is folded (see ``fold``). ``blocked NAME`` in rooms of two comes from no event.
"""

from typing import Any

import orjson

from fastchat.store.interface import AuditEntry, Draft, Facts, Kind


def fold(name: str) -> str:
    """What facts call a person: names that differ in case alone are one person's."""
    return name.casefold()


def blocking(part: str) -> str:
    """The fact that somebody (see ``pairs.part_of``) has blocked the other one of a room of two."""
    return f"blocked {fold(part)}"


def facts_of(draft: Draft) -> Facts:
    """What changes with the event, by name; None takes a fact away. Empty where nothing does."""
    if draft.kind is not Kind.MODERATED:
        return {}
    fields = draft.fields
    action = fields["action"]
    who = fold(fields["user"]) if "user" in fields else ""
    if action == "create":
        return _created(draft)
    if action in ("access", "topic", "slow"):
        return _setting(action, fields)
    if action == "role":
        return _role(who, fields["role"])
    if action == "invite":
        return {f"invited {who}": True}
    if action == "kick":
        return {f"invited {who}": None}
    if action == "ban":
        # Who comes back after a ban comes as everybody else.
        return {f"ban {who}": fields.get("until", 0), f"invited {who}": None, f"role {who}": None}
    if action == "mute":
        return {f"mute {who}": fields.get("until", 0)}
    if action in ("unban", "unmute"):
        return {f"{action.removeprefix('un')} {who}": None}
    return {}


def _created(draft: Draft) -> Facts:
    facts: dict[str, Any] = {}
    for name in "access", "topic":
        if name in draft.fields:
            facts |= _setting(name, draft.fields)
    if "role" in draft.fields:  # not where a guest has made it, whose name anybody may have tomorrow
        facts |= _role(fold(draft.author), draft.fields["role"])
    return facts


def _setting(name: str, fields: Facts) -> Facts:
    if name == "access":
        return {"access": None if fields["access"] == "public" else fields["access"]}
    if name == "topic":
        return {"topic": fields["topic"] or None}
    return {"slow_mode_s": fields["interval_s"] or None}


def _role(who: str, role: str) -> Facts:
    """A member needs no role where everybody is one, and an invitation where not."""
    if role == "member":
        return {f"role {who}": None, f"invited {who}": True}
    return {f"role {who}": role}


def audit_of(room: str, draft: Draft) -> AuditEntry | None:
    """What the audit log says of the event; None where it is no moderator's."""
    fields = draft.fields
    if draft.kind is Kind.MODERATED:
        action = fields["action"]
    elif draft.kind is Kind.DELETED and fields.get("moderated"):
        action = "delete"
    else:
        return None
    detail = {name: value for name, value in fields.items() if name not in ("action", "user", "moderated")}
    if draft.of is not None:
        detail["of"] = draft.of
    return AuditEntry(
        draft.at_ms,
        draft.author,
        action,
        room,
        fields.get("user", ""),
        orjson.dumps(detail).decode() if detail else "",
    )


def apply(facts: Facts, changes: Facts) -> Facts:
    """The facts after the changes; the given ones stay as they were."""
    return {name: value for name, value in {**facts, **changes}.items() if value is not None}
