"""Several workers on the same ports: all serve, each comes back, and they end together."""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from fastchat.config import Settings
from fastchat.workers import AGAIN_MAX_S, STEADY_S, Supervisor
from tests.clients import split_address
from tests.server_process import STOP_TIMEOUT_S, ServerProcess

MODULE = "tests.separate_workers"


def serve(*settings: str, workers: int = 2) -> ServerProcess:
    return ServerProcess(*settings, arguments=("--workers", str(workers)), module=MODULE)


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    with serve() as running:
        yield running


def greet(address: str) -> socket.socket:
    """A client of the line port that was welcomed."""
    client = socket.create_connection(split_address(address), timeout=10)
    client.sendall(b'{"type":"hello"}\n')
    with client.makefile("rb") as lines:
        answer = lines.readline()
    assert answer.startswith(b'{"type":"welcome"'), answer
    return client


def is_answered(client: socket.socket) -> bool:
    """Whether there is still somebody at the other end."""
    try:
        client.sendall(b'{"type":"ping"}\n')
        with client.makefile("rb") as lines:
            return lines.readline().startswith(b'{"type":"pong"')
    except ConnectionError:
        return False


def sockets_of(pid: int) -> int:
    count = 0
    for each in Path(f"/proc/{pid}/fd").iterdir():
        try:
            count += str(each.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue
    return count


def wait_for_end(pid: int) -> None:
    """Returns when no such process is left."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([process], [], [], STOP_TIMEOUT_S)[0], f"process {pid} lives on"
    finally:
        os.close(process)


def test_all_workers_serve_and_end_with_their_parent(server: ServerProcess) -> None:
    workers = server.ready["workers"]
    assert len({*workers, server.ready["pid"]}) == 3
    assert server.ready["pid"] == server.pid
    before = [sockets_of(pid) for pid in workers]
    clients = [greet(server.line) for _ in range(40)]
    after = [sockets_of(pid) for pid in workers]
    assert sum(after) - sum(before) == 40
    assert all(now > then for now, then in zip(after, before, strict=True))
    assert server.stop() == 0
    for client in clients:
        with closing(client), client.makefile("rb") as lines:
            assert lines.readline().startswith(b'{"type":"bye","code":1012')
    for pid in workers:
        wait_for_end(pid)


def test_a_worker_that_is_killed_comes_back(server: ServerProcess) -> None:
    killed, other = server.ready["workers"]
    clients = [greet(server.line) for _ in range(20)]
    os.kill(killed, signal.SIGKILL)
    server.wait_for_log("a worker has ended, and is started again")
    assert 0 < sum(map(is_answered, clients)) < 20
    server.wait_for_log("a worker serves again")
    assert "signal SIGKILL" in server.log
    before = sockets_of(other)
    again = [greet(server.line) for _ in range(40)]
    with ExitStack() as closed:
        for client in (*clients, *again):
            closed.enter_context(client)
        assert 0 < sockets_of(other) - before < 40


def test_workers_end_when_their_parent_is_killed() -> None:
    server = serve()
    server.kill()
    for pid in server.ready["workers"]:
        wait_for_end(pid)


def test_every_worker_reads_the_settings_again(tmp_path: Path) -> None:
    config = tmp_path / "fastchat.toml"
    config.write_text("[fanout]\nslice_ms = 5\n")
    with ServerProcess(arguments=("--workers", "2", "--config", str(config)), module=MODULE) as server:
        config.write_text("[fanout]\nslice_ms = 2\n")
        server.signal(signal.SIGHUP)
        for worker in (0, 1):
            deadline = time.monotonic() + 10
            while not any(
                "settings reloaded" in line and f"worker={worker}" in line for line in server.log.splitlines()
            ):
                assert time.monotonic() < deadline, server.log
                server.wait_for_log("settings reloaded")
        assert "fanout.slice_ms" in server.log


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", MODULE, "serve", "--workers", "2", "--line", "off", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_what_keeps_a_worker_from_starting_is_one_line(tmp_path: Path) -> None:
    ended = run("--http", "127.0.0.1:0", "--store", f"sqlite://{tmp_path}/chat.db")
    assert ended.returncode == 1
    problems = [line for line in ended.stderr.splitlines() if line.startswith("fastchat: ")]
    assert len(problems) == 1
    assert "chat.db is in use" in problems[0]
    assert ended.stdout == ""


def test_workers_share_their_port_with_nobody_else(server: ServerProcess) -> None:
    ended = run("--http", server.http, "--store", "memory:")
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert server.http in line
    assert "in use" in line


def test_a_worker_that_always_ends_is_started_more_and_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with Supervisor(Settings(), None) as supervisor:
        supervisor._announced = True
        (worker,) = supervisor._workers
        delays = []
        for lived_s in (STEADY_S, *[1.0] * 9, STEADY_S):
            worker.started_at, now = now, now + lived_s
            supervisor._on_end(worker, 1)
            assert worker.start_at is not None
            delays.append(worker.start_at - now)
    assert delays == [0.5, 1, 2, 4, 8, 16, AGAIN_MAX_S, AGAIN_MAX_S, AGAIN_MAX_S, AGAIN_MAX_S, 0.5]


def test_metrics_are_of_all_workers(server: ServerProcess) -> None:
    clients = [greet(server.line) for _ in range(20)]
    with socket.create_connection(split_address(server.http), timeout=10) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        lines = connection.makefile("rb").read().decode().splitlines()
    counts = [float(line.split()[1]) for line in lines if line.startswith("fastchat_connections{")]
    assert len(counts) == 2
    assert sum(counts) == 20
    for client in clients:
        client.close()
