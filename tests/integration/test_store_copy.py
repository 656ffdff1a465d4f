"""A history copied from a file into PostgreSQL: whole, resumable at any point, and served as before."""

import subprocess
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fastchat.store import Account, AuditEntry, Store, StoreError
from fastchat.store.interface import Retention
from fastchat.store.postgres import copying
from fastchat.store.postgres.copying import copy_history
from fastchat.store.postgres.store import PostgresStore
from fastchat.store.sending import SendingStore
from fastchat.store.sqlite import SqliteStore
from tests.outboxes import Box
from tests.postgres_nodes import url as url
from tests.pump import OpenRoom, Pump, delete, edit, marks, moderate, react, search
from tests.services import postgres
from tests.stores import NOW_MS

ROOMS = ("lobby", "games", "@alice,bob", "kitchen", "empty")


class Attempt(Exception):
    """Ends one, as if it were killed."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "chat.db"
    with closing(open_file(path)) as store:
        fill(store, PUMP)
    return path


PUMP = Pump()


def open_file(path: Path, **options: Any) -> SqliteStore:
    return SqliteStore(path, deliver=PUMP.deliver, durability="normal", wall_ms=lambda: NOW_MS, **options)


def open_copy(url: str) -> PostgresStore:
    return PostgresStore(url, deliver=PUMP.deliver, durability="normal", wall_ms=lambda: NOW_MS)


def fill(store: SendingStore, pump: Pump) -> None:
    """Something of everything."""
    lobby, games, pair, kitchen, empty = (OpenRoom(store, pump, name) for name in ROOMS)
    lobby.say('red apple, dessert \\ "quoted" \0 naïve', id="one\\", data="x")
    lobby.fill(12, "Äpfel und Birnen")
    lobby.append(edit(1, "green pear"))
    lobby.append(delete(2))
    lobby.append(react(3, "👍", "bob"))
    lobby.append(moderate("topic", topic="fruit"))
    lobby.append(moderate("ban", user="mallory"))
    Box(store, pump).begin()
    for number in range(5):
        games.say(f"apple {number}", "bob", at_ms=2000 + number)
    pair.say("psst, an apple", "bob", at_ms=5000)
    pair.set_facts({"blocked alice": True, "odd \\ \0 name": [1]})
    kitchen.say("tea")
    empty.set_facts({"topic": "nothing yet"})
    store.mark({("alice", "lobby"): 7, ("bob", "lobby"): 3, ("alice", "@alice,bob"): 1, ("x\\y", "games"): 2})
    accounts = [
        Account(f"User{number}", f"user{number}", password="$argon2id$…", subject=f"id {number}",
                operator=number == 3, disabled=number == 4, created_at_ms=number, valid_from_ms=9)
        for number in range(7)
    ]  # fmt: skip
    for account in [*accounts, Account("bob", "bob")]:
        assert pump.answer(partial(store.add_account, account)) is None
    store.seen({"user1": 77})
    assert (
        pump.answer(partial(store.record, AuditEntry(1, "root\0", "user_add", target="\\", detail="{}")))
        is None
    )
    box = Box(store, pump)
    box.notify("came", "went")
    box.sent({"games": 2}, [])
    search(store, pump, "anything")


def everything(store: Store, pump: Pump) -> dict[str, Any]:
    """What anybody can read of a store."""
    found: dict[str, Any] = {}
    for name in ROOMS:
        room = OpenRoom(store, pump, name)
        log = room.log
        found[name] = {
            "log": (log.epoch, log.first, log.head, dict(log.facts)),
            "pages": [room.page(), room.page(after=3, limit=4), room.page(before=9, limit=3, newest=True)],
            "bodies": [
                *pump.answer(lambda done, log=log: log.replay(log.first - 1, done)).bodies  # type: ignore[misc]
            ],
        }
    for query in ("apple", "pear", "apfel", "und birnen", "tea", "dessert", "quoted", "psst"):
        found[f"search {query}"] = search(store, pump, query, ROOMS)
    for user in ("alice", "bob", "x\\y"):
        found[f"marks {user}"] = marks(store, pump, user, ROOMS)
        found[f"directs {user}"] = pump.answer(partial(store.directs, user))
    found["accounts"] = list(pump.answer(partial(store.accounts, "", 100)))
    found["subject"] = pump.answer(partial(store.account_of, "id 3"))
    found["audit"] = list(pump.answer(partial(store.audit, 0, 100)))
    found["rooms"] = list(pump.answer(partial(store.rooms, "", 100)))
    return found


def waiting(store: SendingStore) -> tuple[Any, ...]:
    box = Box(store, PUMP)
    unsent = box.unsent()
    events = {each.room: (each.epoch, each.first, [*each.bodies]) for each in unsent.events}
    return events, [(each.slot, each.body) for each in unsent.notices], box.backlog()


def read_file(path: Path) -> tuple[dict[str, Any], tuple[Any, ...]]:
    with closing(open_file(path)) as store:
        return everything(store, PUMP), waiting(store)


def read_copy(url: str) -> tuple[dict[str, Any], tuple[Any, ...]]:
    with closing(open_copy(url)) as store:
        return everything(store, PUMP), waiting(store)


def silent(line: str) -> None:
    """Nobody reads it."""


def test_a_copy_is_the_same(path: Path, url: str) -> None:
    lines: list[str] = []
    copy_history(path, url, lines.append)
    assert read_copy(url) == read_file(path)
    assert lines[-1] == "complete"
    assert "events: 25 of 25" in lines
    assert "verified: 5 rooms with 25 events" in lines


def test_what_comes_after_a_copy_goes_on_where_it_ended(path: Path, url: str) -> None:
    copy_history(path, url, silent)
    with closing(open_copy(url)) as store:
        lobby = OpenRoom(store, PUMP)
        head = lobby.log.head
        assert lobby.say("red apple", id="one\\").seq == 1  # it was stored before
        assert lobby.say("more").seq == head + 1
        lobby.append(edit(1, "an orange"))
        assert lobby.messages()[0]["text"] == "an orange"
        assert search(store, PUMP, "pear")[0] == []
        assert lobby.say("hi", "mallory").seq == head + 3  # rules are not the store's business
        assert OpenRoom(store, PUMP, "new").say("hi").seq == 1
        newest = PUMP.answer(partial(store.audit, 0, 1))[0][0]
        assert PUMP.answer(partial(store.record, AuditEntry(2, "root", "x"))) is None
        assert PUMP.answer(partial(store.audit, 0, 1))[0][0] > newest


@pytest.mark.parametrize("again", ["at once", "after a server has used the file"])
def test_a_copy_goes_on_where_it_was_killed(
    path: Path, url: str, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    monkeypatch.setattr(copying, "CHUNK_ROWS", 3)
    attempts = 0

    def attempt(reports: int) -> bool:
        """Whether it came to its end before it said so much."""
        nonlocal attempts
        attempts += 1

        def report(line: str) -> None:
            nonlocal reports
            reports -= 1
            if not reports and line != "complete":
                raise Attempt

        try:
            copy_history(path, url, report)
        except Attempt:
            return False
        return True

    while not attempt(2):
        if again != "at once" and attempts % 3 == 0:
            with closing(open_file(path)) as store:
                lobby = OpenRoom(store, PUMP)
                lobby.append(edit(5, f"an apple, {attempts}"))
                lobby.say(f"apple of {attempts}")
                lobby.set_facts({"topic": None if attempts % 2 else f"{attempts}"})
                PUMP.answer(partial(store.change_account, "user5", {"name": f"Name{attempts}"}))
        assert attempts < 200
        with pytest.raises(StoreError, match="half a copy"):
            open_copy(url)
        if attempts > 12:
            assert attempt(1000)
            break
    assert attempts > 5
    assert read_copy(url) == read_file(path)


def test_a_file_that_was_trimmed_in_between(path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "CHUNK_ROWS", 3)

    def report(line: str) -> None:
        if line == "events: 6 of 25":
            raise Attempt

    with pytest.raises(Attempt):
        copy_history(path, url, report)
    with closing(open_file(path, retention=lambda room: Retention(events=5))) as store:
        lobby = OpenRoom(store, PUMP)
        box = Box(store, PUMP)
        box.sent({"lobby": 100}, [])
        while lobby.log.first < 10:
            search(store, PUMP, "anything")
    copy_history(path, url, silent)
    assert read_copy(url) == read_file(path)


def test_a_complete_copy_is_left_alone(path: Path, url: str) -> None:
    copy_history(path, url, silent)
    with closing(open_copy(url)) as store:
        OpenRoom(store, PUMP).say("after the copy")
    before = read_copy(url)
    lines: list[str] = []
    copy_history(path, url, lines.append)
    assert lines == ["it is copied already"]
    assert read_copy(url) == before


def test_a_dump_that_is_put_back_is_the_same(url: str) -> None:
    with closing(open_copy(url)) as store:
        fill(store, PUMP)
        before = everything(store, PUMP), waiting(store)
    programs, server = postgres.programs(), postgres.SHARED.server()
    dump = subprocess.run([programs / "pg_dump", url], capture_output=True, text=True, check=True).stdout
    other = server.create_database()
    try:
        command = [str(programs / "psql"), "--quiet", "--set=ON_ERROR_STOP=1", other]
        subprocess.run(command, input=dump, capture_output=True, text=True, check=True)
        assert read_copy(other) == before
        with closing(open_copy(other)) as store:
            lobby = OpenRoom(store, PUMP)
            assert lobby.say("more").seq == lobby.log.head == before[0]["lobby"]["log"][2] + 1
            assert Box(store, PUMP).waiting()["lobby"][-1] == lobby.log.head
    finally:
        server.drop_database(other)


# What is refused


def test_a_database_with_something_else_is_refused(path: Path, url: str) -> None:
    with closing(open_copy(url)) as store:
        OpenRoom(store, PUMP).say("here before")
    with pytest.raises(StoreError, match="has a chat already"):
        copy_history(path, url, silent)


def test_a_copy_of_another_file_is_refused(path: Path, url: str, tmp_path: Path) -> None:
    copy_history(path, url, silent)
    other = tmp_path / "other.db"
    with closing(open_file(other)) as store:
        OpenRoom(store, PUMP).say("another lobby")
    with pytest.raises(StoreError, match="of another file"):
        copy_history(other, url, silent)


def test_what_a_server_uses_is_refused(path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "LOCK_WAIT_S", 0.0)
    with closing(open_file(path)), pytest.raises(StoreError, match="in use by another fastchat"):
        copy_history(path, url, silent)
    with closing(open_copy(url)), pytest.raises(StoreError, match="a server uses the database"):
        copy_history(path, url, silent)
    copy_history(path, url, silent)


def test_another_programs_schema_is_refused(path: Path, url: str) -> None:
    postgres.SHARED.server().execute("CREATE SCHEMA fastchat CREATE TABLE x ()", url.rpartition("/")[2])
    with pytest.raises(StoreError, match="is another program's"):
        copy_history(path, url, silent)


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path, url: str) -> None:
    with pytest.raises(StoreError, match="there is no store at"):
        copy_history(tmp_path / "none.db", url, silent)
    assert not list(tmp_path.iterdir())


def test_a_database_that_is_not_there(path: Path, url: str) -> None:
    with pytest.raises(StoreError, match="createdb none"):
        copy_history(path, url.rpartition("/")[0] + "/none", silent)


def test_an_empty_file(tmp_path: Path, url: str) -> None:
    path = tmp_path / "empty.db"
    open_file(path).close()
    copy_history(path, url, silent)
    with closing(open_copy(url)) as store:
        assert PUMP.answer(partial(store.rooms, "", 10)) == []


def test_a_copy_that_differs_is_found(path: Path, url: str) -> None:
    def report(line: str) -> None:
        if line.startswith("events: 25"):
            name = url.rpartition("/")[2]
            query = "UPDATE fastchat.events SET body = body || ' ' WHERE author = 'bob' AND seq = 1"
            postgres.SHARED.server().execute(query, name)

    with pytest.raises(StoreError, match="the copy differs: games, @alice,bob; drop its schema"):
        copy_history(path, url, report)
    with pytest.raises(StoreError, match="half a copy"):
        open_copy(url)
