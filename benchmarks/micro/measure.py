"""How a micro-benchmark is run and labelled, so that tables and plots find it."""

from __future__ import annotations

import time
from collections.abc import Callable

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.micro.figures import FIGURES

ROUNDS_MAX = 1000


class Measure:
    """Runs one point of one figure; the shortest of its rounds is what the tables and plots show.

    Others may use the machine meanwhile: they make a round longer, never shorter.
    """

    def __init__(self, benchmark: BenchmarkFixture, budget_s: float, least_rounds: int) -> None:
        self._benchmark = benchmark
        self._budget_s = budget_s
        self._least_rounds = least_rounds

    def __call__(
        self,
        figure: str,
        implementation: str,
        x: int | str,
        run: Callable[[], object],
        *,
        units: int,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        """Measures ``run``, which does so many of the figure's ``units``.

        ``prepare`` is called before each round and not measured; without it, short ones are repeated until
        the clock is good enough for them.
        """
        benchmark = self._benchmark
        label = f"{x:>6,}" if isinstance(x, int) else x  # of one width: groups are sorted by their names
        benchmark.group = f"{figure}: {FIGURES[figure].title} · {label} {FIGURES[figure].x}"
        benchmark.name = implementation
        benchmark.extra_info.update(figure=figure, implementation=implementation, x=x, units=units)
        if prepare is None:
            benchmark(run)
            return
        benchmark.pedantic(  # type: ignore[no-untyped-call]
            run, setup=_returning_nothing(prepare), rounds=self._rounds(prepare, run), iterations=1
        )

    def _rounds(self, prepare: Callable[[], object], run: Callable[[], object]) -> int:
        """As many as the time allows; finding out warms up."""
        began_at = time.perf_counter()
        prepare()
        run()
        round_s = time.perf_counter() - began_at
        return max(self._least_rounds, min(ROUNDS_MAX, int(self._budget_s / round_s)))


def _returning_nothing(prepare: Callable[[], object]) -> Callable[[], None]:
    """What a set-up returns would be taken for arguments."""

    def setup() -> None:
        prepare()

    return setup
