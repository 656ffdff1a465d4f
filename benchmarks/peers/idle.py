"""Idle connections: how fast a server takes them, and how much of its own memory each one costs."""

from __future__ import annotations

import threading
import time

from benchmarks.generator import generator
from benchmarks.processes import read_anonymous_bytes, read_tree, settled_bytes
from benchmarks.servers import Server

from .measurement import Measurement, Measurements
from .peer import Peer
from .phases import time_limit
from .plan import PeersPlan

_LIMIT_S = 90.0
_QUIET_S = 0.7
_SETTLING_S = 6.0
_SAMPLE_S = 0.05


def read_tree_bytes(pids: list[int]) -> int:
    """The anonymous memory of several processes; those that have ended have none."""
    total = 0
    for pid in pids:
        try:
            total += read_anonymous_bytes(pid)
        except (OSError, LookupError):
            continue
    return total


def measure_idle(peer: Peer, plan: PeersPlan, round_number: int, results: Measurements) -> None:
    """Open `plan.idle_connections` at once; what the first ones cost once is not counted."""
    with peer.start() as server, time_limit(server, _LIMIT_S):
        pids = read_tree(server.pid)
        idle = {"seconds": 1}
        with generator(server, peer.dialect, "idle", subscribers=plan.idle_warm_up, prefix="w", **idle):
            before_bytes, before_s, began = _settled_bytes(pids), server.cpu_s(), time.monotonic()
            with generator(
                server, peer.dialect, "idle", subscribers=plan.idle_connections, prefix="i", **idle
            ) as load:
                elapsed_s, used_s = time.monotonic() - began, server.cpu_s() - before_s
                grown_bytes = _settled_bytes(pids) - before_bytes
                closed = load.run().closed
    values = {
        "bytes_each": grown_bytes / plan.idle_connections,
        "handshakes_per_s": plan.idle_connections / elapsed_s,
        "handshakes_per_cpu_s": plan.idle_connections / used_s,
    }
    fault = f"{closed} closed" if closed else ""
    results.add(Measurement("idle", peer.name, round_number, values, fault))
    print(
        f"    {peer.name:24} idle            {values['bytes_each']:9,.0f} bytes per connection,"
        f" {values['handshakes_per_cpu_s']:,.0f} handshakes per CPU-second,"
        f" {values['handshakes_per_s']:,.0f} per second  {fault}",
        flush=True,
    )


def _settled_bytes(pids: list[int]) -> int:
    """Wait until the memory has not changed for a while, and return it."""
    return settled_bytes(lambda: read_tree_bytes(pids), quiet_s=_QUIET_S, timeout_s=_SETTLING_S)


class PeakMemory:
    """By how much a server's memory grows, at most, while it is entered."""

    def __init__(self, server: Server) -> None:
        self._pids = read_tree(server.pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._before = self._peak = 0

    def __enter__(self) -> PeakMemory:
        self._before = self._peak = _settled_bytes(self._pids)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def growth_bytes(self) -> int:
        return self._peak - self._before

    def _sample(self) -> None:
        while True:
            self._peak = max(self._peak, read_tree_bytes(self._pids))
            if self._over.wait(_SAMPLE_S):
                break
