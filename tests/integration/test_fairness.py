"""A large room that is flooded: everyone else is served in between. Orders and counts, no times."""

import asyncio
from contextlib import AsyncExitStack
from typing import cast

import pytest

from tests.clients import JsonLinesClient, split_address
from tests.integration.rooms import enter, say
from tests.server_process import ServerProcess

MEMBERS = 300
BATCH = 20
ROUNDS = 10

pytestmark = pytest.mark.settings(
    "limits.messages_per_s=0", "limits.connections_per_address=0", "fanout.slice_ms=0.2"
)


class Member(asyncio.Protocol):
    """Joins the lobby and counts what it hears."""

    def __init__(self, on_change: asyncio.Event) -> None:
        self.messages = 0
        self.joined = False
        self.lagged = False
        self._on_change = on_change
        self._gone = asyncio.Event()
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(b'{"type":"hello"}\n{"type":"join","room":"lobby"}\n')

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set()

    async def leave(self) -> None:
        self._transport.abort()
        await self._gone.wait()

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        self.messages += data.count(b'{"type":"message"', 0, end)
        self.joined = self.joined or b'{"type":"joined"' in data[:end]
        self.lagged = self.lagged or b'{"type":"lagged"' in data[:end]
        self._on_change.set()


async def wait_for(members: list[Member], changed: asyncio.Event, messages: int) -> None:
    """Returns when each of them has joined and heard so many messages."""
    async with asyncio.timeout(30):
        while not all(member.joined and member.messages >= messages for member in members):
            changed.clear()
            await changed.wait()


async def test_others_are_answered_between_the_slices(server: ServerProcess, clients: AsyncExitStack) -> None:
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()
    members: list[Member] = []
    for _ in range(MEMBERS):
        _, member = await loop.create_connection(lambda: Member(changed), *split_address(server.line))
        clients.push_async_callback(member.leave)
        members.append(member)
    await wait_for(members, changed, 0)
    talkers = [await clients.enter_async_context(await JsonLinesClient.open(server.line)) for _ in range(2)]
    for talker in talkers:
        await enter(talker, "lobby")
    other = await clients.enter_async_context(await JsonLinesClient.open(server.line))
    await enter(other, "elsewhere")
    served = False

    async def flood(talker: JsonLinesClient) -> int:
        """Floods for as long as the others have not been served; returns how often it has spoken."""
        spoken = 0
        while not served:
            for _ in range(BATCH):
                await talker.send("send", room="lobby", text="x" * 100)
            await talker.ask("ping")
            talker.skipped.clear()
            spoken += BATCH
        return spoken

    async with asyncio.TaskGroup() as group:
        flooding = [group.create_task(flood(talker)) for talker in talkers]
        for number in range(1, ROUNDS + 1):
            assert (await other.ask("ping"))["type"] == "pong"
            assert await say(other, "elsewhere", "a small room") == number
        served = True
    spoken = sum(task.result() for task in flooding)
    assert spoken >= 2 * BATCH
    # And nobody in the large room has missed anything.
    await wait_for(members, changed, spoken)
    assert [member.messages for member in members] == [spoken] * MEMBERS
    assert not any(member.lagged for member in members)
