"""One fan-out with everything around it: a loop that the test turns, a clock that it sets, clients."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import fastchat._fanout
import fastchat._ring
from tests.twins import decode, fanout, ring
from tests.twins.transport import FakeTransport, PassedTransport


@dataclass(frozen=True)
class Implementation:
    """A ring and a fan-out that belong together."""

    ring: ModuleType
    fanout: ModuleType


COMPILED = Implementation(fastchat._ring, fastchat._fanout)
TWIN = Implementation(ring, fanout)

COUNTERS = (
    "events",
    "deliveries",
    "writes",
    "bytes_written",
    "pauses",
    "lags",
    "missed",
    "sweeps",
    "failures",
)


def encode_lagged(name: str, first: int, last: int) -> bytes:
    return b"lagged %s %d %d" % (name.encode(), first, last)


class Client:
    """One connection: a writer, and a peer that takes note of what it hears."""

    def __init__(
        self, stage: "Stage", profile: Any, transport: FakeTransport, decoder: Callable[..., list[bytes]]
    ) -> None:
        self.transport = transport
        self.transport.on_write = stage.spend_time
        self.writable = 0
        self.writer = stage.implementation.fanout.Writer(stage.fanout, profile, self.transport, self)
        self.transport.protocol = self.writer
        self.decode = decoder

    def on_writable(self) -> None:
        self.writable += 1

    def join(self, channel: Any, after: int | None = None) -> Any:
        return self.writer.subscribe(channel, after)

    @property
    def given(self) -> bytes:
        """All that the transport was ever given."""
        return bytes(self.transport.sent + self.transport.buffered)

    @property
    def heard(self) -> list[bytes]:
        """What the client has been given, a body each, without what only fills it up."""
        return [body.rstrip(b".") for body in self.decode(self.given)]

    @property
    def writes(self) -> int:
        return len(self.transport.calls)


class Stage:
    """``now`` is the time in seconds; every write takes ``write_s`` of it."""

    def __init__(self, implementation: Implementation, slice_s: float = 1e9, write_s: float = 0.0) -> None:
        self.implementation = implementation
        self.now = 0.0
        self.write_s = write_s
        self.soon: deque[Callable[[], object]] = deque()
        self.fanout = implementation.fanout.Fanout(self.soon.append, self.clock, encode_lagged, slice_s)
        self.lines = self.profile()
        self.passed: list[PassedTransport] = []

    def clock(self) -> float:
        self.catch_up()
        return self.now

    def catch_up(self) -> None:
        """Takes note of what was sent past the transports, and of the time that it took."""
        for transport in self.passed:
            transport.catch_up()

    def close(self) -> None:
        for transport in self.passed:
            transport.close()

    def spend_time(self) -> None:
        self.now += self.write_s

    def profile(self, framing: Any = "lines", high: int = 1000, low: int = 0) -> Any:
        return self.implementation.ring.Profile("profile", framing, high, low)

    def channel(self, name: str = "room", ring_bytes: int = 1 << 20, head_seq: int = 0) -> Any:
        return self.fanout.channel(name, ring_bytes, head_seq)

    def client(
        self,
        *channels: Any,
        profile: Any = None,
        room: int | None = None,
        decoder: Callable[..., list[bytes]] = decode.lines,
        passed: bool = False,
    ) -> Client:
        """``passed``: on a real socket, if the implementation sends on it."""
        transport = FakeTransport(room)
        if passed and self.implementation is COMPILED:
            transport = PassedTransport()
            self.passed.append(transport)
        client = Client(self, profile or self.lines, transport, decoder)
        for channel in channels:
            client.join(channel)
        return client

    def event(self, channel: Any, seq: int, size: int = 0, hidden_from: int = 0) -> Any:
        """The channel's event with this ``seq``, as ``say`` publishes it and a store keeps it."""
        body = b"%s %d" % (channel.name.encode(), seq)
        return self.implementation.ring.Event(seq, body.ljust(size, b"."), hidden_from=hidden_from)

    def say(self, channel: Any, size: int = 0, hidden_from: Any = None) -> bytes:
        """Publishes the channel's next event; returns what a client hears of it: its name and ``seq``."""
        writer_id = hidden_from.writer.id if hidden_from is not None else 0
        event = self.event(channel, channel.ring.head_seq + 1, size, writer_id)
        channel.publish(event, hidden_from)
        return bytes(event.body.rstrip(b"."))

    def hint(self, channel: Any, size: int = 0, hidden_from: Any = None) -> bytes:
        """Announces something ephemeral; returns what a client hears of it: name and number."""
        heard = b"%s ~%d" % (channel.name.encode(), channel.ephemeral.head_seq + 1)
        channel.announce(heard.ljust(size, b"."), hidden_from)
        return heard

    def block(self, channel: Any, first: int, last: int, size: int = 0) -> Any:
        """A ring with these events of the channel's log: what a source gives."""
        ring = self.implementation.ring.Ring(1 << 30, first - 1)
        for seq in range(first, last + 1):
            ring.append(self.event(channel, seq, size))
        return ring

    def counters(self) -> dict[str, int]:
        """Those that are not 0."""
        return {name: count for name in COUNTERS if (count := getattr(self.fanout, name))}

    def turn(self) -> int:
        """One iteration of the loop; returns how many callbacks there were."""
        due = len(self.soon)
        for _ in range(due):
            self.soon.popleft()()
        return due

    def settle(self) -> int:
        """Turns the loop until it is idle; returns how often."""
        turns = 0
        while self.turn():
            turns += 1
            assert turns < 10_000, "the loop never becomes idle"
        return turns
