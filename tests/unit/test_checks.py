"""Checks of JSON values: the compiled ones and their twins have to say the same."""

import re
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastchat._checks
from tests.twins import checks as twin

pytestmark = pytest.mark.compiled

LARGE = 2**53 - 1
KEYS = st.sampled_from(["a", "b", "lobby", "-", ""])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, 7, 8, LARGE, LARGE + 1, -LARGE, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1])
    | st.floats(allow_nan=False)
    | st.text(max_size=10)
    | KEYS
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=4
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)


def checks(implementation: Any) -> dict[str, Any]:
    """One of each kind, made of the others."""
    room = implementation.Pattern("pattern", re.compile("[a-z]{1,5}"))
    seq = implementation.Integer("integer", 0, LARGE)
    few = implementation.Text("text", 1, 4)
    return {
        "pattern": room,
        "integer": seq,
        "negative": implementation.Integer("negative", -7, 7),
        "unlimited": implementation.Integer("unlimited", 1, None),
        "text": few,
        "flag": implementation.Instance("flag", bool),
        "object": implementation.Instance("object", dict),
        "table": implementation.Table("table", room, seq),
        "either": implementation.Either("either", few, seq),
    }


COMPILED, TWIN = checks(fastchat._checks), checks(twin)


@pytest.fixture(params=[fastchat._checks, twin], ids=["compiled", "twin"])
def implementation(request: pytest.FixtureRequest) -> Any:
    return request.param


@given(VALUES)
def test_both_let_the_same_pass(value: Any) -> None:
    for name, check in COMPILED.items():
        assert check(value) == TWIN[name](value), name


@given(OBJECTS)
def test_both_find_the_same_problem(value: dict[str, Any]) -> None:
    required, optional = ("a", "b"), ("lobby", "-")
    for one in COMPILED:
        for other in ("text", "integer"):
            compiled, plain = (
                implementation.Fields(
                    dict.fromkeys(required, known[one]), dict.fromkeys(optional, known[other])
                )
                for implementation, known in ((fastchat._checks, COMPILED), (twin, TWIN))
            )
            assert compiled.find_problem(value) == plain.find_problem(value)


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("pattern", ["a", "lobby"], ["", "A", "lobby2", "lobby\n", "toolong", b"a", None, 1]),
        ("integer", [0, 1, LARGE], [-1, LARGE + 1, 2**64, -(2**64), True, 1.0, "1", None]),
        ("negative", [-7, 0, 7], [-8, 8, 2**63, -(2**63) - 1, False]),
        ("unlimited", [1, 2**63 - 1, 2**63, 10**30], [0, -1, -(10**30), 1.5]),
        ("text", ["a", "abcd", "😀😀😀😀"], ["", "abcde", b"a", None, ["a"]]),
        ("flag", [True, False], [0, 1, None, "true"]),
        ("object", [{}, {"a": 1}], [[], None, "{}"]),
        ("table", [{}, {"a": 0, "b": 1}], [{"a": "0"}, {"A": 0}, {"a": 0, "b": -1}, [], None]),
        ("either", ["a", 5], ["", -1, "abcde", None, 5.0]),
    ],
)
def test_what_is_right_and_what_is_not(
    implementation: ModuleType, name: str, right: list[Any], wrong: list[Any]
) -> None:
    check = checks(implementation)[name]
    assert [check(value) for value in right] == [None] * len(right)
    assert [check(value) for value in wrong] == [name] * len(wrong)


def test_the_first_field_that_is_wrong_is_named(implementation: ModuleType) -> None:
    known = checks(implementation)
    fields = implementation.Fields({"b": known["text"], "a": known["integer"]}, {"c": known["flag"]})
    assert fields.find_problem({"a": 1, "b": "x", "c": True, "more": None}) is None
    assert fields.find_problem({"a": 1, "b": "x"}) is None
    assert fields.find_problem({}) == ("b", "is missing")
    assert fields.find_problem({"b": "x", "c": 1}) == ("a", "is missing")
    assert fields.find_problem({"a": -1, "b": "", "c": 1}) == ("b", "text")
    assert fields.find_problem({"a": -1, "b": "x", "c": 1}) == ("a", "integer")
    assert fields.find_problem({"a": 1, "b": "x", "c": None}) == ("c", "flag")
    assert list(fields.required) == ["b", "a"]
    assert list(fields.optional) == ["c"]


def test_a_table_of_anything_but_checks_is_refused() -> None:
    wrong: Any = {"a": str}
    with pytest.raises(TypeError):
        fastchat._checks.Fields(wrong, {}).find_problem({"a": 1})
    with pytest.raises(TypeError):
        fastchat._checks.Fields({}, wrong).find_problem({"a": 1})
    with pytest.raises(NotImplementedError):
        fastchat._checks.Check("nothing")(1)
