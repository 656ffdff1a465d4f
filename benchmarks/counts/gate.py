"""What instruction counts are expected, and by how much they may be exceeded. Pure, but for the one file."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from .run import Instructions
from .workloads import WORKLOADS

EXPECTED = pathlib.Path(__file__).with_name("expected.json")
SAME, OTHER = 1.25, 1.6
"""By how much a ratio may grow: with the compiler and Python that were expected, and with others."""


def read_expected() -> dict[str, Any]:
    """What was accepted last: {"environment": {...}, "counts": {workload: {"instructions", "ratio"}}}."""
    expected: dict[str, Any] = json.loads(EXPECTED.read_text(encoding="utf-8"))
    return expected


def accept(counts: Mapping[str, Instructions], environment: Mapping[str, str]) -> None:
    """Has these counts be the expected ones from now on."""
    document = {
        "environment": dict(environment),
        "counts": {
            name: {"instructions": round(each.count, 2), "ratio": round(each.ratio, 4)}
            for name, each in counts.items()
        },
    }
    EXPECTED.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def find_grown(
    counts: Mapping[str, Instructions], environment: Mapping[str, str], expected: Mapping[str, Any]
) -> list[str]:
    """A line for each gated workload that takes more than it may.

    What is compared is the ratio to a loop of C that was counted in the same run: it stays what it is where a
    compiler does everything a little better or worse.
    """
    limit = SAME if dict(environment) == expected["environment"] else OTHER
    grown = []
    for workload in WORKLOADS:
        before, now = expected["counts"].get(workload.name), counts.get(workload.name)
        if workload.gated and now is not None and before is not None and now.ratio > limit * before["ratio"]:
            grown.append(
                f"{workload.name}: {now.count:,.1f} instructions per {workload.per} are {now.ratio:.3g} times"
                f" the reference; expected are {before['ratio']:.3g}, allowed {limit * before['ratio']:.3g}"
            )
    return grown
