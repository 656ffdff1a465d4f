"""Times as ratios, for tests on a machine that others use too.

What else the machine does makes a repetition longer, never shorter. So the repetitions of what is compared
take turns, and the shortest of each counts. While a test would fail there are more of them, for PATIENCE_S.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass

REPETITIONS_LEAST, PATIENCE_S = 15, 5.0


@dataclass(frozen=True)
class Run:
    """Something that is timed; ``units`` says how much of it there is, ``prepare`` is not timed."""

    run: Callable[[], object]
    units: int = 1
    prepare: Callable[[], object] = lambda: None


def is_less(ours: Run, theirs: Run, times: float) -> bool:
    """Whether a unit of ours takes at most 1/``times`` of what a unit of theirs does."""
    ours_s = theirs_s = float("inf")
    ours.prepare(), ours.run(), theirs.prepare(), theirs.run()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        give_up_at, repetitions = time.monotonic() + PATIENCE_S, 0
        while time.monotonic() < give_up_at:
            ours_s, theirs_s = min(ours_s, _time(ours)), min(theirs_s, _time(theirs))
            repetitions += 1
            if repetitions >= REPETITIONS_LEAST and ours_s * times <= theirs_s:
                return True
    finally:
        if was_enabled:
            gc.enable()
    print(f"{ours_s * 1e9:.1f} ns a unit against {theirs_s * 1e9:.1f} ns: {theirs_s / ours_s:.2f} times")
    return False


def _time(timed: Run) -> float:
    """Seconds per unit."""
    timed.prepare()
    began_at = time.perf_counter()
    timed.run()
    return (time.perf_counter() - began_at) / timed.units
