"""Processes that are measured: on which core they run, what they use."""

from __future__ import annotations

import contextlib
import os
import pathlib
import resource
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE = _CORES[0]
LOAD_CORE = _CORES[-1]
_NICE = -20


def prepare_driver() -> None:
    """Leave the server's core alone, and allow as many open files as this process may have."""
    os.sched_setaffinity(0, {LOAD_CORE})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def start_process(core: int, command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a process that runs on `core`, with all the threads it will ever start.

    It runs before the machine's other programs where this process has the privilege. The kernel shares the
    processor out between sessions first (autogroup), so it gets a session, and priority for that.
    """
    with _running_on(core):
        process = subprocess.Popen(command, bufsize=0, start_new_session=True, **options)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
        pathlib.Path(f"/proc/{process.pid}/autogroup").write_text(str(_NICE))
    return process


def prefer(pid: int) -> None:
    """Run the process before everything else on its core, as soon as it has something to do.

    Without the privilege nothing changes, and delays contain what other programs make it wait.
    """
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))


@contextlib.contextmanager
def _running_on(core: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def read_cpu_s(pid: int) -> float:
    """Return the CPU time of all the process's threads, user and system, to the nanosecond.

    The number names another process's CPU clock, as clock_getcpuclockid(3) computes it; /proc/PID/stat
    counts in steps of 10 ms.
    """
    return time.clock_gettime((~pid << 3) | 2)


def read_tree(pid: int) -> list[int]:
    """Return the process and all that it has started, and those have, as far as they live."""
    children: dict[int, list[int]] = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    tree = [pid]
    for member in tree:
        tree += children.get(member, [])
    return tree


def settle_cpu(read_s: Callable[[], float], *, quiet_s: float = 2.5, timeout_s: float = 120.0) -> None:
    """Wait until a server has finished what it put off: less than 2 % of a core for `quiet_s`."""
    deadline = time.monotonic() + timeout_s
    used_s, busy = read_s(), True
    while busy and time.monotonic() < deadline:
        time.sleep(quiet_s)
        before_s, used_s = used_s, read_s()
        busy = used_s - before_s > 0.02 * quiet_s


def read_waited_s(pid: int) -> float:
    """Return how long the process's main thread could have run, but other programs had its core."""
    return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def read_anonymous_bytes(pid: int) -> int:
    """Return the resident memory that the process has written itself (no code, no files, no kernel)."""
    return _read_status(pid, "RssAnon:")


def read_peak_bytes(pid: int) -> int:
    """Return the highest resident memory since the last `reset_peak`, code and files included."""
    return _read_status(pid, "VmHWM:")


def reset_peak(pid: int) -> None:
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


def settled_bytes(read: Callable[[], int], *, quiet_s: float, timeout_s: float) -> int:
    """Wait until what `read` says of memory has not changed for `quiet_s`, and return it."""
    deadline = time.monotonic() + timeout_s
    value, since = read(), time.monotonic()
    while time.monotonic() < min(deadline, since + quiet_s):
        time.sleep(0.1)
        current = read()
        if abs(current - value) > 64 << 10:
            value, since = current, time.monotonic()
    return read()


def settled_anonymous_bytes(pid: int, *, quiet_s: float = 2.5, timeout_s: float = 15.0) -> int:
    """Wait until the process's memory has not changed for `quiet_s`, and return it."""
    return settled_bytes(lambda: read_anonymous_bytes(pid), quiet_s=quiet_s, timeout_s=timeout_s)


def _read_status(pid: int, field: str) -> int:
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise LookupError(field)
