"""Objectives from a file: which are read, and when they are met."""

from pathlib import Path

import pytest

from loadtest.objectives import Unusable, format_verdicts, judge, read_objectives
from loadtest.outcome import FAILURES, LINES, Line

OWN_FILE = Path(__file__).resolve().parents[2] / "loadtest" / "objectives.toml"


def line(
    name: str, *, edge: str = "ws", count: int = 100, failures: int = 0, p99_ms: float | None = 20.0
) -> Line:
    percentiles = {} if p99_ms is None else {"p50": 5.0, "p99": p99_ms}
    return Line(edge, name, count, failures, count / 10, 6.0, 30.0, percentiles)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "objectives.toml"
    path.write_text(text)
    return path


def test_a_scenario_goes_before_all(tmp_path: Path) -> None:
    path = write(
        tmp_path, "[all.sent]\np99_ms = 1\np50_ms = 2\n[herd.sent]\np99_ms = 9\n[soak.sent]\np99_ms = 7\n"
    )
    assert read_objectives(path, "herd") == {"sent": {"p99_ms": 9, "p50_ms": 2}}
    assert read_objectives(path, "steady") == {"sent": {"p99_ms": 1, "p50_ms": 2}}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[all.snet]\np99_ms = 1", "all.snet"),
        ("[all.sent]\np98_ms = 1", "p98_ms"),
        ("[all.sent]\np99_ms = '1'", "p99_ms"),
        ("[all.sent]\np99_ms = true", "p99_ms"),
        ("[all.failures]\nholes = 0", "holes"),
        ("[all]\nsent = 3", "all.sent"),
        ("[all.sent", "objectives.toml"),
    ],
)
def test_what_is_no_objective_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(Unusable, match=named):
        read_objectives(write(tmp_path, text), "steady")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unusable):
        read_objectives(tmp_path / "none.toml", "steady")


@pytest.mark.parametrize(("limit", "met"), [(20.0, True), (19.9, False)])
def test_times_are_at_most(limit: float, met: bool) -> None:
    (verdict,) = judge({"sent": {"p99_ms": limit}}, [line("sent")])
    assert (verdict.met, verdict.measured) == (met, 20.0)


def test_each_edge_has_to_reach_a_time() -> None:
    verdicts = judge({"sent": {"p99_ms": 25}}, [line("sent"), line("sent", edge="line", p99_ms=30.0)])
    assert [verdict.met for verdict in verdicts] == [True, False]


@pytest.mark.parametrize(("limit", "met"), [(200, True), (201, False)])
def test_counts_are_at_least_and_of_both_edges(limit: float, met: bool) -> None:
    (verdict,) = judge({"sent": {"min_count": limit}}, [line("sent"), line("sent", edge="line")])
    assert verdict.met is met


def test_what_was_not_measured_is_not_met() -> None:
    assert [verdict.met for verdict in judge({"return": {"p99_ms": 9e9, "min_count": 1}}, [])] == [
        False,
        False,
    ]
    assert [verdict.met for verdict in judge({"sent": {"p99_ms": 9e9}}, [line("sent", p99_ms=None)])] == [
        False
    ]


@pytest.mark.parametrize("kind", FAILURES)
def test_every_kind_of_failure_counts(kind: str) -> None:
    lines = [line("sent"), line(kind, count=1, failures=1, p99_ms=None)]
    verdicts = judge({"failures": {"all": 0, kind: 0, "hole" if kind != "hole" else "lost": 0}}, lines)
    assert [verdict.met for verdict in verdicts] == [False, False, True]


def test_no_failure_is_met() -> None:
    assert all(
        verdict.met for verdict in judge({"failures": dict.fromkeys(("all", *FAILURES), 0)}, [line("sent")])
    )


def test_the_table_says_what_failed() -> None:
    verdicts = judge(
        {"sent": {"p99_ms": 25.0}, "delivery": {"p50_ms": 1.0}}, [line("sent"), line("delivery")]
    )
    head, *rows = format_verdicts(verdicts).splitlines()
    assert head.split() == ["line", "figure", "limit", "measured"]
    assert [row.split() for row in rows] == [
        ["sent", "(ws)", "p99_ms", "25.0", "20.0", "met"],
        ["delivery", "(ws)", "p50_ms", "1.0", "5.0", "NOT", "MET"],
    ]


@pytest.mark.parametrize("scenario", ["steady", "fanout", "spike", "herd", "slow_readers", "churn", "soak"])
def test_our_own_objectives_can_be_read_and_allow_no_failure(scenario: str) -> None:
    objectives = read_objectives(OWN_FILE, scenario)
    assert objectives["failures"] == {"all": 0}
    assert {"sent", "delivery"} <= objectives.keys() <= {*LINES, "failures"}
