"""Commands of other services on each broker: put there as a service would, carried out by a real server."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import aio_pika
import nats
import pytest
import redis.asyncio
from nats.aio.client import Client as NatsClient

from tests.clients import JsonLinesClient, get_json
from tests.server_process import ServerProcess
from tests.services import nats as nats_service
from tests.services import rabbitmq as rabbitmq_service
from tests.services import redis as redis_service

WAIT_S = 30.0


class Service(Protocol):
    """Somebody else's program: puts commands into the inbox, and looks after the dead letters."""

    url: str

    async def put(self, body: bytes, own_id: str | None = None) -> None:
        """Returns when the broker has it."""

    async def dead_letter(self) -> tuple[bytes, str]:
        """The oldest one's body and reason; waits until there is one."""


class ByRabbitMQ:
    def __init__(self, url: str, name: str, channel: aio_pika.abc.AbstractChannel) -> None:
        self.url, self._name, self._channel = url, name, channel

    async def put(self, body: bytes, own_id: str | None = None) -> None:
        message = aio_pika.Message(body, message_id=own_id, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await self._channel.default_exchange.publish(message, routing_key=f"{self._name}.inbox")

    async def dead_letter(self) -> tuple[bytes, str]:
        queue = await self._channel.declare_queue(f"{self._name}.inbox.dead", passive=True)
        async with asyncio.timeout(WAIT_S), queue.iterator(no_ack=True) as letters:
            async for letter in letters:
                return letter.body, str(letter.headers["reason"])
        raise AssertionError


class ByNats:
    def __init__(self, url: str, name: str, client: NatsClient) -> None:
        self.url, self._name, self._context = url, name, client.jetstream()

    async def put(self, body: bytes, own_id: str | None = None) -> None:
        headers = None if own_id is None else {"Nats-Msg-Id": own_id}
        await self._context.publish(f"{self._name}.inbox", body, headers=headers)

    async def dead_letter(self) -> tuple[bytes, str]:
        subscription = await self._context.subscribe(f"{self._name}.inbox.dead")
        letter = await subscription.next_msg(WAIT_S)
        await subscription.unsubscribe()
        return letter.data, (letter.headers or {})["reason"]


class ByRedis:
    def __init__(self, url: str, name: str, client: Any) -> None:
        self.url, self._name, self._client = url, name, client

    async def put(self, body: bytes, own_id: str | None = None) -> None:
        fields: dict[str, bytes | str] = {"body": body}
        if own_id is not None:
            fields["id"] = own_id
        await self._client.xadd(f"{self._name}.inbox", fields)

    async def dead_letter(self) -> tuple[bytes, str]:
        dead = f"{self._name}.inbox.dead"
        [[_, [[_, fields]]]] = await self._client.xread({dead: "0"}, count=1, block=int(WAIT_S * 1000))
        return fields[b"body"], fields[b"reason"].decode()


@asynccontextmanager
async def by_rabbitmq(name: str) -> AsyncIterator[Service]:
    url = rabbitmq_service.SHARED.server().url
    async with await aio_pika.connect(url) as connection:
        yield ByRabbitMQ(url, name, await connection.channel())


@asynccontextmanager
async def by_nats(name: str) -> AsyncIterator[Service]:
    url = nats_service.SHARED.server().url
    async with await nats.connect(url) as client:
        yield ByNats(url, name, client)


@asynccontextmanager
async def by_redis(name: str) -> AsyncIterator[Service]:
    url = redis_service.SHARED.server().url
    async with redis.asyncio.Redis.from_url(url) as client:
        yield ByRedis(url, name, client)


BROKERS = {"rabbitmq": by_rabbitmq, "nats": by_nats, "redis": by_redis}


@pytest.fixture
def name() -> str:
    return f"test{uuid4().hex[:12]}"


@pytest.fixture(params=BROKERS)
async def service(request: pytest.FixtureRequest, name: str) -> AsyncIterator[Service]:
    async with BROKERS[request.param](name) as service:
        yield service


def start(service: Service, name: str, path: Path) -> ServerProcess:
    return ServerProcess(
        f"store.url=sqlite://{path}/chat.db",
        f"broker.name={name}",
        "broker.inbox=on",
        "broker.events=[]",
        "rooms.presence_interval_ms=0",
        arguments=("--broker", service.url),
    )


def post(number: int, **fields: str) -> bytes:
    command = {"command": "post", "id": f"post-{number}", "room": "lobby", "text": str(number), **fields}
    return json.dumps(command).encode()


@pytest.mark.timeout(120)
async def test_commands_are_carried_out_and_dead_letters_say_why(
    service: Service, name: str, tmp_path: Path
) -> None:
    server = await asyncio.to_thread(start, service, name, tmp_path)
    try:
        async with AsyncExitStack() as stack:
            alice = await stack.enter_async_context(await JsonLinesClient.open(server.line))
            await alice.hello("alice")
            await alice.join("lobby")
            for number in (1, 1, 2):
                await service.put(post(number, **{"from": "weather"}))
            for number in (1, 2):
                event = await alice.expect("message", text=str(number))
                assert (event["from"], event["id"], event["seq"]) == ("weather", f"post-{number}", number)
            await service.put(b'{"command":"post","room":"lobby","text":"named by the broker"}', "own-id")
            assert (await alice.expect("message"))["id"] == "own-id"
            await service.put(b'{"command":"create","id":"c","room":"news","topic":"What is new"}')
            await service.put(b'{"command":"kick","id":"k","room":"lobby","user":"alice","reason":"test"}')
            assert (await alice.expect("left"))["reason"] == "test"
            assert (await alice.join("news"))["topic"] == "What is new"
            await service.put(b'{"command":"post","id":"x","room":"lobby"}')
            body, reason = await service.dead_letter()
            assert body == b'{"command":"post","id":"x","room":"lobby"}'
            assert reason == "bad_field: text is missing"
            report = (await get_json(server.http, "/healthz"))[1]
            assert report["inbox"] == {"broker": "ok", "accepted": 6, "rejected": 1, "retried": 0}
            assert (await get_json(server.http, "/readyz"))[1]["parts"] == {"store": "ok", "broker": "ok"}
    finally:
        assert await asyncio.to_thread(server.stop) == 0
        assert "Traceback" not in server.log


@pytest.mark.timeout(180)
async def test_what_was_put_while_the_server_was_killed_is_there_once(
    service: Service, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A broker gives what a dead server has taken to another one when it has been silent for long enough.
    monkeypatch.setattr("tests.clients.TIMEOUT_S", 60)
    server = await asyncio.to_thread(start, service, name, tmp_path)
    count = 300
    putting = asyncio.create_task(put_all(service, count))
    async with AsyncExitStack() as stack:
        alice = await stack.enter_async_context(await JsonLinesClient.open(server.line))
        await alice.hello("alice")
        await alice.join("lobby")
        await alice.expect("message")
        server.signal(signal.SIGKILL)
    await asyncio.to_thread(server.kill)
    await putting
    server = await asyncio.to_thread(start, service, name, tmp_path)
    try:
        async with AsyncExitStack() as stack:
            alice = await stack.enter_async_context(await JsonLinesClient.open(server.line))
            await alice.hello("alice")
            await alice.join("lobby", after=0)
            events = [await alice.expect("message") for _ in range(count)]
            assert [event["seq"] for event in events] == [*range(1, count + 1)]
            assert {event["text"] for event in events} == {str(number) for number in range(count)}
    finally:
        assert await asyncio.to_thread(server.stop) == 0


async def put_all(service: Service, count: int) -> None:
    for number in range(count):
        await service.put(post(number))
