"""Delivering to N subscribers over TCP, both ends in this process. What arrives is drained between rounds.

The kernel does the receiver's part of the work within ``send``, so this part is the same for all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from benchmarks.micro.broadcasters import BROADCASTERS, Broadcaster
from benchmarks.micro.connections import Clients, PicowsConnections, PicowsLoop, TcpConnections
from benchmarks.micro.measure import Measure
from benchmarks.micro.transports import make_event, make_payload

NAMES = (*BROADCASTERS, "picows")
SIZES = (10, 100, 1000, 5000)
PAYLOADS_BYTES = (16, 256, 1024, 4096, 16_384, 65_536)
SUBSCRIBERS = 100  # of the figure by payload
LIMITS = {
    "sockets-one": {"its twin": 1000},
    "sockets-span": {"its twin": 100, "fastchat": 5000, "loop of joined write": 5000},
}
TICKS = {"sockets-one": 1, "sockets-span": 64}
# Where the system call is nearly everything, what the machine does besides decides: a second look later.
PASSES = {"sockets-one": 2, "sockets-span": 1}
POINTS = [
    pytest.param(figure, name, size, id=f"{figure}-{name}-{size}-{turn}")
    for figure, messages in TICKS.items()
    for turn in range(PASSES[figure])
    for size in SIZES
    for name in NAMES
    if size <= LIMITS[figure].get(name, 5000 if messages == 1 else 1000)
]


class Rig:
    """A broadcaster on connections, and the clients' ends of them."""

    def __init__(self, tcp: TcpConnections, picows_tcp: PicowsConnections) -> None:
        self._tcp = tcp
        self._picows_tcp = picows_tcp

    async def open(self, name: str, subscribers: int, payload: bytes) -> tuple[Broadcaster, Clients]:
        """Takes so many connections. Needs a running loop."""
        # Of one kind at a time: both together might be more open files than a process may have.
        if name == "picows":
            await self._tcp.close()
            await self._picows_tcp.grow(subscribers)
            return PicowsLoop(self._picows_tcp.transports[:subscribers], payload), self._picows_tcp.clients
        await self._picows_tcp.close()
        await self._tcp.grow(subscribers)
        return BROADCASTERS[name](self._tcp.transports[:subscribers], payload), self._tcp.clients

    def close(self) -> None:
        """Gives the connections back."""
        self._tcp.take_back()


def measure_over_tcp(
    measure: Measure,
    figure: str,
    name: str,
    x: int,
    payload: bytes,
    broadcaster: Broadcaster,
    clients: Clients,
    subscribers: int,
    messages: int,
) -> None:
    """Measures, and makes sure that everything has arrived by the time that a round is over."""
    head_bytes = 2 if len(payload) < 126 else 4 if len(payload) < 65536 else 10
    due_bytes = 0

    def prepare() -> None:
        nonlocal due_bytes
        clients.drain(subscribers, due_bytes)
        due_bytes = (head_bytes + len(payload)) * messages * subscribers

    measure(
        figure,
        name,
        x,
        lambda: broadcaster.deliver(messages),
        units=messages * subscribers,
        prepare=prepare,
    )
    clients.drain(subscribers, due_bytes)


@pytest.fixture
def rig(tcp: TcpConnections, picows_tcp: PicowsConnections) -> Rig:
    return Rig(tcp, picows_tcp)


@pytest.mark.parametrize(("figure", "name", "subscribers"), POINTS)
def test_by_subscribers(
    measure: Measure,
    runner: asyncio.Runner,
    rig: Rig,
    open_files: Callable[[int], None],
    figure: str,
    name: str,
    subscribers: int,
) -> None:
    open_files(2 * subscribers)
    payload, messages = make_event(), TICKS[figure]

    async def run() -> None:
        broadcaster, clients = await rig.open(name, subscribers, payload)
        measure_over_tcp(
            measure, figure, name, subscribers, payload, broadcaster, clients, subscribers, messages
        )
        rig.close()

    runner.run(run())


@pytest.mark.parametrize("name", [name for name in NAMES if name != "loop of joined write"])
@pytest.mark.parametrize("payload_bytes", PAYLOADS_BYTES)
def test_by_payload(
    measure: Measure, runner: asyncio.Runner, rig: Rig, name: str, payload_bytes: int
) -> None:
    payload = make_payload(payload_bytes)

    async def run() -> None:
        broadcaster, clients = await rig.open(name, SUBSCRIBERS, payload)
        measure_over_tcp(
            measure,
            "sockets-payload",
            name,
            payload_bytes,
            payload,
            broadcaster,
            clients,
            SUBSCRIBERS,
            messages=1,
        )
        rig.close()

    runner.run(run())
