"""The nodes of one chat that is broken again and again, and what they stand on."""

import asyncio
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from random import Random
from secrets import token_hex

import argon2

from fastchat.store import Account
from fastchat.store.postgres.store import PostgresStore
from tests.crash.workload import KEEPER, PASSWORD
from tests.pump import Pump
from tests.server_process import ServerProcess
from tests.services.nats import Nats
from tests.services.postgres import Postgres
from tests.services.proxy import Proxy
from tests.services.rabbitmq import RabbitMQ
from tests.services.redis import Redis

NODE_TIMEOUT_S = 1.0
QUEUE = "fastchat-crash"

SETTINGS = (
    "limits.messages_per_s=0",
    "limits.messages_per_s_per_user=0",
    "limits.connections_per_address=0",
    "rooms.history_page=1000",
    f"cluster.node_timeout_s={NODE_TIMEOUT_S}",
    "cluster.compare_interval_s=0.5",
    "fanout.high_water_bytes=8192",
    "fanout.low_water_bytes=4096",
    "broker.keep_entries=0",
)

Breakable = Postgres | Nats | Redis | RabbitMQ
BROKERS: Mapping[str, Callable[[], Nats | Redis | RabbitMQ]] = {
    "nats": Nats,
    "redis": Redis,
    "rabbitmq": RabbitMQ,
}


class Node:
    """One server after the other on the same ports, which reaches its services by proxies of its own."""

    def __init__(self, name: str, addresses: tuple[str, str], settings: tuple[str, ...], log: Path) -> None:
        self.name = name
        self.http, self.line = addresses
        self.tracebacks: list[str] = []
        self._settings = settings
        self._log = log
        self._server: ServerProcess | None = None

    async def start(self) -> None:
        """Returns when it is ready."""
        arguments = ("--http", self.http, "--line", self.line)
        self._server = await asyncio.to_thread(ServerProcess, *self._settings, arguments=arguments)

    def pause(self) -> None:
        """Stops it as it stands: its connections stay."""
        if self._server is not None:
            self._server.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on."""
        if self._server is not None:
            self._server.signal(signal.SIGCONT)

    async def kill(self) -> None:
        """SIGKILL. May be called where it does not run."""
        server, self._server = self._server, None
        if server is not None:
            await asyncio.to_thread(server.kill)
            self._look_at(server)

    async def stop(self) -> None:
        """SIGTERM; it has to end well."""
        assert self._server is not None
        server, self._server = self._server, None
        code = await asyncio.to_thread(server.stop)
        self._look_at(server)
        assert code == 0, f"{self.name} exited with {code}:\n{server.log}"

    def _look_at(self, server: ServerProcess) -> None:
        with self._log.open("a") as log:
            log.write(server.log)
        if "Traceback" in server.log:
            self.tracebacks.append(server.log)


class AnyNode(Mapping[str, str]):
    """HOST:PORT by transport, of another node each time that it is looked at."""

    def __init__(self, nodes: list[Node], random: Random) -> None:
        self._nodes = nodes
        self._random = random

    def __getitem__(self, transport: str) -> str:
        node = self._random.choice(self._nodes)
        return {"frames": node.http, "lines": node.line}[transport]

    def __iter__(self) -> Iterator[str]:
        return iter(("frames", "lines"))

    def __len__(self) -> int:
        return 2


class Chat:
    """Some nodes on one PostgreSQL and one broker. An async context manager that leaves nothing."""

    def __init__(self, directory: Path, broker: str, count: int, addresses: Callable[[], str]) -> None:
        """``addresses()`` gives a free HOST:PORT."""
        self.name = f"crash-{token_hex(4)}"
        self.database = Postgres()
        self.broker = BROKERS[broker]()
        self.links: dict[str, Proxy] = {}
        self.nodes: list[Node] = []
        self.store_url = ""
        self._directory = directory
        self._count = count
        self._addresses = addresses
        self._stack = ExitStack()

    async def __aenter__(self) -> "Chat":
        try:
            await asyncio.to_thread(self._start_services)
            await asyncio.to_thread(appoint, self.store_url)
            for number in range(self._count):
                node = self._make_node(number)
                self.nodes.append(node)
                await node.start()
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._leave()

    async def _leave(self) -> None:
        for node in self.nodes:
            node.resume()
            await node.kill()
        await asyncio.to_thread(self._stack.close)

    def _start_services(self) -> None:
        for service in (self.database, self.broker):
            self._stack.callback(service.close)
            service.start()
        self.store_url = self.database.create_database()

    def _make_node(self, number: int) -> Node:
        urls: dict[str, str] = {}
        for what, service, url in (
            ("store", self.database, self.store_url),
            ("broker", self.broker, self.broker.url),
        ):
            link = self._stack.enter_context(Proxy(service.port))
            self.links[f"{what} of node {number}"] = link
            urls[what] = link.url(url)
        settings: tuple[str, ...] = (*SETTINGS, f"store.url={urls['store']}", f"broker.url={urls['broker']}")
        settings += (f"cluster.name={self.name}", f"broker.name={self.name}", "server.control=off")
        if isinstance(self.broker, RabbitMQ):
            settings += (f"broker.queue={QUEUE}",)
        log = self._directory / f"node-{number}.log"
        return Node(f"node {number}", (self._addresses(), self._addresses()), settings, log)


def appoint(url: str) -> None:
    """Gives the rooms their keeper."""
    hasher = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    keeper = Account(KEEPER, KEEPER, password=hasher.hash(PASSWORD), operator=True)
    pump = Pump()
    store = PostgresStore(url, deliver=pump.deliver)
    try:
        assert pump.answer(lambda done: store.add_account(keeper, done)) is None
    finally:
        store.close()
