"""Delivering to N subscribers whose transports take everything: compiled, twin, a bare loop of `write`."""

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.micro.conftest import EVENT, NullTransport
from tests.twins.stage import COMPILED, TWIN, Implementation, encode_lagged

BODY = EVENT % (b"x" * 64)
SPAN = 64  # messages of one tick
SIZES = (10, 100, 1000, 10_000)
# The twin is right rather than quick: with more it would take minutes.
ROOMS = [("compiled", COMPILED, size) for size in SIZES] + [("twin", TWIN, size) for size in SIZES[:2]]


class Room:
    """One room with N subscribers, and a loop that is turned by hand."""

    def __init__(self, implementation: Implementation, subscribers: int) -> None:
        self._ready: list[Callable[[], object]] = []
        self._ring = implementation.ring
        fanout = implementation.fanout.Fanout(self._ready.append, lambda: 0.0, encode_lagged)
        profile = implementation.ring.Profile("lines", "lines", 65536, 32768)
        self._channel = fanout.channel("room", 1 << 20)
        self._seq = 0
        for _ in range(subscribers):
            writer = implementation.fanout.Writer(fanout, profile, NullTransport())
            writer.subscribe(self._channel)

    def deliver(self, messages: int) -> None:
        """Publishes so many messages in one tick, and has everyone served."""
        for _ in range(messages):
            self._seq += 1
            self._channel.publish(self._ring.Event(self._seq, BODY))
        while self._ready:
            self._ready.pop()()


@pytest.mark.parametrize(
    ("implementation", "subscribers"),
    [pytest.param(implementation, size, id=f"{name}-{size}") for name, implementation, size in ROOMS],
)
@pytest.mark.parametrize("messages", [1, SPAN], ids=["one", "span"])
@pytest.mark.benchmark(group="sweep", max_time=0.5)
def test_sweep(
    benchmark: BenchmarkFixture, implementation: Implementation, messages: int, subscribers: int
) -> None:
    room = Room(implementation, subscribers)
    benchmark.extra_info["deliveries"] = messages * subscribers
    benchmark(room.deliver, messages)


@pytest.mark.parametrize("subscribers", SIZES)
@pytest.mark.parametrize("messages", [1, SPAN], ids=["one", "span"])
@pytest.mark.benchmark(group="sweep", max_time=0.5)
def test_a_loop_of_writes(benchmark: BenchmarkFixture, messages: int, subscribers: int) -> None:
    transports = [NullTransport() for _ in range(subscribers)]
    line = BODY + b"\n"

    def deliver() -> None:
        for _ in range(messages):
            for transport in transports:
                transport.write(line)

    benchmark.extra_info["deliveries"] = messages * subscribers
    benchmark(deliver)
