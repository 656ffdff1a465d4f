"""/readyz on real services: what hangs or is gone is found out by trying, and said."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients import Document, get, get_json
from tests.integration.cluster import chat_of_nodes
from tests.server_process import ServerProcess
from tests.services import nats, postgres
from tests.services.nats import Nats
from tests.services.postgres import Postgres
from tests.services.service import running


@pytest.fixture
def database() -> Iterator[Postgres]:
    with postgres.running() as server:
        yield server


@pytest.fixture
def broker() -> Iterator[Nats]:
    with running(nats.Nats()) as server:
        yield server


async def ready(server: ServerProcess) -> tuple[int, Document]:
    return await get_json(server.http, "/readyz")


async def wait_until(server: ServerProcess, wanted: int) -> Document:
    """What /readyz says as soon as it answers with this status."""
    async with asyncio.timeout(60):
        while True:
            status, found = await ready(server)
            if status == wanted:
                return found


@pytest.mark.timeout(180)
async def test_a_part_that_hangs_or_is_gone_is_found_out(database: Postgres, broker: Nats) -> None:
    with chat_of_nodes(broker.url, database=database) as nodes:
        server = await asyncio.to_thread(nodes.start)
        found = await wait_until(server, 200)
        assert {"store": "ok", "bus": "ok"}.items() <= found["parts"].items()

        database.pause()
        try:
            found = await wait_until(server, 503)
            assert found["reason"].startswith("store: ")
            assert found["parts"]["bus"] == "ok"
        finally:
            database.resume()
        await wait_until(server, 200)

        broker.pause()
        try:
            found = await wait_until(server, 503)
            assert found["reason"].startswith("bus: ")
            assert found["parts"]["store"] == "ok"
        finally:
            broker.resume()
        await wait_until(server, 200)

        metrics = (await get(server.http, "/metrics"))[1].decode()
        for sample in (
            'fastchat_available{part="bus"} 1.0',
            "fastchat_nodes 1.0",
            "fastchat_connections 0.0",
        ):
            assert sample in metrics.splitlines()


@pytest.mark.timeout(120)
async def test_a_broker_for_events_alone_may_be_away(broker: Nats, tmp_path: Any) -> None:
    def start() -> ServerProcess:
        return ServerProcess(
            f"store.url=sqlite://{tmp_path}/chat.db", "broker.inbox=on", arguments=("--broker", broker.url)
        )

    server = await asyncio.to_thread(start)
    try:
        assert (await ready(server))[1]["parts"]["broker"] == "ok"
        await asyncio.to_thread(broker.kill)
        async with asyncio.timeout(60):
            while True:
                status, found = await ready(server)
                assert (status, found["status"]) == (200, "ready")
                if found["parts"]["broker"] != "ok":
                    break
        assert 'fastchat_available{part="broker"} 0.0' in (await get(server.http, "/metrics"))[1].decode()
    finally:
        assert await asyncio.to_thread(server.stop) == 0
