"""docs/tuning.md says what the settings are; and what is said of a curve follows from its numbers."""

import dataclasses
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from benchmarks.tuning.__main__ import CURVES, NAMES
from benchmarks.tuning.clients import Tally, encode, encode_sends
from benchmarks.tuning.curve import (
    Curve,
    Metric,
    Points,
    Sample,
    TuningPlan,
    Value,
    each,
    is_flat,
    lines,
    run_curve,
    short,
    table,
)
from benchmarks.tuning.footprint import format_example, predict
from benchmarks.tuning.namespace import turn_packet
from fastchat.config.describe import as_text
from fastchat.config.names import SETTINGS
from fastchat.messages import encode_lagged

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "tuning.md"
PLAN = TuningPlan(rounds=2, seconds=0.1, values=7)


@pytest.fixture(scope="module")
def document() -> str:
    return DOCUMENT.read_text(encoding="utf-8")


# ---- the document ----


def test_defaults_that_are_stated_are_the_defaults(document: str) -> None:
    stated = re.findall(r"^`([a-z]+\.[a-z_.]+)`, default `([^`]+)`", document, re.MULTILINE)
    assert len(stated) >= 10
    for name, default in stated:
        assert as_text(SETTINGS[name].get_default(), name) == default, name


@pytest.mark.parametrize("name", [name for name in SETTINGS if name.startswith(("fanout.", "limits."))])
def test_every_setting_that_may_matter_is_mentioned(name: str, document: str) -> None:
    assert f"`{name}`" in document


def test_every_curve_has_its_place_and_nothing_else_has(document: str) -> None:
    tables = set(re.findall(r"<!-- table: tuning-([a-z-]+) -->", document))
    plots = set(re.findall(r"\(plots/tuning-([a-z-]+)\.svg\)", document))
    assert tables == {*NAMES, "memory-example"}
    assert plots == set(CURVES)


@pytest.mark.parametrize("curve", CURVES.values(), ids=lambda curve: curve.key)
def test_a_curve_is_of_a_setting_and_passes_its_default(curve: Curve) -> None:
    assert curve.default in curve.values
    if curve.setting.startswith("net."):
        return
    assert curve.default == SETTINGS[curve.setting].get_default()


@pytest.mark.parametrize("curve", CURVES.values(), ids=lambda curve: curve.key)
def test_a_look_takes_some_of_the_values(curve: Curve) -> None:
    chosen = curve.choose(TuningPlan(rounds=1, seconds=0.1, values=3))
    assert 2 <= len(chosen) <= 3
    assert set(chosen) <= set(curve.values)
    assert curve.quick_values or curve.default in chosen


# ---- curves ----


def curve_of(measure: dict[float, list[float]], **changes: object) -> tuple[Curve, Points]:
    """A curve of one metric, "delay", and its points."""
    points: Points = {value: {"delay": rounds} for value, rounds in measure.items()}
    metrics = (Metric("delay", "delay", "ms"),)
    curve = Curve("c", "fanout.slice_ms", "a curve", "ms", tuple(measure), 5.0, metrics, each(lambda *_: {}))
    return dataclasses.replace(curve, **changes), points  # type: ignore[arg-type]


def test_rounds_are_interleaved_and_every_other_one_goes_backwards() -> None:
    asked: list[float] = []

    def measure(value: float, plan: TuningPlan) -> Sample:
        asked.append(value)
        return {"delay": value * len(asked)}

    curve, _ = curve_of({1.0: [], 5.0: [], 9.0: []}, measure_round=each(measure))
    points = run_curve(curve, PLAN, lambda value, sample: None)
    assert asked == [1, 5, 9, 9, 5, 1]
    assert points == {1.0: {"delay": [1, 6]}, 5.0: {"delay": [10, 25]}, 9.0: {"delay": [27, 36]}}


def test_a_round_may_measure_all_values_at_once() -> None:
    def measure_round(values: Sequence[Value], plan: TuningPlan) -> Iterator[tuple[Value, Sample]]:
        yield from [(value, {"delay": 1.0}) for value in values]

    curve, _ = curve_of({1.0: [], 5.0: []}, measure_round=measure_round)
    assert run_curve(curve, PLAN, lambda value, sample: None) == {
        1.0: {"delay": [1.0, 1.0]},
        5.0: {"delay": [1.0, 1.0]},
    }


@pytest.mark.parametrize(
    ("measured", "flat"),
    [
        ({1.0: [10, 11, 12], 5.0: [10, 11, 12], 9.0: [11, 12, 13]}, True),
        ({1.0: [10, 11, 12], 5.0: [20, 21, 22], 9.0: [40, 41, 42]}, False),
        ({1.0: [10, 20, 90], 5.0: [15, 30, 80], 9.0: [5, 25, 70]}, True),  # the rounds differ more
        ({1.0: [0, 0, 0], 5.0: [0, 0, 0], 9.0: [0, 0, 0]}, True),
        ({1.0: [77, 78, 79], 5.0: [0, 0, 0], 9.0: [0, 0, 0]}, False),
    ],
)
def test_flat_is_what_does_not_differ_beyond_the_spread(
    measured: dict[float, list[float]], flat: bool
) -> None:
    curve, points = curve_of(measured)
    assert is_flat(points, "delay") == flat
    assert ("No difference beyond the spread: delay." in table(curve, points)) == flat


def test_a_table_has_medians_with_their_spread_and_marks_the_default() -> None:
    curve, points = curve_of({0: [1.0], 5.0: [4, 12, 2], 9.0: [1500, 900, 30]})
    assert table(curve, points).splitlines() == [
        "| `fanout.slice_ms`, ms | delay, ms |",
        "|--:|--:|",
        "| 0 (off) | 1 |",
        "| **5** | 4 (2 … 12) |",
        "| 9 | 900 (30 … 1,500) |",
    ]


def test_a_plot_shows_multiples_of_the_default_where_units_differ() -> None:
    curve, points = curve_of({0: [1], 1.0: [8, 8, 8], 5.0: [3, 4, 5], 9.0: [2, 2, 2]})
    assert lines(curve, points) == {"delay (less is better)": [(1.0, 2.0), (5.0, 1.0), (9.0, 0.5)]}
    absolute = dataclasses.replace(curve, relative=False, unit_size=1000)
    assert lines(absolute, points) == {"delay (less is better)": [(0.001, 8), (0.005, 4), (0.009, 2)]}


def test_what_is_nothing_has_no_place_on_a_logarithmic_axis() -> None:
    curve, points = curve_of({1.0: [80], 5.0: [2], 9.0: [0]})
    assert lines(curve, points) == {"delay (less is better)": [(1.0, 40), (5.0, 1)]}
    straight = dataclasses.replace(curve, relative=False, log_y=False)
    assert lines(straight, points) == {"delay (less is better)": [(1.0, 80), (5.0, 2), (9.0, 0)]}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.1234, "0.12"), (4.56, "4.6"), (38.4, "38"), (1234.5, "1,230"), (65536, "65,500")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert short(value) == text


# ---- memory ----


def test_the_parts_of_the_example_add_up() -> None:
    parts = {"bare": 30e6, "websocket": 4000.0, "line": 3000.0, "ring": 1.5, "stuck": 70000.0}
    total = sum(count * each for _, count, each in predict(parts))
    assert f"| **predicted** | | | {short(total / (1 << 20))} MiB |" in format_example(parts, [1.0])


# ---- clients ----


def test_a_tally_does_not_depend_on_where_the_bytes_are_cut() -> None:
    said = b"".join(
        encode(type="message", room="r", seq=seq, id=f"x{seq}", **{"from": "u"}, at=1000 + seq, text="m" * 9)
        for seq in range(1, 50)
    )
    told = encode_lagged("r", 50, 61) + b"\n" + encode(type="typing", room="r")
    data, chance = said + told, random.Random(4)
    for _ in range(50):
        tally, at = Tally(), 0
        while at < len(data):
            size = chance.randint(1, 400)
            tally.count(data[at : at + size])
            at += size
        assert (tally.received, tally.missed, tally.newest_at_ms) == (49, 12, 1049)
        assert tally.received_bytes == len(data)


def test_no_two_messages_of_a_flood_have_the_same_id() -> None:
    said = encode_sends("r", "f", 300) + encode_sends("r", "f", 300, first=300)
    assert len(set(re.findall(rb'"id":"([^"]+)"', said))) == 600


def test_a_packet_that_is_turned_keeps_its_checksum() -> None:
    def checksum(header: bytes) -> int:
        total = sum(int.from_bytes(header[i : i + 2], "big") for i in range(0, len(header), 2))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        return total

    header = bytes.fromhex("4500002800010000400600000a0900010a090002")
    turned = turn_packet(header + b"segment")
    assert turned[12:20] == bytes([10, 9, 0, 2, 10, 9, 0, 1])
    assert turned[20:] == b"segment"
    assert checksum(turned[:20]) == checksum(header)
