"""How much longer a sender waits for `sent` where the message has to reach the disk first."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import statistics
import threading
import time

from .brokers import data_folder
from .generator import Load, generator
from .ingest import MEMORY_ROOMS
from .plan import Plan
from .processes import SERVER_CORE
from .results import Figure
from .servers import Server, fastchat

ALLOWED_MS = 1.0
_COUNTED_COMMITS = 100  # few enough that the write-ahead log does not begin anew
_WAL_BYTES = 4 << 20  # SQLite goes back to its start about here


def measure_delay(plan: Plan) -> Figure:
    """Return by how much the median delay of durable rooms exceeds memory rooms' and one fdatasync.

    The fdatasyncs are measured right before and after, by a file of the same size that is written at the same
    rate, in the same pieces.
    """
    excesses, faults, runs = [], [], []
    for _ in range(plan.rounds):
        with data_folder() as folder:
            file = folder / "fastchat.db"
            with fastchat("store.durability=full", MEMORY_ROOMS, store=f"sqlite://{file}") as server:
                commit_bytes = _commit_bytes(server, pathlib.Path(f"{file}-wal"), plan)
                syncs_ms = _sync_ms(folder, commit_bytes, plan)
                memory = _paced(server, "mem-bench", "m", plan)
                durable = _paced(server, "bench", "d", plan)
                syncs_ms += _sync_ms(folder, commit_bytes, plan)
        sync_ms = statistics.median(syncs_ms)
        excesses.append(durable.p50_ms - memory.p50_ms - sync_ms)
        faults += [load.faults for load in (memory, durable) if load.faults]
        delays = {"memory": dataclasses.asdict(memory), "durable": dataclasses.asdict(durable)}
        runs.append({"sync_ms": sync_ms, **delays})
        print(
            f"    sent after p50 {memory.p50_ms:.2f} ms from a memory room, {durable.p50_ms:.2f} ms from a"
            f" durable one (p99 {memory.p99_ms:.2f}, {durable.p99_ms:.2f}); a commit writes"
            f" {commit_bytes:,} bytes, their fdatasync takes {sync_ms:.2f} ms",
            flush=True,
        )
    name = f"durable - memory, p50 of `sent` at {plan.delay_rate:.0f}/s, less one fdatasync"
    return Figure(name, excesses, ALLOWED_MS, False, "ms", faults, {"runs": runs})


def _paced(server: Server, room: str, prefix: str, plan: Plan, messages: int = 0) -> Load:
    # Each time other users: the same ones with the same ids would say the same once more.
    options: dict[str, int | float | str] = {
        "senders": plan.senders,
        "subscribers": plan.ingest_subscribers,
        "text_bytes": plan.text_bytes,
        "rate": plan.delay_rate,
        "seconds": plan.delay_seconds,
        "acks": 1,
        "room": room,
        "prefix": prefix,
    }
    with generator(server, "line", "paced", **options) as load:
        load.prefer()
        return load.run(messages)


def _commit_bytes(server: Server, wal: pathlib.Path, plan: Plan) -> int:
    """How much one message's commit adds to the write-ahead log."""
    _paced(server, "bench", "a", plan, 10)
    before = wal.stat().st_size
    _paced(server, "bench", "b", plan, _COUNTED_COMMITS)
    return (wal.stat().st_size - before) // _COUNTED_COMMITS


def _sync_ms(folder: pathlib.Path, size: int, plan: Plan) -> list[float]:
    """What write and fdatasync take, on the server's core, beside an idle server."""
    delays_ms: list[float] = []

    def run() -> None:
        os.sched_setaffinity(0, {SERVER_CORE})
        descriptor = os.open(folder / "probe", os.O_RDWR | os.O_CREAT)
        at, due = 0, time.monotonic()
        while len(delays_ms) < plan.delay_rate * plan.delay_seconds / 2:
            due += 1 / plan.delay_rate
            time.sleep(max(0.0, due - time.monotonic()))
            began = time.perf_counter()
            os.pwrite(descriptor, b"\xa5" * size, at)
            os.fdatasync(descriptor)
            delays_ms.append((time.perf_counter() - began) * 1e3)
            at = at + size if at + size < _WAL_BYTES else 0
        os.close(descriptor)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return delays_ms
