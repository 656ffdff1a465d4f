"""What ``fastchat._checks`` has to say, in plain Python."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Check = Callable[[Any], str | None]


def _check(problem: str, holds: Callable[[Any], bool]) -> Check:
    return lambda value: None if holds(value) else problem


def Pattern(problem: str, regex: re.Pattern[str]) -> Check:  # noqa: N802 - these stand for classes
    return _check(problem, lambda value: type(value) is str and regex.fullmatch(value) is not None)


def Text(problem: str, least: int, most: int) -> Check:  # noqa: N802
    return _check(problem, lambda value: type(value) is str and least <= len(value) <= most)


def Integer(problem: str, least: int, most: int | None) -> Check:  # noqa: N802
    return _check(
        problem, lambda value: type(value) is int and least <= value and (most is None or value <= most)
    )


def Instance(problem: str, kind: type) -> Check:  # noqa: N802
    return _check(problem, lambda value: type(value) is kind)


def Table(problem: str, keys: Check, values: Check) -> Check:  # noqa: N802
    return _check(
        problem,
        lambda value: type(value) is dict and not any(keys(key) or values(one) for key, one in value.items()),
    )


def Either(problem: str, first: Check, second: Check) -> Check:  # noqa: N802
    return _check(problem, lambda value: not first(value) or not second(value))


@dataclass
class Fields:
    required: Mapping[str, Check]
    optional: Mapping[str, Check]

    def find_problem(self, value: Mapping[str, Any]) -> tuple[str, str] | None:
        for name, check in self.required.items():
            if name not in value:
                return name, "is missing"
            if problem := check(value[name]):
                return name, problem
        for name, check in self.optional.items():
            if name in value and (problem := check(value[name])):
                return name, problem
        return None
