"""Delivering to N subscribers whose transports take everything: a delivery without its system call."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.micro.broadcasters import BROADCASTERS
from benchmarks.micro.measure import Measure
from benchmarks.micro.transports import NullTransport, make_event

SIZES = (10, 100, 1000, 10_000)
TICKS = {"sweep-one": 1, "sweep-span": 64}
# What takes long is measured with fewer: by then it is clear how it grows.
MOST = {
    ("its twin", "sweep-one"): 1000,
    ("its twin", "sweep-span"): 100,
    ("websockets.broadcast", "sweep-span"): 1000,
    ("wsproto, write", "sweep-span"): 1000,
}
POINTS = [
    (figure, name, size)
    for figure in TICKS
    for size in SIZES
    for name in BROADCASTERS  # one after the other: ratios are taken between neighbours
    if size <= MOST.get((name, figure), SIZES[-1])
]


@pytest.mark.parametrize(("figure", "name", "subscribers"), POINTS)
def test_sweep(measure: Measure, runner: asyncio.Runner, figure: str, name: str, subscribers: int) -> None:
    messages = TICKS[figure]

    async def open_it() -> None:
        broadcaster = BROADCASTERS[name]([NullTransport() for _ in range(subscribers)], make_event())
        measure(
            figure,
            name,
            subscribers,
            lambda: broadcaster.deliver(messages),
            units=messages * subscribers,
        )

    runner.run(open_it())
