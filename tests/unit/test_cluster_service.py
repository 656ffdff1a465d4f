"""One node among others, with a store that only notes what it is told and a bus within the process."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import cast

from structlog.testing import capture_logs

from fastchat.cluster.service import Cluster
from fastchat.messages import Close, Code, WireError
from fastchat.people import User
from fastchat.population import Devices, Population
from fastchat.store.interface import Committed, SharedStore, Standing
from tests.buses import Exchange

LOBBY = [Committed("lobby", 1, b'{"seq":1}'), Committed("lobby", 2, None)]


class NotingStore:
    """What a cluster needs of a `SharedStore`: notes what it is asked for, answers as it is told to."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.received: list[Committed] = []
        self.compared = 0
        self.standing: Standing | WireError = Standing((node,), range(256), renewed=True)
        self.taken: set[str] = set()
        self.claimed: list[list[str]] = []
        self.released: list[str] = []
        self.commit: Callable[[Sequence[Committed]], None] = lambda committed: None

    def observe(self, on_commit: Callable[[Sequence[Committed]], None]) -> None:
        self.commit = on_commit

    def receive(self, committed: Sequence[Committed]) -> None:
        self.received += committed

    def compare(self) -> None:
        self.compared += 1

    def beat(self, done: Callable[[Standing | WireError], None]) -> None:
        done(self.standing)

    def claim(self, keys: Sequence[str], done: Callable[[Collection[str] | WireError], None]) -> None:
        self.claimed.append(list(keys))
        done(self.taken.intersection(keys))

    def release(self, keys: Sequence[str]) -> None:
        self.released += keys


class NotingPeople:
    """A `People` that notes what it is told."""

    def __init__(self) -> None:
        self.number = 0
        self.told: list[tuple[str, ...]] = []

    def receive(self, node: str, payload: bytes) -> None:
        self.told.append(("receive", node, payload.decode()))

    def receive_heartbeat(self, node: str, number: int) -> None:
        self.told.append(("heartbeat", node, str(number)))

    def on_connected(self) -> None:
        self.told.append(("connected",))

    def on_claimed(self, name: str) -> None:
        self.told.append(("claimed", name))

    def receive_direct(self, room: str, seq: int) -> None:
        self.told.append(("direct", room))

    def forget(self, node: str) -> None:
        self.told.append(("forget", node))


class Guest:
    """Somebody online."""

    def __init__(self, name: str) -> None:
        self.user = name
        self.person = User(name)
        self.devices: Devices | None = None
        self.ended: list[Close] = []
        self.rooms: list[str] = []

    def end(self, code: Close, reason: str) -> None:
        self.ended.append(code)

    def expel(self, room: str, by: str | None, reason: str | None) -> None:
        raise AssertionError("nobody is expelled here")

    def tell_expiry(self, expires_in_ms: int) -> None:
        raise AssertionError("nobody has a token here")


class Node:
    """One node; ``now`` is its clock, and its housekeeping runs when the test says ``tick``."""

    def __init__(self, exchange: Exchange, name: str) -> None:
        self.now = 1000.0
        self.store = NotingStore(name)
        self.bus = exchange.bus()
        self.people = NotingPeople()
        self.population = Population()
        self.slots: list[Collection[int]] = []
        self.cluster = Cluster(
            cast("SharedStore", self.store),
            self.bus,
            self.population,
            name="chat",
            node_timeout_s=5,
            compare_interval_s=3,
            clock=lambda: self.now,
        )
        self.cluster.people = self.people
        self.cluster.on_slots = self.slots.append

    def pass_time(self, seconds: float) -> None:
        """Ticks once a second."""
        for _ in range(round(seconds)):
            self.now += 1
            self.cluster.tick()


@asynccontextmanager
async def running(*names: str) -> AsyncIterator[tuple[Exchange, list[Node]]]:
    exchange = Exchange()
    nodes = [Node(exchange, name) for name in names]
    for node in nodes:
        await node.cluster.start()
    await settle()
    try:
        yield exchange, nodes
    finally:
        for node in nodes:
            await node.cluster.close()


async def settle() -> None:
    """Until what was published has been heard, and answered."""
    for _ in range(6):
        await asyncio.sleep(0)


async def test_commits_come_to_nodes_with_a_room_of_the_slot_and_to_no_others() -> None:
    async with running("aa", "bb", "cc") as (_, (a, b, c)):
        b.cluster.openings.on_open("lobby")
        a.store.commit(LOBBY)
        await settle()
        assert b.store.received == LOBBY
        assert c.store.received == []
        assert a.store.received == []
        assert (a.cluster.counters.events_out, b.cluster.counters.events_in) == (2, 2)


async def test_rooms_of_two_come_to_all_and_people_are_told() -> None:
    async with running("aa", "bb") as (_, (a, b)):
        said = [Committed("@alice,bob", 1, b"{}"), Committed("@alice,bob", 2, b"{}")]
        a.store.commit(said)
        await settle()
        assert b.store.received == said
        assert b.people.told.count(("direct", "@alice,bob")) == 1


async def test_nodes_hear_of_each_other_at_once_and_of_an_end() -> None:
    async with running("aa", "bb") as (_, (a, b)):
        assert set(a.cluster.nodes.names) == {"bb"}
        assert set(b.cluster.nodes.names) == {"aa"}
        assert ("heartbeat", "bb", "0") in a.people.told
        await b.cluster.close()
        await settle()
        assert a.people.told[-1] == ("forget", "bb")
        assert len(a.cluster.nodes) == 0


async def test_what_people_tell_comes_to_all_or_to_one() -> None:
    async with running("aa", "bb", "cc") as (_, (a, b, c)):
        a.cluster.tell_all(b"news")
        a.cluster.tell("cc", b"for you")
        await settle()
        assert ("receive", "aa", "news") in b.people.told
        assert ("receive", "aa", "for you") not in b.people.told
        assert [told for told in c.people.told if told[0] == "receive"] == [
            ("receive", "aa", "news"),
            ("receive", "aa", "for you"),
        ]


async def test_a_node_that_neither_bus_nor_store_knows_is_gone() -> None:
    async with running("aa", "bb") as (_, (a, b)):
        b.bus.cut()
        a.store.standing = Standing(("aa", "bb"), range(256), renewed=True)
        a.pass_time(10)
        assert ("forget", "bb") not in a.people.told
        a.store.standing = Standing(("aa",), range(256), renewed=True)
        a.pass_time(4)
        assert ("forget", "bb") not in a.people.told
        a.pass_time(1)
        assert a.people.told[-1] == ("forget", "bb")


async def test_quiet_rooms_are_compared_and_more_often_without_a_bus() -> None:
    async with running("aa") as (_, (a,)):
        before = a.store.compared
        a.pass_time(6)
        assert a.store.compared == before + 2
        a.bus.cut()
        a.pass_time(6)
        assert a.store.compared == before + 8
        a.people.told.clear()
        a.bus.restore()
        assert a.store.compared == before + 9
        assert ("connected",) in a.people.told


async def test_a_new_slot_is_compared_once_the_subscription_is_there() -> None:
    async with running("aa") as (_, (a,)):
        compared = asyncio.Event()
        a.store.compare = compared.set  # type: ignore[method-assign]
        a.cluster.openings.on_open("lobby")
        async with asyncio.timeout(10):
            await compared.wait()


async def test_a_node_that_stood_still_takes_nobody_for_dead() -> None:
    async with running("aa", "bb") as (_, (a, _b)):
        a.now += 60
        before = a.store.compared
        a.cluster.tick()
        assert set(a.cluster.nodes.names) == {"bb"}
        assert a.store.compared > before


async def test_slots_are_told_and_taken_back_when_the_store_confirms_nothing() -> None:
    async with running("aa") as (_, (a,)):
        assert a.slots[-1] == range(256)
        a.store.standing = WireError(Code.UNAVAILABLE, "the store is away")
        a.pass_time(5)
        assert a.slots[-1] == range(256)
        a.pass_time(1)
        assert list(a.slots[-1]) == []


async def test_who_was_taken_for_dead_claims_names_again_and_sends_away_whom_it_must() -> None:
    async with running("aa") as (_, (a,)):
        answers: list[WireError | None] = []
        guests = [Guest("Alice"), Guest("Bob")]
        for guest in guests:
            a.population.enter(guest, guest.person)
            a.cluster.names.claim(guest.user, answers.append)
        await settle()
        assert answers == [None, None]
        a.store.taken = {"bob"}
        a.store.standing = Standing(("aa",), range(256), renewed=False)
        a.pass_time(1)
        assert a.store.claimed[-1] == ["alice", "bob"]
        assert [guest.ended for guest in guests] == [[], [Close.SIGNED_OUT]]
        a.store.standing = Standing(("aa",), range(256), renewed=True)
        claims = len(a.store.claimed)
        a.pass_time(3)
        assert len(a.store.claimed) == claims


async def test_names_are_given_back_before_the_end() -> None:
    async with running("aa") as (_, (a,)):
        a.cluster.names.claim("alice", lambda error: None)
        await settle()
        a.cluster.names.release("alice")
        await a.cluster.close()
        assert a.store.released == ["alice"]


async def test_what_cannot_be_read_is_told_once_and_harms_nobody() -> None:
    async with running("aa", "bb") as (exchange, (a, b)):
        a.cluster.openings.on_open("lobby")
        wrong = (b"fastchat/2 bb beat 1\n", b"fastchat/2 bb bye\n", b"", b"fastchat/1 bb beat x\n", b"\xff")
        with capture_logs() as logs:
            for payload in wrong:
                exchange.carry(b.bus, "chat.node.aa", payload)
            await settle()
        assert len(logs) == 4
        assert a.cluster.counters.rejected == 5
        assert set(a.cluster.nodes.names) == {"bb"}
        b.store.commit(LOBBY)
        await settle()
        assert a.store.received == LOBBY


async def test_the_bus_is_probed() -> None:
    async with running("aa") as (_, (a,)):
        assert await a.cluster.probe() is None
        a.bus.cut()
        assert await a.cluster.probe() == "the connection is cut"
