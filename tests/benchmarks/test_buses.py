"""The figures of the buses: that what is measured is what the table says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from benchmarks.buses import __main__ as buses
from benchmarks.buses.measure import Run, measure
from benchmarks.buses.ways import LIBRARIES, OnMessage, Publish

DELAY_S = 0.02


@contextlib.asynccontextmanager
async def slow(url: str, on_message: OnMessage) -> AsyncIterator[Publish]:
    """A bus within the process, which takes its time."""
    loop = asyncio.get_running_loop()

    async def publish(payload: bytes) -> None:
        loop.call_later(DELAY_S, on_message, payload)

    yield publish


async def test_delays_contain_what_the_bus_takes() -> None:
    run = await measure(slow, "slow://", paced=20, saturated=600)
    assert run.p99_us >= run.p50_us >= DELAY_S * 1e6 * 0.9
    # With 512 on the way at a time, it takes the delay twice at least.
    assert run.rate <= 600 / (2 * DELAY_S * 0.9)


def test_the_table_has_medians_and_the_nodes_where_they_were_measured() -> None:
    rounds = [{"ours": Run(p50, 9.0, 1000.0)} for p50 in (1.0, 5.0, 2.0)]
    table = buses.summarize({"NATS": rounds, "Redis": rounds}, {"NATS": {"p50_us": 700.0, "p99_us": 1500.0}})
    assert table.splitlines()[2:] == [
        "| NATS | ours | 2 | 9 | 1,000 |",
        "| NATS | a second node, behind the first | 700 | 1,500 | |",
        "| Redis | ours | 2 | 9 | 1,000 |",
    ]


@pytest.mark.parametrize("name", sorted(buses.SERVERS))
def test_every_bus_has_its_own_client_beside_it(name: str) -> None:
    assert name in LIBRARIES
