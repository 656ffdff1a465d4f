"""Durable rooms over the real server: who falls out of the ring, or comes back, misses nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from fastchat._fanout import Fanout, Writer
from fastchat._ring import Profile
from fastchat.messages import encode_lagged
from fastchat.replay import BlockCache, Replay
from fastchat.store import Retention
from fastchat.store.sqlite import SqliteStore
from fastchat.store.sqlite.schema import SEQ_BITS, connect
from tests.clients import Client, JsonLinesClient
from tests.integration.raw_clients import SMALL_BUFFER_BYTES, RawClient, RawLinesClient, RawWebSocketClient
from tests.integration.rooms import enter, fresh_name, hear, say
from tests.server_process import ServerProcess
from tests.twins.transport import FakeTransport

RING_BYTES = 65536
HIGH_WATER_BYTES = 16384
REPLAY_BYTES = 4 << 20
SETTINGS = (
    "limits.messages_per_s=0",
    "limits.rooms_per_connection=0",
    "limits.connections_per_address=0",
    "store.durability=normal",
    f"fanout.ring_bytes={RING_BYTES}",
    f"fanout.replay_bytes={REPLAY_BYTES}",
    f"fanout.high_water_bytes={HIGH_WATER_BYTES}",
    "fanout.low_water_bytes=8192",
    "fanout.send_buffer_bytes=16384",
)
LONG_LOG = 200_000
MANY_ROOMS = 1000
MEGABYTE = 1 << 20
TIMEOUT_S = 30.0

MESSAGES = """
    WITH RECURSIVE seqs(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM seqs WHERE seq < :count)
    INSERT INTO events (key, kind, author, at_ms, body)
    SELECT :base | seq, 'message', 'author', 1700000000000 + seq, printf(
        '{"type":"message","room":"%s","seq":%d,"from":"author","at":%d,"text":"message %d"}',
        :name, seq, 1700000000000 + seq, seq
    ) FROM seqs
"""


def seed(path: Path, rooms: Mapping[str, int]) -> None:
    """Fills a new store: so many messages in each room. Past the store: a minute becomes a second."""
    with closing(connect(path, "normal")) as connection:
        connection.execute("BEGIN")
        for room_id, (name, count) in enumerate(rooms.items(), 1):
            connection.execute(
                "INSERT INTO rooms (id, name, epoch, head, first, indexed) VALUES (?, ?, 'seeded', ?, 1, ?)",
                (room_id, name, count, count),
            )
            connection.execute(MESSAGES, {"name": name, "base": room_id << SEQ_BITS, "count": count})
        connection.execute("COMMIT")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Has just been started: none of the rooms in its store is in any ring."""
    path = tmp_path_factory.mktemp("store") / "fastchat.db"
    seed(path, {"long": LONG_LOG, "busy": 5000, **{f"room{number}": 20 for number in range(MANY_ROOMS)}})
    with ServerProcess(*SETTINGS, f"store.url=sqlite://{path}") as running:
        yield running


def resident_bytes(server: ServerProcess) -> int:
    status = Path(f"/proc/{server.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


@asynccontextmanager
async def talking(server: ServerProcess, room: str) -> AsyncIterator[list[int]]:
    """Somebody talks meanwhile; gives the seqs that were acknowledged, and at the end one more."""
    acknowledged: list[int] = []
    enough = asyncio.Event()

    async def talk(client: Client) -> None:
        while not enough.is_set():
            acknowledged.append(await say(client, room, "live"))
        acknowledged.append(await say(client, room, "the last"))

    async with await JsonLinesClient.open(server.line) as client:
        await enter(client, room)
        task = asyncio.create_task(talk(client))
        try:
            yield acknowledged
        finally:
            enough.set()
            await task


class Reader:
    """Takes note of every message's seq by room, and of everything else."""

    def __init__(self, client: RawLinesClient) -> None:
        self.client = client
        self.seqs: dict[str, list[int]] = {}
        self.others: list[dict[str, Any]] = []
        self._rest = b""

    async def read_more(self) -> None:
        data = await self.client.connection.read_more()
        self.client.connection.received = b""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            document = orjson.loads(line)
            if document["type"] == "message":
                self.seqs.setdefault(document["room"], []).append(document["seq"])
            else:
                self.others.append(document)

    def types(self) -> set[str]:
        return {document["type"] for document in self.others}


@pytest.mark.parametrize("transport", ["websocket", "lines"])
async def test_a_slow_reader_loses_nothing_and_is_live_again(server: ServerProcess, transport: str) -> None:
    room = fresh_name("room")
    kind: type[RawClient] = RawWebSocketClient if transport == "websocket" else RawLinesClient
    address = server.http if transport == "websocket" else server.line
    async with (
        await kind.open(address, SMALL_BUFFER_BYTES) as slow,  # type: ignore[attr-defined]
        await JsonLinesClient.open(server.line) as healthy,
        await JsonLinesClient.open(server.line) as talker,
    ):
        for client in (slow, healthy, talker):
            await enter(client, room)
        hearing = asyncio.create_task(hear(healthy, room, 600))
        for _ in range(60):
            for _ in range(9):
                await talker.send("send", room=room, text="x" * 2000)
            last = await say(talker, room, "x" * 2000)
        assert last == 600
        assert await hearing == list(range(1, 601)), "nobody waits for the slow one"
        # Over a megabyte, of which the ring and the kernel hold little.
        assert await hear(slow, room, 300) == list(range(1, 301))
        for _ in range(50):
            last = await say(talker, room, "y" * 2000)
        assert await hear(slow, room, last) == list(range(301, last + 1))
        live = await say(talker, room, "live")
        assert await hear(slow, room, live) == [last + 1]
        assert "lagged" not in [document["type"] for document in slow.skipped]


async def test_two_hundred_return_at_once(server: ServerProcess) -> None:
    """Each 100 behind in a room that goes on, of which nothing is in memory when the first one comes."""
    async with talking(server, "busy") as acknowledged:
        head = 5000

        async def come_back(after: int) -> None:
            async with await RawLinesClient.open(server.line) as client:
                await client.send_commands({"type": "hello", "resume": {"busy": after}})
                reader = Reader(client)
                while len(reader.seqs.get("busy", ())) < 150:
                    await reader.read_more()
                count = len(reader.seqs["busy"])
                assert reader.seqs["busy"] == list(range(after + 1, after + 1 + count))
                assert "lagged" not in reader.types()
                assert "error" not in reader.types()

        async with asyncio.TaskGroup() as group:
            for number in range(200):
                group.create_task(come_back(head - 100 - number % 3))
    assert acknowledged == list(range(head + 1, head + 1 + len(acknowledged)))


async def test_a_long_absence_in_bounded_memory(server: ServerProcess) -> None:
    """Two hundred thousand messages to one client while the room goes on, without a gap at the seam."""
    async with await RawLinesClient.open(server.line) as client:
        await enter(client, fresh_name("warm"))
        async with talking(server, "long") as acknowledged:
            before = peak = resident_bytes(server)
            await client.send_commands({"type": "join", "room": "long", "after": 0})
            reader = Reader(client)
            seqs = reader.seqs.setdefault("long", [])
            looked_at = 0
            while len(seqs) < LONG_LOG:
                await reader.read_more()
                if len(seqs) - looked_at > 5000:
                    looked_at = len(seqs)
                    peak = max(peak, resident_bytes(server))
            said_meanwhile = len(acknowledged)
            # It is live when it hears what is said now.
            while not acknowledged or seqs[-1] < acknowledged[-1]:
                await reader.read_more()
        while seqs[-1] < acknowledged[-1]:
            await reader.read_more()
    assert said_meanwhile > 10
    assert seqs == list(range(1, LONG_LOG + 1 + len(acknowledged)))
    assert "lagged" not in reader.types()
    # The log is 20 MB; the cache, the ring and one write may stay, and what SQLite keeps of the file.
    assert peak - before < REPLAY_BYTES + 10 * MEGABYTE


async def test_a_thousand_rooms_at_once(server: ServerProcess) -> None:
    rooms = [f"room{number}" for number in range(MANY_ROOMS)]
    async with await RawLinesClient.open(server.line) as client, talking(server, "room7") as acknowledged:
        before = resident_bytes(server)
        resume = {room: number % 21 for number, room in enumerate(rooms)}
        await client.send_commands({"type": "hello", "user": "traveller", "resume": resume})
        reader = Reader(client)
        while any(len(reader.seqs.get(room, ())) < 20 - cursor for room, cursor in resume.items()):
            await reader.read_more()
        after = resident_bytes(server)
    joined = [document["room"] for document in reader.others if document["type"] == "joined"]
    assert acknowledged
    assert reader.types() <= {"welcome", "joined", "presence"}
    assert sorted(joined) == sorted(rooms)
    for room, cursor in resume.items():
        heard = reader.seqs.get(room, [])
        assert heard == list(range(cursor + 1, cursor + 1 + len(heard)))
        assert len(heard) == 20 - cursor or room == "room7"
    assert after - before < MANY_ROOMS * 8192 + REPLAY_BYTES + 8 * MEGABYTE


class CountingLog:
    """Passes on what is asked for, and takes note of it."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self.asked: list[int] = []

    def replay(self, after: int, done: Callable[[Any], None]) -> None:
        self.asked.append(after)
        self._log.replay(after, done)


@pytest.mark.parametrize("kept", [0, 300])
async def test_the_store_is_asked_once_for_each_block(tmp_path: Path, kept: int) -> None:
    """A thousand who return at once to five places; of a trimmed log, each hears what is left of it."""
    path = tmp_path / "fastchat.db"
    await asyncio.to_thread(seed, path, {"room": 1000})
    loop = asyncio.get_running_loop()
    store = await asyncio.to_thread(
        SqliteStore,
        path,
        deliver=loop.call_soon_threadsafe,
        durability="normal",
        retention=lambda room: Retention(events=kept),
    )
    try:
        opened: asyncio.Future[Any] = loop.create_future()
        store.open("room", opened.set_result)
        log: Any = CountingLog(await opened)
        oldest = await trimmed_to(store, kept)
        finished = asyncio.Event()

        def run(tick: Callable[[], object]) -> None:
            tick()
            if all(subscription.seq == 1000 for subscription in subscriptions):
                finished.set()

        fanout = Fanout(lambda tick: loop.call_soon(run, tick), loop.time, encode_lagged)
        channel = fanout.channel("room", 1 << 20, 1000)
        channel.source = Replay(log, BlockCache(1 << 20), loop.call_later)
        profile = Profile("lines", "lines", 65536, 0)
        places = [100, 800, 850, 900, 999] * 200
        transports = [FakeTransport() for _ in places]
        subscriptions = [
            Writer(fanout, profile, transport).subscribe(channel, after)
            for transport, after in zip(transports, places, strict=True)
        ]
        async with asyncio.timeout(TIMEOUT_S):
            await finished.wait()
    finally:
        await asyncio.to_thread(store.close)
    # Who asks for what was trimmed gets the oldest block that is left.
    assert sorted(log.asked) == ([0, 768, 896] if kept else list(range(0, 1000, 128)))
    for after, transport in zip(places, transports, strict=True):
        documents = [orjson.loads(line) for line in transport.sent.splitlines()]
        if after < oldest - 1:
            lost = oldest - 1 - after
            assert documents.pop(0) == {
                "type": "lagged",
                "room": "room",
                "from": after + 1,
                "to": oldest - 1,
                "missed": lost,
            }
            after = oldest - 1
        assert [document["seq"] for document in documents] == list(range(after + 1, 1001))


async def trimmed_to(store: SqliteStore, kept: int) -> int:
    """Returns when the store has trimmed the room to its newest ``kept`` events: the oldest one's seq."""
    loop = asyncio.get_running_loop()
    oldest = 1001 - kept if kept else 1
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            opened: asyncio.Future[Any] = loop.create_future()
            store.open("room", opened.set_result)
            block: asyncio.Future[Any] = loop.create_future()
            (await opened).replay(0, block.set_result)
            if (await block).first == oldest:
                return oldest
