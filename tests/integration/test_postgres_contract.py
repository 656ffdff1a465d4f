"""What every store promises, tried on the one in PostgreSQL: the same tests as those of the others."""

from collections.abc import Iterator
from inspect import signature

import pytest

from tests.pump import OpenRoom
from tests.stores import opened
from tests.unit import test_outbox, test_store, test_store_directory, test_store_facts
from tests.unit.test_outbox import TestNotices as TestNotices
from tests.unit.test_outbox import box as box
from tests.unit.test_store_directory import pairs as pairs
from tests.unit.test_store_directory import people as people

# Their tests that are given a room (or who there is, by way of a room) are given one of the fixture below.
for module in test_outbox, test_store, test_store_directory, test_store_facts:
    for name, test in list(vars(module).items()):
        if name.startswith("test_") and {"room", "people", "pairs", "box"} & set(signature(test).parameters):
            assert name not in globals(), f"two tests are called {name}"
            globals()[name] = test


@pytest.fixture
def room() -> Iterator[OpenRoom]:
    with opened("postgres") as room:
        yield room
