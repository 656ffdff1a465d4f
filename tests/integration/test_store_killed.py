"""Processes that are killed while they write a store's file: it stays whole, and so does what it says."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from fastchat.store.sqlite.schema import MIGRATIONS
from tests.crash.driver import compare_facts
from tests.unit.test_sqlite_faults import check_file

TRIMMED = """
import sys
from itertools import count
from pathlib import Path
from fastchat.store import Retention, Stored
from fastchat.store.sqlite import SqliteStore, schema, upkeep, writer
from tests.pump import OpenRoom, Pump, edit, message, react

upkeep.TRIM_PASS_S = 0
writer.UPKEEP_SHARE = 0.7
pump = Pump()
store = SqliteStore(
    Path(sys.argv[1]), deliver=pump.deliver, durability="normal",
    retention=lambda _: Retention(events=300, size_bytes=30_000),
)
room = OpenRoom(store, pump)
for turn in count():
    head = room.log.head
    drafts = [message("apple " * 10, at_ms=head)] * 90
    drafts += [edit(max(head, 1), "pear"), react(max(head, 1), "+")]
    answers = room.begin_all(drafts)
    print(max(answer.seq for answer in answers if isinstance(answer, Stored)), flush=True)
"""

MODERATED = """
import sys
from itertools import count
from pathlib import Path
from fastchat.store import Retention, Stored
from fastchat.store.sqlite import SqliteStore
from tests.pump import OpenRoom, Pump, delete, message, moderate

pump = Pump()
store = SqliteStore(
    Path(sys.argv[1]), deliver=pump.deliver, durability="normal", audit=Retention(),
)
room = OpenRoom(store, pump)
for turn in count(room.log.head):
    user = f"user-{turn % 7}"
    drafts = [
        message("spam", "bob"), moderate("topic", topic=str(turn)), moderate("ban", user=user, until=turn),
        moderate("mute", user=user), moderate("unban", user=f"user-{turn % 5}"),
        moderate("role", user=user, role=("moderator", "member", "reader")[turn % 3]),
    ]
    answers = room.begin_all(drafts)
    spam = answers[0].seq
    answers += room.begin_all([delete(spam, moderated=True, user="bob")])
    print(max(answer.seq for answer in answers if isinstance(answer, Stored)), flush=True)
"""

MIGRATION = """
import sqlite3, sys
from pathlib import Path
from fastchat.store.sqlite import schema

def add_many(connection):
    for number in range(300):
        connection.execute(f"CREATE TABLE more_{number} AS SELECT * FROM events")
        print(number, flush=True)

schema.MIGRATIONS += (add_many,)
schema.connect(Path(sys.argv[1]), "normal").close()
print("done", flush=True)
"""


def run_and_kill(script: str, path: Path, lines: int) -> list[str]:
    """Kills the script after so many lines, or later; returns all that it printed."""
    child = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout as output:
        printed = [output.readline() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        printed += output.readlines()
    child.wait()
    return [line.strip() for line in printed]


@pytest.mark.parametrize("lines", [1, 2, 3, 5, 8, 13, 21, 34])
def test_killed_while_trimming(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "chat.db"
    acknowledged = 0
    for _ in range(2):  # the second one goes on with what the first one left
        printed = run_and_kill(TRIMMED, path, lines)
        assert int(printed[0]) > acknowledged
        acknowledged = max(int(line) for line in printed if line)
        check_file(path)
        with closing(sqlite3.connect(path)) as connection:
            head, kept = connection.execute("SELECT head, head - first + 1 FROM rooms").fetchone()
        assert head >= acknowledged
        assert kept <= head


@pytest.mark.parametrize("lines", [1, 10, 100, 250, 300, 301])
def test_killed_while_migrating(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "chat.db"
    run_and_kill(TRIMMED, path, 2)
    printed = run_and_kill(MIGRATION, path, lines)
    check_file(path)
    with closing(sqlite3.connect(path)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute(
            "SELECT count(*) FROM sqlite_master WHERE name LIKE 'more%'"
        ).fetchone()
    known = len(MIGRATIONS)
    assert (version, tables) in ((known, 0), (known + 1, 300))
    if "done" in printed:
        assert version == known + 1
    if version == known:
        run_and_kill(TRIMMED, path, 2)
        check_file(path)


@pytest.mark.parametrize("lines", [1, 2, 5, 13, 34, 89])
def test_killed_while_moderating(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "chat.db"
    acknowledged = 0
    for _ in range(2):
        printed = run_and_kill(MODERATED, path, lines)
        assert int(printed[0]) > acknowledged
        acknowledged = max(int(line) for line in printed if line)
        check_file(path)
        check_facts(path)
        with closing(sqlite3.connect(path)) as connection:
            (head,) = connection.execute("SELECT head FROM rooms").fetchone()
        assert head >= acknowledged


def check_facts(path: Path) -> None:
    """Asserts that the room's facts and its audit log are what its events make of them."""
    with closing(sqlite3.connect(path)) as connection:
        assert compare_facts(connection) == []
        (acts,) = connection.execute("SELECT count(*) FROM audit WHERE action <> 'delete'").fetchone()
        (deletions,) = connection.execute("SELECT count(*) FROM audit WHERE action = 'delete'").fetchone()
        (facts,) = connection.execute("SELECT count(*) FROM facts").fetchone()
    assert min(acts, deletions, facts) > 0
