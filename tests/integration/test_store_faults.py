"""The running server on a disk that is full, broken, read-only or locked, and back again."""

import asyncio
import errno
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from tests.clients import Client, Document, JsonLinesClient, WebSocketClient, get_json
from tests.server_process import STOP_TIMEOUT_S, ServerProcess
from tests.unit.test_sqlite_backup import damage_a_store
from tests.unit.test_sqlite_faults import check_file

SETTINGS = ("limits.messages_per_s=0", 'rooms.classes=[{"pattern": "tmp-*", "store": "memory"}]')

Start = Callable[[], ServerProcess]


@pytest.fixture(scope="session")
def faulty_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that is preloaded."""
    library = tmp_path_factory.mktemp("faulty") / "faulty_disk.so"
    source = Path(__file__).parent.parent / "faulty_disk.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-o", library, source, "-ldl"], check=True)
    return library


class Disk:
    """The disk under a server; the fault is there while a file is."""

    def __init__(self, trigger: Path) -> None:
        self._trigger = trigger

    def fail(self, number: int, operation: str) -> None:
        partial = self._trigger.with_name("partial")
        partial.write_text(f"{number} {operation}")
        partial.rename(self._trigger)

    def mend(self) -> None:
        self._trigger.unlink()


@pytest.fixture
def disk(faulty_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    trigger = tmp_path / "fault"
    monkeypatch.setenv("LD_PRELOAD", str(faulty_disk))
    monkeypatch.setenv("DISK_FAULT", str(trigger))
    return Disk(trigger)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@pytest.fixture
def start(path: Path, start_server: Callable[..., ServerProcess]) -> Start:
    return lambda: start_server(*SETTINGS, arguments=("--store", f"sqlite://{path}"))


@pytest.fixture
async def clients() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def ready(server: ServerProcess) -> tuple[int, Document]:
    """What /readyz answers."""
    return await get_json(server.http, "/readyz")


async def wait_until_ready(server: ServerProcess) -> None:
    async with asyncio.timeout(20):
        while (await ready(server))[0] != 200:
            pass  # asked again


async def expect_unavailable(client: Client, **fields: str) -> Document:
    answer = await client.ask("send", room="lobby", **fields)
    assert (answer["type"], answer.get("code")) == ("error", "unavailable"), answer
    assert answer["retry_after_ms"] > 0
    return answer


@pytest.mark.parametrize(
    ("number", "operation", "reason"),
    [
        (errno.ENOSPC, "write", "database or disk is full"),
        (errno.EIO, "write", "disk I/O error"),
        (errno.EIO, "sync", "disk I/O error"),
        (errno.EROFS, "write", "disk I/O error"),
    ],
)
async def test_a_failing_disk(
    disk: Disk, start: Start, path: Path, clients: AsyncExitStack, number: int, operation: str, reason: str
) -> None:
    server = start()
    alice = await clients.enter_async_context(await JsonLinesClient.open(server.line))
    bob = await clients.enter_async_context(await WebSocketClient.open(server.http))
    for client, name in ((alice, "alice"), (bob, "bob")):
        await client.hello(name)
        await client.join("lobby")
        await client.join("tmp-1")
    for seq in range(1, 6):
        assert (await alice.ask("send", room="lobby", text=str(seq)))["seq"] == seq
        await bob.expect("message", room="lobby", seq=seq)
    assert await ready(server) == (200, {"status": "ready", "parts": {"store": "ok"}})

    disk.fail(number, operation)
    for number_sent in range(3):
        await expect_unavailable(alice, text="six", id=f"six-{number_sent}")
    await expect_unavailable(bob, text="six, too")
    edited = await alice.ask("edit", room="lobby", seq=1, text="one")
    assert edited["code"] == "unavailable"
    status, report = await ready(server)
    assert (status, report["status"]) == (503, "unavailable")
    assert reason in report["reason"]
    # Readers go on: what was kept is there, in the room and in its history, and other rooms live.
    history = await bob.ask("history", room="lobby")
    assert [message["text"] for message in history["messages"]] == ["1", "2", "3", "4", "5"]
    carol = await clients.enter_async_context(await JsonLinesClient.open(server.line))
    await carol.hello("carol")
    joined = await carol.join("lobby", after=2)
    assert joined["head"] == 5
    assert [(await carol.expect("message"))["seq"] for _ in range(3)] == [3, 4, 5]
    assert (await alice.ask("send", room="tmp-1", text="in memory"))["seq"] == 1
    await bob.expect("message", room="tmp-1", seq=1)
    await alice.send("typing", room="lobby")
    await bob.expect("typing", room="lobby")
    assert [document for document in bob.skipped if document["type"] in ("message", "edited")] == []

    disk.mend()
    await wait_until_ready(server)
    sent = await alice.ask("send", room="lobby", text="six", id="six-0")
    assert (sent["type"], sent["seq"]) == ("sent", 6)
    for client in (bob, carol):
        event = await client.expect("message", room="lobby")
        assert (event["seq"], event["text"]) == (6, "six")
    assert [document for document in bob.skipped if document["type"] in ("message", "edited")] == []
    await clients.aclose()
    await asyncio.to_thread(server.kill)
    again = start()
    dave = await clients.enter_async_context(await JsonLinesClient.open(again.line))
    await dave.hello("alice")
    assert (await dave.join("lobby"))["head"] == 6
    assert (await dave.ask("send", room="lobby", text="six", id="six-0"))["seq"] == 6
    history = await dave.ask("history", room="lobby")
    assert [message["text"] for message in history["messages"]] == ["1", "2", "3", "4", "5", "six"]
    assert [message for message in history["messages"] if "edited" in message] == []
    await clients.aclose()
    await asyncio.to_thread(again.stop)
    check_file(path)


async def test_a_disk_that_fails_now_and_then_under_load(
    disk: Disk, start: Start, path: Path, clients: AsyncExitStack
) -> None:
    server = start()
    reader = await clients.enter_async_context(await JsonLinesClient.open(server.line))
    await reader.hello("reader")
    await reader.join("lobby")
    senders = [await clients.enter_async_context(await JsonLinesClient.open(server.line)) for _ in range(5)]
    for number, sender in enumerate(senders):
        await sender.hello(f"sender-{number}")
        await sender.join("lobby")
    kept: dict[int, str] = {}
    refused = 0
    mended = asyncio.Event()

    async def send(sender: JsonLinesClient, number: int) -> None:
        nonlocal refused
        for text in (f"{number}-{turn}" for turn in range(200)):
            while (answer := await sender.ask("send", room="lobby", text=text, id=text))["type"] == "error":
                assert answer["code"] == "unavailable"
                refused += 1
                await mended.wait()
            assert kept.setdefault(answer["seq"], text) == text

    async def disturb() -> None:
        for turn in range(12):
            async with asyncio.timeout(20):
                while len(kept) < 80 * turn:
                    await ready(server)
            before = refused
            mended.clear()
            disk.fail(*((errno.ENOSPC, "write"), (errno.EIO, "sync"))[turn % 2])
            async with asyncio.timeout(20):
                while refused == before:
                    await ready(server)
            disk.mend()
            mended.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(disturb())
        for number, sender in enumerate(senders):
            tasks.create_task(send(sender, number))
    assert sorted(kept) == list(range(1, 1001))
    heard = [await reader.expect("message", room="lobby") for _ in range(1000)]
    assert [(event["seq"], event["text"]) for event in heard] == sorted(kept.items())
    await clients.aclose()
    await asyncio.to_thread(server.stop)
    check_file(path)


async def test_a_locked_database(start: Start, path: Path, clients: AsyncExitStack) -> None:
    server = start()
    alice = await clients.enter_async_context(await JsonLinesClient.open(server.line))
    await alice.hello("alice")
    await alice.join("lobby")
    assert (await alice.ask("send", room="lobby", text="one"))["seq"] == 1
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        await expect_unavailable(alice, text="two")
        assert (await ready(server))[0] == 503
        await asyncio.to_thread(server.wait_for_log, "the store is unavailable")
        history = await alice.ask("history", room="lobby")
        assert [message["text"] for message in history["messages"]] == ["one"]
        other.execute("ROLLBACK")
    await wait_until_ready(server)
    await asyncio.to_thread(server.wait_for_log, "the store is available again")
    assert (await alice.ask("send", room="lobby", text="two"))["seq"] == 2
    await clients.aclose()
    await asyncio.to_thread(server.stop)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_start_that_has_to_wait_for_the_disk_ends_when_it_is_told_to(
    number: signal.Signals, start: Start, path: Path
) -> None:
    start().stop()
    command = [sys.executable, "-m", "fastchat", "serve", "--store", f"sqlite://{path}"]
    # That events are to be sent from now on is the first thing that is written, before anybody is let in.
    command += ["--http", "127.0.0.1:0", "--line", "off", "--broker", "nats://127.0.0.1:1"]
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
            assert server.stderr is not None
            log = ""
            while "events for other services wait" not in log:
                line = server.stderr.readline()
                assert line, f"it ended by itself:\n{log}"
                log += line
            server.send_signal(number)
            log += server.communicate(timeout=STOP_TIMEOUT_S)[1]
    assert server.returncode == 0, log
    assert "stopped before all was started" in log
    assert "Traceback" not in log
    start()


async def test_garbage_in_the_middle_of_the_file(start: Start, path: Path, clients: AsyncExitStack) -> None:
    await asyncio.to_thread(damage_a_store, path)
    server = start()
    alice = await clients.enter_async_context(await JsonLinesClient.open(server.line))
    await alice.hello("alice")
    for command in (
        {"type": "join", "room": "lobby", "after": 0},
        {"type": "join", "room": "games"},
        {"type": "history", "room": "lobby", "after": 0},
        {"type": "search", "query": "text"},
        {"type": "send", "room": "lobby", "text": "hi"},
        {"type": "send", "room": "games", "text": "hi"},
    ):
        answer = await alice.ask(**command)
        assert answer["type"] != "error" or answer["code"] in ("unavailable", "not_joined"), answer
    assert (await alice.ask("ping"))["type"] == "pong"
    await clients.aclose()
    await asyncio.to_thread(server.stop)


# At the start


def serve(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fastchat", "serve", "--http", "127.0.0.1:0", "--line", "off"]
    return subprocess.run(
        [*command, "--store", f"sqlite://{path}"], capture_output=True, text=True, timeout=30, check=False
    )


def make_newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 1180919905")
        connection.execute("PRAGMA user_version = 99")


def make_garbage(path: Path) -> None:
    path.write_bytes(b"\xa5" * 8192)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (make_newer, "is of version 99, written by a newer fastchat"),
        (make_garbage, "file is not a database"),
        (Path.mkdir, "is a directory"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(
    path: Path, make: Callable[[Path], None], problem: str
) -> None:
    make(path)
    result = serve(path)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1), result.stderr
    assert problem in result.stderr
    assert str(path) in result.stderr


def test_a_second_server_is_refused_in_one_line(start: Start, path: Path) -> None:
    start()
    result = serve(path)
    assert result.returncode == 1
    assert result.stderr == (
        f"fastchat: {path} is in use by another fastchat; stop that one or choose another file; "
        "choose another with --store URL\n"
    )
