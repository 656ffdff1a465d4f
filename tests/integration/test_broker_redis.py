"""What only Redis has: caps, memory that is full, passwords, entries that are no commands."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis.asyncio
from structlog.testing import capture_logs

from fastchat.broker.interface import BrokerError, Outgoing
from fastchat.broker.redis.bus import RedisBus
from fastchat.broker.redis.events import RedisEvents
from fastchat.broker.redis.inbox import RedisInbox
from tests.brokers import KINDS, Worker, new_name, until
from tests.outsiders.redis import RedisOutsider
from tests.services.redis import Redis
from tests.services.service import running


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What is logged of trouble that is made on purpose."""
    with capture_logs():
        yield


@pytest.fixture
def url() -> str:
    return KINDS["redis"].url


def events(count: int, size: int = 100) -> list[Outgoing]:
    return [Outgoing("message.lobby", f"id-{number}", b"x" * size) for number in range(count)]


async def test_the_stream_is_capped(url: str) -> None:
    name = new_name()
    out, service = RedisEvents(url, name, keep_entries=100), await RedisOutsider.connect(url)
    try:
        await out.start()
        assert await out.send(events(2000)) == 2000
        kept = await service.events(name)
        assert 100 <= len(kept) < 400
        assert kept[-1].id == "id-1999"
    finally:
        await out.close()
        await service.close()


async def test_nothing_overtakes_what_a_full_redis_refuses() -> None:
    with running(Redis("--maxmemory", "8mb", "--maxmemory-policy", "noeviction")) as server:
        out, service = RedisEvents(server.url, "full"), await RedisOutsider.connect(server.url)
        client = redis.asyncio.Redis.from_url(server.url)
        try:
            await out.start()
            sent = events(2000, size=20_000)
            confirmed = await out.send(sent)
            assert 0 < confirmed < len(sent)
            assert "maxmemory" in (out.problem or "")
            assert [kept.id for kept in await service.events("full")] == [f"id-{n}" for n in range(confirmed)]
            await client.config_set("maxmemory", "0")
            assert await out.send(sent[confirmed : confirmed + 50]) == 50
            assert out.problem is None
        finally:
            await client.aclose()
            await service.close()
            await out.close()


async def test_what_is_no_redis_is_said_once_and_without_its_bytes() -> None:
    answered = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        answered += 1
        writer.write(b'INFO {"client_id": %d}\r\n' % answered)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    bus = RedisBus(f"redis://{host}:{port}", "elsewhere")
    try:
        with capture_logs() as logs:
            await bus.start()
            await until(lambda: answered == 3, "further tries")
        assert [line["reason"] for line in logs] == [f"{host}:{port}: what answers there is no Redis"]
    finally:
        await bus.close()
        server.close()
        await server.wait_closed()


async def test_who_is_refused_learns_it_at_the_start_and_without_the_password() -> None:
    with running(Redis("--requirepass", "right-one")) as server:
        address = server.url.removeprefix("redis://")
        bus = RedisBus(f"redis://:right-one@{address}", "secret")
        try:
            await bus.start()
            assert bus.problem is None
        finally:
            await bus.close()
        for wrong in (f"redis://:wrong-one@{address}", server.url):
            with pytest.raises(BrokerError, match="refuses") as refused:
                await RedisBus(wrong, "secret").start()
            assert "wrong-one" not in str(refused.value)


async def test_an_entry_without_a_body_is_given_out_as_it_is_and_named_by_its_number(url: str) -> None:
    name = new_name()
    worker, service = Worker(RedisInbox(url, name)), await RedisOutsider.connect(url)
    client: Any = redis.asyncio.Redis.from_url(url)
    try:
        await worker.inbox.start()
        number = await client.xadd(f"{name}.inbox", {"other": "field"})
        await until(lambda: worker.taken, "taken")
        assert (worker.taken[0].body, worker.taken[0].id) == (b"", number.decode())
        worker.taken[0].reject("empty")
        async with asyncio.timeout(10):
            while not (found := [fields for _, fields in await client.xrange(f"{name}.inbox.dead")]):
                pass
        assert found == [{b"reason": b"empty", b"other": b"field"}]
    finally:
        await client.aclose()
        await service.close()
        await worker.inbox.close()


async def test_a_stream_that_is_removed_is_made_again(url: str) -> None:
    name = new_name()
    worker, service = Worker(RedisInbox(url, name)), await RedisOutsider.connect(url)
    client = redis.asyncio.Redis.from_url(url)
    try:
        await worker.inbox.start()
        await client.delete(f"{name}.inbox")
        await service.send_command(name, b"after")
        await until(lambda: worker.taken, "taken")
        assert worker.bodies == [b"after"]
        worker.taken[0].accept()
    finally:
        await client.aclose()
        await service.close()
        await worker.inbox.close()
