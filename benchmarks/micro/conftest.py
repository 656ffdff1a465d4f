"""What the micro-benchmarks share: how they are measured, an event loop, and connections."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvloop
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.micro.connections import PicowsConnections, TcpConnections
from benchmarks.micro.measure import Measure

QUICK_BUDGET_S, QUICK_ROUNDS = 0.03, 3


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="a look: each benchmark is measured for a moment")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--quick", default=False):
        config.option.benchmark_max_time = QUICK_BUDGET_S
        config.option.benchmark_min_rounds = QUICK_ROUNDS


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    output_json["quick"] = config.getoption("--quick", default=False)
    for benchmark in output_json["benchmarks"]:
        benchmark["stats"].pop("data", None)  # every single round: a hundred megabytes that nobody reads


@pytest.fixture
def measure(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Measure:
    """Measures one point of one figure."""
    option = request.config.option
    return Measure(benchmark, float(option.benchmark_max_time), option.benchmark_min_rounds)


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    """uvloop's loop. What is measured runs between two turns of it."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner


@pytest.fixture(scope="session")
def open_files() -> Callable[[int], None]:
    """Skips a benchmark that needs more open files than this process may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    limit = hard if hard != resource.RLIM_INFINITY else 1 << 20

    def need(count: int) -> None:
        if count + 200 > limit:
            pytest.skip(f"needs {count + 200} open files, the limit is {limit} (ulimit -n)")

    return need


@pytest.fixture(scope="session")
def tcp(runner: asyncio.Runner) -> Iterator[TcpConnections]:
    """Bare connections, for one benchmark after the other."""
    connections = TcpConnections()
    yield connections
    runner.run(connections.close())


@pytest.fixture(scope="session")
def picows_tcp(runner: asyncio.Runner) -> Iterator[PicowsConnections]:
    """picows' connections."""
    connections = PicowsConnections()
    yield connections
    runner.run(connections.close())
