"""What only NATS has: streams that are there already, tokens, its limits."""

import asyncio
from collections.abc import Iterator
from typing import Any

import nats
import pytest
from nats.js.api import StreamConfig
from structlog.testing import capture_logs

from fastchat.broker.interface import BrokerError, Outgoing
from fastchat.broker.nats import streams, subjects
from fastchat.broker.nats.bus import NatsBus
from fastchat.broker.nats.client import Client
from fastchat.broker.nats.events import NatsEvents
from fastchat.broker.nats.inbox import NatsInbox
from tests.brokers import KINDS, Worker, new_name, until
from tests.outsiders.nats import NatsOutsider
from tests.services.nats import Nats
from tests.services.service import running


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What is logged of trouble that is made on purpose."""
    with capture_logs():
        yield


@pytest.fixture
def url() -> str:
    return KINDS["nats"].url


def event(number: int, size: int = 10) -> Outgoing:
    return Outgoing("message.lobby", f"id-{number}", b"x" * size)


async def test_the_stream_keeps_so_many_events(url: str) -> None:
    name = new_name()
    events, service = NatsEvents(url, name, keep_entries=10), await NatsOutsider.connect(url)
    try:
        await events.start()
        assert await events.send([event(number) for number in range(25)]) == 25
        assert [kept.id for kept in await service.events(name)] == [
            f"id-{number}" for number in range(15, 25)
        ]
    finally:
        await events.close()
        await service.close()


async def test_what_is_sent_again_is_confirmed_and_kept_once(url: str) -> None:
    name = new_name()
    events, service = NatsEvents(url, name), await NatsOutsider.connect(url)
    try:
        await events.start()
        assert await events.send([event(1), event(2)]) == 2
        assert await events.send([event(1), event(2), event(3)]) == 3
        assert [kept.id for kept in await service.events(name)] == ["id-1", "id-2", "id-3"]
    finally:
        await events.close()
        await service.close()


@pytest.mark.parametrize(
    ("own", "fault"),
    [
        ({"subjects": ["{name}.>"], "max_age": 3600}, None),
        ({"subjects": ["{name}.events.message.*"]}, "add that to its subjects"),
        ({"subjects": ["{name}.events.>"], "no_ack": True}, "no_ack"),
    ],
)
async def test_a_stream_that_is_there_is_used_where_it_fits(
    url: str, own: dict[str, object], fault: str | None
) -> None:
    name = new_name()
    patterns = own["subjects"]
    assert isinstance(patterns, list)
    config = own | {"subjects": [pattern.format(name=name) for pattern in patterns]}
    client = await nats.connect(url)
    events = NatsEvents(url, name)
    try:
        await client.jetstream().add_stream(StreamConfig(name=f"{name}-mine", **config))  # type: ignore[arg-type]
        await events.start()
        if fault is None:
            assert await events.send([event(1)]) == 1
            assert (await client.jetstream().stream_info(f"{name}-mine")).state.messages == 1
        else:
            assert fault in (events.problem or "")
            assert await events.send([event(1)]) == 0
    finally:
        await events.close()
        await client.close()


async def test_a_stream_that_is_removed_is_made_again(url: str) -> None:
    name = new_name()
    client = await nats.connect(url)
    events = NatsEvents(url, name)
    try:
        await events.start()
        await client.jetstream().delete_stream(subjects.stream(name, "events"))
        assert await events.send([event(1)]) == 0
        await until(lambda: events.problem is None, "connected again")
        assert await events.send([event(1)]) == 1
    finally:
        await events.close()
        await client.close()


async def test_an_event_that_is_too_large_is_named(url: str) -> None:
    events = NatsEvents(url, new_name())
    try:
        await events.start()
        assert await events.send([event(1), event(2, size=1 << 20), event(3)]) == 1
        assert "id-2" in (events.problem or "")
        assert "max_payload" in (events.problem or "")
        assert await events.send([event(3)]) == 1
        assert events.problem is None
    finally:
        await events.close()


async def test_a_connection_that_has_ended_is_lost_before_the_library_knows(url: str) -> None:
    client = Client(url)
    await client.open("test")
    try:
        transport: Any = client._transport
        transport._io_writer.transport.abort()
        await asyncio.sleep(0)  # uvloop has closed it now, and the library hears of it in the next turn
        with pytest.raises(ConnectionError, match="lost"):
            await client.flush()
    finally:
        await client.let_go()


async def test_without_jetstream_the_problem_says_what_to_do() -> None:
    class Plain(Nats):
        def command(self) -> list[str]:
            return [*super().command()[:5]]

    with running(Plain()) as server:
        events = NatsEvents(server.url, "plain")
        bus = NatsBus(server.url, "plain")
        try:
            await bus.start()
            await events.start()
            assert bus.problem is None
            assert "--jetstream" in (events.problem or "")
        finally:
            await events.close()
            await bus.close()


async def test_who_is_refused_learns_it_at_the_start_and_without_the_token() -> None:
    with running(Nats("--auth", "right-token")) as server:
        address = server.url.removeprefix("nats://")
        bus = NatsBus(f"nats://right-token@{address}", "secret")
        try:
            await bus.start()
            assert bus.problem is None
        finally:
            await bus.close()
        for wrong in (f"nats://wrong-token@{address}", f"nats://me:wrong-token@{address}"):
            with pytest.raises(BrokerError, match="refuses") as refused:
                await NatsBus(wrong, "secret").start()
            assert "wrong-token" not in str(refused.value)


async def test_tls_is_not_given_up_for_a_server_without_it(url: str) -> None:
    bus = NatsBus(url.replace("nats://", "tls://me:password@"), "tls")
    with pytest.raises(BrokerError, match="does not use TLS"):
        await bus.start()


async def test_a_command_without_an_id_is_named_by_the_stream(url: str) -> None:
    name = new_name()
    worker, service = Worker(NatsInbox(url, name)), await NatsOutsider.connect(url)
    try:
        await worker.inbox.start()
        await service.send_command(name, b"one")
        await service.send_command(name, b"two")
        await until(lambda: len(worker.taken) == 2, "taken")
        first, second = (delivery.id for delivery in worker.taken)
        assert first
        assert second
        assert first != second
        for delivery in worker.taken:
            delivery.accept()
    finally:
        await worker.inbox.close()
        await service.close()


@pytest.mark.parametrize(
    ("pattern", "subject", "does"),
    [
        ("a.>", "a.b.>", True),
        ("a.b.>", "a.b.>", True),
        ("a.*.>", "a.b.>", True),
        ("a.b.*", "a.b.>", False),
        ("a.b.c", "a.b", False),
        (">", "a", True),
        ("a.>", "a", False),
        ("a.*", "a.b", True),
        ("a.b", "a.*", False),
    ],
)
def test_which_subjects_a_stream_has(pattern: str, subject: str, does: bool) -> None:
    assert streams.covers(pattern, subject) is does
