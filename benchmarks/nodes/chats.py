"""Chats of one node or several, each on a database of its own; all share one PostgreSQL and the brokers."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from secrets import token_hex

from benchmarks.brokers import Broker
from benchmarks.processes import read_cpu_s, read_tree
from benchmarks.servers import Server, fastchat
from tests.services.postgres import Postgres, running


@dataclasses.dataclass(frozen=True)
class Chat:
    """Nodes that run, and what they stand on."""

    nodes: list[Server]
    database: Postgres
    broker: Broker | None

    def cpu_s(self) -> float:
        """Of the nodes together."""
        return sum(read_cpu_s(node.pid) for node in self.nodes)

    def services_cpu_s(self) -> float:
        """Of PostgreSQL and the broker, which other chats use too, at other times."""
        assert self.database.pid is not None
        used = sum(read_cpu_s(member) for member in read_tree(self.database.pid))
        return used + (0.0 if self.broker is None else self.broker.cpu_s())


@contextlib.contextmanager
def database() -> Iterator[Postgres]:
    """A PostgreSQL that syncs its commits, as it does by default."""
    with running(fast=False) as server:
        yield server


@contextlib.contextmanager
def chat(server: Postgres, nodes: int, broker: Broker | None = None, url: str = "") -> Iterator[Chat]:
    """Starts nodes on the server's core; without a broker a single one."""
    store = server.create_database()
    settings = [f"broker.url={url}", "broker.events=[]"] if broker is not None else []
    name = f"bench-{token_hex(4)}"
    settings += [f"cluster.name={name}", f"broker.name={name}", "server.control=off"]
    with contextlib.ExitStack() as stack:
        running_nodes = [stack.enter_context(fastchat(*settings, store=store)) for _ in range(nodes)]
        yield Chat(running_nodes, server, broker)
