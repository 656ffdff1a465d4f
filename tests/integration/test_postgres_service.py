"""The PostgreSQL server that tests start: that it breaks as it is told to, and comes back."""

import subprocess

import pytest

from tests.services.postgres import SHARED, programs, running
from tests.services.service import is_running


def test_what_is_committed_outlives_its_end() -> None:
    with running() as server:
        server.execute("CREATE TABLE kept AS SELECT 1 AS one")
        first = server.pid
        assert first is not None
        server.kill()
        assert not is_running(first)
        server.start()
        assert server.execute("SELECT one FROM kept").strip() == "1"
        server.restart()
        assert server.execute("SELECT one FROM kept").strip() == "1"
        folder = server.folder
    assert not folder.exists()


def test_a_paused_one_answers_when_it_goes_on() -> None:
    with running() as server:
        server.pause()
        asking = subprocess.Popen(
            [programs() / "pg_isready", f"--port={server.port}", "--host=127.0.0.1", "--timeout=1"],
            stdout=subprocess.DEVNULL,
        )
        assert asking.wait() != 0
        server.resume()
        assert server.execute("SELECT 1").strip() == "1"


def test_databases_of_the_shared_one_know_nothing_of_each_other() -> None:
    server = SHARED.server()
    assert SHARED.server() is server
    one, other = server.create_database(), server.create_database()
    server.execute("CREATE TABLE mine AS SELECT 1", one.rpartition("/")[2])
    with pytest.raises(AssertionError, match="mine"):
        server.execute("SELECT * FROM mine", other.rpartition("/")[2])
    for url in one, other:
        server.drop_database(url)
