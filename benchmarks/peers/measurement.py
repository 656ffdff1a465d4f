"""What was measured, and what may be said about it. Pure: no sockets, no clock."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

CLAIMED_RATIO = 1.5
"""Smaller differences between separate runs mean nothing: the machine itself drifts by a quarter."""

HIGHER_IS_BETTER = {
    "deliveries_per_cpu_s": True,
    "handshakes_per_cpu_s": True,
    "p99_ms": False,
    "bytes_each": False,
}
"""The values that rank peers."""

GROUPS = {"one": "fan-out", "saturated": "fan-out", "delay": "delay"}
"""Cases are measured in groups, by their names' first words; what stops a group is kept under its name."""


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One case of one peer in one round. `fault` says what went wrong, and is empty where nothing did."""

    case: str
    peer: str
    round: int
    values: dict[str, float]
    fault: str = ""


class Measurements:
    """All that a run has measured, by case and peer."""

    def __init__(self, measurements: Iterable[Measurement] = ()) -> None:
        self.all = list(measurements)

    def add(self, measurement: Measurement) -> None:
        self.all.append(measurement)

    def values(self, case: str, peer: str, value: str) -> list[float]:
        """One number per round that has it."""
        found = (m.values for m in self.all if (m.case, m.peer) == (case, peer))
        return [values[value] for values in found if value in values]

    def median(self, case: str, peer: str, value: str) -> float | None:
        values = self.values(case, peer, value)
        return statistics.median(values) if values else None

    def faults(self, case: str, peer: str) -> list[str]:
        """What went wrong, each once; where there are no values, why the case could not be measured."""
        found = [m.fault for m in self.all if (m.case, m.peer) == (case, peer) and m.fault]
        if not any((m.case, m.peer) == (case, peer) for m in self.all):
            group = GROUPS.get(case.split("-")[0])
            found = [m.fault for m in self.all if (m.case, m.peer) == (group, peer)]
        return list(dict.fromkeys(found))

    def cases(self) -> list[str]:
        return list(dict.fromkeys(m.case for m in self.all))

    def peers(self) -> list[str]:
        return list(dict.fromkeys(m.peer for m in self.all))

    def as_json(self) -> list[dict[str, Any]]:
        return [dataclasses.asdict(measurement) for measurement in self.all]

    @classmethod
    def from_json(cls, documents: Sequence[dict[str, Any]]) -> Measurements:
        return cls(Measurement(**document) for document in documents)


@dataclasses.dataclass(frozen=True)
class Ranking:
    """In this case `better` is ahead of `worse` by `ratio`, which is at least CLAIMED_RATIO."""

    case: str
    value: str
    better: str
    worse: str
    ratio: float


def claimed_rankings(run: Measurements) -> list[Ranking]:
    """Every pair of peers whose medians differ by CLAIMED_RATIO or more, and whose rounds don't overlap.

    What lost messages is not ranked.
    """
    rankings = []
    for case in run.cases():
        for value, higher in HIGHER_IS_BETTER.items():
            medians = _medians(run, case, value)
            for better, above in medians.items():
                for worse, below in medians.items():
                    ratio = _ahead(above, below, higher)
                    if ratio >= CLAIMED_RATIO and _apart(run, case, value, better, worse):
                        rankings.append(Ranking(case, value, better, worse, ratio))
    return rankings


def shared_claims(run: Measurements, other: Measurements) -> int:
    """How many pairs one run or both have apart by CLAIMED_RATIO, of those that both have measured."""
    shared = set()
    for claiming, checking in ((run, other), (other, run)):
        for ranking in claimed_rankings(claiming):
            medians = _medians(checking, ranking.case, ranking.value)
            if ranking.better in medians and ranking.worse in medians:
                shared.add((ranking.case, ranking.value, frozenset((ranking.better, ranking.worse))))
    return len(shared)


def disagreements(run: Measurements, other: Measurements) -> list[tuple[Ranking, float]]:
    """What one run claims and the other one has the other way round, with the other one's ratio (below 1)."""
    found = []
    for claiming, checking in ((run, other), (other, run)):
        for ranking in claimed_rankings(claiming):
            medians = _medians(checking, ranking.case, ranking.value)
            if ranking.better in medians and ranking.worse in medians:
                above, below = medians[ranking.better], medians[ranking.worse]
                ratio = _ahead(above, below, HIGHER_IS_BETTER[ranking.value])
                if ratio < 1:
                    found.append((ranking, ratio))
    return found


def _medians(run: Measurements, case: str, value: str) -> dict[str, float]:
    medians = ((peer, run.median(case, peer, value)) for peer in run.peers() if not run.faults(case, peer))
    return {peer: median for peer, median in medians if median is not None}


def _apart(run: Measurements, case: str, value: str, better: str, worse: str) -> bool:
    """Whether the worst round of one peer is still better than the best one of the other."""
    above, below = run.values(case, better, value), run.values(case, worse, value)
    return min(above) > max(below) if HIGHER_IS_BETTER[value] else max(above) < min(below)


def _ahead(above: float, below: float, higher: bool) -> float:
    """By which factor `above` is better than `below`; 0 where a number says nothing."""
    if above <= 0 or below <= 0:
        return 0.0
    return above / below if higher else below / above
