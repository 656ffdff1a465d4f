"""One connection's conversation: its state table and its command table. Pure: no sockets, clock or await.

A session is given commands, checks them and answers through its ``Peer``; what it does, it does in the hub.
It knows no dialect: the same session serves a browser, a program and a person with ``nc``.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from secrets import token_hex
from typing import Any, Protocol

import orjson

from fastchat._fanout import Writer
from fastchat.messages import (
    PROTOCOL_VERSION,
    Code,
    Command,
    Reply,
    WireError,
    check_command,
    error_reply,
)
from fastchat.rate import TokenBucket
from fastchat.rooms import Hub, Membership, Room
from fastchat.store import Draft, Kind, Page, Stored


@dataclass(slots=True)
class Limits:
    """What one connection may do; 0 means no limit for the first three."""

    messages_per_s: float = 10.0
    burst: int = 100
    rooms_per_connection: int = 100
    text_bytes: int = 4096
    command_bytes: int = 65536
    history_page: int = 100


class Peer(Protocol):
    """The connection, as its session sees it."""

    writer: Writer

    @property
    def echo(self) -> bool:
        """Whether the client wants its own messages back as events."""

    def reply(self, reply: Reply) -> None:
        """Sends a reply or an event to this client alone."""

    def on_unblocked(self) -> None:
        """The session takes commands again (see ``Session.blocked``)."""


class State(Enum):
    """Where a session is: before its ``hello``, chatting, or over."""

    NEW = "new"
    READY = "ready"
    CLOSED = "closed"


class Session:
    """Carries out one client's commands.

    ``now`` is in seconds of a monotonic clock, ``wall_ms`` in milliseconds since 1970.
    """

    __slots__ = (
        "_after_storing",
        "_bucket",
        "_busy",
        "_going_on",
        "_hub",
        "_id",
        "_kept",
        "_limits",
        "_memberships",
        "_peer",
        "_server",
        "_unstored",
        "state",
        "user",
    )

    def __init__(self, hub: Hub, peer: Peer, limits: Limits, server: str, now: float) -> None:
        self._hub = hub
        self._peer = peer
        self._limits = limits
        self._server = server
        self._id = token_hex(8)
        self._bucket = TokenBucket(limits.messages_per_s, limits.burst, now)
        self._memberships: dict[str, Membership] = {}
        self._after_storing = False
        self._busy = False  # a command waits for the store, and the next ones for it
        self._unstored = 0  # events that the store has not answered for yet
        self._going_on = False
        self._kept: deque[Callable[[], None]] | None = None
        self.state = State.NEW
        self.user = ""

    @property
    def blocked(self) -> bool:
        """Whether the next command has to wait, so that the client should not be read from.

        Commands are answered in the order in which they came; only what is to be stored may be many at once.
        """
        return self._busy or self._unstored >= UNSTORED_MAX

    @property
    def idle(self) -> bool:
        """Whether everything that was received has been answered."""
        return not (self._busy or self._unstored or self._kept)

    def receive(self, command: Command, now: float, wall_ms: int) -> None:
        """Carries out one command and answers it; whatever is wrong with it becomes an ``error`` reply."""
        if not self._busy and self._unstored and command.get("type") not in BESIDE_STORING:
            self._busy = self._after_storing = True  # it sees what was sent before it
        if self._busy:
            # At most what one line of a person's comes to: the stream is paused.
            self._keep([partial(self.receive, command, now, wall_ms)])
            return
        try:
            check_command(command)
            kind = command["type"]
            states, costs, handler = COMMAND_TABLE[kind]
            if self.state not in states:
                raise WireError(
                    Code.NOT_WELCOME, f'say hello before {kind}, like {{"type":"hello","user":"alice"}}'
                )
            if costs and (wait_s := self._bucket.take(now)) > 0:
                raise WireError(
                    Code.RATE_LIMITED,
                    f"more than {self._limits.messages_per_s:g} commands a second; wait and send it again",
                    retry_after_ms=int(wait_s * 1000) + 1,
                )
            handler(self, command, wall_ms)
        except WireError as error:
            self.refuse(error, command.get("ref"))

    def _wait(self) -> None:
        """Keeps the next commands until ``_go_on``."""
        self._busy = True

    def _keep(self, commands: Sequence[Callable[[], None]]) -> None:
        self._kept = self._kept or deque()
        self._kept.extend(commands)

    def _go_on(self) -> None:
        self._busy = False
        # A store that answers at once comes back to here while a kept command is carried out.
        if self._going_on:
            return
        self._going_on = True
        while self._kept and not self._busy:
            self._kept.popleft()()
        self._going_on = False
        self._unblock()

    def _unblock(self) -> None:
        if not self.blocked and self.state is not State.CLOSED:
            self._peer.on_unblocked()

    def refuse(self, error: WireError, ref: str | int | None = None) -> None:
        """Answers with an ``error``."""
        if self.state is State.CLOSED:
            return
        self._peer.reply(error_reply(error, ref))

    def wait_s(self, now: float) -> float:
        """The seconds after which the next command will not be refused for coming too fast."""
        return self._bucket.wait_s(now)

    def cursors(self) -> dict[str, int]:
        """By room, the ``seq`` up to which this connection was served: the ``after`` to return with."""
        return {name: membership.subscription.seq for name, membership in self._memberships.items()}

    def close(self) -> None:
        """Leaves everything; for the others it is as if the user had left. May be called again."""
        if self.state is State.READY:
            for membership in self._memberships.values():
                self._hub.leave(membership, self.user)
            self._memberships.clear()
            self._hub.release_name(self.user)
        self._kept = None
        self.state = State.CLOSED

    # Commands

    def _reply(self, command: Command, kind: str, **fields: Any) -> None:
        if self.state is State.CLOSED:
            return
        reply = {"type": kind, **fields}
        if (ref := command.get("ref")) is not None:
            reply["ref"] = ref
        self._peer.reply(reply)

    def _membership(self, name: str) -> Membership:
        membership = self._memberships.get(name)
        if membership is None:
            raise WireError(Code.NOT_JOINED, f"you are not in room {name}; join it first", field="room")
        return membership

    def _hello(self, command: Command, wall_ms: int) -> None:
        name = command.get("user")
        if self.state is State.NEW:
            self.user = self._hub.claim_name(name)
            self.state = State.READY
        elif name is not None and name != self.user:
            self._hub.rename([membership.room for membership in self._memberships.values()], self.user, name)
            self.user = name
        limits = {
            "messages_per_s": self._limits.messages_per_s,
            "burst": self._limits.burst,
            "text_bytes": self._limits.text_bytes,
            "command_bytes": self._limits.command_bytes,
            "rooms_per_connection": self._limits.rooms_per_connection,
            "history_page": self._limits.history_page,
        }
        self._reply(
            command,
            "welcome",
            user=self.user,
            session=self._id,
            server=self._server,
            protocol=PROTOCOL_VERSION,
            limits=limits,
        )
        if "resume" in command:
            # One after the other, as if each had been a command of its own.
            self._keep([partial(self._join, join, wall_ms) for join in self._joins(command)])
            self._go_on()

    def _joins(self, command: Command) -> Iterator[Command]:
        epochs = command.get("epochs", {})
        for room, after in command["resume"].items():
            join: Command = {"type": "join", "room": room, "after": after}
            if room in epochs:
                join["epoch"] = epochs[room]
            if "ref" in command:
                join["ref"] = command["ref"]
            yield join

    def _join(self, command: Command, wall_ms: int) -> None:
        self._wait()
        self._enter(command)

    def _enter(self, command: Command) -> None:
        """Carries out a join and answers it."""
        name = command["room"]
        limit = self._limits.rooms_per_connection

        # The room comes last: between its opening and its first member it must not be taken for unused.
        def on_marks(marks: Mapping[str, int] | WireError) -> None:
            if isinstance(marks, WireError) or self.state is not State.READY:
                finish(marks)
            else:
                self._hub.open(name, partial(finish, cursor=marks.get(name, 0)))

        def finish(room: Room | Mapping[str, int] | WireError, cursor: int = 0) -> None:
            try:
                if isinstance(room, WireError):
                    raise room
                if isinstance(room, Room) and self.state is State.READY:
                    self._entered(command, room, cursor)
            except WireError as error:
                self.refuse(error, command.get("ref"))
            self._go_on()

        if name in self._memberships:
            finish(WireError(Code.ALREADY_JOINED, f"you are in room {name} already", field="room"))
        elif limit and len(self._memberships) >= limit:
            message = f"a connection may be in {limit} rooms; leave one first"
            finish(WireError(Code.TOO_MANY_ROOMS, message, field="room"))
        else:
            self._hub.marks(self.user, [name], on_marks)

    def _entered(self, command: Command, room: Room, cursor: int) -> None:
        after, epoch = command.get("after"), command.get("epoch")
        membership = self._hub.enter(room, self._peer.writer, self.user, after, epoch)
        self._memberships[room.name] = membership
        self._reply(
            command,
            "joined",
            room=room.name,
            head=room.head,
            epoch=room.log.epoch,
            members=len(room.members),
            reset=membership.reset,
            cursor=min(cursor, room.head),
            unread=max(0, room.head - cursor),
        )

    def _leave(self, command: Command, wall_ms: int) -> None:
        membership = self._membership(command["room"])
        del self._memberships[command["room"]]
        self._hub.leave(membership, self.user)
        self._reply(command, "left", room=command["room"])

    def _send(self, command: Command, wall_ms: int) -> None:
        self._post(command, wall_ms, Kind.MESSAGE, self._content(command))

    def _edit(self, command: Command, wall_ms: int) -> None:
        self._post(command, wall_ms, Kind.EDITED, self._content(command))

    def _delete(self, command: Command, wall_ms: int) -> None:
        self._post(command, wall_ms, Kind.DELETED, {})

    def _react(self, command: Command, wall_ms: int) -> None:
        fields = {"reaction": command["reaction"]}
        if command.get("remove"):
            fields["remove"] = True
        self._post(command, wall_ms, Kind.REACTED, fields)

    def _post(self, command: Command, wall_ms: int, kind: Kind, fields: dict[str, Any]) -> None:
        membership = self._membership(command["room"])
        draft = Draft(kind, self.user, wall_ms, fields, command.get("id"), command.get("seq"))
        hidden_from = None if self._peer.echo else membership.subscription
        self._unstored += 1
        membership.room.post(draft, hidden_from, partial(self._on_sent, command))

    def _content(self, command: Command) -> dict[str, Any]:
        """The text, and the data if there is any. Raises WireError where one is too large."""
        text, data = command["text"], command.get("data")
        limit = self._limits.text_bytes
        # A character is at most four bytes: most texts need no encoding to be known short enough.
        if limit and len(text) * 4 > limit and len(text.encode()) > limit:
            raise WireError(
                Code.TOO_LARGE, f"text is {len(text.encode())} bytes long; {limit} are allowed", field="text"
            )
        if data is None:
            return {"text": text}
        self._check_data(data)
        return {"text": text, "data": data}

    def _check_data(self, data: dict[str, Any]) -> None:
        try:
            size = len(orjson.dumps({"data": data})) - len('{"data":}')
        except orjson.JSONEncodeError:  # it reads objects that are nested more deeply than it writes
            raise WireError(Code.BAD_FIELD, "data is nested too deeply", field="data") from None
        if self._limits.text_bytes and size > self._limits.text_bytes:
            raise WireError(
                Code.TOO_LARGE, f"data is over {self._limits.text_bytes} bytes long as JSON", field="data"
            )

    def _on_sent(self, command: Command, stored: Stored | WireError) -> None:
        was_blocked = self.blocked
        self._unstored -= 1
        if isinstance(stored, WireError):
            self.refuse(stored, command.get("ref"))
        else:
            self._reply_sent(command, stored)
        if self._after_storing and not self._unstored:
            self._after_storing = False
            self._go_on()
        elif was_blocked or not self._unstored:
            self._unblock()

    def _reply_sent(self, command: Command, stored: Stored) -> None:
        reply: dict[str, Any] = {"room": command["room"], "seq": stored.seq, "at": stored.at_ms}
        if "id" in command:
            reply["id"] = command["id"]
        if stored.body is None:
            reply["repeated"] = True
        self._reply(command, "sent", **reply)

    def _ack(self, command: Command, wall_ms: int) -> None:
        membership = self._membership(command["room"])
        if command["seq"] > membership.room.head:
            raise WireError(
                Code.BAD_FIELD, f"seq is over {membership.room.head}, the newest event's", field="seq"
            )
        membership.room.acknowledge(self.user, command["seq"])

    def _members(self, command: Command, wall_ms: int) -> None:
        self._ask(command, partial(self._hub.find, command["room"]), self._on_members)

    def _on_members(self, command: Command, room: Room) -> None:
        members = sorted(room.members, key=str.casefold)[:MEMBERS_MAX]
        self._reply(command, "members", room=room.name, members=members, count=len(room.members))

    def _rooms(self, command: Command, wall_ms: int) -> None:
        self._ask(command, partial(self._hub.marks, self.user, list(self._memberships)), self._on_rooms)

    def _on_rooms(self, command: Command, marks: Mapping[str, int]) -> None:
        largest = sorted(self._hub.rooms.values(), key=lambda room: (-len(room.members), room.name))
        rooms = []
        for room in largest[:ROOMS_MAX]:
            entry = {"room": room.name, "members": len(room.members), "head": room.head, "joined": False}
            if room.name in self._memberships:
                cursor = marks.get(room.name, 0)
                entry |= {"joined": True, "cursor": cursor, "unread": max(0, room.head - cursor)}
            rooms.append(entry)
        self._reply(command, "rooms", rooms=rooms, count=len(self._hub.rooms))

    def _history(self, command: Command, wall_ms: int) -> None:
        if "before" in command and "after" in command:
            raise WireError(Code.BAD_FIELD, "before cannot be used together with after", field="before")

        def read(done: Callable[[Page | WireError], None]) -> None:
            self._hub.find(command["room"], partial(on_room, done))

        def on_room(done: Callable[[Page | WireError], None], room: Room | WireError) -> None:
            if isinstance(room, WireError):
                done(room)
                return
            limit = min(command.get("limit", self._limits.history_page), self._limits.history_page)
            low, high = command.get("after", -1), command.get("before", room.head + 1)
            room.log.read(low, high, limit, "after" not in command, done)

        self._ask(command, read, self._on_history)

    def _on_history(self, command: Command, page: Page) -> None:
        messages = [orjson.Fragment(body) for body in page.bodies]
        self._reply(command, "history", room=command["room"], messages=messages, more=page.more)

    def _search(self, command: Command, wall_ms: int) -> None:
        if "room" in command:
            self._membership(command["room"])
        rooms = [command["room"]] if "room" in command else list(self._memberships)
        limit = min(command.get("limit", self._limits.history_page), self._limits.history_page)
        find = partial(self._hub.store.search, rooms, command["query"], command.get("before"), limit)
        self._ask(command, find, self._on_found)

    def _on_found(self, command: Command, page: Page) -> None:
        messages = [orjson.Fragment(body) for body in page.bodies]
        self._reply(command, "found", messages=messages, more=page.more)

    def _ask(
        self,
        command: Command,
        question: Callable[[Callable[[Any], None]], None],
        answer: Callable[[Command, Any], None],
    ) -> None:
        """Asks the store and answers the command with what it says; the next commands wait meanwhile."""

        def on_result(result: Any) -> None:
            if isinstance(result, WireError):
                self.refuse(result, command.get("ref"))
            elif self.state is State.READY:
                answer(command, result)
            self._go_on()

        self._wait()
        question(on_result)

    def _typing(self, command: Command, wall_ms: int) -> None:
        membership = self._membership(command["room"])
        membership.room.typing(self.user, membership.subscription)

    def _ping(self, command: Command, wall_ms: int) -> None:
        self._reply(command, "pong", at=wall_ms)


BESIDE_STORING = ("send", "edit", "delete", "react", "typing", "ping")
"""Commands that need not wait until the store has answered for what the connection sent before."""

UNSTORED_MAX = 256  # events of one connection that wait for the store
MEMBERS_MAX = 1000
ROOMS_MAX = 500

ANY_TIME = (State.NEW, State.READY)
ONCE_WELCOME = (State.READY,)

COMMAND_TABLE: dict[str, tuple[tuple[State, ...], bool, Callable[[Session, Command, int], None]]] = {
    # type: (states in which it is allowed, whether it counts towards the rate limit, what carries it out)
    "hello": (ANY_TIME, True, Session._hello),
    "join": (ONCE_WELCOME, True, Session._join),
    "leave": (ONCE_WELCOME, True, Session._leave),
    "send": (ONCE_WELCOME, True, Session._send),
    "edit": (ONCE_WELCOME, True, Session._edit),
    "delete": (ONCE_WELCOME, True, Session._delete),
    "react": (ONCE_WELCOME, True, Session._react),
    "ack": (ONCE_WELCOME, True, Session._ack),
    "search": (ONCE_WELCOME, True, Session._search),
    "members": (ONCE_WELCOME, True, Session._members),
    "rooms": (ONCE_WELCOME, True, Session._rooms),
    "history": (ONCE_WELCOME, True, Session._history),
    "typing": (ONCE_WELCOME, True, Session._typing),
    "ping": (ANY_TIME, False, Session._ping),
}
