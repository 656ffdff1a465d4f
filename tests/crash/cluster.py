"""Breaks the nodes of one chat, and what they stand on: `python -m tests.crash.cluster --faults 40`.

Nodes are killed and paused; so are the broker and PostgreSQL; the ways from each node to both are cut, held
and slowed. Clients send and come back to any node meanwhile. Afterwards the checker has its say about their
histories, and the broker has to have been told of every event.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.crash import checker, told
from tests.crash.driver import LOAD_TIMEOUT_S, end, pick_address
from tests.crash.history import FINAL_LOG, read
from tests.crash.nodes import BROKERS, NODE_TIMEOUT_S, AnyNode, Chat
from tests.crash.program import conduct
from tests.crash.workload import Archivist, World, cast, wait_for

NODES = 3
SHORTEST_FAULT_S = 0.05
LONGEST_FAULT_S = 2 * NODE_TIMEOUT_S
LONGEST_CALM_S = 0.8
END_TIMEOUT_S = 120.0
SLOW_MS = 150
TOLD_TIMEOUT_S = 15.0
"""When nothing new has come to the broker for so long, nothing will."""
TOLD_LOOK_S = 0.25


@dataclass
class Outcome:
    """What one run came to."""

    faults: Counter[str] = field(default_factory=Counter)
    """How often what was done."""
    seconds: float = 0.0
    tracebacks: list[str] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)
    """What is wrong with what the broker was told."""
    told: int = 0
    """Events that the broker has, repeats included."""


class Breaker:
    """Does one thing after the other to a chat, and mends it."""

    def __init__(self, chat: Chat, world: World, outcome: Outcome) -> None:
        self._chat = chat
        self._world = world
        self._outcome = outcome

    async def strike(self) -> None:
        """Breaks something for a while."""
        acts: dict[str, Callable[[], Awaitable[None]]] = {
            "node killed": self._kill_node,
            "node paused": self._pause_node,
            "database killed": self._kill_database,
            "database paused": self._pause_database,
            "broker killed": self._kill_broker,
            "broker paused": self._pause_broker,
            "way cut": self._cut,
            "way held": self._hold,
            "way slowed": self._slow,
        }
        weights = {"node killed": 3, "node paused": 2, "way cut": 3, "way slowed": 2}
        name = self._world.random.choices(list(acts), [weights.get(each, 1) for each in acts])[0]
        self._outcome.faults[name] += 1
        await acts[name]()

    async def _last(self) -> None:
        """As long as a fault lasts. Nobody sets `over` yet: this is a timer."""
        await wait_for(self._world.over, self._world.random.uniform(SHORTEST_FAULT_S, LONGEST_FAULT_S))

    async def _kill_node(self) -> None:
        node = self._world.random.choice(self._chat.nodes)
        await node.kill()
        await self._last()
        await node.start()

    async def _pause_node(self) -> None:
        node = self._world.random.choice(self._chat.nodes)
        node.pause()
        await self._last()
        node.resume()

    async def _kill_database(self) -> None:
        await asyncio.to_thread(self._chat.database.kill)
        await self._last()
        await asyncio.to_thread(self._chat.database.start)

    async def _pause_database(self) -> None:
        self._chat.database.pause()
        await self._last()
        self._chat.database.resume()

    async def _kill_broker(self) -> None:
        await asyncio.to_thread(self._chat.broker.kill)
        await self._last()
        await asyncio.to_thread(self._chat.broker.start)

    async def _pause_broker(self) -> None:
        self._chat.broker.pause()
        await self._last()
        self._chat.broker.resume()

    async def _cut(self) -> None:
        link = self._world.random.choice(list(self._chat.links.values()))
        await asyncio.to_thread(link.cut)
        await self._last()
        await asyncio.to_thread(link.restore)

    async def _hold(self) -> None:
        link = self._world.random.choice(list(self._chat.links.values()))
        await asyncio.to_thread(link.hold)
        await self._last()
        await asyncio.to_thread(link.restore)

    async def _slow(self) -> None:
        link = self._world.random.choice(list(self._chat.links.values()))
        await asyncio.to_thread(link.delay, self._world.random.uniform(1, SLOW_MS))
        await self._last()
        await asyncio.to_thread(link.restore)


async def run(directory: Path, faults: int, seed: int, broker: str) -> Outcome:
    """Load, so many faults, and the final log; all histories are in `directory` then.

    Raises an ExceptionGroup where a client hears nothing for long or a node does not start.
    """
    world = World(directory, Random(seed))
    outcome = Outcome()
    async with Chat(directory, broker, NODES, lambda: pick_address(world.random)) as chat:
        world.addresses = AnyNode(chat.nodes, world.random)
        started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            clients = cast(world)
            for client in clients:
                group.create_task(client.run(), name=client.name)
            breaker = Breaker(chat, world, outcome)
            for _ in range(faults):
                await live(world)
                await breaker.strike()
                world.loaded.clear()
            async with asyncio.timeout(END_TIMEOUT_S):
                await end(world, clients)
        outcome.seconds = time.monotonic() - started
        async with asyncio.timeout(END_TIMEOUT_S):
            await Archivist(world, "archivist", "lines", after=0, file=FINAL_LOG).run()
            log = await asyncio.to_thread(lambda: checker.Log(list(read(directory / FINAL_LOG))))
            await listen_to_the_broker(chat, log, outcome)
        for node in chat.nodes:
            await node.stop()
            outcome.tracebacks += node.tracebacks
    return outcome


async def live(world: World) -> None:
    """Lets all be well for a moment, until somebody is acknowledged something, and a little longer."""
    assert await wait_for(world.loaded, LOAD_TIMEOUT_S), "nobody was acknowledged anything"
    await wait_for(world.over, world.random.uniform(0, LONGEST_CALM_S))


async def listen_to_the_broker(chat: Chat, log: checker.Log, outcome: Outcome) -> None:
    """Waits until the broker has been told of all, or nothing more comes."""
    recorder = told.Recorder(chat.broker, chat.name)
    grew_at = time.monotonic()
    while True:
        events = await recorder.read()
        if len(events) > outcome.told:
            outcome.told, grew_at = len(events), time.monotonic()
        outcome.untold = told.compare(events, log.events)
        if not outcome.untold or time.monotonic() > grew_at + TOLD_TIMEOUT_S:
            return
        await asyncio.sleep(TOLD_LOOK_S)


def report(directory: Path, outcome: Outcome) -> bool:
    """Prints what came of it; returns whether all is well."""
    verdict = checker.check(directory, of_nodes=True)
    print(f"{dict(outcome.faults)} in {outcome.seconds:.0f} s:", checker.report(verdict))
    print("the broker has", outcome.told, "events;", "; ".join(outcome.untold[:10]) or "none is missing")
    for log in outcome.tracebacks:
        print("a node's log has a traceback:", log, sep="\n")
    return not (verdict.faults or outcome.untold or outcome.tracebacks)


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.cluster", description=__doc__)
    parser.add_argument("--faults", type=int, default=40)
    parser.add_argument("--broker", choices=BROKERS, default="nats")
    return conduct(
        parser,
        "faults",
        lambda folder, options: run(folder, options.faults, options.seed, options.broker),
        report,
    )


if __name__ == "__main__":
    sys.exit(main())
