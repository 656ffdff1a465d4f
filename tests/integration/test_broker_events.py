"""What every broker promises of events to other services, on real brokers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from fastchat.broker.interface import EventSink, Outgoing
from tests.brokers import Kind, new_name, until
from tests.brokers import kind as kind
from tests.brokers import quiet as quiet
from tests.outsiders import Kept
from tests.services.proxy import Proxy
from tests.services.service import running

# Some start a broker of their own twice, and RabbitMQ takes seconds for it.
pytestmark = pytest.mark.timeout(180)

ROOMS = ["lobby", "team.red", "a..b", "x.", "@alice,bob", "@alice,~zoë", "e-1_2"]


def events(count: int, first: int = 0, size: int = 200) -> list[Outgoing]:
    return [
        Outgoing(f"message.{ROOMS[number % len(ROOMS)]}", f"id-{number}", b"%d " % number + b"x" * size)
        for number in range(first, first + count)
    ]


def kept(sent: Sequence[Outgoing]) -> list[Kept]:
    return [Kept(event.key, event.id, event.body) for event in sent]


@asynccontextmanager
async def sink(kind: Kind, url: str, name: str) -> AsyncIterator[EventSink]:
    made = kind.events(url, name)
    try:
        await made.start()
        await until(lambda: made.problem is None, "connected")
        yield made
    finally:
        await made.close()


async def test_events_are_kept_in_order_with_key_id_and_body(kind: Kind) -> None:
    name = new_name()
    sent = [*events(300), Outgoing("session.connected", "other", b"{}")]
    async with sink(kind, kind.url, name) as out, kind.another(kind.url) as service:
        assert await out.send(sent[:100]) == 100
        assert await out.send(sent[100:]) == 201
        assert await out.send([]) == 0
        assert await service.events(name) == kept(sent)


async def test_large_events_pass(kind: Kind) -> None:
    name = new_name()
    sent = events(8, size=500_000)
    async with sink(kind, kind.url, name) as out, kind.another(kind.url) as service:
        assert await out.send(sent) == len(sent)
        assert await service.events(name) == kept(sent)


async def test_callers_take_turns(kind: Kind) -> None:
    name = new_name()
    one, other = events(200), events(200, first=200)
    async with sink(kind, kind.url, name) as out, kind.another(kind.url) as service:
        assert [*await asyncio.gather(out.send(one), out.send(other))] == [200, 200]
        assert await service.events(name) == kept([*one, *other])


async def test_without_a_broker_nothing_is_confirmed_and_nothing_raised(kind: Kind) -> None:
    service = kind.service()
    out = kind.events(service.url, new_name())
    try:
        await out.start()
        assert out.problem is not None
        assert await out.send(events(10)) == 0
    finally:
        await out.close()
        await asyncio.to_thread(service.close)


async def test_what_was_not_confirmed_is_sent_again_and_nothing_is_missing(kind: Kind) -> None:
    """The way to the broker is cut again and again while events go out."""
    name = new_name()
    sent = events(4000)
    with Proxy(kind.shared.server().port) as proxy:
        async with sink(kind, proxy.url(kind.url), name) as out:
            confirmed = cuts = 0
            while confirmed < len(sent):
                await until(lambda: out.problem is None, "connected")
                sending = asyncio.create_task(out.send(sent[confirmed : confirmed + 1000]))
                if cuts < 4:
                    cuts += 1
                    await asyncio.sleep(0)
                    await asyncio.to_thread(proxy.cut)
                    await asyncio.to_thread(proxy.restore)
                confirmed += await sending
        async with kind.another(kind.url) as service:
            assert_all_there(await service.events(name), sent, confirmed_first=len(sent))


async def test_the_count_is_right_when_the_broker_dies_in_between(kind: Kind) -> None:
    name = new_name()
    sent = events(20_000)
    with running(kind.service()) as server:
        async with sink(kind, server.url, name) as out:
            assert await out.send(sent[:100]) == 100
            sending = asyncio.create_task(out.send(sent[100:]))
            await asyncio.sleep(0)
            await asyncio.to_thread(server.kill)
            confirmed = 100 + await sending
            await until(lambda: out.problem, "noticed", 8.0)
            await asyncio.to_thread(server.start)
            await until(lambda: out.problem is None, "connected again")
            async with kind.another(server.url) as service:
                assert_all_there(await service.events(name), sent, confirmed_first=confirmed)
                # The rest goes out again, with the same ids.
                rest = sent[confirmed : confirmed + 2000]
                assert await out.send(rest) == len(rest)
                assert_all_there(await service.events(name), sent, confirmed_first=confirmed + len(rest))


def assert_all_there(found: list[Kept], sent: Sequence[Outgoing], confirmed_first: int) -> None:
    """What was confirmed is kept, in order; receivers drop repeats by their ids."""
    first_of: dict[str, Kept] = {}
    for event in found:
        first_of.setdefault(event.id, event)
    assert [*first_of.values()][:confirmed_first] == kept(sent[:confirmed_first])


async def test_a_paused_broker_is_noticed_and_what_it_had_counts_when_it_goes_on(kind: Kind) -> None:
    name = new_name()
    sent = events(50)
    with running(kind.service()) as server:
        async with sink(kind, server.url, name) as out:
            await asyncio.to_thread(server.pause)
            async with asyncio.timeout(20):
                # Not every thread of it stops at once.
                while await out.send(sent) == len(sent):
                    pass
            await until(lambda: out.problem, "noticed", 8.0)
            await asyncio.to_thread(server.resume)
            await until(lambda: out.problem is None, "connected again")
            assert await out.send(sent) == len(sent)
            async with kind.another(server.url) as service:
                assert_all_there(await service.events(name), sent, confirmed_first=len(sent))
