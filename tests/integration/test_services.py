"""The servers that tests start, and the proxy: that they break as they are told to, and come back."""

import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import rabbitmq
from tests.services.proxy import Proxy
from tests.services.rabbitmq import RabbitMQ
from tests.services.service import RUN, is_running, running


def test_rabbitmq_breaks_as_told_and_leaves_nothing() -> None:
    with running(RabbitMQ()) as server:
        first, names = server.pid, server.names_pid
        assert first is not None
        assert names is not None
        server.pause()
        with socket.create_connection(("127.0.0.1", server.port), 5) as client:
            client.sendall(b"AMQP\x00\x00\x09\x01")
            client.settimeout(0.2)
            with pytest.raises(TimeoutError):
                client.recv(1)
            server.resume()
            client.settimeout(10)
            assert client.recv(1) == b"\x01"
        server.kill()
        assert not is_running(first)
        assert not server.answers()
        server.start()
        assert server.answers()
    assert not is_running(names)
    assert not server.folder.exists()


def test_the_shared_one_is_the_same_everywhere() -> None:
    server = rabbitmq.SHARED.server()
    assert rabbitmq.SHARED.server() is server
    assert server.answers()


RUN_OF_ITS_OWN = """
from tests.services import rabbitmq

def test_it():
    server = rabbitmq.SHARED.server()
    print("pids", server.pid, server.names_pid, server.folder)
    assert False
"""


def test_the_shared_one_ends_with_the_run_even_where_tests_fail(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    (tmp_path / "test_it.py").write_text(RUN_OF_ITS_OWN)
    environment = {
        name: value for name, value in os.environ.items() if name not in (RUN, "PYTEST_XDIST_WORKER")
    }
    command = [sys.executable, "-m", "pytest", "-n", "1", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, f"--rootdir={root}", "-c", str(root / "pyproject.toml"), str(tmp_path / "test_it.py")],
        capture_output=True, text=True, cwd=root, env=environment | {"PYTHONPATH": str(root)},
    )  # fmt: skip
    line = next(line for line in done.stdout.splitlines() if line.startswith("pids "))
    _, first, names, folder = line.split()
    assert not is_running(int(first))
    assert not is_running(int(names))
    assert not Path(folder).exists()


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


@pytest.fixture
def echo() -> Iterator[Proxy]:
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = False

    with Server(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        with Proxy(server.server_address[1]) as proxy:
            yield proxy
        server.shutdown()
        thread.join()


def is_reset(client: socket.socket) -> bool:
    try:
        client.sendall(b"?")
        return client.recv(10) == b""
    except ConnectionError:
        return True


def test_the_proxy_carries_cuts_and_restores(echo: Proxy) -> None:
    assert echo.url("amqp://a:b@10.0.0.1:5672/%2F") == f"amqp://a:b@127.0.0.1:{echo.port}/%2F"
    with socket.create_connection(("127.0.0.1", echo.port), 5) as client:
        client.sendall(b"one")
        assert client.recv(10) == b"one"
        echo.cut()
        assert is_reset(client)
    with socket.create_connection(("127.0.0.1", echo.port), 5) as client:
        assert is_reset(client)
    echo.restore()
    with socket.create_connection(("127.0.0.1", echo.port), 5) as client:
        client.sendall(b"three")
        assert client.recv(10) == b"three"


def test_the_proxy_holds_and_delays(echo: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", echo.port), 5) as client:
        client.sendall(b"one")
        assert client.recv(10) == b"one"
        echo.hold()
        client.sendall(b"two")
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(10)
        echo.restore()
        client.settimeout(5)
        assert client.recv(10) == b"two"
        echo.delay(50)
        begun_s = time.monotonic()
        client.sendall(b"three")
        assert client.recv(10) == b"three"
        assert time.monotonic() - begun_s >= 0.1
