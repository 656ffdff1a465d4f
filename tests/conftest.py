"""For every test: uvloop's event loop, no blocking call of ours inside of it, nothing left behind."""

import asyncio
import gc
import inspect
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import hypothesis
import pytest
import uvloop
from blockbuster import BlockBuster, blockbuster_ctx

from tests import leftovers
from tests.services import service

# Shrinking and timing depend on the machine: a shared one must give the same answer every time.
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None, max_examples=100)
hypothesis.settings.register_profile("dev", deadline=None, max_examples=100)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=5000)
hypothesis.settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev")
)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the server runs on is the one that it is tested on."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_configure(config: pytest.Config) -> None:
    service.begin_run()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stops the services that tests have shared."""
    service.close_all()


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that leaves a task, a socket or a child process. Set up first, so it looks last."""
    with leftovers.nothing_new():
        if inspect.iscoroutinefunction(getattr(request, "function", None)):
            request.getfixturevalue("no_task_left_behind")
        yield


@pytest.fixture
async def no_task_left_behind() -> AsyncIterator[None]:
    yield
    # What was cancelled or closed by the test ends within one turn of the loop.
    await asyncio.sleep(0)
    assert leftovers.tasks_beside(asyncio.current_task()) == [], "the test left tasks running"


@pytest.fixture(autouse=True)
def no_blocking_calls() -> Iterator[BlockBuster]:
    """Fails a test in which code of fastchat blocks the event loop: sleeps, waits for a file or a socket."""
    with blockbuster_ctx("fastchat") as blockbuster:
        for function in blockbuster.functions.values():
            # asyncpg looks for certificates and passwords in files. That loop has nobody else to serve.
            function.can_block_in("fastchat/store/postgres/connection.py", "connect")
        yield blockbuster


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What the test lets go of is freed by reference counts alone."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
