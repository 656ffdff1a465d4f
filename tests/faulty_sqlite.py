"""SQLite connections whose commits fail when a test says so, with and without having had their effect."""

import sqlite3
from functools import partial
from typing import Any

import pytest

from fastchat.store.sqlite import writer


class Faults:
    """What is wrong with the disk: nothing at first.

    ``at`` is the statement that fails; ``lost`` says whether a failing COMMIT really did nothing.
    """

    def __init__(self) -> None:
        self.at: str | None = None
        self.lost = True
        self.failures = 0
        self.statements: list[str] = []
        """Those that begin with what ``watched`` says."""
        self.watched: str | None = None

    def arm(self, at: str = "COMMIT", *, lost: bool = True) -> None:
        self.at, self.lost = at, lost

    def disarm(self) -> None:
        self.at = None


class FaultyConnection(sqlite3.Connection):
    """Fails as ``faults`` says."""

    faults: Faults

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        faults = self.faults
        if faults.watched is not None and sql.lstrip().startswith(faults.watched):
            faults.statements.append(sql)
        if faults.at is not None and sql.lstrip().startswith(faults.at):
            faults.failures += 1
            if not faults.lost:
                super().execute(sql, parameters)
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, parameters)


def inject(monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Makes every connection from now on faulty, and the writer look often whether it can write again."""
    faults = Faults()
    factory = type("Connection", (FaultyConnection,), {"faults": faults})
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=factory))
    monkeypatch.setattr(writer, "PROBE_INTERVAL_S", 0.01)
    return faults
