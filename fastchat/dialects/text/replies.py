"""How answers are shown to the person who has asked. Pure: no sockets, clock or await."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import orjson

from fastchat.dialects.text.commands import ASIDE, FOLLOWS_HELLO
from fastchat.dialects.text.events import say_away
from fastchat.dialects.text.lines import prefix_lines
from fastchat.dialects.text.place import Place
from fastchat.messages import Reply

Lines = Sequence[str]


# Who one is, and where


def _show_welcome(place: Place, reply: Reply) -> Lines:
    newcomer = not place.user
    place.user = reply["user"]
    if not newcomer:
        return [f"* you are {place.user} now"]
    nick = "/nick NAME to change your name, " if reply.get("guest", True) else ""
    talk = "Type to talk, " if place.lobby else ""
    return [f"* Welcome, {place.user}! {talk}{nick}/help for more."]


def _show_joined(place: Place, reply: Reply) -> Lines:
    room, unread = reply["room"], reply.get("unread", 0)
    if room.startswith("@"):
        other = place.meet(room)
        return [f"* new from {other} ({unread}):"] if unread else []
    place.enter(room)
    count = reply["members"]
    people = "nobody else" if count == 1 else "one other" if count == 2 else f"{count - 1} others"
    earlier = ""
    if reply["head"]:
        new = f", {unread} new since you were here" if reply["cursor"] and unread else ""
        earlier = f"; /history shows what was said ({_messages(reply['head'])}{new})"
    role = f" as {reply['role']}" if "role" in reply else ""
    lines = [f"* you are in {room} with {people}{role}{earlier}"]
    if "topic" in reply:
        lines.append(f"* {room} is about: {reply['topic']}")
    if reply.get("interval_s"):
        lines.append(f"* one message every {reply['interval_s']} s, please")
    return lines


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"


def _show_left(place: Place, reply: Reply) -> Lines:
    left = reply["room"]
    if left.startswith("@"):
        other = place.other(left)
        place.pairs.pop(other.casefold(), None)
        return [f"* your conversation with {other} is over" + _reason(reply)]
    place.leave(left)
    where = f"you are talking in {place.room} now" if place.room else "you are in no room"
    if "by" not in reply and "reason" not in reply:
        return [f"* you left {left}; {where}"]
    by = f" by {reply['by']}" if "by" in reply else ""
    return [f"* you were taken out of {left}{by}{_reason(reply)}; {where}"]


def _reason(reply: Reply) -> str:
    return f" ({reply['reason']})" if "reason" in reply else ""


# Rooms and people


def _show_members(place: Place, reply: Reply) -> Lines:
    away: Mapping[str, str] = reply.get("away", {})
    names = ", ".join(f"{name} (away)" if name in away else name for name in reply["members"])
    more = reply["count"] - len(reply["members"])
    return [f"* in {reply['room']}: {names}" + (f" and {more} more" if more else "")]


def _show_rooms(place: Place, reply: Reply) -> Lines:
    lines = [
        f"* {room['room']}: {room['members']} here, {_messages(room['head'])}"
        + (f", {room['access']}" if room.get("access", "public") != "public" else "")
        + (f", about: {room['topic']}" if room.get("topic") else "")
        + (" (you too)" if room["joined"] else "")
        for room in reply["rooms"]
    ]
    for pair in reply.get("directs", ()):
        other = place.meet(pair["room"])
        lines.append(f"* with {other} alone: {_messages(pair['head'])}, {pair['unread']} new; /msg {other}")
    return lines


def _show_whois(place: Place, reply: Reply) -> Lines:
    user = reply["user"]
    if reply["online"]:
        return [f"* {user} is here" + (f", but {say_away(reply['away'])}" if "away" in reply else "")]
    if "seen_at" not in reply:
        return [f"* {user} is not here"]
    seen = datetime.fromtimestamp(reply["seen_at"] / 1000, UTC)
    return [f"* {user} is not here; last seen on {seen:%Y-%m-%d at %H:%M} UTC"]


def _show_away(place: Place, reply: Reply) -> Lines:
    return [f"* you are {say_away(reply.get('text', ''))}" if reply["away"] else "* you are back"]


# Messages


def _show_history(place: Place, reply: Reply) -> Lines:
    room = reply["room"]
    here = f"with {place.other(room)}" if room.startswith("@") else f"in {room}"
    return _show_states(place, reply["messages"]) or [f"* nothing has been said {here} yet"]


def _show_found(place: Place, reply: Reply) -> Lines:
    lines = _show_states(place, reply["messages"][::-1])  # the newest one last, as in a conversation
    if reply["more"]:
        lines.insert(0, "* there are older ones, too")
    return lines or ["* nothing was found in your rooms"]


def _show_states(place: Place, messages: Sequence[object]) -> list[str]:
    """Messages with what has become of them."""
    states: list[Reply] = orjson.loads(orjson.dumps(messages))
    return [line for state in states for line in _show_state(place, state)]


def _show_state(place: Place, message: Reply) -> Lines:
    room = message["room"]
    where = f"@{place.other(room)}" if room.startswith("@") else room
    prefix = f"[{where}] {message['from']}: "
    if "deleted" in message:
        return [f"{prefix}(deleted)"]
    lines = prefix_lines(prefix, message["text"])
    if "edited" in message:
        lines[-1] += " (edited)"
    if reactions := message.get("reactions"):
        counts = ", ".join(f"{reaction} {len(users)}" for reaction, users in reactions.items())
        lines[-1] += f" ({counts})"
    return lines


# What operators ask


def _show_users(place: Place, reply: Reply) -> Lines:
    lines = [_account(user) for user in reply["users"]]
    if reply["more"]:
        lines.append(f"* there are more: /users {reply['users'][-1]['user']}")
    return lines or ["* there are no accounts"]


def _show_account(place: Place, reply: Reply) -> Lines:
    return [_account(reply)]


def _account(user: Reply) -> str:
    flags = [flag for flag in ("operator", "disabled") if user[flag]]
    online = f"here on {user['online']} connections" if user["online"] else "not here"
    return f"* {user['user']}: {', '.join([online, *flags])}"


def _show_audit(place: Place, reply: Reply) -> Lines:
    lines = []
    for entry in reversed(reply["entries"]):
        what = " ".join(entry[name] for name in ("action", "target", "detail") if name in entry)
        where = f" [{entry['room']}]" if "room" in entry else ""
        at = datetime.fromtimestamp(entry["at"] / 1000, UTC)
        lines.append(f"* {at:%Y-%m-%d %H:%M}{where} {entry['actor']}: {what}")
    return lines or ["* nothing has been done yet"]


# What went wrong, and the end


def _show_error(place: Place, reply: Reply) -> Lines:
    if reply.get("ref") in (ASIDE, FOLLOWS_HELLO):
        return []  # who one is was refused, which has been said
    return [f"* {reply['message']}"]


def _show_expiring(place: Place, reply: Reply) -> Lines:
    return [f"* your token ends in {reply['expires_in_ms'] // 1000} s; come back with another one then"]


def _show_bye(place: Place, reply: Reply) -> Lines:
    return [f"* Good-bye: {reply['reason']}."]


def _show_nothing(place: Place, reply: Reply) -> Lines:
    return []


REPLIES: Mapping[str, Callable[[Place, Reply], Lines]] = {
    "welcome": _show_welcome,
    "joined": _show_joined,
    "left": _show_left,
    "members": _show_members,
    "rooms": _show_rooms,
    "whois": _show_whois,
    "away": _show_away,
    "history": _show_history,
    "found": _show_found,
    "blocked": lambda place, reply: [f"* you hear nothing of {reply['user']} any more"],
    "unblocked": lambda place, reply: [f"* {reply['user']} may write to you again"],
    "password_changed": lambda place, reply: ["* you have another password now"],
    "signed_out": lambda place, reply: ["* you are signed out everywhere"],
    "users": _show_users,
    "account": _show_account,
    "audit": _show_audit,
    "token_expiring": _show_expiring,
    "error": _show_error,
    "bye": _show_bye,
    "pong": _show_nothing,
}
"""By type: what is said about a reply; it also moves the person to another place."""
