"""docs/inbox.md: its examples are taken, and its schema agrees with what is."""

import re
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

from fastchat.inbox.commands import KINDS, parse_order
from fastchat.messages import WireError

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "inbox.md").read_text()
EXAMPLES = [
    orjson.loads(block) for block in re.findall(r"^```json\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
]
(SCHEMA,) = (
    orjson.loads(block)
    for block in re.findall(r"^```json schema\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def is_taken(command: Any) -> bool:
    try:
        parse_order(orjson.dumps(command), "the-brokers-own", 65536)
    except WireError:
        return False
    return True


def test_there_is_an_example_of_each_command() -> None:
    assert [example["command"] for example in EXAMPLES] == list(KINDS)
    for example in EXAMPLES:
        assert example.keys() - {"command", "id"} == KINDS[example["command"]][1]


@pytest.mark.parametrize("example", EXAMPLES, ids=list(KINDS))
def test_examples_and_what_is_wrong_with_them(example: dict[str, Any]) -> None:
    assert is_taken(example)
    assert VALIDATOR.is_valid(example)
    for field in example:
        wrong: tuple[Any, ...] = (None, 7, True, [], "", "x" * 300)
        for value in wrong:
            command = {**example, field: value}
            if field == "text" and value == "x" * 300:
                continue
            assert is_taken(command) == VALIDATOR.is_valid(command), (field, value)
        without = {name: value for name, value in example.items() if name != field}
        assert is_taken(without) == VALIDATOR.is_valid(without), field
    more = {**example, "colour": "red"}
    assert not is_taken(more)
    assert not VALIDATOR.is_valid(more)


def test_a_room_of_two_is_refused_by_both() -> None:
    command = {**EXAMPLES[0], "room": "@alice,bob"}
    assert not is_taken(command)
    assert not VALIDATOR.is_valid(command)
