"""Tasks that have to end do, whatever becomes of a cancellation on its way."""

import asyncio

import pytest

from fastchat import ending
from fastchat.broker.link import Link


class Deaf(Link):
    """A connection by a library that forgets cancellations where it is connecting or letting go."""

    def __init__(self) -> None:
        super().__init__("nats://127.0.0.1", "bus")
        self.forgets = 2
        self.connecting = asyncio.Event()

    async def _forget(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if self.forgets == 0:
                raise
            self.forgets -= 1

    async def _connect(self) -> None:
        self.connecting.set()
        await self._forget()

    async def _serve(self) -> None:
        await self._forget()

    async def _disconnect(self) -> None:
        return


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "AGAIN_S", 0.001)


async def test_a_task_is_cancelled_until_it_ends() -> None:
    forgotten = 0

    async def forget() -> None:
        nonlocal forgotten
        while forgotten < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                forgotten += 1
        raise ConnectionError("lost")

    async def wait() -> None:
        await asyncio.Event().wait()

    tasks = [asyncio.create_task(forget()), asyncio.create_task(wait())]
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await ending.end(tasks)
    assert forgotten == 3
    assert tasks[1].cancelled()


async def test_none_and_those_that_have_ended_are_no_trouble() -> None:
    async def fail() -> None:
        raise ConnectionError("lost")

    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    await ending.end([task])
    await ending.end([])


async def test_a_link_ends_whatever_its_library_forgets() -> None:
    link = Deaf()
    starting = asyncio.create_task(link.start())
    await link.connecting.wait()
    async with asyncio.timeout(20):
        await link.close()
        starting.cancel()
    assert link.forgets == 0
