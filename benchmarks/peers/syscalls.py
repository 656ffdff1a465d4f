"""How many system calls a server makes to send, counted by perf from outside."""

from __future__ import annotations

import contextlib
import functools
import pathlib
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator

from benchmarks.processes import read_tree
from benchmarks.servers import Server

_CALLS = ("sendto", "sendmsg", "sendmmsg", "write", "writev", "io_uring_enter")
_EVENTS = ",".join(f"syscalls:sys_enter_{call}" for call in _CALLS)
_ATTACH_TIMEOUT_S = 5.0


@functools.cache
def missing() -> str | None:
    """None where system calls can be counted, else what it takes."""
    if shutil.which("perf") is None:
        return "apt install linux-perf"
    command = ["perf", "stat", "-x", ",", "-e", _EVENTS, "true"]
    if subprocess.run(command, capture_output=True, timeout=30).returncode != 0:
        return "perf needs root to count system calls"
    return None


class SystemCalls:
    """`count` is known when the block is over."""

    count = 0


@contextlib.contextmanager
def count_sends(server: Server) -> Iterator[SystemCalls]:
    """Count what the server's processes send with, from here to the block's end."""
    calls = SystemCalls()
    processes = ",".join(map(str, read_tree(server.pid)))
    command = ["perf", "stat", "-x", ",", "-e", _EVENTS, "-p", processes]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _wait_until_attached(process)
        yield calls
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        calls.count = parse_counts(said)


def parse_counts(said: str) -> int:
    """The sum over the lines of `perf stat -x ,`: `COUNT,UNIT,EVENT,…`."""
    counts = (line.split(",")[0] for line in said.splitlines() if "sys_enter_" in line)
    return sum(int(count) for count in counts if count.isdigit())


def _wait_until_attached(process: subprocess.Popen[str]) -> None:
    """perf says nothing when it begins; then it has its events open, and waits."""
    deadline = time.monotonic() + _ATTACH_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        if _counts(process.pid):
            return
        time.sleep(0.02)
    raise RuntimeError("perf does not count")


def _counts(pid: int) -> bool:
    with contextlib.suppress(OSError):
        descriptors = [link.readlink().name for link in pathlib.Path(f"/proc/{pid}/fd").iterdir()]
        return sum("perf_event" in descriptor for descriptor in descriptors) >= len(_CALLS)
    return False
