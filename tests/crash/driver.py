"""Runs the server under load and kills it: `python -m tests.crash.driver --kills 50`.

Afterwards the checker has its say about the histories; they are kept where there is a fault, and with --keep.
"""

import argparse
import asyncio
import signal
import socket
import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import argon2
import orjson

from fastchat.store import Account, Draft, Facts, Kind
from fastchat.store.facts import apply, facts_of
from fastchat.store.sqlite.accounts import add_account
from fastchat.store.sqlite.schema import SEQ_BITS, connect
from tests.crash import checker
from tests.crash.history import FINAL_LOG
from tests.crash.program import conduct
from tests.crash.workload import KEEPER, PASSWORD, Archivist, Client, Director, Sender, World, cast, wait_for
from tests.server_process import ServerProcess

SHORTEST_LIFE_S = 0.05
LONGEST_LIFE_S = 1.5
LOAD_TIMEOUT_S = 30.0
END_TIMEOUT_S = 120.0

# Below the ports that the kernel gives to outgoing connections: a client that knocks while no server is there
# may otherwise be given the very port that it knocks at, and is connected to itself.
PORTS = range(20_000, 32_000)

SETTINGS = (
    "limits.messages_per_s=0",
    "limits.messages_per_s_per_user=0",
    "limits.connections_per_address=0",
    "rooms.history_page=1000",
)

# A few events fit the tiny ring, so whoever was away for a moment is served from the store.
CONFIG = """
[fanout]
high_water_bytes = 8192
low_water_bytes = 4096

[[rooms.classes]]
pattern = "tiny"
ring_bytes = 2048
"""


def pick_address(random: Random) -> str:
    """127.0.0.1 with a port that nobody listens on."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return f"127.0.0.1:{port}"


class Victim:
    """One server after the other on the same file and ports. An async context manager that leaves none."""

    def __init__(self, directory: Path, random: Random) -> None:
        self.database = directory / "chat.db"
        self.http, self.line = pick_address(random), pick_address(random)
        self.tracebacks: list[str] = []
        self._log = directory / "server.log"
        self._config = directory / "crash.toml"
        self._config.write_text(CONFIG)
        self._server: ServerProcess | None = None
        self._starting: asyncio.Future[ServerProcess] | None = None

    async def start(self) -> None:
        """Returns when it is ready."""
        arguments = ("--http", self.http, "--line", self.line, "--store", f"sqlite://{self.database}")
        self._starting = asyncio.ensure_future(
            asyncio.to_thread(ServerProcess, *SETTINGS, arguments=(*arguments, "--config", str(self._config)))
        )
        self._server = await asyncio.shield(self._starting)
        self._starting = None

    def strike(self) -> None:
        """SIGKILL now, within the caller's turn of the loop; `kill` clears up after it."""
        if self._server is not None:
            self._server.signal(signal.SIGKILL)

    async def kill(self) -> None:
        """SIGKILL, at once."""
        assert self._server is not None
        server, self._server = self._server, None
        await asyncio.to_thread(server.kill)
        self._look_at(server)

    async def stop(self) -> None:
        """SIGTERM; it has to end well."""
        assert self._server is not None
        server, self._server = self._server, None
        code = await asyncio.to_thread(server.stop)
        assert code == 0, f"the server exited with {code}:\n{server.log}"
        self._look_at(server)

    def _look_at(self, server: ServerProcess) -> None:
        with self._log.open("a") as log:
            log.write(server.log)
        if "Traceback" in server.log:
            self.tracebacks.append(server.log)

    async def __aenter__(self) -> "Victim":
        await self.start()
        return self

    async def __aexit__(self, *failure: object) -> None:
        if self._starting is not None:
            self._server = await self._starting
        if self._server is not None:
            await self.kill()


@dataclass
class Outcome:
    """What one run came to."""

    kills: int = 0
    seconds: float = 0.0
    """Under load, restarts included."""
    tracebacks: list[str] = field(default_factory=list)
    """Logs of servers that reported one."""
    database: str = ""
    """What is wrong with the file; empty when nothing is."""


async def run(directory: Path, kills: int, seed: int, longest_life_s: float = LONGEST_LIFE_S) -> Outcome:
    """Load, `kills` times SIGKILL, and the final log; all histories are in `directory` then.

    Raises an ExceptionGroup where a client hears nothing for long or the server does not start.
    """
    world = World(directory, Random(seed))
    outcome = Outcome()
    started = time.monotonic()
    server = Victim(directory, world.random)
    await asyncio.to_thread(appoint, server.database)
    async with server as victim:
        world.addresses = {"frames": victim.http, "lines": victim.line}
        async with asyncio.TaskGroup() as group:
            clients = cast(world)
            for client in clients:
                group.create_task(client.run(), name=client.name)
            while outcome.kills < kills - 1:
                await live(world, world.random.uniform(SHORTEST_LIFE_S, longest_life_s))
                if world.random.random() < 0.5:
                    await hear_the_newest(world, victim)
                await victim.kill()
                outcome.kills += 1
                world.loaded.clear()
                await victim.start()
            async with asyncio.timeout(END_TIMEOUT_S):
                await end(world, clients)
        # Everything was answered: from here on nothing may be lost.
        outcome.seconds = time.monotonic() - started
        await victim.kill()
        outcome.kills += 1
        await victim.start()
        async with asyncio.timeout(END_TIMEOUT_S):
            await Archivist(world, "archivist", "lines", after=0, file=FINAL_LOG).run()
        await victim.stop()
    outcome.tracebacks = victim.tracebacks
    outcome.database = await asyncio.to_thread(examine, victim.database)
    return outcome


def appoint(database: Path) -> None:
    """Gives the rooms their keeper."""
    hasher = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    keeper = Account(KEEPER, KEEPER, password=hasher.hash(PASSWORD), operator=True)
    with closing(connect(database, "full")) as connection:
        add_account(connection, keeper)


async def live(world: World, seconds: float) -> None:
    """Lets the server live for this long, counted from its start or from its first acknowledgement."""
    if world.random.random() < 0.7:
        assert await wait_for(world.loaded, LOAD_TIMEOUT_S), "the server acknowledged nothing"
    # Nobody sets `over` yet: this is a timer.
    await wait_for(world.over, seconds)


async def hear_the_newest(world: World, victim: Victim) -> None:
    """Kills in the moment in which a client hears the newest that there is: it must be safe already."""
    struck = asyncio.Event()

    def strike() -> None:
        victim.strike()
        struck.set()

    world.strike = strike
    assert await wait_for(struck, LOAD_TIMEOUT_S), "the server said nothing"


async def end(world: World, clients: list[Client]) -> None:
    """Has everyone finish: the senders first, then the readers with the last message of each room."""
    for client in clients:
        await client.arrived.wait()
    world.over.set()
    for client in clients:
        if isinstance(client, Sender):
            await client.quiet.wait()
    world.ended.set()
    await Director(world, "director", "lines").run()


def examine(database: Path) -> str:
    """What is wrong with the file by SQLite's own judgement, and by its rooms' heads."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
        wrong = connection.execute(
            "SELECT name, head, count(*), min(key & 0xffffffffff), max(key & 0xffffffffff) FROM rooms "
            "JOIN events ON key >> 40 = rooms.id GROUP BY rooms.id "
            "HAVING head <> count(*) OR min(key & 0xffffffffff) <> 1 OR max(key & 0xffffffffff) <> head"
        ).fetchall()
        wrong += compare_facts(connection)
    return "; ".join([*([] if verdict == "ok" else [verdict]), *map(str, wrong)])


def compare_facts(connection: sqlite3.Connection) -> list[str]:
    """Where rooms' facts, or the audit log, are not what the rooms' events make of them."""
    facts: dict[int, Facts] = {}
    acts: list[int] = []
    for key, kind, author, at_ms, body in connection.execute(
        "SELECT key, kind, author, at_ms, body FROM events "
        "WHERE kind = 'moderated' OR (kind = 'deleted' AND body ->> '$.moderated') ORDER BY key"
    ):
        room, act = key >> SEQ_BITS, Draft(Kind(kind), author, at_ms, orjson.loads(body))
        facts[room] = apply(facts.get(room, {}), facts_of(act))
        acts.append(key)
    stored: dict[int, dict[str, Any]] = {room: {} for room in facts}
    for room, name, value in connection.execute("SELECT room_id, name, value FROM facts"):
        stored.setdefault(room, {})[name] = orjson.loads(value)
    wrong = [f"facts of room {room} are {stored[room]}" for room in stored if stored[room] != facts.get(room)]
    audited = connection.execute("SELECT key FROM audit WHERE key IS NOT NULL ORDER BY key").fetchall()
    return wrong if [key for (key,) in audited] == acts else [*wrong, "the audit log has other acts"]


async def run_until_terminated(directory: Path, kills: int, seed: int) -> Outcome:
    """As `run`; SIGTERM ends it, and the server with it. SIGINT does so anyway."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run(directory, kills, seed)


def report(directory: Path, outcome: Outcome) -> bool:
    """Prints what came of it; returns whether all is well."""
    verdict = checker.check(directory)
    print(f"{outcome.kills} kills in {outcome.seconds:.0f} s, restarts included:", checker.report(verdict))
    rates = [verdict.counts[name] / outcome.seconds for name in ("log events", "events seen")]
    print("{:.0f} events and {:.0f} deliveries a second".format(*rates))
    for log in outcome.tracebacks:
        print("a server's log has a traceback:", log, sep="\n")
    if outcome.database:
        print("the database is damaged:", outcome.database)
    return not (verdict.faults or outcome.tracebacks or outcome.database)


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.driver", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    return conduct(
        parser,
        "kills",
        lambda folder, options: run_until_terminated(folder, options.kills, options.seed),
        report,
    )


if __name__ == "__main__":
    sys.exit(main())
