"""Deadlines and keep-alive, on a clock that the tests turn."""

import random
from collections import Counter

from fastchat.protocols.deadlines import Deadlines
from fastchat.protocols.keepalive import SLICES, KeepAlive
from tests.fakes import FakeLoop


class Peer:
    """A connection whose peer answers pings, or does not."""

    def __init__(self, keep_alive: KeepAlive, loop: FakeLoop, *, answers: bool = True) -> None:
        self.awaiting_pong = 0
        self.keep_alive_slice = 0
        self.answers = answers
        self.stalled = False
        self.pings: list[float] = []
        self.ended_at: float | None = None
        self._keep_alive = keep_alive
        self._loop = loop

    def is_stalled(self) -> bool:
        return self.stalled

    def send_ping(self) -> None:
        self.pings.append(self._loop.now)
        if self.answers:
            self.awaiting_pong = 0

    def on_ping_timeout(self) -> None:
        self.ended_at = self._loop.now
        self._keep_alive.discard(self)


def make(interval_s: float = 20, timeout_s: float = 20) -> tuple[FakeLoop, KeepAlive]:
    loop = FakeLoop()
    return loop, KeepAlive(interval_s, timeout_s, loop)


def test_a_peer_that_answers_is_pinged_once_in_every_interval() -> None:
    loop, keep_alive = make()
    start = loop.now
    peer = Peer(keep_alive, loop)
    keep_alive.add(peer)
    loop.advance(101)
    assert [round(at - start) for at in peer.pings] == [20, 40, 60, 80, 100]
    assert peer.ended_at is None
    keep_alive.stop()


def test_a_peer_that_answers_nothing_is_ended_after_the_timeout() -> None:
    for interval_s, timeout_s in ((20, 20), (20, 5), (10, 35)):
        loop, keep_alive = make(interval_s, timeout_s)
        start = loop.now
        peer = Peer(keep_alive, loop, answers=False)
        keep_alive.add(peer)
        loop.advance(200)
        assert peer.ended_at is not None
        late = peer.ended_at - start - interval_s - timeout_s
        assert -0.01 <= late <= interval_s / SLICES + 0.01
        assert len(keep_alive) == 0


def test_any_byte_is_an_answer() -> None:
    loop, keep_alive = make()
    peer = Peer(keep_alive, loop, answers=False)
    keep_alive.add(peer)
    loop.advance(21)
    assert peer.awaiting_pong != 0
    peer.awaiting_pong = 0
    loop.advance(25)
    assert peer.ended_at is None
    loop.advance(20)
    assert peer.ended_at is not None


def test_a_longer_timeout_judges_each_ping_by_itself() -> None:
    loop, keep_alive = make(10, 25)
    peer = Peer(keep_alive, loop, answers=False)
    keep_alive.add(peer)
    loop.advance(12)
    peer.awaiting_pong = 0
    # Pinged anew at 20: the first ping's check at 35 finds its successor, whose own is at 45.
    loop.advance(31)
    assert peer.ended_at is None
    loop.advance(3)
    assert peer.ended_at is not None


def test_a_stalled_peer_is_neither_pinged_nor_judged() -> None:
    loop, keep_alive = make()
    peer = Peer(keep_alive, loop, answers=False)
    peer.stalled = True
    keep_alive.add(peer)
    loop.advance(100)
    assert peer.pings == []
    peer.stalled = False
    loop.advance(21)
    assert len(peer.pings) == 1
    peer.stalled = True
    loop.advance(100)
    assert peer.ended_at is None
    peer.stalled = False
    loop.advance(42)
    assert peer.ended_at is not None


def test_those_who_come_at_once_are_spread() -> None:
    loop, keep_alive = make(64, 0)
    loop.advance(10)
    start = loop.now
    peers = [Peer(keep_alive, loop) for _ in range(3200)]
    for peer in peers:
        keep_alive.add(peer)
    loop.advance(64)
    moments = Counter(at for peer in peers for at in peer.pings)
    assert [len(peer.pings) for peer in peers] == [1] * 3200
    assert max(moments.values()) == 3200 // (SLICES // 2)
    assert min(moments) >= start + 32
    keep_alive.stop()


def test_those_who_come_evenly_are_even() -> None:
    loop, keep_alive = make(64, 0)
    peers = []
    for _ in range(6400):
        peers.append(Peer(keep_alive, loop))
        keep_alive.add(peers[-1])
        loop.advance(0.02)
    end = loop.now
    loop.advance(64)
    moments = Counter(round(at) for peer in peers for at in peer.pings if end < at <= end + 63)
    assert max(moments.values()) <= 2 * min(moments.values())
    keep_alive.stop()


def test_many_are_pinged_in_slices() -> None:
    loop, keep_alive = make(64, 0)
    dice = random.Random(1)
    peers = []
    for _ in range(640):
        peers.append(Peer(keep_alive, loop, answers=False))
        keep_alive.add(peers[-1])
        loop.advance(dice.random() * 0.2)
    loop.advance(64)
    before = [len(peer.pings) for peer in peers]
    moments: list[float] = []
    loop.advance(64)
    for peer, count in zip(peers, before, strict=True):
        assert len(peer.pings) == count + 1
        moments.append(peer.pings[-1])
    assert max(moments.count(moment) for moment in set(moments)) < 20
    assert all(peer.ended_at is None for peer in peers)
    keep_alive.stop()


def test_no_timer_runs_for_nobody() -> None:
    loop, keep_alive = make()
    assert loop.timers == 0
    peers = [Peer(keep_alive, loop) for _ in range(3)]
    for peer in peers:
        keep_alive.add(peer)
    assert loop.timers == 1
    for peer in peers:
        keep_alive.discard(peer)
        keep_alive.discard(peer)
    assert len(keep_alive) == 0
    loop.advance(1)
    assert loop.timers == 0
    keep_alive.add(peers[0])
    assert loop.timers == 1
    keep_alive.stop()
    assert loop.timers == 0


def test_an_interval_of_zero_pings_nobody() -> None:
    loop, keep_alive = make(0, 20)
    peer = Peer(keep_alive, loop)
    keep_alive.add(peer)
    loop.advance(1000)
    assert peer.pings == []
    keep_alive.discard(peer)


def test_deadlines_expire_in_order_and_share_a_timer() -> None:
    loop = FakeLoop()
    expired: list[tuple[str, float]] = []
    deadlines: Deadlines[str] = Deadlines(5, lambda item: expired.append((item, loop.now)), loop)
    start = loop.now
    for number in range(10):
        deadlines.add(str(number))
        loop.advance(0.1)
    deadlines.add("0")
    deadlines.discard("3")
    deadlines.discard("never there")
    assert loop.timers == 1
    loop.advance(60)
    assert [item for item, _ in expired] == [str(number) for number in range(10) if number != 3]
    for item, at in expired:
        assert abs(at - start - 5 - int(item) * 0.1) < 0.01
    assert loop.timers == 0
    assert len(deadlines) == 0


def test_deadlines_of_zero_never_expire() -> None:
    loop = FakeLoop()
    deadlines: Deadlines[str] = Deadlines(0, lambda item: 1 / 0, loop)
    deadlines.add("a")
    loop.advance(10**6)
    assert loop.timers == 0


def test_stopped_deadlines_forget() -> None:
    loop = FakeLoop()
    deadlines: Deadlines[str] = Deadlines(5, lambda item: 1 / 0, loop)
    deadlines.add("a")
    deadlines.stop()
    loop.advance(10)
    assert (len(deadlines), loop.timers) == (0, 0)
