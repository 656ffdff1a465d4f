"""Delays at a fixed rate, and how many payloads pass when there are always some on the way."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Sequence

from benchmarks.buses.ways import Publish, Way

PAYLOAD_BYTES = 200
RATE = 500.0
WINDOW = 512
"""So many are on the way at a time when it is about how many pass."""
TIMEOUT_S = 60.0


@dataclasses.dataclass(frozen=True)
class Run:
    """One way, once."""

    p50_us: float
    p99_us: float
    """From the call that publishes to the call that hears it."""
    rate: float
    """Payloads per second, saturated."""


async def measure(way: Way, url: str, paced: int, saturated: int) -> Run:
    """``paced`` payloads at a fixed rate, then ``saturated`` as quickly as they pass."""
    listener = Listener()
    async with way(url, listener.on_message) as publish:
        # The first one is heard once it is subscribed to.
        await listener.greet(publish)
        delays_us = await _delays_us(publish, listener, paced)
        rate = await _rate(publish, listener, saturated)
    return Run(_quantile(delays_us, 0.5), _quantile(delays_us, 0.99), rate)


class Listener:
    """Notes when each payload is heard: its number is in its first eight bytes."""

    def __init__(self) -> None:
        self.heard_at: list[float] = []
        self._changed = asyncio.Event()

    def on_message(self, payload: bytes) -> None:
        self.heard_at.append(time.perf_counter())
        self._changed.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while len(self.heard_at) < count:
                self._changed.clear()
                await self._changed.wait()

    async def greet(self, publish: Publish) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            sent = 0
            while not self.heard_at:
                await publish(bytes(PAYLOAD_BYTES))
                sent += 1
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)  # those of the greetings that are still on the way
        self.heard_at.clear()


async def _delays_us(publish: Publish, listener: Listener, count: int) -> Sequence[float]:
    payload = bytes(PAYLOAD_BYTES)
    sent_at: list[float] = []
    begin = asyncio.get_running_loop().time()
    for number in range(count):
        await asyncio.sleep(begin + number / RATE - asyncio.get_running_loop().time())
        sent_at.append(time.perf_counter())
        await publish(payload)
    await listener.until(count)
    # Each bus keeps the order of a sender: the n-th that is heard is the n-th that was sent.
    return [(heard - sent) * 1e6 for sent, heard in zip(sent_at, listener.heard_at, strict=True)]


async def _rate(publish: Publish, listener: Listener, count: int) -> float:
    payload = bytes(PAYLOAD_BYTES)
    before = len(listener.heard_at)
    began = time.perf_counter()
    for number in range(count):
        if number >= WINDOW:
            await listener.until(before + number - WINDOW)
        await publish(payload)
    await listener.until(before + count)
    return count / (time.perf_counter() - began)


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]
