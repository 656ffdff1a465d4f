"""Which rooms users like: a few much, most little. Pure but for the random numbers it is given."""

from __future__ import annotations

import bisect
import itertools
import random


class Zipf:
    """Ranks from 0 on, the k-th with a weight of 1 / (k + 1) ** exponent; with 0 all are liked the same."""

    def __init__(self, count: int, exponent: float = 1.0) -> None:
        if count < 1:
            raise ValueError("there must be one rank at least")
        self.count = count
        self._sums = list(itertools.accumulate(1.0 / (rank + 1) ** exponent for rank in range(count)))

    def choose(self, source: random.Random) -> int:
        place = bisect.bisect_right(self._sums, source.random() * self._sums[-1])
        return min(place, self.count - 1)

    def choose_distinct(self, source: random.Random, wanted: int) -> list[int]:
        """Up to ``wanted`` different ranks; fewer where there are not so many."""
        wanted = min(wanted, self.count)
        chosen: dict[int, None] = {}
        for _ in range(20 * wanted):
            chosen[self.choose(source)] = None
            if len(chosen) == wanted:
                return list(chosen)
        # The rest of a very uneven choice would take for ever to be drawn.
        for rank in range(self.count):
            if len(chosen) == wanted:
                break
            chosen.setdefault(rank)
        return list(chosen)
