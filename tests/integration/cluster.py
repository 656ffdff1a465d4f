"""Servers that are one chat: on one database, with one broker between them."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Protocol

from tests.clients import Document, JsonLinesClient
from tests.server_process import ServerProcess
from tests.services import nats, postgres, rabbitmq, redis

PASSWORD = "correct horse battery"
BROKERS: dict[str, Callable[[], str]] = {
    "nats": lambda: nats.SHARED.server().url,
    "redis": lambda: redis.SHARED.server().url,
    "rabbitmq": lambda: rabbitmq.SHARED.server().url,
}
USUAL = (
    "auth.registration=on",
    "auth.registrations_per_address=10000",
    "auth.password_memory_bytes=8388608",
    "auth.password_rounds=1",
    "limits.messages_per_s=0",
    "limits.messages_per_s_per_user=0",
    "rooms.presence_interval_ms=20",
)


class Database(Protocol):
    """A PostgreSQL of the test's own, or the shared one."""

    def create_database(self) -> str: ...

    def drop_database(self, url: str) -> None: ...


class Nodes:
    """The servers of one chat; ``settings`` are of all of them."""

    def __init__(self, stack: ExitStack, store: str, broker: str, settings: tuple[str, ...]) -> None:
        self._stack = stack
        self.store = store
        self.broker = broker
        self.name = f"test-{token_hex(6)}"
        """At the broker."""
        # What a killed server leaves behind goes with the test.
        self.data_home = stack.enter_context(TemporaryDirectory())
        self._environment = {"XDG_DATA_HOME": self.data_home}
        self._settings = (*USUAL, f"cluster.name={self.name}", f"broker.name={self.name}", *settings)

    def start(self, *settings: str, store: str | None = None, broker: str | None = None) -> ServerProcess:
        """One more, which reaches the services at other addresses where these are given."""
        urls = (f"store.url={store or self.store}", f"broker.url={broker or self.broker}")
        server = ServerProcess(*self._settings, *urls, *settings, environment=self._environment)
        return self._stack.enter_context(server)

    def start_pair(self, *settings: str) -> tuple[ServerProcess, ServerProcess]:
        """Two more, both at once."""
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(lambda _: self.start(*settings), range(2))
        return first, second


@contextmanager
def chat_of_nodes(broker: str, *settings: str, database: Database | None = None) -> Iterator[Nodes]:
    """A chat on a new database, with no node yet; ``broker`` is its address."""
    server = postgres.SHARED.server() if database is None else database
    store = server.create_database()
    try:
        with ExitStack() as stack:
            yield Nodes(stack, store, broker, settings)
    finally:
        server.drop_database(store)


async def guest(node: ServerProcess, user: str, *rooms: str) -> JsonLinesClient:
    """Somebody without an account, in these rooms."""
    client = await JsonLinesClient.open(node.line)
    await client.hello(user)
    for room in rooms:
        await client.join(room)
    return client


async def account(node: ServerProcess, user: str, *rooms: str, new: bool = False) -> JsonLinesClient:
    """Somebody with an account, which is made where it is ``new``, in these rooms."""
    client = await JsonLinesClient.open(node.line)
    answer = await client.ask("register" if new else "hello", user=user, password=PASSWORD)
    assert answer["type"] == "welcome", answer
    for room in rooms:
        await client.join(room)
    return client


async def told(client: JsonLinesClient, type: str, **fields: object) -> Document:
    """As `expect`, of what may have come before an answer, too."""
    wanted = {"type": type, **fields}
    for document in client.skipped:
        if wanted.items() <= document.items():
            return document
    return await client.expect(type, **fields)
