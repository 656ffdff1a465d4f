"""`fastchat migrate-store`, as an operator runs it: killed half way, run again, and what it refuses."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from fastchat.store.postgres.store import PostgresStore
from fastchat.store.sqlite import SqliteStore
from tests.postgres_nodes import url as url
from tests.pump import OpenRoom, Pump, search

EVENTS = 30_000
COMMAND = (sys.executable, "-m", "fastchat", "migrate-store")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path, pump = tmp_path / "chat.db", Pump()
    with closing(SqliteStore(path, deliver=pump.deliver, durability="normal")) as store:
        OpenRoom(store, pump).fill(EVENTS, "an apple a day")
        OpenRoom(store, pump, "games").say("the last apple", at_ms=2000)
    return path


def run(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, args)], capture_output=True, text=True, timeout=120)


def test_a_copy_that_was_killed_goes_on(path: Path, url: str) -> None:
    process = subprocess.Popen([*COMMAND, str(path), url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process, process.stdout:
        said = next(line for line in process.stdout if line.startswith("events:"))
        process.kill()
    done = int(said.split()[1])
    assert 0 < done < EVENTS
    again = run(f"sqlite://{path}", url)
    assert again.returncode == 0, again.stderr
    lines = again.stdout.splitlines()
    first = next(line for line in lines if line.startswith("events:"))
    assert int(first.split()[1]) > done
    assert f"verified: 2 rooms with {EVENTS + 1} events" in lines
    password = url.partition("@")[0].rpartition(":")[2]
    assert lines[-1].startswith(f"copied {path} to postgresql://")
    assert password not in again.stdout + again.stderr
    pump = Pump()
    with closing(PostgresStore(url, deliver=pump.deliver)) as store:
        lobby = OpenRoom(store, pump)
        assert [event["seq"] for event in lobby.replay_all()] == [*range(1, EVENTS + 1)]
        found, more = search(store, pump, "apple", ("lobby", "games"), limit=1)
        assert ([message["text"] for message in found], more) == (["the last apple"], True)


@pytest.mark.parametrize(
    ("source", "target", "status", "said"),
    [
        ("FILE", "sqlite:///x", 2, "TO is sqlite:///x: write postgresql://USER:PASSWORD@HOST/DATABASE"),
        ("FILE", "postgresql://me:secret@h", 2, "TO is postgresql://me:***@h: name one database"),
        ("nats://h", "postgresql://h/d", 2, "FROM is nats://h: name a file, or sqlite:///PATH"),
        ("sqlite:///none.db", "postgresql://h/d", 1, "there is no store at /none.db"),
        ("FILE", "postgresql://me:secret@127.0.0.1:1/d", 1, "cannot use PostgreSQL at 127.0.0.1:1/d"),
    ],
)
def test_what_it_refuses(path: Path, source: str, target: str, status: int, said: str) -> None:
    done = run(path if source == "FILE" else source, target)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(f"fastchat: {said}")
    assert "secret" not in done.stderr
    assert done.stderr.count("\n") == 1
