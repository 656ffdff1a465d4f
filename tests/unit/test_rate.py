"""The token bucket against a simple model, and its promise about waiting."""

import math

from hypothesis import given
from hypothesis import strategies as st

from fastchat.rate import take, wait_s

steps = st.lists(st.sampled_from([0.0, 0.01, 0.05, 0.1, 0.25, 1.0, 30.0]), max_size=60)


class TokenBucket:
    """One bucket of a rate."""

    def __init__(self, rate_per_s: float, burst: int, now: float) -> None:
        self.rate_per_s = rate_per_s
        self.burst = burst
        self.full_at = now

    def wait_s(self, now: float, tokens: int = 1) -> float:
        return wait_s(self.full_at, now, self.rate_per_s, self.burst, tokens)

    def take(self, now: float) -> float:
        if (wait := self.wait_s(now)) == 0:
            self.full_at = take(self.full_at, now, self.rate_per_s)
        return wait


def test_a_burst_passes_at_once_and_no_more() -> None:
    bucket = TokenBucket(10, 5, now=0)
    assert [bucket.take(0) for _ in range(5)] == [0] * 5
    assert bucket.take(0) == 0.1


def test_waiting_does_not_save_up_more_than_a_burst() -> None:
    bucket = TokenBucket(10, 3, now=0)
    assert [bucket.take(1e6) > 0 for _ in range(4)] == [False, False, False, True]


def test_no_limit() -> None:
    bucket = TokenBucket(0, 1, now=0)
    assert {bucket.take(0) for _ in range(1000)} == {0}
    assert bucket.wait_s(0) == 0


def test_asking_how_long_to_wait_takes_nothing() -> None:
    bucket = TokenBucket(10, 1, now=0)
    assert [bucket.wait_s(0) for _ in range(3)] == [0] * 3
    assert bucket.take(0) == 0
    assert [bucket.wait_s(0) for _ in range(3)] == [0.1] * 3


def test_being_refused_costs_nothing() -> None:
    bucket = TokenBucket(10, 1, now=0)
    bucket.take(0)
    for _ in range(10):
        assert bucket.take(0.05) > 0
    assert bucket.take(0.1) == 0


@given(st.floats(0.1, 1e5), st.integers(1, 100), steps, st.floats(0, 1e9))
def test_after_exactly_the_wait_there_is_a_token(
    rate: float, burst: int, delays: list[float], start: float
) -> None:
    now = math.floor(start)
    bucket = TokenBucket(rate, burst, float(now))
    elapsed = 0.0
    for delay in delays:
        elapsed += delay
        wait_s = bucket.take(now + elapsed)
        if wait_s:
            # Clocks count in nanoseconds at best.
            elapsed += max(wait_s, 1e-9)
            assert bucket.take(now + elapsed) <= 2e-6 / rate + 1e-6


@given(st.integers(1, 50), st.integers(1, 20), steps)
def test_as_many_pass_as_in_a_model_that_counts_in_hundredths(
    rate: int, burst: int, delays: list[float]
) -> None:
    bucket = TokenBucket(rate, burst, now=0)
    tokens, now = burst * 100, 0
    for delay in delays:
        now += round(delay * 100)
        tokens = min(burst * 100, tokens + round(delay * 100) * rate)
        passes = tokens >= 100
        tokens -= 100 * passes
        assert (bucket.take(now / 100) == 0) == passes
