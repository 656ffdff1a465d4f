"""How a room's events are shown to a person: to everybody alike. Pure: no sockets, clock or await."""

from collections.abc import Callable, Sequence

import orjson

from fastchat.dialects.text.lines import encode_lines, prefix_lines, shown_duration, shown_room
from fastchat.messages import Reply


def encode_event(body: bytes) -> bytes:
    """An event's JSON as lines of text; empty for events that a person need not see."""
    event = orjson.loads(body)
    show = _EVENTS.get(event["type"])
    return encode_lines(show(event)) if show else b""


def _where(event: Reply) -> str:
    return f"[{shown_room(event['room'], event['from'])}]"


def _show_message(event: Reply) -> Sequence[str]:
    return prefix_lines(f"{_where(event)} {event['from']}: ", event["text"])


def _show_edited(event: Reply) -> Sequence[str]:
    return prefix_lines(f"* {_where(event)} {event['from']} changed message {event['of']}: ", event["text"])


def _show_deleted(event: Reply) -> Sequence[str]:
    whose = f" of {event['user']}" if "user" in event else ""
    return [f"* {_where(event)} {event['from']} deleted message {event['of']}{whose}"]


def _show_reacted(event: Reply) -> Sequence[str]:
    sign = event["reaction"]
    what = f"takes {sign} back from" if event.get("remove") else f"reacts with {sign} to"
    return [f"* {_where(event)} {event['from']} {what} message {event['of']}"]


def _show_moderated(event: Reply) -> Sequence[str]:
    act = _ACTS.get(event["action"])
    if act is None:
        return []
    until = f" for {shown_duration((event['until'] - event['at']) // 1000)}" if event.get("until") else ""
    reason = f" ({event['reason']})" if "reason" in event else ""
    return [f"* {_where(event)} {event['from']} {act.format_map(event)}{until}{reason}"]


_ACTS = {
    "create": "has made this room",
    "access": "has made this room {access}",
    "role": "has made {user} {role}",
    "invite": "has invited {user}",
    "kick": "has taken {user} out",
    "ban": "has banned {user}",
    "unban": "lets {user} in again",
    "mute": "has muted {user}",
    "unmute": "lets {user} talk again",
    "topic": "says what this room is about: {topic}",
    "slow": "has set the time between two messages to {interval_s} s",
}
"""What moderators do; those of later versions are not shown."""


def _show_presence(event: Reply) -> Sequence[str]:
    room = event["room"]
    changes = ((event["joined"], f"joined {room}"), (event["left"], f"left {room}"))
    lines = [f"* {', '.join(names)} {verb}" for names, verb in changes if names]
    lines += [f"* [{room}] {name} is {say_away(text)}" for name, text in event.get("away", {}).items()]
    return lines + [f"* [{room}] {name} is back" for name in event.get("back", ())]


def say_away(text: str) -> str:
    """That somebody is away, and what he or she has said about it."""
    return f"away: {text}" if text else "away"


def _show_lagged(event: Reply) -> Sequence[str]:
    return [f"* [{event['room']}] {event['missed']} messages were missed: they came faster than you read"]


_EVENTS: dict[str, Callable[[Reply], Sequence[str]]] = {
    "message": _show_message,
    "edited": _show_edited,
    "deleted": _show_deleted,
    "reacted": _show_reacted,
    "moderated": _show_moderated,
    "presence": _show_presence,
    "lagged": _show_lagged,
}
