"""Stand-ins for the loop and the socket, so that tests neither sleep nor open one."""

import asyncio
import heapq
import typing
from collections.abc import Callable

from fastchat.auth.passwords import Verdict
from fastchat.messages import WireError
from fastchat.protocols.stream import Stream


class FakeTimer:
    """What `FakeLoop.call_later` returns."""

    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop:
    """A loop whose time passes only in `advance`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._ready: list[tuple[Callable[..., object], tuple[object, ...]]] = []
        self._count = 0

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], object]) -> FakeTimer:
        timer = FakeTimer(self.now + delay, callback)
        self._count += 1
        heapq.heappush(self._timers, (timer.when, self._count, timer))
        return timer

    def call_soon(self, callback: Callable[..., object], *args: object) -> None:
        self._ready.append((callback, args))

    def turn(self) -> None:
        """Runs what is ready, until nothing is."""
        while self._ready:
            ready, self._ready = self._ready, []
            for callback, args in ready:
                callback(*args)

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        self.turn()
        while self._timers and self._timers[0][0] <= end:
            when, _, timer = heapq.heappop(self._timers)
            self.now = max(self.now, when)
            if not timer.cancelled:
                timer.callback()
            self.turn()
        self.now = end

    @property
    def timers(self) -> int:
        return sum(not timer.cancelled for _, _, timer in self._timers)


class FakeTransport(asyncio.Transport):
    """A socket's transport that behaves as uvloop's, with a peer at the other end that the test plays.

    The peer reads everything at once, until `stop_peer()`: then up to `room` more bytes go out, what is
    above stays in the buffer, and the protocol is paused and resumed at the watermarks.
    """

    def __init__(
        self, loop: FakeLoop, peer: object = ("192.0.2.1", 40000), *, half_close: bool = True
    ) -> None:
        super().__init__()
        self.loop = loop
        self.peer = peer
        self.half_close = half_close
        self.protocol: typing.Any = None
        self.received = bytearray()
        """What the peer has read."""
        self.writes = 0
        self.eof_written = False
        self.aborted = False
        self.lost = False
        self.reading = False
        self._room: int | None = None
        self._buffer = bytearray()
        self._closing = False
        self._eof = False
        self._eof_told = False
        self._paused = False
        self._high, self._low = 65536, 16384
        self._unread = bytearray()

    # The test's side

    def connect(self, protocol: asyncio.BufferedProtocol) -> None:
        self.protocol = protocol
        protocol.connection_made(self)
        self._start_reading()

    def peer_sends(self, data: bytes) -> None:
        self._unread += data
        self._deliver()

    def peer_ends(self) -> None:
        self._eof = True
        self._deliver()

    def peer_resets(self) -> None:
        self.lose(ConnectionResetError(104, "Connection reset by peer"))

    def stop_peer(self, room: int = 0) -> None:
        """The peer reads no more; the kernel takes another `room` bytes."""
        self._room = room

    def start_peer(self) -> None:
        """The peer reads again, everything."""
        self._room = None
        self._flush()

    def take(self) -> bytes:
        """Returns what the peer has read since the last time."""
        data = bytes(self.received)
        self.received.clear()
        return data

    @property
    def unread(self) -> int:
        return len(self._unread)

    # asyncio.Transport

    def get_protocol(self) -> typing.Any:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_extra_info(self, name: str, default: typing.Any = None) -> typing.Any:
        return self.peer if name == "peername" else default

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        if not self.reading and not self._closing:
            self._start_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 65536 if high is None else high
        self._low = self._high // 4 if low is None else low
        self._maybe_pause()

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.lost:
            raise RuntimeError("unable to perform operation on a closed transport")
        if self.eof_written:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self.aborted:
            return
        self.writes += 1
        self._buffer += data
        if not self._paused:
            self._flush()
        self._maybe_pause()

    def writelines(self, list_of_data: typing.Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return self.half_close

    def write_eof(self) -> None:
        if not self.half_close:
            raise NotImplementedError
        self.eof_written = True

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self.reading = False
            self._flush()

    def abort(self) -> None:
        if not self.aborted:
            self._closing = self.aborted = True
            self.reading = False
            self._buffer.clear()
            self.loop.call_soon(self.lose, None)

    def lose(self, exc: Exception | None) -> None:
        if not self.lost:
            self._closing = self.aborted = True
            self.reading = False
            self.protocol.connection_lost(exc)
            self.lost = True

    # As uvloop does

    def _start_reading(self) -> None:
        if not self._closing:
            self.reading = True
            self.loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        while self.reading and self._unread:
            buffer = self.protocol.get_buffer(-1)
            size = min(len(buffer), len(self._unread))
            buffer[:size] = self._unread[:size]
            del self._unread[:size]
            self.protocol.buffer_updated(size)
            # Whoever keeps a reference to the shared buffer would see this.
            buffer[:size] = b"\xee" * size
        if self.reading and self._eof and not self._eof_told:
            self._eof_told = True
            self.reading = False
            if not self.protocol.eof_received():
                self.close()

    def _flush(self) -> None:
        size = len(self._buffer) if self._room is None else min(self._room, len(self._buffer))
        if self._room is not None:
            self._room -= size
        self.received += self._buffer[:size]
        del self._buffer[:size]
        if self._paused and len(self._buffer) <= self._low:
            self._paused = False
            self.protocol.resume_writing()
        if self._closing and not self._buffer:
            self.loop.call_soon(self.lose, None)

    def _maybe_pause(self) -> None:
        if not self._paused and len(self._buffer) > self._high:
            self._paused = True
            self.protocol.pause_writing()


class RecordingHandler:
    """A handler that writes down what it is told, and calls `on_event` with it."""

    stream: Stream

    def __init__(
        self, on_event: Callable[["RecordingHandler", tuple[object, ...]], object] | None = None
    ) -> None:
        self.events: list[tuple[object, ...]] = []
        self._on_event = on_event

    def take(self) -> list[tuple[object, ...]]:
        """Returns the events since the last time."""
        events, self.events = self.events, []
        return events

    def on_open(self, stream: Stream) -> None:
        self.stream = stream
        self._record("open")

    def on_token(self, token: str) -> None:
        self._record("token", token)

    def on_message(self, payload: bytes, text: bool) -> None:
        assert type(payload) is bytes
        self._record("message", payload, text)

    def on_last_words(self) -> None:
        """There are none."""

    def on_settled(self) -> None:
        """Nothing was kept back."""

    def on_oversize(self, limit: int, start: bytes) -> None:
        self._record("oversize", limit, start)

    def on_eof(self) -> None:
        self._record("eof")

    def on_pause_writing(self) -> None:
        self._record("pause")

    def on_resume_writing(self) -> None:
        self._record("resume")

    def on_close(self, code: int, reason: str) -> None:
        self._record("close", code, reason)

    def _record(self, *event: object) -> None:
        self.events.append(event)
        if self._on_event is not None:
            self._on_event(self, event)


class PlainPasswords:
    """Passwords that are kept as they are: it takes no time and answers at once."""

    def hash(self, password: str, done: Callable[[str | WireError], None]) -> None:
        done(password)

    def verify(self, password: str, stored: str | None, done: Callable[[Verdict | WireError], None]) -> None:
        done(Verdict(right=password == stored))
