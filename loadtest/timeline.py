"""How delays and the number of users went over a run's time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gevent

from .outcome import take_percentile

POINTS = 60
_WATCHED = ("delivery", "sent")


class Timeline:
    """Up to sixty points, each with the percentiles of what came since the one before."""

    def __init__(self, stats: Any, time_s: float, *, least_s: float) -> None:
        self._interval_s = max(least_s, time_s / POINTS)
        self._stats = stats
        self._before: dict[tuple[str, str], dict[float, int]] = {}
        self._began = time.monotonic()
        self.points: list[dict[str, Any]] = []

    def watch(self, count_users: Callable[[], int]) -> None:
        """Never returns."""
        while True:
            gevent.sleep(self._interval_s)
            self.add_point(count_users())

    def add_point(self, users: int) -> None:
        point: dict[str, Any] = {"at_s": round(time.monotonic() - self._began, 1), "users": users}
        for name in _WATCHED:
            fresh: dict[float, int] = {}
            for key in [key for key in self._stats.entries if key[0] == name]:
                times, before = self._stats.entries[key].response_times, self._before.get(key, {})
                self._before[key] = dict(times)
                for time_ms, count in times.items():
                    fresh[time_ms] = fresh.get(time_ms, 0) + count - before.get(time_ms, 0)
            for label, part in (("p50", 0.5), ("p99", 0.99)):
                point[f"{name}_{label}_ms"] = take_percentile(fresh, part)
        self.points.append(point)
