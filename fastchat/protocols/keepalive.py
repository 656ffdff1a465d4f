"""Keep-alive: one timer that pings all connections of a listener and ends those that don't answer."""

import collections
import typing

from fastchat.protocols.deadlines import Clock, TimerHandle

# Pinging everyone at once would hold up the loop: 20,000 writes take 0.15 s.
SLICES = 64


class Pingable(typing.Protocol):
    """A connection as its keep-alive sees it."""

    awaiting_pong: int
    """The round in which it was pinged; the connection sets it to 0 whenever a byte arrives."""
    keep_alive_slice: int
    """The slice of the interval in which it is pinged. Set by KeepAlive alone."""

    def is_stalled(self) -> bool:
        """Tells whether a ping could not reach the peer, or its answer not be read. Others judge it then."""

    def send_ping(self) -> None: ...

    def on_ping_timeout(self) -> None:
        """Ends the connection: it has not sent a byte for `ping_timeout_s` after a ping."""


class KeepAlive:
    """Pings every connection once in `ping_interval_s`, a slice of them at a time.

    Whatever a peer sends proves that it lives. Who sends nothing for `ping_timeout_s` after a ping is told
    `on_ping_timeout`. A connection that is stalled is neither pinged nor judged: a peer that doesn't read
    is the slow-reader policy's, and one that this side doesn't read from cannot be heard. An interval of 0
    pings no one; a timeout of 0 pings, for the sake of proxies that end what is idle, and judges no one.
    """

    __slots__ = (
        "_checks",
        "_clock",
        "_count",
        "_next_slice",
        "_round",
        "_slices",
        "_spread",
        "_timer",
        "ping_interval_s",
        "ping_timeout_s",
    )

    def __init__(self, ping_interval_s: float, ping_timeout_s: float, clock: Clock) -> None:
        self.ping_interval_s = ping_interval_s
        self.ping_timeout_s = ping_timeout_s
        self._clock = clock
        self._slices: list[set[Pingable]] = [set() for _ in range(SLICES)]
        self._next_slice = 0
        self._spread = 0
        self._count = 0
        self._round = 0
        self._checks: collections.deque[tuple[float, int, int]] = collections.deque()
        self._timer: TimerHandle | None = None

    def __len__(self) -> int:
        return self._count

    def add(self, connection: Pingable) -> None:
        """Takes a connection in. It is pinged first between a half and a whole interval from now.

        Those who come at once are spread over half of the slices: after a restart all of a server's clients
        come back within a second or two, which is the time of a few slices.
        """
        if self.ping_interval_s <= 0:
            return
        # The slice that was pinged last has the longest time to go.
        connection.keep_alive_slice = (self._next_slice - 1 - self._spread) % SLICES
        self._spread = (self._spread + 1) % (SLICES // 2)
        self._slices[connection.keep_alive_slice].add(connection)
        self._count += 1
        if self._timer is None:
            self._timer = self._clock.call_later(self.ping_interval_s / SLICES, self._tick)

    def discard(self, connection: Pingable) -> None:
        members = self._slices[connection.keep_alive_slice]
        if connection in members:
            members.remove(connection)
            self._count -= 1

    def stop(self) -> None:
        """Forgets all connections."""
        for members in self._slices:
            members.clear()
        self._count = 0
        self._checks.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        now = self._clock.time()
        while self._checks and self._checks[0][0] <= now:
            _, number, round_ = self._checks.popleft()
            self._check(number, round_)
        if self._count:
            self._ping(now)
            self._timer = self._clock.call_later(self.ping_interval_s / SLICES, self._tick)
        else:
            self._checks.clear()

    def _ping(self, now: float) -> None:
        number = self._next_slice
        self._next_slice = (number + 1) % SLICES
        members = self._slices[number]
        if not members:
            return
        self._round += 1
        # A write may end a connection, which leaves its slice then.
        for connection in tuple(members):
            if connection.is_stalled():
                continue
            if connection.awaiting_pong == 0:
                connection.awaiting_pong = self._round
            connection.send_ping()
        if self.ping_timeout_s > 0:
            self._checks.append((now + self.ping_timeout_s, number, self._round))

    def _check(self, number: int, round_: int) -> None:
        for connection in tuple(self._slices[number]):
            if connection.awaiting_pong == round_:
                if connection.is_stalled():
                    connection.awaiting_pong = 0
                else:
                    connection.on_ping_timeout()
