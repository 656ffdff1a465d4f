"""Does memory grow? The slope, how sure it is, and the samples it is made of."""

import itertools
import os
import random
from pathlib import Path

import pytest

from loadtest.soaking import Sample, describe_memory, fit_memory, read_csv, read_sample
from loadtest.trend import fit_trend


def noise(count: int, *, correlation: float = 0.0, seed: int = 1) -> list[float]:
    """A first-order autoregression with a deviation of 1."""
    source = random.Random(seed)
    values = [source.gauss(0, 1)]
    scale = (1 - correlation**2) ** 0.5
    for _ in range(count - 1):
        values.append(correlation * values[-1] + scale * source.gauss(0, 1))
    return values


def test_a_straight_line_is_found_exactly() -> None:
    trend = fit_trend([(x, 3.0 * x + 7.0) for x in range(100)])
    assert trend.slope == pytest.approx(3.0)
    assert trend.low == pytest.approx(3.0)
    assert trend.high == pytest.approx(3.0)
    assert trend.grows


def test_a_constant_does_not_grow() -> None:
    trend = fit_trend([(x, 5.0) for x in range(100)])
    assert (trend.slope, trend.grows, trend.level) == (0.0, False, 5.0)


def test_the_interval_is_that_of_the_textbook() -> None:
    # Residuals of +1, -1, -1, +1 …: correlated hardly, so that little is widened.
    residuals = [1, -1, -1, 1] * 10
    trend = fit_trend([(x, 2.0 * x + residual) for x, residual in enumerate(residuals)])
    count, mean = 40, 19.5
    spread = sum((x - mean) ** 2 for x in range(count))
    slope = sum((x - mean) * (2 * x + residual) for x, residual in enumerate(residuals)) / spread
    level = sum(2 * x + residual for x, residual in enumerate(residuals)) / count
    squares = sum(
        (2 * x + residual - level - slope * (x - mean)) ** 2 for x, residual in enumerate(residuals)
    )
    assert trend.slope == pytest.approx(slope)
    assert trend.correlation < 0.2
    widening = ((1 + trend.correlation) / (1 - trend.correlation)) ** 0.5
    assert trend.high - trend.low == pytest.approx(
        2 * 1.96 * widening * (squares / (count - 2) / spread) ** 0.5
    )


def test_a_small_leak_is_found_in_noise() -> None:
    """And the interval has the true slope in it about as often as it says."""
    trends = [
        fit_trend([(x, 0.01 * x + error) for x, error in enumerate(noise(300, correlation=0.5, seed=seed))])
        for seed in range(100)
    ]
    assert all(trend.grows for trend in trends)
    assert sum(trend.low < 0.01 < trend.high for trend in trends) >= 88


def test_noise_alone_seldom_grows() -> None:
    for correlation in (0.0, 0.5, 0.9):
        grown = sum(
            fit_trend(list(enumerate(noise(700, correlation=correlation, seed=seed)))).grows
            for seed in range(100)
        )
        assert grown <= 8, correlation  # one side of 95 % is 2.5 in a hundred


def test_correlated_samples_make_the_slope_less_sure() -> None:
    apart = fit_trend(list(enumerate(noise(700))))
    together = fit_trend(list(enumerate(noise(700, correlation=0.9))))
    assert together.high - together.low > 2 * (apart.high - apart.low)


def make_steps(count: int, at: range) -> list[tuple[float, float]]:
    """A series that goes up by 1 at each of these places, and stays there."""
    return [(x, float(sum(x >= place for place in at))) for x in range(count)]


@pytest.mark.parametrize("place", range(10, 350, 20))
def test_a_single_step_is_no_growth(place: int) -> None:
    trend = fit_trend(make_steps(360, range(place, place + 1)))
    assert not trend.grows
    assert trend.low < 0 < trend.high


@pytest.mark.parametrize("between", [10, 20, 40, 60])
def test_many_steps_of_a_kind_are_growth(between: int) -> None:
    trend = fit_trend(make_steps(360, range(between // 2, 360, between)))
    assert trend.grows
    assert trend.slope == pytest.approx(1 / between, rel=0.1)


def test_a_walk_seldom_grows() -> None:
    walks = [list(itertools.accumulate(noise(360, seed=seed))) for seed in range(400)]
    grown = sum(fit_trend(list(enumerate(walk))).grows for walk in walks)
    assert grown <= 24  # one side of 95 % is 2.5 in a hundred


@pytest.mark.parametrize("points", [[], [(x, 1.0) for x in range(9)], [(1.0, x) for x in range(20)]])
def test_too_little_for_a_slope(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match=r"samples"):
        fit_trend(points)


def make_samples(hours: float, bytes_per_hour: float) -> list[Sample]:
    """Every five seconds; the first tenth of it fills caches."""
    count = int(hours * 720)
    samples = []
    for number in range(count):
        hour = number / 720
        warm = min(1.0, hour / hours * 10)
        level = 50e6 + 30e6 * warm + bytes_per_hour * hour + 1e4 * (number % 3)
        samples.append(Sample(hour * 3600, int(level), 0, 0.0))
    return samples


def test_the_warm_up_is_not_growth() -> None:
    trend = fit_memory(make_samples(1.0, 0.0))
    assert not trend.grows
    assert "does not grow" in describe_memory(trend)


def test_a_leak_of_a_megabyte_per_hour_is_seen() -> None:
    trend = fit_memory(make_samples(1.0, 2**20))
    assert trend.grows
    assert trend.slope == pytest.approx(2**20, rel=0.05)
    assert "+1024 KiB per hour" in describe_memory(trend)


def test_a_sample_is_what_the_kernel_says(tmp_path: Path) -> None:
    (tmp_path / "chat.db").write_bytes(b"x" * 100)
    (tmp_path / "chat.db-wal").write_bytes(b"x" * 20)
    (tmp_path / "other").write_bytes(b"x" * 3)
    ballast = os.urandom(20 << 20)
    sample = read_sample(os.getpid(), 0.0, tmp_path / "chat.db")
    assert sample.file_bytes == 120
    assert sample.anonymous_bytes > len(ballast)
    with pytest.raises(FileNotFoundError):
        read_sample(2**22 + 1, 0.0, None)


def test_a_csv_that_is_still_being_written_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "soak.csv"
    path.write_text("at_s,anonymous_bytes,file_bytes,cpu_s\n5.0,100,7,0.5\n10.0,110,8,0.75\n15.0,12")
    assert read_csv(path) == [Sample(5.0, 100, 7, 0.5), Sample(10.0, 110, 8, 0.75)]
