"""Workers on one database and one broker: one chat behind one port, whichever of them a client came to."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.clients import JsonLinesClient, get_json
from tests.integration.cluster import BROKERS, chat_of_nodes, guest
from tests.server_process import ServerProcess

WORKERS = 2
CLIENTS = 16


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    with chat_of_nodes(BROKERS["nats"]()) as nodes:
        yield nodes.start(f"server.workers={WORKERS}")


@pytest.fixture
async def clients(server: ServerProcess) -> AsyncIterator[list[JsonLinesClient]]:
    """So many that each worker has some."""
    async with AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(await guest(server, f"guest{number}", "lobby"))
            for number in range(CLIENTS)
        ]
        yield opened


@pytest.mark.timeout(120)
async def test_everybody_hears_everybody_in_one_order(
    server: ServerProcess, clients: list[JsonLinesClient]
) -> None:
    for number, client in enumerate(clients):
        await client.send("send", room="lobby", text=str(number), id=f"m{number}")
    orders = []
    for client in clients:
        heard = [await client.expect("message", room="lobby") for _ in range(CLIENTS)]
        assert [event["seq"] for event in heard] == [*range(1, CLIENTS + 1)]
        orders.append([event["text"] for event in heard])
    assert sorted(orders[0], key=int) == [str(number) for number in range(CLIENTS)]
    assert all(order == orders[0] for order in orders)


@pytest.mark.timeout(120)
async def test_each_worker_is_a_node_that_is_ready(server: ServerProcess) -> None:
    nodes: set[str] = set()
    async with asyncio.timeout(60):
        while len(nodes) < WORKERS:
            cluster = (await get_json(server.http, "/healthz"))[1]["cluster"]
            # Each knows of the others a moment after it is ready.
            if (cluster["nodes"], cluster["bus"]) == (WORKERS, "ok"):
                nodes.add(cluster["node"])
    _, report = await get_json(server.http, "/readyz")
    assert report["status"] == "ready"
    assert {"store": "ok", "bus": "ok"}.items() <= report["parts"].items()


@pytest.mark.timeout(120)
def test_the_operator_reaches_the_first_worker() -> None:
    with chat_of_nodes(BROKERS["nats"]()) as nodes:
        settings = (f"store.url={nodes.store}", f"cluster.name={nodes.name}")
        server = nodes.start(f"server.workers={WORKERS}", *settings)
        socket = Path(nodes.data_home, "fastchat", f"{nodes.name}.control")
        assert socket.is_socket()
        sets = [word for setting in settings for word in ("--set", setting)]
        made = subprocess.run(
            [sys.executable, "-m", "fastchat", "room", *sets, "create", "support"],
            env={**os.environ, "XDG_DATA_HOME": nodes.data_home},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (made.returncode, made.stderr) == (0, "")
        assert server.stop() == 0
        assert not socket.exists()


@pytest.mark.timeout(120)
async def test_a_killed_worker_loses_nothing_that_was_acknowledged(
    server: ServerProcess, clients: list[JsonLinesClient]
) -> None:
    sent = [await client.ask("send", room="lobby", text="before") for client in clients]
    assert sorted(answer["seq"] for answer in sent) == [*range(1, CLIENTS + 1)]
    os.kill(server.ready["workers"][1], signal.SIGKILL)
    await asyncio.to_thread(server.wait_for_log, "a worker serves again")
    for number in range(CLIENTS):
        async with await JsonLinesClient.open(server.line) as late:
            await late.hello(f"late{number}")
            joined = await late.join("lobby", after=0)
            assert joined["head"] == CLIENTS
            for seq in range(1, CLIENTS + 1):
                assert (await late.expect("message"))["seq"] == seq
