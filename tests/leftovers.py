"""What a test may leave behind: nothing. Counts tasks, sockets and child processes of this process."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Belongings:
    """What this process holds that outlives a test when nobody closes it. Empty where there is no `/proc`."""

    sockets: frozenset[str]
    """Open ones, as `socket:[INODE]`."""
    children: frozenset[int]
    """Process ids of children of any thread, also those that ended and were not waited for."""


def count() -> Belongings:
    return Belongings(open_sockets(), child_processes())


def open_sockets() -> frozenset[str]:
    sockets = set()
    for descriptor in Path("/proc/self/fd").glob("*"):
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue  # the descriptor of this listing itself
        if target.startswith("socket:"):
            sockets.add(target)
    return frozenset(sockets)


def child_processes() -> frozenset[int]:
    while True:
        try:
            return frozenset(
                int(child)
                for children in Path("/proc/self/task").glob("*/children")
                for child in children.read_text().split()
            )
        except (FileNotFoundError, ProcessLookupError):
            continue  # a thread ended meanwhile, and its children are another one's now


@contextmanager
def nothing_new() -> Iterator[None]:
    """Fails with the names of the sockets and child processes that were not there when it began."""
    before = count()
    yield
    after = count()
    assert after.sockets - before.sockets == frozenset(), "the test left sockets open"
    assert after.children - before.children == frozenset(), "the test left child processes"


def tasks_beside(own: "asyncio.Task[object] | None") -> list[str]:
    """The running loop's unfinished tasks except for `own`, as text."""
    return sorted(repr(task) for task in asyncio.all_tasks() if task is not own and not task.done())
