"""One connection's conversation: its state table and its command table. Pure: no sockets, clock or await.

A session is given commands, checks them and answers through its ``Peer``; what it does, it does in the hub.
It knows no dialect: the same session serves a browser, a program and a person with ``nc``.
"""

from collections.abc import Callable
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
from fastchat.rooms import Hub, Membership
from fastchat.store import Draft, Page, Stored


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


class State(Enum):
    """Where a session is: before its ``hello``, chatting, or over."""

    NEW = "new"
    READY = "ready"
    CLOSED = "closed"


class Session:
    """Carries out one client's commands.

    ``now`` is in seconds of a monotonic clock, ``wall_ms`` in milliseconds since 1970.
    """

    __slots__ = ("_bucket", "_hub", "_id", "_limits", "_memberships", "_peer", "_server", "state", "user")

    def __init__(self, hub: Hub, peer: Peer, limits: Limits, server: str, now: float) -> None:
        self._hub = hub
        self._peer = peer
        self._limits = limits
        self._server = server
        self._id = token_hex(8)
        self._bucket = TokenBucket(limits.messages_per_s, limits.burst, now)
        self._memberships: dict[str, Membership] = {}
        self.state = State.NEW
        self.user = ""

    def receive(self, command: Command, now: float, wall_ms: int) -> None:
        """Carries out one command and answers it; whatever is wrong with it becomes an ``error`` reply."""
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

    def refuse(self, error: WireError, ref: str | int | None = None) -> None:
        """Answers with an ``error``."""
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
        self.state = State.CLOSED

    # Commands

    def _reply(self, command: Command, kind: str, **fields: Any) -> None:
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

    def _join(self, command: Command, wall_ms: int) -> None:
        name = command["room"]
        if name in self._memberships:
            raise WireError(Code.ALREADY_JOINED, f"you are in room {name} already", field="room")
        limit = self._limits.rooms_per_connection
        if limit and len(self._memberships) >= limit:
            raise WireError(
                Code.TOO_MANY_ROOMS, f"a connection may be in {limit} rooms; leave one first", field="room"
            )
        joined = self._hub.join(
            self._peer.writer, self.user, name, command.get("after"), command.get("epoch")
        )
        self._memberships[name] = joined
        self._reply(
            command,
            "joined",
            room=name,
            head=joined.room.head,
            epoch=joined.room.log.epoch,
            members=len(joined.room.members),
            reset=joined.reset,
        )

    def _leave(self, command: Command, wall_ms: int) -> None:
        membership = self._membership(command["room"])
        del self._memberships[command["room"]]
        self._hub.leave(membership, self.user)
        self._reply(command, "left", room=command["room"])

    def _send(self, command: Command, wall_ms: int) -> None:
        membership = self._membership(command["room"])
        text, data = command["text"], command.get("data")
        limit = self._limits.text_bytes
        # A character is at most four bytes: most texts need no encoding to be known short enough.
        if limit and len(text) * 4 > limit and len(text.encode()) > limit:
            raise WireError(
                Code.TOO_LARGE, f"text is {len(text.encode())} bytes long; {limit} are allowed", field="text"
            )
        if data is not None:
            self._check_data(data)
        draft = Draft(self.user, wall_ms, text, command.get("id"), data)
        hidden_from = None if self._peer.echo else membership.subscription
        membership.room.post(draft, hidden_from, partial(self._on_sent, command))

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
        if isinstance(stored, WireError):
            self.refuse(stored, command.get("ref"))
            return
        reply: dict[str, Any] = {"room": command["room"], "seq": stored.seq, "at": stored.at_ms}
        if "id" in command:
            reply["id"] = command["id"]
        if stored.body is None:
            reply["repeated"] = True
        self._reply(command, "sent", **reply)

    def _members(self, command: Command, wall_ms: int) -> None:
        room = self._hub.room(command["room"])
        members = sorted(room.members, key=str.casefold)[:MEMBERS_MAX]
        self._reply(command, "members", room=room.name, members=members, count=len(room.members))

    def _rooms(self, command: Command, wall_ms: int) -> None:
        largest = sorted(self._hub.rooms.values(), key=lambda room: (-len(room.members), room.name))[
            :ROOMS_MAX
        ]
        rooms = [
            {
                "room": room.name,
                "members": len(room.members),
                "head": room.head,
                "joined": room.name in self._memberships,
            }
            for room in largest
        ]
        self._reply(command, "rooms", rooms=rooms, count=len(self._hub.rooms))

    def _history(self, command: Command, wall_ms: int) -> None:
        room = self._hub.room(command["room"])
        before, after = command.get("before"), command.get("after")
        if before is not None and after is not None:
            raise WireError(Code.BAD_FIELD, "before cannot be used together with after", field="before")
        limit = min(command.get("limit", self._limits.history_page), self._limits.history_page)
        newest = after is None
        low = -1 if after is None else after
        high = room.head + 1 if before is None else before
        room.log.read(low, high, limit, newest, partial(self._on_history, command))

    def _on_history(self, command: Command, page: Page | WireError) -> None:
        if isinstance(page, WireError):
            self.refuse(page, command.get("ref"))
            return
        messages = [orjson.Fragment(body) for body in page.bodies]
        self._reply(command, "history", room=command["room"], messages=messages, more=page.more)

    def _typing(self, command: Command, wall_ms: int) -> None:
        membership = self._membership(command["room"])
        membership.room.typing(self.user, membership.subscription)

    def _ping(self, command: Command, wall_ms: int) -> None:
        self._reply(command, "pong", at=wall_ms)


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
    "members": (ONCE_WELCOME, True, Session._members),
    "rooms": (ONCE_WELCOME, True, Session._rooms),
    "history": (ONCE_WELCOME, True, Session._history),
    "typing": (ONCE_WELCOME, True, Session._typing),
    "ping": (ANY_TIME, False, Session._ping),
}
