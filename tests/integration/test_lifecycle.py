"""Start, reload and stop: one clear line where it cannot start, nothing lost where it stops."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from fastchat.errors import StartError
from fastchat.server import Server
from tests.clients import Client, JsonLinesClient, TextClient, WebSocketClient, split_address
from tests.integration.embedded import settings
from tests.integration.raw_clients import (
    SMALL_BUFFER_BYTES,
    RawClient,
    RawConnection,
    RawLinesClient,
    RawWebSocketClient,
)
from tests.integration.rooms import check_no_hole, enter, hear, say
from tests.server_process import ServerProcess

TEXT = "x" * 4000


def serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`fastchat serve` that is expected to end by itself."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "fastchat", "serve", "--store", "memory:"),
            *("--http", "127.0.0.1:0", "--line", "off", *arguments),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


async def reload(server: ServerProcess, text: str) -> None:
    """SIGHUP; returns when the log says this about it."""
    server.signal(signal.SIGHUP)
    await asyncio.to_thread(server.wait_for_log, text)


async def flood(client: Client, room: str, count: int) -> int:
    """Sends that many long messages; returns the last one's seq, which everyone may be waiting for then."""
    for _ in range(count - 1):
        await client.send("send", room=room, text=TEXT)
    return await say(client, room, TEXT)


# The start


@pytest.mark.parametrize("flag", ["--http", "--line"])
def test_a_port_in_use_is_one_line(flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = serve(flag, address)
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert address in line
    assert "in use" in line
    assert flag in line
    assert ended.stdout == ""


def test_a_control_socket_that_cannot_be_had_is_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "control.sock"
    ended = serve("--set", f"server.control={missing}")
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert str(missing) in line
    assert "server.control" in line


async def test_what_fails_last_leaves_nothing_of_what_began_before() -> None:
    def refuse(addresses: dict[str, str]) -> None:
        listening.update(addresses)
        raise StartError("nobody is there who could be told")

    listening: dict[str, str] = {}
    with pytest.raises(StartError, match="nobody is there"):
        await Server(settings()).start(on_ready=refuse)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    for address in listening.values():
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*split_address(address))


def test_a_config_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    ended = serve("--config", str(missing))
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert str(missing) in line


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[limits]\ntext_bytes = -1\n", "limits.text_bytes"),
        ("[limits]\nmessages = 1\n", "limits.messages"),
        ("[limits", "not valid TOML"),
        ("[fanout]\nlow_water_bytes = 70000\n", "fanout.low_water_bytes"),
        ('[fanout]\nslow_reader = "ignore"\n', "disconnect"),
    ],
)
def test_a_wrong_config_is_one_line_that_names_the_setting(tmp_path: Path, text: str, named: str) -> None:
    config = tmp_path / "fastchat.toml"
    config.write_text(text)
    ended = serve("--config", str(config))
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert named in line


def test_a_ready_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    ended = serve("--ready-file", str(tmp_path / "missing" / "ready.json"))
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert "ready.json" in line


async def test_ready_file_and_line_off(start_server: Callable[..., ServerProcess], tmp_path: Path) -> None:
    ready_file = tmp_path / "ready.json"
    server = start_server(arguments=("--line", "off", "--ready-file", str(ready_file)))
    assert split_address(server.http)[1] != 0
    # It is written before the first connection is served.
    async with await WebSocketClient.open(server.http) as client:
        await enter(client, "lobby")
    ready = json.loads(await asyncio.to_thread(ready_file.read_text))
    assert ready == {"http": server.http, "pid": server.pid}
    assert await asyncio.to_thread(os.listdir, tmp_path) == [ready_file.name]
    assert "lines" not in server.log


# Reload


async def test_reload_changes_the_fan_out_of_the_running_server(
    start_server: Callable[..., ServerProcess], tmp_path: Path, clients: AsyncExitStack
) -> None:
    config = tmp_path / "fastchat.toml"

    async def write(high_water_bytes: int, ring_bytes: int) -> None:
        settings = {"high_water_bytes": high_water_bytes, "low_water_bytes": 1024, "ring_bytes": ring_bytes}
        lines = [f"{name} = {value}" for name, value in {**settings, "send_buffer_bytes": 8192}.items()]
        await asyncio.to_thread(config.write_text, "\n".join(["[fanout]", *lines, ""]))

    await write(8192, 1 << 20)
    server = start_server("limits.messages_per_s=0", arguments=("--config", str(config)))
    talker = await clients.enter_async_context(await JsonLinesClient.open(server.line))
    early = await clients.enter_async_context(await RawLinesClient.open(server.line, SMALL_BUFFER_BYTES))
    await early.hello()
    await enter(talker, "lobby")

    async def count_before_lag(reader: RawClient) -> int:
        """How many messages were on their way to a reader that did not read, before it lagged."""
        await flood(talker, "lobby", 300)
        await reader.join(after=(await talker.ask("rooms"))["rooms"][0]["head"] - 200)
        await flood(talker, "lobby", 300)
        await reader.expect("lagged")
        return [document["type"] for document in reader.skipped].count("message")

    late = await clients.enter_async_context(await RawLinesClient.open(server.line, SMALL_BUFFER_BYTES))
    await late.hello()
    assert await count_before_lag(late) * len(TEXT) < 200_000

    await write(400_000, 1 << 20)
    await reload(server, "settings reloaded")
    assert await count_before_lag(early) * len(TEXT) >= 350_000

    async def oldest() -> int:
        page = await talker.ask("history", room="lobby", after=0, limit=1)
        return int(page["messages"][0]["seq"])

    before = await oldest()
    await write(8192, 16384)
    server.signal(signal.SIGHUP)
    while (now := await oldest()) == before:
        pass
    head = (await talker.ask("rooms"))["rooms"][0]["head"]
    assert 0 <= head - now < 16384 // len(TEXT)
    # Everyone is still there, and lives with what is in the ring.
    last = await say(talker, "lobby", "the end")
    await early.expect("lagged")
    assert (await hear(early, "lobby", last))[-1] == last


async def test_reload_of_a_wrong_file_changes_nothing_and_says_so(
    start_server: Callable[..., ServerProcess], tmp_path: Path, clients: AsyncExitStack
) -> None:
    config = tmp_path / "fastchat.toml"
    await asyncio.to_thread(config.write_text, "[fanout]\nring_bytes = 100000\n")
    server = start_server(arguments=("--config", str(config)))
    client = await clients.enter_async_context(await WebSocketClient.open(server.http))
    await enter(client, "lobby")
    for text in ("[fanout]\nring_bytes = 1\n", "[fanout", "[fanout]\nrings = 5\n"):
        await asyncio.to_thread(config.write_text, text)
        before = server.log.count("settings not reloaded")
        server.signal(signal.SIGHUP)
        await wait_for_count(server, client, "settings not reloaded", before + 1)
    assert "fanout.ring_bytes" in server.log
    assert "fanout.rings" in server.log
    await asyncio.to_thread(config.unlink)
    await reload(server, "cannot read")
    assert await say(client, "lobby", "still here") == 1
    # What needs a restart is named, what does not is applied all the same.
    text = "[fanout]\nring_bytes = 200000\n[limits]\ntext_bytes = 5\n[log]\nlevel = 'debug'\n"
    await asyncio.to_thread(config.write_text, text)
    await reload(server, "settings reloaded")
    [line] = [line for line in server.log.splitlines() if "settings reloaded" in line]
    applied, _, restart = line.partition("need_a_restart")
    assert "fanout.ring_bytes" in applied
    assert "limits.text_bytes" in restart
    assert "log.level" in restart
    assert await say(client, "lobby", "longer than five") == 2


async def wait_for_count(server: ServerProcess, client: Client, text: str, count: int) -> None:
    """Returns when the log contains the text so many times; meanwhile the server answers a client."""
    while server.log.count(text) < count:
        assert (await client.ask("ping"))["type"] == "pong"


# The stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.settings("limits.messages_per_s=0", "server.reconnect_spread_ms=3000")
async def test_stop_tells_everyone_when_and_where_to_go_on(
    server: ServerProcess,
    clients: AsyncExitStack,
    json_client: Callable[..., Awaitable[JsonLinesClient]],
    websocket_client: Callable[..., Awaitable[WebSocketClient]],
    text_client: Callable[[], Awaitable[TextClient]],
    number: signal.Signals,
) -> None:
    everyone: list[JsonLinesClient | WebSocketClient] = [
        await open_client(f"{name}-{i}")
        for i in range(5)
        for open_client, name in ((json_client, "program"), (websocket_client, "browser"))
    ]
    person = await text_client()
    await person.type("/nick person")
    await person.expect("you are in lobby")
    await everyone[0].join("other")
    last = [await say(everyone[0], "lobby", f"message {i}") for i in range(3)][-1]
    for client in everyone[1:]:
        assert await hear(client, "lobby", last) == [1, 2, 3]
    assert await say(everyone[0], "other", "alone here") == 1

    server.signal(number)
    farewells = [await client.expect("bye") for client in everyone]
    # The listening sockets were closed before anyone was told.
    for address in (server.http, server.line):
        with pytest.raises(ConnectionRefusedError):
            await RawConnection.open(address)
    assert {farewell["code"] for farewell in farewells} == {1012}
    assert farewells[0]["cursors"] == {"lobby": 3, "other": 1}
    assert all(farewell["cursors"] == {"lobby": 3} for farewell in farewells[1:])
    waits = sorted(farewell["reconnect_after_ms"] for farewell in farewells)
    assert waits[0] < 600 <= 2400 <= waits[-1] < 3000
    assert len(set(waits)) == len(waits)
    assert "Good-bye" in await person.expect("Good-bye")
    await person.expect_closed()
    for client in everyone:
        closed = await client.expect_closed()
        assert closed.code == (1012 if isinstance(client, WebSocketClient) else None)
    assert await asyncio.to_thread(server.wait) == 0


async def open_raw(server: ServerProcess, transport: str) -> RawClient:
    if transport == "websocket":
        return await RawWebSocketClient.open(server.http, SMALL_BUFFER_BYTES)
    return await RawLinesClient.open(server.line, SMALL_BUFFER_BYTES)


@pytest.mark.parametrize("transport", ["websocket", "lines"])
@pytest.mark.settings("limits.messages_per_s=0", "server.drain_s=20", "fanout.send_buffer_bytes=8192")
async def test_stop_waits_for_a_slow_reader(
    server: ServerProcess,
    clients: AsyncExitStack,
    websocket_client: Callable[..., Awaitable[WebSocketClient]],
    transport: str,
) -> None:
    talker = await websocket_client("talker")
    await flood(talker, "lobby", 200)
    slow = await clients.enter_async_context(await open_raw(server, transport))
    await slow.hello()
    await slow.join("lobby", after=0)
    server.signal(signal.SIGTERM)
    await talker.expect("bye")
    await talker.close()
    # Nobody else is left, and the server is still there to send the rest.
    farewell = await slow.expect("bye")
    last = check_no_hole(slow.skipped, "lobby", 0)
    assert 0 < last < 200
    assert farewell["cursors"] == {"lobby": last}
    await slow.close()
    assert await asyncio.to_thread(server.wait) == 0


@pytest.mark.settings("limits.messages_per_s=0", "server.drain_s=0.5", "websocket.close_timeout_s=60")
async def test_stop_does_not_wait_for_stuck_readers_for_ever(
    server: ServerProcess,
    clients: AsyncExitStack,
    websocket_client: Callable[..., Awaitable[WebSocketClient]],
) -> None:
    stuck = [
        await clients.enter_async_context(await open_raw(server, transport))
        for transport in ("websocket", "lines")
    ]
    for client in stuck:
        await enter(client, "lobby")
    # Connections that have not said what they want, and one that keeps HTTP alive.
    silent = [
        await clients.enter_async_context(await RawConnection.open(address))
        for address in (server.http, server.line, server.http)
    ]
    await silent[0].send(b"GET /ws HT")
    await silent[2].send(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n")
    await silent[2].read_until(b"}")
    talker = await websocket_client("talker")
    await flood(talker, "lobby", 600)
    server.signal(signal.SIGTERM)
    await talker.expect("bye")
    await talker.close()
    assert await asyncio.to_thread(server.wait) == 0


@pytest.mark.settings("server.drain_s=60", "websocket.close_timeout_s=60")
async def test_an_empty_server_stops_at_once(server: ServerProcess) -> None:
    assert await asyncio.to_thread(server.stop) == 0
