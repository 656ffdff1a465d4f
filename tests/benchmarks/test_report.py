"""What was measured reaches the documents as it was saved."""

import dataclasses
import json
import pathlib

import pytest

from benchmarks.report import DOCUMENTS, RESULTS, fill, read_tables
from benchmarks.results import Figure, format_table, merge_figures

DOCUMENT = """Before
<!-- table: speed -->
what was there
<!-- end -->
between
<!-- table: size -->
<!-- end -->
after
"""


def test_sections_are_filled_and_the_rest_is_left() -> None:
    filled = fill(DOCUMENT, {"speed": "| a |\n", "size": "| b |"})
    assert filled == DOCUMENT.replace("what was there", "| a |").replace(
        "<!-- table: size -->\n", "<!-- table: size -->\n| b |\n"
    )
    assert fill(filled, {"speed": "| a |", "size": "| b |"}) == filled


def test_a_table_that_nobody_has_measured_is_an_error() -> None:
    with pytest.raises(KeyError, match="size"):
        fill(DOCUMENT, {"speed": "| a |"})


def test_a_table_may_hold_what_looks_like_a_reference() -> None:
    assert r"\1 and \g<name>" in fill(DOCUMENT, {"speed": r"\1 and \g<name>", "size": ""})


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_show_what_was_saved(path: pathlib.Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert fill(text, read_tables()) == text, "run make report"


def test_figures_are_the_table_of_what_was_measured() -> None:
    saved = json.loads((RESULTS / "figures.json").read_text(encoding="utf-8"))
    figures = [Figure.from_json(figure) for figure in saved["figures"]]
    assert saved["tables"]["figures"] == format_table(figures)


def test_a_new_measurement_takes_the_place_of_the_earlier_one() -> None:
    first, second = Figure("a", [1.0], 2.0, True), Figure("b", [5.0], 2.0, True)
    again = dataclasses.replace(first, values=[3.0])
    merged = merge_figures([first, second], [again])
    assert [(figure.name, figure.measured, figure.met) for figure in merged] == [
        ("a", 3.0, True),
        ("b", 5.0, True),
    ]
