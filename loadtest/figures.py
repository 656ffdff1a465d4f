"""What users have measured, in Locust's statistics, and beside them plain counts.

The lines that have a time, in milliseconds:

``connect``     from the first SYN to ``welcome``
``join``        from ``join`` to ``joined``
``sent``        from before a message is written until it is acknowledged
``delivery``    from before a message is written until another user has read it
``return``      after a lost connection: from the SYN of the attempt that worked until all that was missed has
                come
``away``        the same from the moment when the connection was lost
``hub lag``     by how much gevent's loop was late: the load generator's own share of all these

The lines that have none are failures, see ``outcome.FAILURES``.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import gevent
import locust.stats
from locust.env import Environment

HUB_LAG_INTERVAL_S = 0.02
HUB_LAG_WARNING_MS = 50.0
"""Above this p95 the figures say more about the load generator than about the server."""


class Failure(Exception):
    """A failure's reason, in few different wordings: Locust counts each apart."""

    def __str__(self) -> str:
        return str(self.args[0])


def read_host_id() -> str:
    """Names this machine's clock: times of CLOCK_MONOTONIC are comparable where this is equal."""
    with contextlib.suppress(OSError):
        return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    return f"pid-{os.getpid()}"


class Figures:
    """One process's figures. ``count`` is free to be added to by anyone."""

    def __init__(self, environment: Environment, *, every: int = 1) -> None:
        """Of all deliveries each ``every``-th one is timed."""
        self._fire: Callable[..., None] = environment.events.request.fire
        self.every = every
        self.count: Counter[str] = Counter()
        self.host = read_host_id()
        self._until_next = every

    def time(self, edge: str, name: str, took_s: float, length: int = 0) -> None:
        self._fire(
            request_type=edge,
            name=name,
            response_time=took_s * 1000.0,
            response_length=length,
            exception=None,
            context={},
        )

    def fail(self, edge: str, name: str, reason: str) -> None:
        """One failure of those in FAILURES."""
        self._fire(
            request_type=edge,
            name=name,
            response_time=None,
            response_length=0,
            exception=Failure(reason),
            context={},
        )

    def receive_delivery(self, edge: str, data: Any, now: float, length: int) -> None:
        """Another user's message is here; ``data`` is what ``stamp`` gave its sender."""
        self._until_next -= 1
        if self._until_next <= 0:
            self._until_next = self.every
            if isinstance(data, dict) and data.get("host") == self.host:
                self.time(edge, "delivery", now - data["sent_ns"] / 1e9, length)

    def stamp(self) -> dict[str, Any]:
        """A message's ``data``: when it was sent, and by whose clock."""
        return {"host": self.host, "sent_ns": time.monotonic_ns()}

    def watch_hub(self) -> None:
        """Never returns: tells five times a second how late gevent's loop was at worst."""
        worst_s, told = 0.0, time.monotonic()
        while True:
            before = time.monotonic()
            gevent.sleep(HUB_LAG_INTERVAL_S)
            now = time.monotonic()
            worst_s = max(worst_s, now - before - HUB_LAG_INTERVAL_S)
            if now - told >= 0.2:
                self.time("load", "hub lag", max(0.0, worst_s))
                worst_s, told = 0.0, now


def round_finely(milliseconds: float) -> float:
    """Two significant digits at least, where Locust keeps whole milliseconds."""
    if milliseconds < 10:
        return round(milliseconds, 1)
    if milliseconds < 100:
        return round(milliseconds)
    digits = len(str(int(milliseconds))) - 2
    return round(milliseconds, -digits)


def install_rounding() -> None:
    """A chat server answers within milliseconds: Locust's whole ones would all be 1 or 2."""
    statistics: Any = locust.stats
    statistics.bucket_response_time = round_finely
