"""What a person may type behind a ``/``, as commands. Pure: no sockets, clock or await."""

import re
from collections.abc import Callable, Mapping

from fastchat.dialects.text.lines import parse_duration_s
from fastchat.dialects.text.place import Place
from fastchat.messages import Code, Command, WireError

SEARCH_LIMIT = 20  # messages that fit on a screen

FOLLOWS_HELLO = "after hello"
"""The ``ref`` of a newcomer's ``join``: that it fails after a refused name has been said."""

ASIDE = "aside"
"""The ``ref`` of what the person has not asked for and is not told about."""

CREATES = "create"
"""The ``ref`` of ``create``, whose answer says how to get there."""

Parse = Callable[[Place, str], list[Command]]

_count = re.compile("[1-9][0-9]{0,8}").fullmatch


def _two(rest: str) -> tuple[str, str]:
    """The first word, and what follows it."""
    first, _, second = rest.partition(" ")
    return first, second.strip()


def _missing(what: str) -> WireError:
    return WireError(Code.BAD_FIELD, f"say {what}")


def _name(rest: str, usage: str) -> tuple[str, str]:
    """A name, which may be written with ``@``, and what follows it."""
    name, more = _two(rest)
    name = name.removeprefix("@")
    if not name:
        raise _missing(usage)
    return name, more


# Who one is


def _enter(place: Place, command: Command) -> list[Command]:
    """The command that says who one is; a newcomer goes to the lobby then."""
    if place.user or not place.lobby:
        return [command]
    return [command, {"type": "join", "room": place.lobby, "ref": FOLLOWS_HELLO}]


def _nick(place: Place, name: str) -> list[Command]:
    if not name:
        raise _missing("which name: /nick alice")
    return _enter(place, {"type": "hello", "user": name})


def _login(place: Place, rest: str) -> list[Command]:
    name, password = _name(rest, "who you are: /login NAME PASSWORD")
    if not password:
        raise _missing("the password, too: /login NAME PASSWORD")
    return _enter(place, {"type": "hello", "user": name, "password": password})


def _register(place: Place, rest: str) -> list[Command]:
    name, password = _name(rest, "who you want to be: /register NAME PASSWORD")
    if not password:
        raise _missing("a password, too: /register NAME PASSWORD")
    return _enter(place, {"type": "register", "user": name, "password": password})


def _password(place: Place, rest: str) -> list[Command]:
    old, new = _two(rest)
    if not new:
        raise _missing("both passwords: /password OLD NEW")
    return [{"type": "password", "old": old, "new": new}]


def _sign_out(place: Place, rest: str) -> list[Command]:
    return [{"type": "sign_out"}]


# Rooms


def _join(place: Place, room: str) -> list[Command]:
    room = room.removeprefix("#")
    if not room:
        raise _missing("which room: /join games")
    if room == place.lobby and not place.user:
        return []  # a newcomer's first line leads there anyway
    return [{"type": "join", "room": room}]


def _leave(place: Place, room: str) -> list[Command]:
    return [{"type": "leave", "room": room or place.here()}]


def _who(place: Place, room: str) -> list[Command]:
    return [{"type": "members", "room": room or place.here()}]


def _rooms(place: Place, rest: str) -> list[Command]:
    return [{"type": "rooms"}]


def _history(place: Place, count: str) -> list[Command]:
    limit = _count(count or "20")
    if limit is None:
        raise _missing("how many messages: /history 20")
    return [{"type": "history", "room": place.here(), "limit": int(limit[0])}]


def _search(place: Place, words: str) -> list[Command]:
    if not words:
        raise _missing("which words: /search good morning")
    return [{"type": "search", "query": words, "limit": SEARCH_LIMIT}]


# People


def _message(place: Place, rest: str) -> list[Command]:
    name, text = _name(rest, "to whom: /msg alice hello")
    if text:
        return [{"type": "direct", "to": name, "text": text}]
    room = place.pairs.get(name.casefold())
    if room is None:
        raise _missing(f"what: /msg {name} hello")
    return [{"type": "history", "room": room, "limit": SEARCH_LIMIT}]


def _away(place: Place, text: str) -> list[Command]:
    return [{"type": "away", "away": True, **({"text": text} if text else {})}]


def _back(place: Place, rest: str) -> list[Command]:
    return [{"type": "away", "away": False}]


def _about_user(kind: str) -> Parse:
    def parse(place: Place, rest: str) -> list[Command]:
        return [{"type": kind, "user": _name(rest, f"who: /{kind} alice")[0]}]

    return parse


# Moderation of the current room


def _act_on(kind: str, *, timed: bool = False, reason: bool = False) -> Parse:
    """An act that concerns somebody, maybe for a time and for a reason."""

    def parse(place: Place, rest: str) -> list[Command]:
        name, words = _name(rest, f"who: /{kind} alice")
        command: Command = {"type": kind, "room": place.here(), "user": name}
        if timed:
            first, others = _two(words)
            if (for_s := parse_duration_s(first)) is not None:
                command["for_s"], words = for_s, others
        if reason and words:
            command["reason"] = words
        return [command]

    return parse


def _role(place: Place, rest: str) -> list[Command]:
    name, role = _name(rest, "who, and what: /role alice moderator")
    if not role:
        raise _missing(f"what: /role {name} moderator")
    return [{"type": "role", "room": place.here(), "user": name, "role": role}]


def _topic(place: Place, text: str) -> list[Command]:
    if not text:
        raise _missing("what the room is about: /topic tea; /topic - for nothing")
    return [{"type": "topic", "room": place.here(), "topic": "" if text == "-" else text}]


def _access(place: Place, access: str) -> list[Command]:
    if not access:
        raise _missing("how: /access public, /access invite or /access private")
    return [{"type": "access", "room": place.here(), "access": access}]


def _slow(place: Place, rest: str) -> list[Command]:
    interval_s = 0 if rest in ("off", "0") else parse_duration_s(rest)
    if interval_s is None:
        raise _missing("how slow: /slow 10s, or /slow off")
    return [{"type": "slow", "room": place.here(), "interval_s": interval_s}]


def _create(place: Place, rest: str) -> list[Command]:
    room, rest = _two(rest)
    if not room:
        raise _missing("which room: /create games")
    command: Command = {"type": "create", "room": room.removeprefix("#"), "ref": CREATES}
    first, others = _two(rest)
    if first in ("public", "invite", "private"):
        command["access"], rest = first, others
    if rest:
        command["topic"] = rest
    return [command]


# What operators ask


def _users(place: Place, rest: str) -> list[Command]:
    return [{"type": "users", **({"after": rest} if rest else {})}]


def _add_user(place: Place, rest: str) -> list[Command]:
    name, password = _name(rest, "who: /adduser NAME [PASSWORD]")
    return [{"type": "user_add", "user": name, **({"password": password} if password else {})}]


def _audit(place: Place, count: str) -> list[Command]:
    limit = _count(count or "20")
    if limit is None:
        raise _missing("how many: /audit 20")
    return [{"type": "audit", "limit": int(limit[0])}]


COMMANDS: Mapping[str, Parse] = {
    "/nick": _nick,
    "/login": _login,
    "/register": _register,
    "/password": _password,
    "/signout": _sign_out,
    "/join": _join,
    "/leave": _leave,
    "/who": _who,
    "/rooms": _rooms,
    "/history": _history,
    "/search": _search,
    "/msg": _message,
    "/whois": _about_user("whois"),
    "/away": _away,
    "/back": _back,
    "/block": _about_user("block"),
    "/unblock": _about_user("unblock"),
    "/create": _create,
    "/topic": _topic,
    "/access": _access,
    "/slow": _slow,
    "/role": _role,
    "/invite": _act_on("invite"),
    "/kick": _act_on("kick", reason=True),
    "/ban": _act_on("ban", timed=True, reason=True),
    "/unban": _act_on("unban"),
    "/mute": _act_on("mute", timed=True, reason=True),
    "/unmute": _act_on("unmute"),
    "/users": _users,
    "/adduser": _add_user,
    "/audit": _audit,
}
"""By word: what makes commands of what follows it. Each raises WireError where that is not right."""

WHO_ONE_IS = ("/nick", "/login", "/register")
"""Words that say hello by themselves, when they are the first line."""

SECRETS = ("/login ", "/register ", "/password ")
"""What nobody may say to a room by mistake."""
