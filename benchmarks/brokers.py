"""Message brokers that keep what they acknowledge: started by hand, each with a new data folder."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator

from tests.services.rabbitmq import PROGRAMS, configure, environment

from .external import free_port, running
from .processes import read_cpu_s, read_tree
from .programs import BUILD
from .servers import Server

RABBITMQ = PROGRAMS / "rabbitmq-server"
SUBJECT = "bench"


@dataclasses.dataclass
class Broker(Server):
    """A server that may be several processes."""

    def cpu_s(self) -> float:
        return sum(read_cpu_s(member) for member in read_tree(self.pid))


def nats_program() -> str | None:
    """The nats-server that is measured: NATS_SERVER, or the one on the PATH."""
    return os.environ.get("NATS_SERVER") or shutil.which("nats-server")


def nats_syncs_always() -> bool:
    """Whether it can be told to sync before each acknowledgement (since 2.11)."""
    with tempfile.TemporaryDirectory() as folder:
        config = _nats_config(pathlib.Path(folder), 4222, sync="always")
        program = nats_program()
        if program is None:
            return False
        return subprocess.run([program, "-t", "-c", config], capture_output=True).returncode == 0


def rabbitmq_installed() -> bool:
    return RABBITMQ.exists() and shutil.which("epmd") is not None


@contextlib.contextmanager
def nats(sync: str = "") -> Iterator[Broker]:
    """Start NATS with JetStream and a stream on SUBJECT, in a file, everything else as it comes.

    By default it acknowledges what is in the page cache, and syncs every two minutes; `sync="always"` has it
    sync first.
    """
    with data_folder() as folder:
        port = free_port()
        command = [str(nats_program()), "-c", _nats_config(folder, port, sync)]
        name = f"NATS, sync {sync}" if sync else "NATS"
        with running(command, port, {}) as process:
            _create_stream(port)
            yield Broker(name, process.pid, port)


def _nats_config(folder: pathlib.Path, port: int, sync: str) -> str:
    config = folder / "nats.conf"
    always = f', sync_interval: "{sync}"' if sync else ""
    config.write_text(f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{folder}/js"{always} }}\n')
    return str(config)


def _create_stream(port: int) -> None:
    stream = json.dumps({"name": SUBJECT, "subjects": [SUBJECT], "storage": "file", "retention": "limits"})
    commands = f"CONNECT {{}}\r\nSUB _INBOX.driver 1\r\nPUB $JS.API.STREAM.CREATE.{SUBJECT} _INBOX.driver"
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(f"{commands} {len(stream)}\r\n{stream}\r\n".encode())
        with connection.makefile("rb") as lines:
            for line in lines:
                if line.startswith((b"MSG ", b"-ERR")):
                    answer = next(lines, b"") if line.startswith(b"MSG ") else line
                    if b'"error"' in answer or not answer.startswith(b"{"):
                        raise RuntimeError(f"NATS: {answer.decode().strip()}")
                    return
    raise ConnectionError("NATS closed the connection")


@contextlib.contextmanager
def rabbitmq() -> Iterator[Broker]:
    """Start RabbitMQ as it comes: one node, no plugins; the generator declares the durable queue."""
    with data_folder() as folder:
        port, epmd_port = free_port(), free_port()
        configure(folder, port)
        own = environment(folder, port, epmd_port, free_port())
        epmd = [str(shutil.which("epmd")), "-address", "127.0.0.1", "-port", str(epmd_port)]
        with running(epmd, epmd_port, {}), running([str(RABBITMQ)], port, own) as process:
            yield Broker("RabbitMQ", process.pid, port)


@contextlib.contextmanager
def redis() -> Iterator[Broker]:
    """Start Redis as it comes, keeping nothing."""
    with data_folder() as folder:
        port = free_port()
        command = [
            str(shutil.which("redis-server")), "--bind", "127.0.0.1", "--port", str(port),
            "--dir", str(folder), "--save", "",
        ]  # fmt: skip
        with running(command, port, {}) as process:
            yield Broker("Redis", process.pid, port)


@contextlib.contextmanager
def data_folder() -> Iterator[pathlib.Path]:
    """A new folder under build/: all servers keep their data on the same disk."""
    BUILD.mkdir(parents=True, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="data-", dir=BUILD)
    try:
        yield pathlib.Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
