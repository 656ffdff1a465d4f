"""Small parties for tests: a clock that the test turns, one chat, and those who talk in it.

No socket and no event loop: ``Party.settle`` does what a loop does until there is nothing left to do.
"""

import asyncio
import itertools
import json
from collections import deque
from collections.abc import Iterable
from typing import Any

from fastchat._fanout import Fanout, Writer
from fastchat._websocket import FrameParser
from fastchat.auth.authentication import Authentication, Policy
from fastchat.chat import Census, Chat, Profiles
from fastchat.connection import Connection, LineConnection, WebSocketConnection
from fastchat.messages import Reply, bye, dumps, encode_lagged, encode_sent
from fastchat.room import RoomSettings
from fastchat.rooms import Hub
from fastchat.session import Limits, Session
from fastchat.store import MemoryStore, Store, Stored
from tests.fakes import FakeLoop, FakeTransport, PlainPasswords

Document = dict[str, Any]
STARTED_AT_MS = 1_700_000_000_000


class Party:
    """One chat, on memory rooms unless another store is given."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        rooms: RoomSettings | None = None,
        watermarks: tuple[int, int] = (65536, 32768),
        banner_after_s: float = 1.0,
        store: Store | None = None,
        policy: Policy | None = None,
        loop: FakeLoop | None = None,
    ) -> None:
        self.loop = FakeLoop() if loop is None else loop
        self.limits = limits or Limits(messages_per_s=0)
        fanout = Fanout(self.loop.call_soon, self.loop.time, encode_lagged)
        settings = rooms or RoomSettings()
        logs: Store = MemoryStore() if store is None else store
        authentication = Authentication(
            logs,
            PlainPasswords(),
            policy or Policy(),
            clock=self.loop.time,
            wall_ms=self.wall_ms,
        )
        self.chat = Chat(
            hub=Hub(
                fanout,
                logs,
                settings,
                clock=self.loop.time,
                call_later=self.loop.call_later,
            ),
            authenticator=authentication,
            accounts=authentication,
            profiles=Profiles(watermarks, watermarks),
            limits=self.limits,
            census=Census(0, 0),
            lobby="lobby",
            server="fastchat/test",
            banner_after_s=banner_after_s,
            clock=self.loop.time,
            wall_ms=self.wall_ms,
            call_later=self.loop.call_later,
        )
        self.hub = self.chat.hub

    def wall_ms(self) -> int:
        """Milliseconds since 1970 by the same clock."""
        return STARTED_AT_MS + round((self.loop.now - 1000.0) * 1000)

    def settle(self) -> None:
        """Runs what is due now, and what that brings about."""
        self.loop.advance(0)

    def pass_time(self, seconds: float) -> None:
        """Lets the clock run; timers run in time."""
        self.settle()
        self.loop.advance(seconds)
        self.settle()

    def program(self, user: str | None = None, *rooms: str, echo: bool = True) -> "Program":
        """A session whose client has said hello and joined ``rooms``, and has heard about it."""
        program = Program(self, echo=echo)
        program.ask("hello", **({} if user is None else {"user": user}))
        for room in rooms:
            program.ask("join", room=room)
        self.settle()
        program.heard()
        return program

    def websocket(self) -> "JsonClient":
        """A client at ``/ws`` that has not said anything."""
        return JsonClient(self, WebSocketConnection(self.chat))

    def json_lines(self) -> "JsonClient":
        """A program on the line port that has not said anything."""
        return JsonClient(self, LineConnection(self.chat))

    def person(self) -> "Person":
        """Somebody on the line port with ``nc`` who has not said anything."""
        return Person(self, LineConnection(self.chat))


class Program(asyncio.BaseProtocol):
    """A session and the client behind it, which speaks JSON lines, with no connection in between."""

    def __init__(self, party: Party, echo: bool = True) -> None:
        self.party = party
        self.echo = echo
        self.transport = FakeTransport(party.loop)
        self.transport.set_protocol(self)
        self._profile = party.chat.profiles.line
        self.writer = Writer(party.hub.fanout, self._profile, self.transport, self)
        self.session = Session(party.hub, self, party.limits, "fastchat/test")
        self._refs = itertools.count(1)
        self._heard: list[Document] = []

    # Protocol: called by the transport

    def pause_writing(self) -> None:
        self.writer.pause()

    def resume_writing(self) -> None:
        self.writer.resume()

    # Peer: called by the session

    def reply(self, reply: Reply) -> None:
        self.writer.write(self._profile.encode(dumps(reply)))

    def reply_sent(self, room: str, stored: Stored, event_id: str | None, ref: str | int | None) -> None:
        self.writer.write(self._profile.encode(encode_sent(room, stored, event_id, ref)))

    address = "192.0.2.1"
    token: str | None = None

    def take_token(self) -> str | None:
        token, self.token = self.token, None
        return token

    def end(self, code: int, reason: str) -> None:
        """What a connection does when the server ends it."""
        self.session.close()
        self.reply(bye(code, reason))
        self.writer.finish()

    def on_writable(self) -> None:
        self.party.loop.call_soon(self.session.go_on_with_kept)

    def on_unblocked(self) -> None:
        """A program without a connection has nobody to stop from talking."""

    # The client

    def say(self, type: str, **fields: Any) -> None:
        """Sends a command without waiting."""
        self.session.receive({"type": type, **fields}, self.party.loop.time(), self.party.wall_ms())

    def ask(self, type: str, **fields: Any) -> Document:
        """Sends a command and returns its answer; what else is heard is kept for ``heard``."""
        ref = next(self._refs)
        self.say(type, ref=ref, **fields)
        self.party.settle()
        self._listen()
        (answer,) = [document for document in self._heard if document.get("ref") == ref]
        self._heard.remove(answer)
        del answer["ref"]
        return answer

    def heard(self, *types: str) -> list[Document]:
        """Everything that was heard since the last time, in order; only these types where any are named."""
        self.party.settle()
        self._listen()
        heard, self._heard = self._heard, []
        return [document for document in heard if not types or document["type"] in types]

    def _listen(self) -> None:
        self._heard += parse_lines(self.transport.take())

    def leave_the_server(self) -> None:
        """What a connection does when it is over."""
        self.session.close()
        self.writer.close()
        self.party.settle()


class FakeStream(asyncio.BaseProtocol):
    """An edge without a socket: hands messages over, unless it was told to pause or close."""

    peer_address = "192.0.2.1"

    def __init__(self, party: Party, handler: Connection) -> None:
        self._party = party
        self._handler: Connection | None = handler  # until it was told of the end, as in a real one
        self._waiting: deque[bytes] = deque()
        self.socket = FakeTransport(party.loop)
        self.socket.set_protocol(self)
        self.transport: asyncio.Transport = self.socket
        self._reading = True
        self.closed: tuple[int, str] | None = None

    def pause_writing(self) -> None:
        if self._handler is not None:
            self._handler.on_pause_writing()

    def resume_writing(self) -> None:
        if self._handler is not None:
            self._handler.on_resume_writing()

    def is_reading(self) -> bool:
        """Whether messages are handed over as they arrive."""
        return self._reading

    def deliver(self, payloads: Iterable[bytes]) -> None:
        """Messages arrive, all in one read."""
        self._waiting += payloads
        self._hand_over()

    @property
    def unread(self) -> int:
        """How many messages have arrived and were not handed over."""
        return len(self._waiting)

    def _hand_over(self) -> None:
        if self._handler is None:
            return
        while self._waiting and self._reading and self.closed is None:
            self._handler.on_message(self._waiting.popleft(), True)
        if self.closed is None:
            self._handler.on_settled()

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._party.loop.call_soon(self._hand_over)

    def close(self, code: int, reason: str) -> None:
        assert self.closed is None, "closed twice"
        self.closed = (code, reason)

    def abort(self) -> None:
        self.socket.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.on_close(1006, "the connection was lost")


class Client:
    """Whoever is at the other end of a connection."""

    def __init__(self, party: Party, connection: Connection) -> None:
        self.party = party
        self.connection = connection
        self.stream = FakeStream(party, connection)
        self.transport = self.stream.socket
        connection.on_open(self.stream)

    def send_raw(self, *payloads: bytes) -> None:
        """Messages or lines arrive at the server in one packet."""
        self.stream.deliver(payloads)

    def lose(self) -> None:
        """The connection is over."""
        self.transport.peer_resets()
        self.party.settle()


class JsonClient(Client):
    """A program on either port."""

    def say(self, type: str, **fields: Any) -> None:
        """Sends a command without waiting."""
        self.send_raw(dumps({"type": type, **fields}))

    def heard(self, *types: str) -> list[Document]:
        """Everything that was heard since the last time; only these types where any are named."""
        self.party.settle()
        parse = parse_frames if isinstance(self.connection, WebSocketConnection) else parse_lines
        return [
            document for document in parse(self.transport.take()) if not types or document["type"] in types
        ]


class Person(Client):
    """Somebody with ``nc``."""

    def type(self, line: str) -> None:
        """Types a line and presses Enter."""
        self.send_raw(line.encode())

    def reads(self) -> list[str]:
        """The lines on the screen since the last time."""
        self.party.settle()
        written = self.transport.take().decode()
        assert not written or written.endswith("\n"), f"an unfinished line: {written!r}"
        return written.split("\n")[:-1]


def parse_lines(data: bytes) -> list[Document]:
    """JSON lines, each of them whole."""
    assert not data or data.endswith(b"\n"), f"an unfinished line: {data!r}"
    return [json.loads(line) for line in data.splitlines()]


def parse_frames(data: bytes) -> list[Document]:
    """A server's WebSocket text messages, each of them whole."""
    parser = FrameParser(1 << 24, require_mask=False)
    parser.feed(data)
    documents = []
    while (message := parser.next()) is not None:
        opcode, payload = message
        assert opcode == 1
        documents.append(json.loads(payload))
    return documents
