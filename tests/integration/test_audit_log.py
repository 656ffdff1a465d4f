"""The audit log of a running server: its bounds are those of the settings."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from fastchat.store import AuditEntry
from fastchat.store.sqlite.audit import add_entry
from fastchat.store.sqlite.schema import connect
from tests.server_process import ServerProcess

HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("bound", "left"), [("store.audit_keep_entries=2", 2), ("store.audit_keep_age_s=3600", 5)]
)
def test_the_settings_bound_the_audit_log(tmp_path: Path, bound: str, left: int) -> None:
    path = tmp_path / "chat.db"
    now_ms = time.time_ns() // 1_000_000
    times = [*range(now_ms - 2 * HOUR_MS, now_ms - 2 * HOUR_MS + 3), *range(now_ms, now_ms + 5)]
    with closing(connect(path, "normal")) as connection:
        for at_ms in times:
            add_entry(connection, AuditEntry(at_ms, "root", "user_add"))
    with ServerProcess(bound, f"store.url=sqlite://{path}"), closing(sqlite3.connect(path)) as connection:
        while len(kept := connection.execute("SELECT at_ms FROM audit ORDER BY id").fetchall()) > left:
            pass
    assert [at_ms for (at_ms,) in kept] == times[-left:]
