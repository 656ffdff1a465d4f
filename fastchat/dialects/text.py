"""Plain text, for a person with ``nc`` or telnet. Pure: no sockets, clock or await.

A line is a message to the current room, or a command that begins with ``/``. Others' messages arrive as
``[lobby] alice: hi``, everything else that the server says begins with ``*``.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import orjson

from fastchat.messages import Code, Command, Reply, WireError
from fastchat.store import Stored

HELP = """\
* Type a line and press Enter: everyone in the room reads it.
*   /nick NAME      be called NAME
*   /join ROOM      enter a room, or talk in another one you are in
*   /leave          leave the room
*   /who            who is here
*   /whois NAME     whether NAME is here, or since when not
*   /away [WHY]     be away until you say something, or /back
*   /rooms          which rooms there are
*   /history [N]    the last N messages
*   /search WORDS   messages in your rooms that have these words
*   /quit           good-bye
* A message that begins with / is written with two: //shrug
"""

SEARCH_LIMIT = 20  # messages that fit on a screen

# RFC 854, RFC 855: what a telnet client may send between the characters: IAC and a verb, which is followed
# by an option, by a subnegotiation up to IAC SE, or by nothing.
_telnet_command = re.compile(rb"\xff(?:[\xfb-\xfe].?|\xfa.*?(?:\xff\xf0|\Z)|.?)", re.DOTALL)

_history_limit = re.compile("[1-9][0-9]{0,8}").fullmatch

# What no terminal may be sent.
_BIDI_CONTROLS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_CONTROLS = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), *_BIDI_CONTROLS]
_CLEANED = str.maketrans(dict.fromkeys(_CONTROLS, "") | {"\t": " "})


def clean(text: str) -> str:
    """The text without control characters: no escape sequence passes from one terminal to another."""
    return text.translate(_CLEANED)


def encode_event(body: bytes) -> bytes:
    """An event's JSON as lines of text; empty for events that a person need not see."""
    event = orjson.loads(body)
    show = _EVENTS.get(event["type"])
    return _lines(show(event)) if show else b""


def _lines(lines: Sequence[str]) -> bytes:
    return b"".join(clean(line).encode() + b"\n" for line in lines)


def _show_message(event: Reply) -> Sequence[str]:
    return _show_text(f"[{event['room']}] {event['from']}: ", event["text"])


def _show_text(prefix: str, text: str) -> list[str]:
    return [prefix + line for line in text.splitlines()] or [prefix]


def _show_edited(event: Reply) -> Sequence[str]:
    return _show_text(f"* [{event['room']}] {event['from']} changed message {event['of']}: ", event["text"])


def _show_deleted(event: Reply) -> Sequence[str]:
    return [f"* [{event['room']}] {event['from']} deleted message {event['of']}"]


def _show_reacted(event: Reply) -> Sequence[str]:
    sign = event["reaction"]
    what = f"takes {sign} back from" if event.get("remove") else f"reacts with {sign} to"
    return [f"* [{event['room']}] {event['from']} {what} message {event['of']}"]


def _show_states(messages: Sequence[object]) -> list[str]:
    """Messages with what has become of them."""
    states: list[Reply] = orjson.loads(orjson.dumps(messages))
    return [line for state in states for line in _show_state(state)]


def _show_state(message: Reply) -> Sequence[str]:
    prefix = f"[{message['room']}] {message['from']}: "
    if "deleted" in message:
        return [f"{prefix}(deleted)"]
    lines = _show_text(prefix, message["text"])
    if "edited" in message:
        lines[-1] += " (edited)"
    if reactions := message.get("reactions"):
        counts = ", ".join(f"{reaction} {len(users)}" for reaction, users in reactions.items())
        lines[-1] += f" ({counts})"
    return lines


def _show_moderated(event: Reply) -> Sequence[str]:
    act = _ACTS.get(event["action"])
    if act is None:
        return []
    reason = f" ({event['reason']})" if "reason" in event else ""
    return [f"* [{event['room']}] {event['from']} {act.format_map(event)}{reason}"]


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
    lines = [
        f"* {', '.join(names)} {verb} {room}"
        for names, verb in ((event["joined"], "joined"), (event["left"], "left"))
        if names
    ]
    lines += [f"* [{room}] {name} is {_away(text)}" for name, text in event.get("away", {}).items()]
    return lines + [f"* [{room}] {name} is back" for name in event.get("back", ())]


def _away(text: str) -> str:
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


class TextDialect:
    """One person's conversation: remembers the current room and says things in words.

    ``say(bytes)`` writes to the person, ``end()`` ends the connection.
    """

    __slots__ = ("_end", "_lobby", "_room", "_rooms", "_say", "_user")

    echo = False
    patient = True

    def __init__(self, lobby: str, say: Callable[[bytes], None], end: Callable[[], None]) -> None:
        self._lobby = lobby
        self._say = say
        self._end = end
        self._user = ""
        self._room = ""
        self._rooms: list[str] = []

    def parse(self, payload: bytes) -> Sequence[Command]:
        """The commands in one line; the first line also says hello. Raises WireError."""
        try:
            line = clean(_telnet_command.sub(b"", payload).decode())
        except UnicodeDecodeError:
            raise WireError(Code.BAD_FIELD, "that was not UTF-8 text, so it was not sent") from None
        word, _, rest = line.partition(" ")
        if word == "/quit":
            self._end()
            return []
        if word == "/nick" and not self._user:
            return self._nick(rest.strip())
        commands: list[Command] = []
        if not self._user:
            commands += [{"type": "hello"}, {"type": "join", "room": self._lobby}]
        if line.startswith("/") and not line.startswith("//"):
            run = _COMMANDS.get(word)
            if run is None:
                raise WireError(Code.UNKNOWN_TYPE, f"there is no command {word}; /help lists them")
            commands += run(self, rest.strip())
        elif line.strip():
            text = line.removeprefix("/") if line.startswith("//") else line
            commands.append({"type": "send", "room": self._here(not self._user), "text": text})
        return commands

    def _here(self, newcomer: bool = False) -> str:
        room = self._lobby if newcomer else self._room
        if not room:
            raise WireError(Code.NOT_JOINED, f"you are in no room; /join {self._lobby}")
        return room

    def _nick(self, name: str) -> list[Command]:
        if not name:
            raise WireError(Code.BAD_FIELD, "say which name: /nick alice")
        commands: list[Command] = [{"type": "hello", "user": name}]
        if not self._user:
            commands.append({"type": "join", "room": self._lobby, "ref": _FOLLOWS_HELLO})
        return commands

    def _join(self, room: str) -> list[Command]:
        room = room.removeprefix("#")
        if room in self._rooms:
            self._room = room
            self._say(_lines([f"* you are talking in {room} now"]))
            return []
        if not room:
            raise WireError(Code.BAD_FIELD, "say which room: /join games")
        if room == self._lobby and not self._user:
            return []  # a newcomer's first line leads there anyway
        return [{"type": "join", "room": room}]

    def _leave(self, room: str) -> list[Command]:
        return [{"type": "leave", "room": room or self._here()}]

    def _who(self, room: str) -> list[Command]:
        return [{"type": "members", "room": room or self._here(not self._user)}]

    def _whois(self, name: str) -> list[Command]:
        if not name:
            raise WireError(Code.BAD_FIELD, "say who: /whois alice")
        return [{"type": "whois", "user": name}]

    def _be_away(self, text: str) -> list[Command]:
        return [{"type": "away", "away": True, **({"text": text} if text else {})}]

    def _be_back(self, rest: str) -> list[Command]:
        return [{"type": "away", "away": False}]

    def _list_rooms(self, rest: str) -> list[Command]:
        return [{"type": "rooms"}]

    def _history(self, count: str) -> list[Command]:
        limit = _history_limit(count or "20")
        if limit is None:
            raise WireError(Code.BAD_FIELD, "say how many messages: /history 20")
        return [{"type": "history", "room": self._here(not self._user), "limit": int(limit[0])}]

    def _search(self, words: str) -> list[Command]:
        if not words:
            raise WireError(Code.BAD_FIELD, "say which words: /search good morning")
        return [{"type": "search", "query": words, "limit": SEARCH_LIMIT}]

    def _help(self, rest: str) -> list[Command]:
        self._say(HELP.encode())
        return []

    # Replies

    def encode(self, reply: Reply) -> bytes:
        """The reply in words; empty where there is nothing to say."""
        show = _REPLIES.get(reply["type"])
        return _lines(show(self, reply)) if show else encode_event(orjson.dumps(reply))

    def encode_sent(self, room: str, stored: Stored, event_id: str | None, ref: str | int | None) -> bytes:
        """Nothing: who has pressed Enter sees the line already."""
        return b""

    def _show_welcome(self, reply: Reply) -> Sequence[str]:
        newcomer = not self._user
        self._user = reply["user"]
        if newcomer:
            return [f"* Welcome, {self._user}! Type to talk, /nick NAME to change your name, /help for more."]
        return [f"* you are {self._user} now"]

    def _show_joined(self, reply: Reply) -> Sequence[str]:
        self._room = reply["room"]
        self._rooms.append(self._room)
        count = reply["members"]
        people = "nobody else" if count == 1 else "one other" if count == 2 else f"{count - 1} others"
        earlier = ""
        if reply["head"]:
            new = (
                f", {reply['unread']} new since you were here" if reply["cursor"] and reply["unread"] else ""
            )
            earlier = f"; /history shows what was said ({reply['head']} messages{new})"
        return [f"* you are in {self._room} with {people}{earlier}"]

    def _show_left(self, reply: Reply) -> Sequence[str]:
        left = reply["room"]
        self._rooms.remove(left)
        if self._room == left:
            self._room = self._rooms[-1] if self._rooms else ""
        where = f"you are talking in {self._room} now" if self._room else "you are in no room"
        if "by" not in reply and "reason" not in reply:
            return [f"* you left {left}; {where}"]
        by = f" by {reply['by']}" if "by" in reply else ""
        reason = f" ({reply['reason']})" if "reason" in reply else ""
        return [f"* you were taken out of {left}{by}{reason}; {where}"]

    def _show_members(self, reply: Reply) -> Sequence[str]:
        away = reply.get("away", {})
        names = ", ".join(f"{name} (away)" if name in away else name for name in reply["members"])
        more = reply["count"] - len(reply["members"])
        return [f"* in {reply['room']}: {names}" + (f" and {more} more" if more else "")]

    def _show_away(self, reply: Reply) -> Sequence[str]:
        return [f"* you are {_away(reply.get('text', ''))}" if reply["away"] else "* you are back"]

    def _show_whois(self, reply: Reply) -> Sequence[str]:
        user = reply["user"]
        if reply["online"]:
            return [f"* {user} is here" + (f", but {_away(reply['away'])}" if "away" in reply else "")]
        if "seen_at" not in reply:
            return [f"* {user} is not here"]
        seen = datetime.fromtimestamp(reply["seen_at"] / 1000, UTC)
        return [f"* {user} is not here; last seen on {seen:%Y-%m-%d at %H:%M} UTC"]

    def _show_rooms(self, reply: Reply) -> Sequence[str]:
        return [
            f"* {room['room']}: {room['members']} here, {room['head']} messages"
            + (" (you too)" if room["joined"] else "")
            for room in reply["rooms"]
        ]

    def _show_history(self, reply: Reply) -> Sequence[str]:
        return _show_states(reply["messages"]) or [f"* nothing has been said in {reply['room']} yet"]

    def _show_found(self, reply: Reply) -> Sequence[str]:
        lines = _show_states(reply["messages"][::-1])  # the newest one last, as in a conversation
        if reply["more"]:
            lines.insert(0, "* there are older ones, too")
        return lines or ["* nothing was found in your rooms"]

    def _show_error(self, reply: Reply) -> Sequence[str]:
        if reply.get("ref") == _FOLLOWS_HELLO:
            return []  # the name was refused, which has been said
        return [f"* {reply['message']}"]

    def _show_bye(self, reply: Reply) -> Sequence[str]:
        return [f"* Good-bye: {reply['reason']}."]

    def _show_nothing(self, reply: Reply) -> Sequence[str]:
        return []


_FOLLOWS_HELLO = "after hello"

_COMMANDS: dict[str, Callable[[TextDialect, str], list[Command]]] = {
    "/nick": TextDialect._nick,
    "/join": TextDialect._join,
    "/leave": TextDialect._leave,
    "/who": TextDialect._who,
    "/whois": TextDialect._whois,
    "/away": TextDialect._be_away,
    "/back": TextDialect._be_back,
    "/rooms": TextDialect._list_rooms,
    "/history": TextDialect._history,
    "/search": TextDialect._search,
    "/help": TextDialect._help,
}

_REPLIES: dict[str, Callable[[TextDialect, Reply], Sequence[str]]] = {
    "welcome": TextDialect._show_welcome,
    "joined": TextDialect._show_joined,
    "left": TextDialect._show_left,
    "members": TextDialect._show_members,
    "away": TextDialect._show_away,
    "whois": TextDialect._show_whois,
    "rooms": TextDialect._show_rooms,
    "history": TextDialect._show_history,
    "found": TextDialect._show_found,
    "error": TextDialect._show_error,
    "bye": TextDialect._show_bye,
    "pong": TextDialect._show_nothing,
}
