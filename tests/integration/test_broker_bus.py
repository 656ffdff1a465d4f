"""What every bus promises, on real brokers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from fastchat.broker.bus import MAX_PAYLOAD_BYTES, MAX_WAITING_BYTES, BusLink
from fastchat.broker.interface import BrokerError
from tests.brokers import Kind, Node, hears, new_name, until
from tests.brokers import kind as kind
from tests.brokers import quiet as quiet
from tests.services.proxy import Proxy
from tests.services.service import running

# Some start a broker of their own twice, and RabbitMQ takes seconds for it.
pytestmark = pytest.mark.timeout(180)


@asynccontextmanager
async def nodes(kind: Kind, count: int, url: str = "") -> AsyncIterator[list[Node]]:
    name = new_name()
    made = [Node(kind.bus(url or kind.url, name)) for _ in range(count)]
    async with AsyncExitStack() as stack:
        for node in made:
            stack.push_async_callback(node.bus.close)
            await node.bus.start()
        for node in made:
            await until(lambda node=node: node.bus.problem is None, "connected")  # type: ignore[misc]
        yield made


async def test_all_who_listen_hear_it_and_nobody_else(kind: Kind) -> None:
    async with nodes(kind, 4) as (sender, one, other, outsider):
        one.subscribe("a.one")
        other.subscribe("a.one")
        outsider.subscribe("a.other")
        await hears(sender, one, other, outsider)
        sender.bus.publish("a.one", b"hello")
        sender.bus.publish("a.other", b"end")
        await until(lambda: one.heard and other.heard and outsider.heard, "heard")
        assert one.heard == other.heard == [("a.one", b"hello")]
        assert outsider.heard == [("a.other", b"end")]


async def test_a_senders_payloads_come_in_order_whatever_their_subject(kind: Kind) -> None:
    async with nodes(kind, 2) as (sender, receiver):
        receiver.subscribe("s.1", "s.2", "s.3")
        await hears(sender, receiver)
        sent = [(f"s.{number % 3 + 1}", b"%d" % number) for number in range(3000)]
        for place, (subject, payload) in enumerate(sent):
            sender.bus.publish(subject, payload)
            if place % 50 == 0:
                await asyncio.sleep(0)
        await until(lambda: len(receiver.heard) >= len(sent), "all heard")
        assert receiver.heard == sent


async def test_two_chats_at_one_broker_do_not_hear_each_other(kind: Kind) -> None:
    async with nodes(kind, 2) as (sender, receiver), nodes(kind, 2) as (stranger, stranger2):
        receiver.subscribe("a")
        stranger.subscribe("a")
        await hears(sender, receiver)
        await hears(stranger2, stranger)
        sender.bus.publish("a", b"ours")
        await until(lambda: receiver.heard, "heard")
        stranger2.bus.publish("a", b"theirs")
        await until(lambda: stranger.heard, "heard")
        assert stranger.heard == [("a", b"theirs")]


async def test_any_bytes_pass_up_to_the_limit(kind: Kind) -> None:
    payloads = [b"", bytes(range(256)), b"\r\n", b"x" * MAX_PAYLOAD_BYTES, b"end"]
    async with nodes(kind, 2) as (sender, receiver):
        receiver.subscribe("a")
        await hears(sender, receiver)
        for payload in payloads:
            sender.bus.publish("a", payload)
        await until(lambda: len(receiver.heard) >= len(payloads), "all heard")
        assert [payload for _, payload in receiver.heard] == payloads


async def test_what_is_larger_is_left_out_and_counted(kind: Kind) -> None:
    async with nodes(kind, 2) as (sender, receiver):
        receiver.subscribe("a")
        await hears(sender, receiver)
        sender.bus.publish("a", b"x" * (MAX_PAYLOAD_BYTES + 1))
        sender.bus.publish("a", b"next")
        await until(lambda: receiver.heard, "heard")
        assert receiver.heard == [("a", b"next")]
        assert isinstance(sender.bus, BusLink)
        assert sender.bus.forgotten == 1


async def test_who_has_unsubscribed_hears_no_more(kind: Kind) -> None:
    async with nodes(kind, 2) as (sender, receiver):
        receiver.subscribe("a", "b")
        await hears(sender, receiver)
        receiver.bus.unsubscribe("a")
        receiver.subjects.remove("a")
        await hears(sender, receiver)
        await receiver.bus.probe()
        sender.bus.publish("a", b"no")
        sender.bus.publish("b", b"yes")
        await until(lambda: receiver.heard, "heard")
        assert receiver.heard == [("b", b"yes")]
        receiver.subscribe("a")
        await hears(sender, receiver)


async def test_all_slots_of_a_chat_may_be_listened_to(kind: Kind) -> None:
    subjects = [f"slot.{number}" for number in range(256)]
    async with nodes(kind, 2) as (sender, receiver):
        receiver.subscribe(*subjects)
        await hears(sender, receiver)
        for subject in subjects:
            sender.bus.publish(subject, subject.encode())
        await until(lambda: len(receiver.heard) >= len(subjects), "all heard")
        assert receiver.heard == [(subject, subject.encode()) for subject in subjects]


async def test_a_listener_that_fails_hears_what_comes_next(kind: Kind) -> None:
    heard: list[bytes] = []

    def fail(subject: str, payload: bytes) -> None:
        heard.append(payload)
        raise RuntimeError("a fault above")

    async with nodes(kind, 2) as (sender, receiver):
        receiver.subscribe("a")
        await hears(sender, receiver)
        receiver.bus.listen(fail, lambda: None)
        with capture_logs() as logged:
            sender.bus.publish("a", b"1")
            sender.bus.publish("a", b"2")
            await until(lambda: len(heard) == 2, "heard both")
        assert [line["event"] for line in logged] == ["bus listener failed"] * 2
        assert receiver.bus.problem is None


async def test_a_probe_needs_a_connection(kind: Kind) -> None:
    async with nodes(kind, 1) as (node,):
        await node.bus.probe()
        await node.bus.close()
        with pytest.raises(BrokerError):
            await node.bus.probe()


async def probe_for_ever(node: Node) -> None:
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(node.bus.probe(), 1)


async def test_probes_of_a_connection_that_is_lost_end_with_an_error_of_ours(kind: Kind) -> None:
    port = urlsplit(kind.url).port
    assert port is not None
    with Proxy(port) as proxy:
        async with nodes(kind, 1, proxy.url(kind.url)) as (node,):
            await node.bus.probe()
            proxy.cut()
            with pytest.raises(BrokerError):
                await probe_for_ever(node)


async def test_what_was_published_before_the_end_is_sent(kind: Kind) -> None:
    async with nodes(kind, 2) as (sender, receiver):
        receiver.subscribe("a")
        await hears(sender, receiver)
        for number in range(100):
            sender.bus.publish("a", b"%d" % number)
        await sender.bus.close()
        await until(lambda: len(receiver.heard) >= 100, "all heard")
        assert receiver.heard == [("a", b"%d" % number) for number in range(100)]


async def hears_again(sender: Node, receiver: Node) -> None:
    await until(lambda: sender.bus.problem is receiver.bus.problem is None, "connected again")
    await hears(sender, receiver)
    sender.bus.publish("a", b"again")
    # Before it there may be what the broker had of a connection that is lost.
    await until(lambda: ("a", b"again") in receiver.heard, "heard again")


async def test_both_come_back_when_the_way_is_cut_or_held(kind: Kind) -> None:
    with Proxy(kind.shared.server().port) as proxy:
        async with nodes(kind, 2, proxy.url(kind.url)) as (sender, receiver):
            receiver.subscribe("a")
            await hears(sender, receiver)
            for trouble, connections in ((proxy.cut, 2), (proxy.hold, 3)):
                trouble()
                await until(lambda: sender.bus.problem and receiver.bus.problem, "noticed", 8.0)
                sender.bus.publish("a", b"lost")
                proxy.restore()
                await hears_again(sender, receiver)
                assert receiver.connections == connections


async def test_a_broker_that_takes_nothing_costs_bounded_memory(kind: Kind) -> None:
    with Proxy(kind.shared.server().port) as proxy:
        async with nodes(kind, 2, proxy.url(kind.url)) as (sender, receiver):
            assert isinstance(sender.bus, BusLink)
            receiver.subscribe("a")
            await hears(sender, receiver)
            proxy.hold()
            for _ in range(100):
                sender.bus.publish("a", b"x" * MAX_PAYLOAD_BYTES)
                await asyncio.sleep(0)
                assert sender.bus._waiting_bytes <= MAX_WAITING_BYTES + MAX_PAYLOAD_BYTES
            assert sender.bus.forgotten > 50
            await until(lambda: sender.bus.problem and receiver.bus.problem, "noticed", 8.0)
            proxy.restore()
            await hears_again(sender, receiver)


async def test_both_come_back_when_the_broker_does(kind: Kind) -> None:
    with running(kind.service()) as server:
        async with nodes(kind, 2, server.url) as (sender, receiver):
            receiver.subscribe("a")
            await hears(sender, receiver)
            await asyncio.to_thread(server.pause)
            await until(lambda: sender.bus.problem and receiver.bus.problem, "pause noticed", 8.0)
            await asyncio.to_thread(server.resume)
            await hears_again(sender, receiver)
            await asyncio.to_thread(server.kill)
            await until(lambda: sender.bus.problem and receiver.bus.problem, "death noticed", 8.0)
            await asyncio.to_thread(server.start)
            await hears_again(sender, receiver)
            assert receiver.connections == 3


async def test_it_starts_without_a_broker_and_connects_when_there_is_one(kind: Kind) -> None:
    service = kind.service()
    node = Node(kind.bus(service.url, new_name()))
    try:
        await node.bus.start()
        assert f"127.0.0.1:{service.port}" in (node.bus.problem or "")
        node.bus.publish("a", b"nobody")
        await asyncio.to_thread(service.start)
        await until(lambda: node.bus.problem is None, "connected")
        assert node.connections == 1
    finally:
        await node.bus.close()
        await asyncio.to_thread(service.close)
