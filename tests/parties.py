"""Small parties for tests: a clock that the test turns, one chat, and those who talk in it.

No socket and no event loop: ``Party.settle`` does what a loop would do until nothing is left to do.
"""

import asyncio
import heapq
import itertools
import json
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from fastchat._fanout import Fanout, Writer
from fastchat._websocket import FrameParser
from fastchat.chat import Census, Chat, Profiles
from fastchat.connection import Connection, LineConnection, WebSocketConnection
from fastchat.messages import Reply, dumps, encode_lagged
from fastchat.rooms import Hub, RoomSettings
from fastchat.session import Limits, Session
from fastchat.store import MemoryStore

Document = dict[str, Any]
Callback = Callable[[], object]

STARTED_AT_MS = 1_700_000_000_000


class Clock:
    """Seconds that pass only when a test says so, and the timers on them."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._order = itertools.count()
        self._timers: list[tuple[float, int, Callback]] = []

    def __call__(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        """Milliseconds since 1970 by the same clock."""
        return STARTED_AT_MS + round((self.now - 1000.0) * 1000)

    def call_later(self, delay_s: float, callback: Callback) -> None:
        heapq.heappush(self._timers, (self.now + delay_s, next(self._order), callback))

    def timers_due(self, until: float) -> Iterator[Callback]:
        """Turns the clock to each timer up to ``until``, and hands it over."""
        while self._timers and self._timers[0][0] <= until:
            at, _, callback = heapq.heappop(self._timers)
            self.now = max(self.now, at)
            yield callback


class Party:
    """One chat on memory rooms."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        rooms: RoomSettings | None = None,
        watermarks: tuple[int, int] = (65536, 32768),
        banner_after_s: float = 1.0,
    ) -> None:
        self.clock = Clock()
        self._soon: deque[Callback] = deque()
        self.call_soon = self._soon.append
        self.limits = limits or Limits(messages_per_s=0)
        fanout = Fanout(self.call_soon, self.clock, encode_lagged)
        settings = rooms or RoomSettings()
        call_later = self.clock.call_later
        self.chat = Chat(
            hub=Hub(fanout, MemoryStore(), settings, clock=self.clock, call_later=call_later),
            profiles=Profiles(watermarks, watermarks),
            limits=self.limits,
            census=Census(0, 0),
            lobby="lobby",
            server="fastchat/test",
            banner_after_s=banner_after_s,
            clock=self.clock,
            wall_ms=self.clock.wall_ms,
            call_later=call_later,
        )
        self.hub = self.chat.hub

    def settle(self) -> None:
        """Runs what is due now, and what that brings about."""
        while self._soon:
            self._soon.popleft()()
        for callback in self.clock.timers_due(self.clock.now):
            callback()
            while self._soon:
                self._soon.popleft()()

    def pass_time(self, seconds: float) -> None:
        """Lets the clock run; timers run in time."""
        self.settle()
        until = self.clock.now + seconds
        for callback in self.clock.timers_due(until):
            callback()
            self.settle()
        self.clock.now = until
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


class FakeTransport(asyncio.Transport):
    """Keeps what is written; while ``stuck``, says so as a transport does whose socket takes no more."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.stuck = False
        self.paused = False
        self.broken = False
        self.aborted = False
        self.on_pause: Callback = lambda: None
        self.on_resume: Callback = lambda: None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert (high, low) == (0, 0)

    def get_write_buffer_size(self) -> int:
        return int(self.paused)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.broken:
            raise OSError("broken pipe")
        assert data, "a write of nothing"
        self.written += data
        if self.stuck and not self.paused:
            self.paused = True
            self.on_pause()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def drain(self) -> None:
        """The socket has taken everything."""
        self.stuck = False
        if self.paused:
            self.paused = False
            self.on_resume()

    def abort(self) -> None:
        self.aborted = True

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = bytes(self.written)
        self.written.clear()
        return taken


class Program:
    """A session and the client behind it, which speaks JSON lines, with no connection in between."""

    def __init__(self, party: Party, echo: bool = True) -> None:
        self.party = party
        self.echo = echo
        self.transport = FakeTransport()
        self._profile = party.chat.profiles.line
        self.writer = Writer(party.hub.fanout, self._profile, self.transport, self)
        self.transport.on_pause = self.writer.pause
        self.transport.on_resume = self.writer.resume
        self.session = Session(party.hub, self, party.limits, "fastchat/test", party.clock())
        self._refs = itertools.count(1)
        self._heard: list[Document] = []

    # Peer: called by the session

    def reply(self, reply: Reply) -> None:
        self.writer.write(self._profile.encode(dumps(reply)))

    def on_writable(self) -> None:
        """A program without a connection has nobody to stop from talking."""

    # The client

    def say(self, type: str, **fields: Any) -> None:
        """Sends a command without waiting."""
        self.session.receive({"type": type, **fields}, self.party.clock(), self.party.clock.wall_ms())

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


class FakeStream:
    """An edge without a socket: hands messages over, unless it was told to pause or close."""

    peer_address = "192.0.2.1"

    def __init__(self, party: Party, handler: Connection) -> None:
        self._party = party
        self._handler = handler
        self._waiting: deque[bytes] = deque()
        self.socket = FakeTransport()
        self.transport: asyncio.Transport = self.socket
        self.reading = True
        self.closed: tuple[int, str] | None = None
        self.socket.on_pause = handler.on_pause_writing
        self.socket.on_resume = handler.on_resume_writing

    def deliver(self, payload: bytes) -> None:
        """A message arrives."""
        self._waiting.append(payload)
        self._hand_over()

    @property
    def unread(self) -> int:
        """How many messages have arrived and were not handed over."""
        return len(self._waiting)

    def _hand_over(self) -> None:
        while self._waiting and self.reading and self.closed is None:
            self._handler.on_message(self._waiting.popleft(), True)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True
        self._party.call_soon(self._hand_over)

    def close(self, code: int, reason: str) -> None:
        assert self.closed is None, "closed twice"
        self.closed = (code, reason)

    def abort(self) -> None:
        self.transport.abort()


class Client:
    """Whoever is at the other end of a connection."""

    def __init__(self, party: Party, connection: Connection) -> None:
        self.party = party
        self.connection = connection
        self.stream = FakeStream(party, connection)
        self.transport = self.stream.socket
        connection.on_open(self.stream)

    def send_raw(self, payload: bytes) -> None:
        """One message or line arrives at the server."""
        self.stream.deliver(payload)

    def lose(self) -> None:
        """The connection is over."""
        self.connection.on_close(1006, "the connection was lost")
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
