"""One person's conversation in lines of text. Pure: no sockets, clock or await."""

from collections.abc import Callable, Mapping, Sequence

import orjson

from fastchat.dialects.text.commands import ASIDE, COMMANDS, CREATES, SECRETS, WHO_ONE_IS
from fastchat.dialects.text.events import encode_event
from fastchat.dialects.text.help import HELP
from fastchat.dialects.text.lines import decode_line, encode_lines
from fastchat.dialects.text.place import Place
from fastchat.dialects.text.replies import REPLIES
from fastchat.messages import Code, Command, Reply, WireError
from fastchat.store import Stored


class TextDialect:
    """Remembers where the person is, and says things in words.

    ``say(bytes)`` writes to the person, ``end()`` ends the connection, ``cursors()`` tells by room up to
    which ``seq`` the person was written to.
    """

    __slots__ = ("_cursors", "_end", "_place", "_read", "_say")

    echo = False
    patient = True

    def __init__(
        self,
        lobby: str,
        say: Callable[[bytes], None],
        end: Callable[[], None],
        cursors: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._say = say
        self._end = end
        self._cursors = cursors
        self._place = Place(lobby)
        self._read: dict[str, int] = {}

    def parse(self, payload: bytes) -> Sequence[Command]:
        """The commands in one line; the first line also says hello. Raises WireError."""
        try:
            line = decode_line(payload)
        except UnicodeDecodeError:
            raise WireError(Code.BAD_FIELD, "that was not UTF-8 text, so it was not sent") from None
        word, _, rest = line.partition(" ")
        if word == "/quit":
            self._end()
            return []
        place = self._place
        newcomer = not place.user
        commands = self._run(word, rest.strip()) if _is_command(line) else self._speak(line)
        if not newcomer:
            return [*commands, *self._acknowledge()]  # what was typed is not refused for coming too fast
        if word in WHO_ONE_IS:
            return commands
        hello: list[Command] = [{"type": "hello"}]
        if place.lobby:
            hello.append({"type": "join", "room": place.lobby})
        return [*hello, *commands]

    def _run(self, word: str, rest: str) -> list[Command]:
        if word == "/help":
            self._say(self._help(rest))
            return []
        if word == "/join" and (room := rest.removeprefix("#")) in self._place.rooms:
            self._place.room = room
            self._say(encode_lines([f"* you are talking in {room} now"]))
            return []
        parse = COMMANDS.get(word)
        if parse is None:
            raise WireError(Code.UNKNOWN_TYPE, f"there is no command {word}; /help lists them")
        return parse(self._place, rest)

    def _help(self, topic: str) -> bytes:
        if topic not in HELP:
            topics = ", ".join(f"/help {topic}" for topic in HELP if topic)
            raise WireError(Code.BAD_FIELD, f"there is no help about that, but {topics}")
        return HELP[topic].encode()

    def _speak(self, line: str) -> list[Command]:
        if not line.strip():
            return []
        if line.lstrip().startswith(SECRETS):
            raise WireError(
                Code.BAD_FIELD, "that began with a space, so everybody would have read it; it was not sent"
            )
        text = line.removeprefix("/") if line.startswith("//") else line
        return [{"type": "send", "room": self._place.here(), "text": text}]

    def _acknowledge(self) -> list[Command]:
        """Who types has read what others wrote to him or her alone."""
        pairs = self._place.pairs
        if not pairs:
            return []
        cursors = self._cursors()
        read = {room: cursors[room] for room in pairs.values() if room in cursors}
        news = {room: seq for room, seq in read.items() if seq > self._read.get(room, 0)}
        self._read = read
        return [{"type": "ack", "room": room, "seq": seq, "ref": ASIDE} for room, seq in news.items()]

    # Replies

    def encode(self, reply: Reply) -> bytes:
        """The reply in words; empty where there is nothing to say."""
        show = REPLIES.get(reply["type"])
        return encode_lines(show(self._place, reply)) if show else encode_event(orjson.dumps(reply))

    def encode_sent(self, room: str, stored: Stored, event_id: str | None, ref: str | int | None) -> bytes:
        """Nothing, as who has pressed Enter sees the line already; but how to get to a new room."""
        return encode_lines([f"* there is a room {room} now; /join {room}"]) if ref == CREATES else b""


def _is_command(line: str) -> bool:
    return line.startswith("/") and not line.startswith("//")
