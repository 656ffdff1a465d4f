"""Tables out of a run of the micro-benchmarks."""

from typing import Any

import pytest

from benchmarks.micro.summary import format_time, make_table, read_points


def benchmark(implementation: str, x: int | str, best_s: float, units: int, figure: str) -> dict[str, Any]:
    """One benchmark as pytest-benchmark writes it, as far as that is read."""
    label = {"figure": figure, "implementation": implementation, "x": x, "units": units}
    stats = {"min": best_s, "median": 2 * best_s, "rounds": 5, "iterations": 2}
    return {"extra_info": label, "stats": stats}


def table(*benchmarks: tuple[str, int | str, float, int], figure: str) -> list[list[str]]:
    """The cells of the table of a run."""
    run = {"benchmarks": [benchmark(*each, figure) for each in benchmarks]}
    lines = make_table(figure, read_points(run)).splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_others_are_multiples_of_the_reference() -> None:
    cells = table(
        ("loop of write", 1000, 1e-3, 1000),
        ("fastchat", 10, 1e-6, 10),
        ("fastchat", 1000, 5e-4, 1000),
        ("loop of write", 10, 1e-6, 100),
        ("its twin", 10, 4e-5, 10),
        figure="sweep-one",
    )
    assert cells[0] == ["time per delivery, by subscribers", "10", "1,000"]
    assert cells[2:] == [
        ["fastchat", "100 ns", "500 ns"],
        ["loop of write", "0.1 × · 10 ns", "2.0 × · 1 µs"],  # noqa: RUF001
        ["its twin", "40 × · 4 µs", ""],  # noqa: RUF001
    ]


def test_of_two_passes_the_better_one_counts() -> None:
    cells = table(
        ("fastchat", 10, 3e-6, 10),
        ("loop of write", 10, 1e-6, 10),
        ("fastchat", 10, 2e-6, 10),
        ("loop of write", 10, 4e-6, 10),
        figure="sweep-one",
    )
    assert cells[2:] == [["fastchat", "200 ns"], ["loop of write", "0.5 × · 100 ns"]]  # noqa: RUF001


def test_names_in_the_place_of_numbers_are_rows() -> None:
    cells = table(("fastchat", "ping", 64e-6, 64), ("fastchat", "send", 64e-5, 64), figure="kinds")
    assert cells[2:] == [["`ping`", "1 µs", "0.1 ×"], ["`send`", "10 µs", "1.0 ×"]]  # noqa: RUF001


@pytest.mark.parametrize(
    ("time_s", "text"),
    [(3.6e-10, "0.36 ns"), (4.7e-8, "47 ns"), (1.26e-6, "1.3 µs"), (1.2e-4, "120 µs"), (2.5, "2.5 s")],
)
def test_times_have_two_digits(time_s: float, text: str) -> None:
    assert format_time(time_s) == text
