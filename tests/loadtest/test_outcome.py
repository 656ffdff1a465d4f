"""Percentiles, the table at the end, rooms by popularity, and options."""

import argparse
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.defaults import DEFAULTS
from loadtest.options import parse_address
from loadtest.outcome import Line, format_lines, take_percentile
from loadtest.popularity import Zipf


@given(st.lists(st.integers(0, 50), min_size=1), st.sampled_from([0.01, 0.5, 0.9, 0.99, 0.999, 1.0]))
def test_a_percentile_is_the_least_time_that_so_many_do_not_exceed(times: list[int], part: float) -> None:
    value = take_percentile(Counter(times), part)
    assert value in times
    assert sum(time <= value for time in times) >= part * len(times)
    assert sum(time < value for time in times) < part * len(times)


def test_no_percentile_of_nothing() -> None:
    assert take_percentile({}, 0.5) is None


def test_lines_without_times_have_empty_cells() -> None:
    lines = [
        Line("ws", "hole", 2, 2, 0.2, None, None, {}),
        Line("ws", "sent", 9, 0, 0.9, 1.25, 250.4, {"p50": 1.0, "p90": 2.0, "p99": 250.0, "p999": 250.0}),
    ]
    head, hole, sent = format_lines(lines).splitlines()
    assert hole.split() == ["ws", "hole", "2", "0.2", "2"]
    assert sent.split() == ["ws", "sent", "9", "0.9", "1.2", "1.0", "2.0", "250", "250", "250"]
    assert head.index("failed") + len("failed") == len(hole)


def test_the_first_room_is_liked_most() -> None:
    source, zipf = random.Random(1), Zipf(100)
    drawn = Counter(zipf.choose(source) for _ in range(20_000))
    harmonic = sum(1 / rank for rank in range(1, 101))
    for rank in (0, 1, 9):
        assert drawn[rank] / 20_000 == pytest.approx(1 / (rank + 1) / harmonic, rel=0.2)


@given(st.integers(1, 9), st.integers(1, 12), st.floats(0, 8), st.randoms(use_true_random=False))
def test_distinct_rooms(count: int, wanted: int, exponent: float, source: random.Random) -> None:
    chosen = Zipf(count, exponent).choose_distinct(source, wanted)
    assert len(chosen) == len(set(chosen)) == min(wanted, count)
    assert set(chosen) <= set(range(count))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("http://chat.example:81/", ("chat.example", 81)),
        ("[::1]:8081", ("::1", 8081)),
        ("chat.example", ("chat.example", 80)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text, 80) == address


@pytest.mark.parametrize("text", [":8080", "chat.example:http"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        parse_address(text, 80)


def test_every_scenario_has_sensible_defaults() -> None:
    for name, defaults in DEFAULTS.items():
        assert defaults.start_s < defaults.time_s, name
        assert defaults.users * defaults.rate_per_user >= 1, name
