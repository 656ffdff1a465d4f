"""Servers that are not ours: started by hand on the server's core, and killed with all that they started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence

from .processes import SERVER_CORE, read_tree, start_process
from .programs import BUILD

LOG = BUILD / "peers.log"
_START_TIMEOUT_S = 120.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    command: Sequence[str], port: int, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command until the block ends; yields when the port at 127.0.0.1 accepts connections.

    Raises RuntimeError when the command ends before, or takes too long.
    """
    BUILD.mkdir(parents=True, exist_ok=True)
    with LOG.open("ab") as log:
        process = start_process(
            SERVER_CORE,
            command,
            env=os.environ | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        _wait_for_port(process, port)
        yield process
    finally:
        for member in read_tree(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
        process.wait()


def _wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} did not start; see {LOG}")
