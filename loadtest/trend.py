"""Does a series grow? A straight line by least squares, and how sure its slope is. Pure.

Samples of a process's memory hang together: what is high now is high in five seconds, too. Taken as if they
did not, the slope would look surer than it is. So its standard error is widened by what the residuals'
correlation r from one sample to the next says (a first-order autoregression): by sqrt((1 + r) / (1 - r)).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

_Z_95 = 1.96
_HIGHEST_CORRELATION = 0.98


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
        correlation = min(_HIGHEST_CORRELATION, max(0.0, pairs / squares))
    widening = math.sqrt((1 + correlation) / (1 - correlation))
    margin = _Z_95 * widening * math.sqrt(squares / (count - 2) / spread)
    noise = math.sqrt(squares / (count - 2))
    return Trend(slope, slope - margin, slope + margin, mean_y, noise, correlation, count)
