"""Does a series grow? A straight line by least squares, and how sure its slope is. Pure.

Samples of a process's memory hang together: what is high now is high in five seconds, too. Taken as if they
did not, the slope would look surer than it is. So its standard error is widened by what the residuals'
correlation r from one sample to the next says (a first-order autoregression): by sqrt((1 + r) / (1 - r)).

That holds for a series that comes back to its line. One that stays where a step has brought it, as memory
does after a burst, has none: a single step in the middle would look like sure growth. Where Dickey and
Fuller's test does not tell it from such a walk, it is the steps from sample to sample that hang together with
nothing: the slope is their mean, and as sure as that. One step is no growth then; many of a kind are.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

_Z_95 = 1.96
_WALK_BELOW = 21.7
"""Of count * (1 - r): the critical value at 5 % against a walk, beside a line (Dickey and Fuller 1979)."""


@dataclasses.dataclass(frozen=True)
class Trend:
    """``slope`` is in units of y per unit of x; ``low`` and ``high`` are its 95 % confidence interval."""

    slope: float
    low: float
    high: float
    level: float
    """The mean of y."""
    noise: float
    """The residuals' standard deviation."""
    correlation: float
    count: int

    @property
    def grows(self) -> bool:
        """Whether the slope is above zero beyond doubt."""
        return self.low > 0


def fit_trend(points: Sequence[tuple[float, float]]) -> Trend:
    """Raises ValueError for fewer than ten points, or all at the same x."""
    count = len(points)
    if count < 10:
        raise ValueError(f"{count} samples are too few for a slope; ten are needed")
    mean_x = math.fsum(x for x, _ in points) / count
    mean_y = math.fsum(y for _, y in points) / count
    spread = math.fsum((x - mean_x) ** 2 for x, _ in points)
    if spread == 0:
        raise ValueError("all samples were taken at the same time")
    slope = math.fsum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    residuals = [y - mean_y - slope * (x - mean_x) for x, y in points]
    squares = math.fsum(residual**2 for residual in residuals)
    correlation = 0.0
    if squares > 0:
        pairs = math.fsum(a * b for a, b in itertools.pairwise(residuals))
        correlation = max(0.0, pairs / squares)
    noise = math.sqrt(squares / (count - 2))
    if squares > 0 and count * (1 - correlation) < _WALK_BELOW:
        slope, margin = _fit_walk(points)
    else:
        widening = math.sqrt((1 + correlation) / (1 - correlation))
        margin = _Z_95 * widening * noise / math.sqrt(spread)
    return Trend(slope, slope - margin, slope + margin, mean_y, noise, correlation, count)


def _fit_walk(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The slope of a series that stays where each step brings it, and half of its 95 % interval."""
    steps = [after - before for (_, before), (_, after) in itertools.pairwise(points)]
    length = points[-1][0] - points[0][0]
    mean = math.fsum(steps) / len(steps)
    squares = math.fsum((step - mean) ** 2 for step in steps)
    return math.fsum(steps) / length, _Z_95 * math.sqrt(squares * len(steps) / (len(steps) - 1)) / length
