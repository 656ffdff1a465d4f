"""Samples a server's memory while it is under load, and says at the end whether it grew."""

from __future__ import annotations

import csv
import dataclasses
import os
import pathlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Self

from .trend import Trend, fit_trend

WARM_UP_PART, LONGEST_WARM_UP_S = 1 / 2, 3600.0
"""At first rings, SQLite's page caches and arenas fill: that part is left out of the slope."""
SHORTEST_JUDGED_S = 900.0
"""In a shorter run all of it is warm-up."""


@dataclasses.dataclass(frozen=True)
class Sample:
    at_s: float
    anonymous_bytes: int
    """Resident memory that the process has written itself."""
    file_bytes: int
    """The store and what is beside it; 0 where there is no file."""
    cpu_s: float


def read_sample(pid: int, began: float, store: pathlib.Path | None) -> Sample:
    """Raises OSError when the process is gone."""
    anonymous_bytes = 0
    for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            anonymous_bytes = int(line.split()[1]) * 1024
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    files = [] if store is None else store.parent.glob(f"{store.name}*")
    file_bytes = sum(path.stat().st_size for path in files)
    return Sample(round(time.monotonic() - began, 2), anonymous_bytes, file_bytes, cpu_s)


class Sampler:
    """A context manager: samples each ``interval_s`` in a thread, and writes each line of the CSV at once.

    ``read_pid`` is asked each time, since a restarted server has another one.
    """

    def __init__(
        self, read_pid: Callable[[], int], store: pathlib.Path | None, path: pathlib.Path, interval_s: float
    ) -> None:
        self.samples: list[Sample] = []
        self._read_pid = read_pid
        self._store = store
        self._path = path
        self._interval_s = interval_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("w", newline="", encoding="ascii") as file:
            writer = csv.writer(file)
            writer.writerow([field.name for field in dataclasses.fields(Sample)])
            while not self._stopped.wait(self._interval_s):
                try:
                    sample = read_sample(self._read_pid(), began, self._store)
                except OSError:
                    continue  # between the end of one process and the start of the next
                self.samples.append(sample)
                writer.writerow(dataclasses.astuple(sample))
                file.flush()


def read_csv(path: pathlib.Path) -> list[Sample]:
    """What a Sampler has written, also while it is still writing."""
    with path.open(newline="", encoding="ascii") as file:
        return [
            Sample(
                float(row["at_s"]), int(row["anonymous_bytes"]), int(row["file_bytes"]), float(row["cpu_s"])
            )
            for row in csv.DictReader(file)
            if row["cpu_s"]
        ]


def fit_memory(samples: Sequence[Sample]) -> Trend:
    """The memory's trend in bytes per hour, without the warm-up. Raises ValueError for too few samples."""
    if not samples:
        raise ValueError("there are no samples")
    warm_s = min(LONGEST_WARM_UP_S, WARM_UP_PART * samples[-1].at_s)
    points = [
        (sample.at_s / 3600, float(sample.anonymous_bytes)) for sample in samples if sample.at_s >= warm_s
    ]
    return fit_trend(points)


def describe_memory(trend: Trend) -> str:
    """The verdict in a sentence or two."""
    kib = 1024
    verdict = "grows" if trend.grows else "does not grow beyond the noise"
    return (
        f"The server's memory {verdict}: {trend.level / kib / kib:.1f} MiB on average, slope "
        f"{trend.slope / kib:+.0f} KiB per hour (95 %: {trend.low / kib:+.0f} to {trend.high / kib:+.0f}), "
        f"noise {trend.noise / kib:.0f} KiB, {trend.count} samples after the warm-up."
    )
