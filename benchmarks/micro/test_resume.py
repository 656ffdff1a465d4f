"""Coming back: one client that has missed many events, and many clients that have missed the same ones."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.brokers import data_folder
from benchmarks.micro.measure import Measure
from benchmarks.micro.returning import CatchUp, FromRing, FromSqlite, QueryEach, WriteEach
from tests.twins.stage import COMPILED, TWIN

MISSED = (10, 100, 1000, 10_000)
CLIENTS = (1, 10, 100, 1000)
MISSED_TOGETHER = 128
# What takes long is measured with less: by then it is clear how it grows.
MOST_MISSED = {"its twin, from the ring": 100}
MOST_CLIENTS = {"its twin, from the ring": 1, "SELECT each, websockets": 100}

ROOMS: dict[str, Callable[[Path, int], CatchUp]] = {
    "fastchat, from the ring": lambda folder, events: FromRing(COMPILED, events),
    "its twin, from the ring": lambda folder, events: FromRing(TWIN, events),
    "fastchat, from SQLite": lambda folder, events: FromSqlite(folder / "chat.db", events),
    "SELECT each, websockets": lambda folder, events: QueryEach(folder / "plain.db", events),
    "list, frame and write each": lambda folder, events: WriteEach(events),
}


@pytest.mark.parametrize(
    ("missed", "name"),
    [
        (missed, name)
        for missed, name in itertools.product(MISSED, ROOMS)
        if missed <= MOST_MISSED.get(name, missed)
    ],
)
def test_one_client(measure: Measure, runner: asyncio.Runner, name: str, missed: int) -> None:
    run_in(
        runner,
        name,
        missed,
        lambda room: measure("resume", name, missed, lambda: room.catch_up(1), units=missed),
    )


@pytest.mark.parametrize(
    ("clients", "name"),
    [
        (clients, name)
        for clients, name in itertools.product(CLIENTS, ROOMS)
        if clients <= MOST_CLIENTS.get(name, clients)
    ],
)
def test_clients_together(measure: Measure, runner: asyncio.Runner, name: str, clients: int) -> None:
    run_in(
        runner,
        name,
        MISSED_TOGETHER,
        lambda room: measure(
            "resume-clients", name, clients, lambda: room.catch_up(clients), units=clients * MISSED_TOGETHER
        ),
    )


def run_in(runner: asyncio.Runner, name: str, missed: int, measure: Callable[[CatchUp], None]) -> None:
    """Opens a room in which so much has happened, measures, and closes it."""

    async def run() -> None:
        with data_folder() as folder:
            room = ROOMS[name](folder, missed)
            measure(room)
            room.close()

    runner.run(run())
