"""What is counted: one operation of the compiled modules each, done `n` times by one call.

The count of an operation is the difference between a large and a small `n`, per operation: what a call costs
once, whatever it is, is gone.
"""

from __future__ import annotations

import dataclasses
import socket
import time
from collections import deque
from collections.abc import Callable
from itertools import repeat, starmap
from typing import Any

from fastchat._fanout import Channel, Fanout, Writer
from fastchat._ring import Event, Profile, Ring
from fastchat._websocket import TEXT, FrameParser, encode_frame

_HEAD = b'{"type":"message","room":"lobby","seq":1000,"id":"x000000001","from":"alice","at":1700000000000'
BODY = _HEAD + b',"text":"' + b"x" * 64 + b'"}'
SPAN_EVENTS = 64
CALLS = 3
"""How often each is called: once with all others, once right before the call that is counted, and then."""
_MASK = b"\1\2\3\4"

Prepare = Callable[[int], Callable[[], Any]]
VISIT, BYTE = "visit", "byte"


@dataclasses.dataclass(frozen=True)
class Workload:
    """``prepare(n)`` makes what is called `CALLS` times; the last call is counted.

    ``per`` says what there are ``n * each`` of, ``reference`` which of the C loops, and how many
    ``rounds`` of it, one is compared with.
    """

    name: str
    per: str
    small: int
    large: int
    prepare: Prepare
    reference: str = VISIT
    each: int = 1
    rounds: int = 1
    gated: bool = True

    @property
    def operations(self) -> int:
        return (self.large - self.small) * self.each


class _Discarded:
    """A transport on a socket that takes everything: nobody reads it, and UDP drops what is not read."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def get_extra_info(self, name: str) -> socket.socket | None:
        return self._socket if name == "socket" else None

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""

    def write(self, data: bytes | memoryview) -> None:
        raise AssertionError("the socket takes everything")

    def writelines(self, data: list[bytes]) -> None:
        raise AssertionError("nobody has replies waiting, or is in two rooms")

    def abort(self) -> None:
        raise AssertionError("nothing goes wrong")


class Room:
    """One room whose subscribers all write to one socket, and the loop that turns when it is told to."""

    def __init__(self, subscribers: int) -> None:
        self._reader = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._reader.bind(("127.0.0.1", 0))
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(self._reader.getsockname())
        self._ready: list[Callable[[], object]] = []
        # The slice is without end, so that the count does not depend on the time; the clock is a real one.
        self.fanout = Fanout(self._ready.append, time.monotonic, _encode_lagged, slice_s=1e9)
        self._channel: Channel = self.fanout.channel("lobby", 1 << 16)
        self._seq = 0
        # From here on the ring is full: the memory of each event is that of one that it pushes out.
        self.deliver(512)
        profile = Profile("lines", "lines", 1 << 20, 0)
        for _ in range(subscribers):
            Writer(self.fanout, profile, _Discarded(self._socket)).subscribe(self._channel)

    def deliver(self, messages: int) -> None:
        """Publishes so many messages in one turn of the loop and serves everyone."""
        for _ in range(messages):
            self._seq += 1
            self._channel.publish(Event(self._seq, BODY))
        while self._ready:
            self._ready.pop()()

    def close(self) -> None:
        self._socket.close()
        self._reader.close()


def _encode_lagged(name: str, first: int, last: int) -> bytes:
    raise AssertionError("everyone is at the head")


def _sweep(messages: int) -> Prepare:
    def prepare(subscribers: int) -> Callable[[], Any]:
        room = Room(subscribers)
        return lambda: room.deliver(messages)

    return prepare


def _parse(payload_bytes: int) -> Prepare:
    def prepare(frames: int) -> Callable[[], Any]:
        data = encode_frame(TEXT, b"x" * payload_bytes, mask=_MASK) * frames

        def parse() -> None:
            parser = FrameParser(1 << 20)
            parser.feed(data)
            _exhaust(starmap(parser.next, repeat((), frames)))

        return parse

    return prepare


def _encode_client_frame(frames: int) -> Callable[[], Any]:
    return lambda: _exhaust(map(encode_frame, repeat(TEXT, frames), repeat(BODY), repeat(_MASK)))


def _encode_event(events: int) -> Callable[[], Any]:
    profile = Profile("websocket", "websocket", 65536, 0)
    return lambda: _exhaust(map(profile.encode, repeat(BODY, events)))


def _cut(framing: Any) -> Prepare:
    def prepare(events: int) -> Callable[[], Any]:
        ring = _full_ring(events, 1 << 20)
        profile = Profile("profile", framing, 1 << 20, 0)

        def cut() -> None:
            ring.forget_spans()
            _, last = ring.cut(profile, 0)
            assert last == events

        return cut

    return prepare


def _append(events: int) -> Callable[[], Any]:
    """Into a ring that is full, as all are that have been used: each event pushes one out."""
    ring = _full_ring(4096, 1 << 18)
    seqs = iter(range(4097, 4097 + CALLS * events))
    batches = [[Event(next(seqs), BODY) for _ in range(events)] for _ in range(CALLS)]
    return lambda: _exhaust(map(ring.append, batches.pop(0)))


def _ingest(messages: int) -> Callable[[], Any]:
    """From a client's line to `sent` and the delivery to itself, without the socket, in a room in memory."""
    from tests.parties import Party  # it brings the whole server; the other workloads do without

    party = Party()
    client = party.json_lines()
    client.say("hello", user="alice")
    client.say("join", room="lobby")
    line = b'{"type":"send","room":"lobby","id":"x%09d","text":"' + b"x" * 64 + b'"}'
    numbers = iter(range(CALLS * messages))
    batches = [[line % next(numbers) for _ in range(messages)] for _ in range(CALLS)]

    def send() -> None:
        client.send_raw(*batches.pop(0))
        party.settle()

    return send


def _full_ring(events: int, limit_bytes: int) -> Ring:
    ring = Ring(limit_bytes)
    for seq in range(1, events + 1):
        ring.append(Event(seq, BODY))
    return ring


def _exhaust(iterator: Any) -> None:
    deque(iterator, maxlen=0)


WORKLOADS = (
    Workload("sweep, one event", "delivery", 1000, 10_000, _sweep(1)),
    Workload("sweep, a span of 64", "delivery", 128, 256, _sweep(SPAN_EVENTS), each=SPAN_EVENTS),
    Workload("cut a span of lines", "event", 64, 128, _cut("lines")),
    Workload("cut a span of frames", "event", 64, 128, _cut("websocket")),
    Workload("append to a full ring", "event", 64, 128, _append),
    Workload("encode an event as a frame", "frame", 64, 128, _encode_event),
    Workload("encode a client's frame", "frame", 64, 128, _encode_client_frame),
    Workload("parse frames of 64 B", "frame", 64, 128, _parse(64)),
    Workload("parse frames of 64 KiB", "frame", 4, 8, _parse(65536), BYTE, rounds=65536),
    Workload("ingest", "message", 64, 128, _ingest, gated=False),
)
