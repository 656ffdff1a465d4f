"""What can be seen of a running server from outside: the kernel's queues, what its threads read."""

from __future__ import annotations

import contextlib
import pathlib

_ESTABLISHED = "01"


def read_send_queues(port: int) -> list[int]:
    """For each connection to the local port: bytes that the kernel has taken, unconfirmed by the peer."""
    queues = []
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, both, *_ = line.split()
        if state == _ESTABLISHED and int(local.rpartition(":")[2], 16) == port:
            queues.append(int(both.partition(":")[0], 16))
    return queues


def read_store_bytes(pid: int) -> int:
    """What the server's reading threads have had from files since they were started, cached pages included.

    Those are the threads beside the loop's that read more than they write (all of them write 8 bytes to wake
    the loop up).
    """
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        counters = dict(line.split(": ") for line in (task / "io").read_text().splitlines())
        if int(task.name) != pid and int(counters["rchar"]) > int(counters["wchar"]):
            total += int(counters["rchar"])
    return total


def huge_pages_mode() -> str:
    """`always`, `madvise` or `never`: what /sys says of transparent huge pages; empty without them."""
    with contextlib.suppress(OSError):
        words = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text().split()
        return next(word.strip("[]") for word in words if word.startswith("["))
    return ""


def congestion_control() -> str:
    """The kernel's way to find out how much a path takes: `cubic`, `bbr`."""
    return pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
