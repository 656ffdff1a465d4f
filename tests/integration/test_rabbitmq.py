"""RabbitMQ as the bus, for events and for commands: a real one, which is killed, paused, cut off and full."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import aio_pika
import aiormq
import pytest
from pamqp.common import FieldTable
from structlog.testing import capture_logs

from fastchat.broker.bus import MAX_WAITING_BYTES
from fastchat.broker.interface import BrokerError, Delivery, Outgoing
from fastchat.broker.opening import open_bus, open_events, open_inbox
from fastchat.broker.rabbitmq.bus import RabbitBus
from fastchat.broker.rabbitmq.connection import RabbitLink
from fastchat.broker.rabbitmq.events import RabbitEvents
from fastchat.broker.rabbitmq.inbox import RabbitInbox
from tests.services import rabbitmq
from tests.services.proxy import Proxy
from tests.services.rabbitmq import RabbitMQ
from tests.services.service import running

WAIT_S = 50.0


async def until(done: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not done():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


@pytest.fixture
def broker() -> RabbitMQ:
    return rabbitmq.SHARED.server()


@pytest.fixture
def name() -> str:
    return f"test{uuid4().hex[:12]}"


@asynccontextmanager
async def started(link: RabbitLink) -> AsyncIterator[None]:
    try:
        await link.start()
        yield
    finally:
        await link.close()


@asynccontextmanager
async def library(url: str) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    """What somebody else's service has of the broker."""
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        yield channel
        # Durable ones of a test outlive it in the shared broker.


def outgoing(number: int, key: str = "message.lobby") -> Outgoing:
    return Outgoing(key, f"id-{number}", json.dumps({"number": number}).encode())


async def ids_in(url: str, queue: str, count: int) -> Sequence[str | None]:
    async with library(url) as channel:
        kept = await channel.get_queue(queue)
        messages = [await kept.get() for _ in range(count)]
        for message in messages:
            await message.ack()
    return [message.message_id for message in messages]


async def all_ids_in(url: str, queue: str) -> Sequence[str | None]:
    async with library(url) as channel:
        kept = await channel.get_queue(queue)
        count = kept.declaration_result.message_count
    assert count is not None
    return await ids_in(url, queue, count)


async def first_of(queue: aio_pika.abc.AbstractQueue) -> aio_pika.abc.AbstractIncomingMessage:
    """What is in the queue, or comes into it."""
    async with asyncio.timeout(WAIT_S), queue.iterator() as messages:
        async for message in messages:
            await message.ack()
            return message
    raise AssertionError("the queue is gone")


# Events


async def test_events_are_kept_in_order_with_all_that_tells_of_them(broker: RabbitMQ, name: str) -> None:
    events = open_events(broker.url, name, queue=f"{name}.archive")
    assert isinstance(events, RabbitEvents)
    async with started(events):
        assert events.problem is None
        large = Outgoing("message.large", "id-large", b"x" * 300_000)
        sent = [*(outgoing(number) for number in range(500)), large]
        assert await events.send(sent) == 501
        assert await events.send([]) == 0
        async with library(broker.url) as channel:
            exchange = await channel.get_exchange(f"{name}.events")
            assert exchange.name == f"{name}.events"
            queue = await channel.get_queue(f"{name}.archive")
            messages = [await queue.get() for _ in sent]
            for message in messages:
                await message.ack()
    assert [message.message_id for message in messages] == [event.id for event in sent]
    assert [message.body for message in messages] == [event.body for event in sent]
    first = messages[0]
    assert first.routing_key == "message.lobby"
    assert first.content_type == "application/cloudevents+json"
    assert first.delivery_mode == aio_pika.DeliveryMode.PERSISTENT


async def test_without_a_queue_nobody_need_listen(broker: RabbitMQ, name: str) -> None:
    events = RabbitEvents(broker.url, name)
    async with started(events):
        assert await events.send([outgoing(1)]) == 1


async def test_a_queue_that_was_deleted_is_declared_again(broker: RabbitMQ, name: str) -> None:
    events = RabbitEvents(broker.url, name, f"{name}.archive")
    async with started(events):
        async with library(broker.url) as channel:
            await channel.queue_delete(f"{name}.archive")
        assert await events.send([outgoing(1), outgoing(2)]) == 0
        assert f"{name}.archive" in (events.problem or "")
        # Whoever sends tries again: the problem ends with the first batch that is taken.
        await until(lambda: events.is_connected is False)
        await until(lambda: events.is_connected)
        assert await events.send([outgoing(1), outgoing(2)]) == 2
        assert events.problem is None
        assert await ids_in(broker.url, f"{name}.archive", 2) == ["id-1", "id-2"]


async def test_a_full_queue_refuses_and_says_so(broker: RabbitMQ, name: str) -> None:
    events = RabbitEvents(broker.url, name)
    async with started(events):
        async with library(broker.url) as channel:
            limit: FieldTable = {"x-max-length": 1, "x-overflow": "reject-publish"}
            queue = await channel.declare_queue(f"{name}.small", arguments=limit, durable=True)
            await queue.bind(f"{name}.events", "#")
            sent = await events.send([outgoing(number) for number in range(200)])
            assert 0 < sent < 200
            assert "full" in (events.problem or "")
            await queue.delete(if_empty=False, if_unused=False)
        assert await events.send([outgoing(201)]) == 1
        assert events.problem is None


async def test_somebody_elses_exchange_of_that_name_is_an_error(broker: RabbitMQ, name: str) -> None:
    async with library(broker.url) as channel:
        exchange = await channel.declare_exchange(
            f"{name}.events", aio_pika.ExchangeType.FANOUT, durable=True
        )
        with pytest.raises(BrokerError, match=r"delete it there, or choose another broker\.name") as caught:
            await RabbitEvents(broker.url, name).start()
        await exchange.delete()
    assert "type" in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_wrong_password_is_an_error_without_it(broker: RabbitMQ, name: str) -> None:
    url = broker.url.replace("guest:guest@", "guest:secret-word@")
    with pytest.raises(BrokerError, match=r"refuses the user or password in broker\.url") as caught:
        await RabbitEvents(url, name).start()
    assert "secret-word" not in str(caught.value)


async def test_a_virtual_host_that_is_not_there_is_an_error(broker: RabbitMQ, name: str) -> None:
    with pytest.raises(BrokerError, match="rabbitmqctl add_vhost"):
        await RabbitEvents(f"{broker.url}nowhere", name).start()


async def test_a_broker_that_is_away_is_no_error(name: str) -> None:
    events = RabbitEvents("amqp://guest:secret-word@127.0.0.1:1/", name)
    async with started(events):
        assert "127.0.0.1:1" in (events.problem or "")
        assert "secret-word" not in (events.problem or "")
        assert await events.send([outgoing(1)]) == 0


# The bus


async def test_the_bus_brings_what_is_listened_to_in_order(broker: RabbitMQ, name: str) -> None:
    got: list[tuple[str, bytes]] = []
    one, other = open_bus(broker.url, name), RabbitBus(broker.url, name)
    assert isinstance(one, RabbitBus)
    one.listen(lambda subject, payload: None, lambda: None)
    connected: list[int] = []
    other.listen(lambda subject, payload: got.append((subject, payload)), lambda: connected.append(1))
    for slot in range(20):
        other.subscribe(f"fc.slot.{slot}")
    async with started(one), started(other):
        await until(lambda: connected)
        other.subscribe("fc.nodes")
        other.unsubscribe("fc.slot.3")
        await other.probe()
        expected = [(f"fc.slot.{number % 3}", b"%d" % number) for number in range(1000)]
        one.publish("fc.slot.3", b"nobody listens")
        one.publish("fc.unheard", b"nobody listens")
        for subject, payload in expected:
            one.publish(subject, payload)
        one.publish("fc.nodes", b"last" * 100_000)
        await until(lambda: len(got) > len(expected))
    assert got == [*expected, ("fc.nodes", b"last" * 100_000)]


async def test_the_bus_comes_back_after_a_cut_with_its_subscriptions(broker: RabbitMQ, name: str) -> None:
    got: list[bytes] = []
    connected: list[int] = []
    with Proxy(broker.port) as proxy:
        bus = RabbitBus(proxy.url(broker.url), name)
        bus.listen(lambda subject, payload: got.append(payload), lambda: connected.append(1))
        bus.subscribe("fc.nodes")
        async with started(bus):
            proxy.cut()
            await until(lambda: bus.problem)
            bus.publish("fc.nodes", b"forgotten")
            proxy.restore()
            await until(lambda: len(connected) == 2)
            assert bus.problem is None
            bus.publish("fc.nodes", b"heard")
            await until(lambda: got)
    assert got == [b"heard"]


async def test_a_bus_that_never_rests_keeps_its_connection(
    broker: RabbitMQ, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # RabbitMQ sends no heartbeats beside messages, and the library, which gets none of these, counts frames.
    monkeypatch.setattr(aiormq.Connection, "HEARTBEAT_GRACE_MULTIPLIER", 0.6)  # 1.8 s without a frame
    heard = asyncio.Event()
    bus = RabbitBus(broker.url, name)
    bus.listen(lambda subject, payload: heard.set(), lambda: None)
    bus.subscribe("busy")
    with capture_logs() as logs:
        async with started(bus):
            await bus.probe()
            until_s = asyncio.get_running_loop().time() + 3.5  # the library looks once a second
            while asyncio.get_running_loop().time() < until_s:
                heard.clear()
                bus.publish("busy", b"more")
                async with asyncio.timeout(WAIT_S):
                    await heard.wait()
                await asyncio.sleep(0.01)
    assert [line["event"] for line in logs] == ["broker connected"]


async def test_a_link_that_carries_nothing_any_more_is_noticed(broker: RabbitMQ, name: str) -> None:
    with Proxy(broker.port) as proxy:
        bus = RabbitBus(proxy.url(broker.url), name)
        bus.listen(lambda subject, payload: None, lambda: None)
        async with started(bus):
            proxy.hold()
            await until(lambda: bus.problem)
            assert "does not answer" in (bus.problem or "")
            proxy.restore()
            await until(lambda: bus.problem is None)


# The inbox


class Taking:
    """Deliveries as they come."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []

    def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)

    @property
    def bodies(self) -> Sequence[bytes]:
        return [delivery.body for delivery in self.deliveries]


async def put(url: str, queue: str, *bodies: bytes) -> None:
    async with library(url) as channel:
        for number, body in enumerate(bodies):
            message = aio_pika.Message(body, message_id=f"m{number}")
            await channel.default_exchange.publish(message, routing_key=queue)


async def test_what_is_accepted_is_gone_and_what_is_not_comes_again(broker: RabbitMQ, name: str) -> None:
    taking = Taking()
    inbox = open_inbox(broker.url, name)
    assert isinstance(inbox, RabbitInbox)
    inbox.listen(taking)
    async with started(inbox):
        await put(broker.url, f"{name}.inbox", b"one", b"two", b"three")
        await until(lambda: len(taking.deliveries) == 3)
        assert [delivery.id for delivery in taking.deliveries] == ["m0", "m1", "m2"]
        taking.deliveries[0].accept()
        taking.deliveries[2].accept()
    again = Taking()
    other = RabbitInbox(broker.url, name)
    other.listen(again)
    async with started(other):
        await until(lambda: again.deliveries)
        assert again.bodies == [b"two"]
        again.deliveries[0].accept()


async def test_what_is_rejected_is_among_the_dead_letters_with_the_reason(
    broker: RabbitMQ, name: str
) -> None:
    taking = Taking()
    inbox = RabbitInbox(broker.url, name)
    inbox.listen(taking)
    async with started(inbox):
        await put(broker.url, f"{name}.inbox", b"nonsense")
        await until(lambda: taking.deliveries)
        taking.deliveries[0].reject("no JSON: “nonsense”")
        async with library(broker.url) as channel:
            dead = await channel.get_queue(f"{name}.inbox.dead")
            message = await first_of(dead)
            live = await channel.get_queue(f"{name}.inbox")
    assert message.body == b"nonsense"
    assert message.message_id == "m0"
    assert message.headers == {"reason": "no JSON: “nonsense”"}
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert live.declaration_result.message_count == 0


async def test_what_is_retried_comes_again_later(broker: RabbitMQ, name: str) -> None:
    times: list[float] = []
    loop = asyncio.get_running_loop()

    def take(delivery: Delivery) -> None:
        times.append(loop.time())
        if len(times) == 1:
            delivery.retry()
        elif len(times) == 2:
            raise RuntimeError("a fault above")
        else:
            delivery.accept()

    inbox = RabbitInbox(broker.url, name)
    inbox.listen(take)
    with capture_logs() as log:
        async with started(inbox):
            await put(broker.url, f"{name}.inbox", b"later")
            await until(lambda: len(times) == 3)
    assert "inbox listener failed" in [entry["event"] for entry in log]
    assert times[1] - times[0] >= 0.5
    assert times[2] - times[1] >= 0.5


async def test_at_most_so_many_are_unanswered(broker: RabbitMQ, name: str) -> None:
    taking = Taking()
    inbox = RabbitInbox(broker.url, name)
    inbox.listen(taking)
    async with started(inbox):
        await put(broker.url, f"{name}.inbox", *[b"%d" % number for number in range(300)])
        await until(lambda: len(taking.deliveries) == 256)
        for delivery in taking.deliveries[:44]:
            delivery.accept()
        await until(lambda: len(taking.deliveries) == 300)
        assert taking.bodies == [b"%d" % number for number in range(300)]
        for delivery in taking.deliveries[44:]:
            delivery.accept()


async def test_a_queue_that_was_deleted_is_there_again(broker: RabbitMQ, name: str) -> None:
    taking = Taking()
    inbox = RabbitInbox(broker.url, name)
    inbox.listen(taking)
    async with started(inbox):
        async with library(broker.url) as channel:
            await channel.queue_delete(f"{name}.inbox")
        await until(lambda: inbox.problem)
        assert f"{name}.inbox" in (inbox.problem or "")
        await until(lambda: inbox.problem is None)
        await put(broker.url, f"{name}.inbox", b"one")
        await until(lambda: taking.deliveries)
        taking.deliveries[0].accept()


async def test_the_permissions_that_are_documented_are_enough(broker: RabbitMQ, name: str) -> None:
    await asyncio.to_thread(broker.control, "add_user", name, "word")
    rights = (rf"^{name}\.", rf"^({name}\.|amq\.default)", rf"^{name}\.")
    await asyncio.to_thread(broker.control, "set_permissions", name, *rights)
    url = broker.url.replace("guest:guest@", f"{name}:word@")
    bus, events = RabbitBus(url, name), RabbitEvents(url, name, f"{name}.archive")
    inbox, taking = RabbitInbox(url, name), Taking()
    bus.listen(lambda subject, payload: None, lambda: None)
    bus.subscribe("fc.nodes")
    inbox.listen(taking)
    async with started(bus), started(events), started(inbox):
        await bus.probe()
        assert await events.send([outgoing(1)]) == 1
        await put(broker.url, f"{name}.inbox", b"nonsense")
        await until(lambda: taking.deliveries)
        taking.deliveries[0].reject("no JSON")
        async with library(broker.url) as channel:
            assert (await first_of(await channel.get_queue(f"{name}.inbox.dead"))).body == b"nonsense"
    with pytest.raises(BrokerError, match="does not let this user do that"):
        await RabbitEvents(url, "another").start()


# A broker that breaks


@pytest.mark.timeout(180)
async def test_events_outlive_an_orderly_stop() -> None:
    with running(RabbitMQ()) as server:
        events = RabbitEvents(server.url, "fastchat", "archive")
        async with started(events):
            assert await events.send([outgoing(0)]) == 1
            await asyncio.to_thread(server.stop)
            # Whoever waits for confirmations learns that they do not come.
            assert await events.send([outgoing(1)]) == 0
            await until(lambda: events.problem)
            await asyncio.to_thread(server.start)
            await until(lambda: events.problem is None)
            assert await events.send([outgoing(1)]) == 1
        kept = await all_ids_in(server.url, "archive")
    # What the broker had and could not confirm any more is there twice.
    assert set(kept) == {"id-0", "id-1"}


@pytest.mark.timeout(180)
async def test_a_broker_short_of_memory_is_waited_for() -> None:
    with running(RabbitMQ()) as server:
        events = RabbitEvents(server.url, "fastchat", "archive")
        async with started(events):
            await asyncio.to_thread(server.control, "set_vm_memory_high_watermark", "0.000001")
            sending = asyncio.create_task(events.send([outgoing(1)]))
            await until(lambda: "short of memory" in (events.problem or ""))
            # Nothing more is put behind it while the broker reads nothing.
            assert await events.send([outgoing(2)]) == 0
            await asyncio.to_thread(server.control, "set_vm_memory_high_watermark", "0.4")
            async with asyncio.timeout(WAIT_S):
                assert await sending == 1
            await until(lambda: events.problem is None)
            assert await events.send([outgoing(2)]) == 1
        assert await ids_in(server.url, "archive", 2) == ["id-1", "id-2"]


@pytest.mark.timeout(180)
async def test_the_bus_keeps_a_bounded_amount_for_a_broker_short_of_memory() -> None:
    got: list[bytes] = []
    with running(RabbitMQ()) as server:
        bus, other = RabbitBus(server.url, "fastchat"), RabbitBus(server.url, "fastchat")
        bus.listen(lambda subject, payload: None, lambda: None)
        other.listen(lambda subject, payload: got.append(payload[:1]), lambda: None)
        other.subscribe("fc.nodes")
        async with started(bus), started(other):
            await asyncio.to_thread(server.control, "set_vm_memory_high_watermark", "0.000001")
            bus.publish("fc.nodes", b"a")
            await until(lambda: "short of memory" in (bus.problem or ""))
            # Those in the sockets between are few beside these.
            for _ in range(3 * MAX_WAITING_BYTES // 500_000):
                bus.publish("fc.nodes", b"b" * 500_000)
                await asyncio.sleep(0)
            assert bus.forgotten > 0
            await asyncio.to_thread(server.control, "set_vm_memory_high_watermark", "0.4")
            await until(lambda: bus.problem is None)
            bus.publish("fc.nodes", b"c")
            await until(lambda: b"c" in got)
    assert got[0] == b"a"
