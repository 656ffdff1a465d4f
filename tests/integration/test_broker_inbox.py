"""What every broker promises of commands from other services, on real brokers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.brokers import LOOK_EVERY_S, TIMEOUT_S, Kind, Worker, new_name, until
from tests.brokers import kind as kind
from tests.brokers import quiet as quiet
from tests.outsiders import Kept, Outsider
from tests.services.proxy import Proxy
from tests.services.service import running

# Some start a broker of their own twice, and RabbitMQ takes seconds for it.
pytestmark = pytest.mark.timeout(180)


@asynccontextmanager
async def workers(kind: Kind, name: str, count: int = 1, url: str = "") -> AsyncIterator[list[Worker]]:
    made = [Worker(kind.inbox(url or kind.url, name)) for _ in range(count)]
    async with AsyncExitStack() as stack:
        for worker in made:
            stack.push_async_callback(worker.inbox.close)
            await worker.inbox.start()
        for worker in made:
            await until(lambda worker=worker: worker.inbox.problem is None, "connected")  # type: ignore[misc]
        yield made


async def dead_letters(service: Outsider, name: str, count: int) -> list[Kept]:
    async with asyncio.timeout(20):
        while len(found := await service.dead_letters(name)) < count:
            pass
    return found


async def nothing_waits(service: Outsider, name: str) -> None:
    """A broker may take a moment to note what it was told."""
    async with asyncio.timeout(TIMEOUT_S):
        while await service.waiting(name):  # noqa: ASYNC110 - it may be about anything
            await asyncio.sleep(LOOK_EVERY_S)


async def test_commands_come_in_order_and_are_gone_once_accepted(kind: Kind) -> None:
    name = new_name()
    async with kind.another(kind.url) as service:
        async with workers(kind, name) as (worker,):
            for number in range(50):
                await service.send_command(name, b"%d" % number, f"id-{number}")
            await until(lambda: len(worker.taken) == 50, "all taken")
            assert worker.bodies == [b"%d" % number for number in range(50)]
            assert [delivery.id for delivery in worker.taken] == [f"id-{number}" for number in range(50)]
            for delivery in worker.taken:
                delivery.accept()
        await nothing_waits(service, name)


async def test_what_is_rejected_becomes_a_dead_letter_with_the_reason(kind: Kind) -> None:
    name = new_name()
    async with kind.another(kind.url) as service:
        async with workers(kind, name) as (worker,):
            await service.send_command(name, b"\x00 not JSON", "mine")
            await until(lambda: worker.taken, "taken")
            worker.taken[0].reject("this is no JSON: begin with {")
            (letter,) = await dead_letters(service, name, 1)
        assert letter.body == b"\x00 not JSON"
        assert letter.reason == "this is no JSON: begin with {"
        await nothing_waits(service, name)


async def test_what_is_put_off_comes_again(kind: Kind) -> None:
    name = new_name()
    async with kind.another(kind.url) as service, workers(kind, name) as (worker,):
        await service.send_command(name, b"later", "mine")
        await until(lambda: worker.taken, "taken")
        worker.taken[0].retry()
        await until(lambda: len(worker.taken) == 2, "taken again")
        assert (worker.taken[1].body, worker.taken[1].id) == (b"later", "mine")
        worker.taken[1].accept()


async def test_each_command_goes_to_one_of_several_nodes(kind: Kind) -> None:
    name = new_name()
    async with kind.another(kind.url) as service, workers(kind, name, 3) as nodes:
        for number in range(60):
            await service.send_command(name, b"%d" % number)
        await until(lambda: sum(len(node.taken) for node in nodes) >= 60, "all taken")
        for node in nodes:
            for delivery in node.taken:
                delivery.accept()
        taken = sorted(int(body) for node in nodes for body in node.bodies)
        assert taken == list(range(60))


async def test_what_a_node_that_died_has_not_answered_goes_to_another(kind: Kind) -> None:
    name = new_name()
    async with kind.another(kind.url) as service:
        async with workers(kind, name) as (dying,):
            for number in range(20):
                await service.send_command(name, b"%d" % number)
            await until(lambda: len(dying.taken) == 20, "all taken")
            for delivery in dying.taken[:5]:
                delivery.accept()
        # Nothing of what is left has been answered, as after kill -9.
        async with workers(kind, name) as (heir,):
            await until(lambda: len({*heir.bodies}) == 15, "all taken over")
            assert {*heir.bodies} == {b"%d" % number for number in range(5, 20)}
            for delivery in heir.taken:
                delivery.accept()
        await nothing_waits(service, name)


async def test_no_more_than_256_are_unanswered_and_all_come_in_the_end(kind: Kind) -> None:
    name = new_name()
    async with kind.another(kind.url) as service, workers(kind, name) as (worker,):
        for number in range(600):
            await service.send_command(name, b"%d" % number)
        await until(lambda: len(worker.taken) >= 256, "256 taken")
        answered = 0
        while len({*worker.bodies}) < 600 or answered < len(worker.taken):
            assert len(worker.taken) - answered <= 256
            for delivery in worker.taken[answered : answered + 50]:
                delivery.accept()
            answered = min(answered + 50, len(worker.taken))
            before = len(worker.taken)
            if before < 600:
                await until(lambda before=before: len(worker.taken) > before, "more")  # type: ignore[misc]
        assert {*worker.bodies} == {b"%d" % number for number in range(600)}


async def test_what_is_worked_on_for_long_is_not_given_to_another(kind: Kind) -> None:
    name = new_name()
    async with kind.another(kind.url) as service, workers(kind, name, 2) as nodes:
        await service.send_command(name, b"slow")
        await until(lambda: any(node.taken for node in nodes), "taken")
        # Three times as long as a dead node's would take to come again.
        await asyncio.sleep(3.0)
        taken = [delivery for node in nodes for delivery in node.taken]
        assert len(taken) == 1
        taken[0].accept()


async def test_commands_come_when_the_broker_is_back(kind: Kind) -> None:
    name = new_name()
    with Proxy(kind.shared.server().port) as proxy:
        async with (
            kind.another(kind.url) as service,
            workers(kind, name, url=proxy.url(kind.url)) as (worker,),
        ):
            await service.send_command(name, b"before")
            await until(lambda: worker.taken, "taken")
            for number, trouble in enumerate((proxy.cut, proxy.hold)):
                trouble()
                await until(lambda: worker.inbox.problem, "noticed", 8.0)
                await service.send_command(name, b"meanwhile %d" % number)
                proxy.restore()
                wanted = b"meanwhile %d" % number
                await until(lambda wanted=wanted: wanted in worker.bodies, "taken")  # type: ignore[misc]
            for delivery in worker.taken:
                delivery.accept()


async def test_commands_outlive_the_broker(kind: Kind) -> None:
    name = new_name()
    with running(kind.service()) as server:
        async with workers(kind, name, url=server.url) as (worker,):
            async with kind.another(server.url) as service:
                await service.send_command(name, b"first")
                await until(lambda: worker.taken, "taken")
            await asyncio.to_thread(server.pause)
            await until(lambda: worker.inbox.problem, "pause noticed", 8.0)
            await asyncio.to_thread(server.resume)
            await until(lambda: worker.inbox.problem is None, "connected again")
            await asyncio.to_thread(server.restart)
            async with kind.another(server.url) as service:
                await service.send_command(name, b"second")
            await until(lambda: b"second" in worker.bodies, "taken")
            for delivery in worker.taken:
                delivery.accept()
