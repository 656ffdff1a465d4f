"""The servers under test, one at a time on the server's core."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

from .processes import SERVER_CORE, read_cpu_s, start_process
from .programs import BUILD, ROOT, build_program

# The defaults suit people; a load generator is one address that says everything at once.
UNLIMITED = ("limits.messages_per_s=0", "limits.connections_per_address=0", "limits.connections=0")


@dataclasses.dataclass
class Server:
    """A running server: fastchat, or a floor (which has only a line port)."""

    name: str
    pid: int
    line_port: int
    http_port: int = 0

    def cpu_s(self) -> float:
        return read_cpu_s(self.pid)

    def port(self, dialect: str) -> int:
        return self.http_port if dialect.endswith("ws") else self.line_port


@dataclasses.dataclass(frozen=True)
class EventSize:
    """How many bytes one delivery and one acknowledgement are on the line port."""

    event: int
    ack: int


@contextlib.contextmanager
def fastchat(*settings: str, store: str = "memory:", host: str = "127.0.0.1") -> Iterator[Server]:
    """Start fastchat with its defaults, no limits, and `settings` ("section.key=value").

    Rooms are in memory unless a `store` is named: most figures are about what is in front of it.
    """
    reader, writer = os.pipe()
    BUILD.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "fastchat", "serve", "--http", f"{host}:0", "--line", f"{host}:0"]
    command += ["--store", store, "--ready-fd", str(writer)]
    for setting in (*UNLIMITED, *settings):
        command += ["--set", setting]
    with (BUILD / "fastchat.log").open("ab") as log:
        process = start_process(SERVER_CORE, command, cwd=ROOT, pass_fds=[writer], stdout=log, stderr=log)
    os.close(writer)
    try:
        with os.fdopen(reader, encoding="utf-8") as ready:
            yield _parse_ready("fastchat", ready.readline())
    finally:
        _stop(process)


@contextlib.contextmanager
def floor(name: str, size: EventSize) -> Iterator[Server]:
    """Start one of the C floors; `size` makes it equal to fastchat in bytes."""
    command = [str(build_program(name)), "--bytes", str(size.event), "--ack-bytes", str(size.ack)]
    process = start_process(SERVER_CORE, command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield _parse_ready(name, process.stdout.readline().decode())
    finally:
        _stop(process)


@contextlib.contextmanager
def handshake_floor() -> Iterator[Server]:
    """Start the C floor that accepts WebSocket connections."""
    process = start_process(SERVER_CORE, [str(build_program("handshake_floor"))], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield _parse_ready("handshake floor", process.stdout.readline().decode())
    finally:
        _stop(process)


def measure_event_size(text_bytes: int) -> EventSize:
    """Ask a running fastchat: what the load generator sends, what comes back."""
    commands = (
        {"type": "hello", "user": "u1000"},
        {"type": "join", "room": "bench"},
        {"type": "send", "room": "bench", "id": "x000000001", "text": "m" * text_bytes},
    )
    sizes: dict[str, int] = {}
    with fastchat() as server, socket.create_connection(("127.0.0.1", server.line_port), 10) as connection:
        connection.sendall(b"".join(json.dumps(command).encode() + b"\n" for command in commands))
        with connection.makefile("rb") as lines:
            while not {"message", "sent"} <= sizes.keys():
                line = lines.readline()
                if not line:
                    raise ConnectionError("fastchat closed the connection")
                sizes[json.loads(line)["type"]] = len(line)
    # Here seq has one digit, in the middle of a run some four.
    return EventSize(event=sizes["message"] + 3, ack=sizes["sent"] + 3)


def _parse_ready(name: str, line: str) -> Server:
    if not line:
        raise RuntimeError(f"{name} did not start; see {BUILD / 'fastchat.log'}")
    ready = json.loads(line)
    http_port = int(ready["http"].rpartition(":")[2]) if "http" in ready else 0
    return Server(name, ready["pid"], int(ready["line"].rpartition(":")[2]), http_port)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """A measured server has nothing to say at its end: it is killed, and its port never used again."""
    process.send_signal(signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
