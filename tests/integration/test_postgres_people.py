"""Accounts, marks, the audit log and the outbox in PostgreSQL: several nodes, lost connections, an outage."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from fastchat.messages import Code, WireError
from fastchat.store import Account, AuditEntry, Retention, open_store
from fastchat.store.interface import AUDIT_KEPT
from fastchat.store.postgres import audit
from fastchat.store.postgres.connection import Connection, Server
from fastchat.store.postgres.store import PostgresStore
from fastchat.store.postgres.thread import LoopThread
from fastchat.store.sending import Notice
from tests.outboxes import Box
from tests.postgres_nodes import url as url
from tests.pump import OpenRoom, Pump, marks, message, moderate
from tests.services import postgres
from tests.services.proxy import Proxy
from tests.stores import NOW_MS

ALICE = Account("Alice", "alice", password="$argon2id$…", subject="7")
ENTRY = AuditEntry(1, "root", "user_add", target="alice")


@pytest.fixture
def pump() -> Pump:
    return Pump()


def start(url: str, pump: Pump, **options: Any) -> PostgresStore:
    return PostgresStore(
        url, deliver=pump.deliver, durability="normal", alone=False, wall_ms=lambda: NOW_MS, **options
    )


@pytest.fixture
def nodes(url: str, pump: Pump) -> Iterator[list[PostgresStore]]:
    with ExitStack() as stack:
        yield [stack.enter_context(closing(start(url, pump))) for _ in range(2)]


class Sql:
    """A connection of the test's own, which may hold locks."""

    def __init__(self, url: str) -> None:
        self.thread = LoopThread("fastchat-test-sql")
        self.connection: Connection = self.thread.run(Server(url, "test").connect("test"))

    def __call__(self, query: str, *values: Any) -> list[Any]:
        return [tuple(row) for row in self.thread.run(self.connection.fetch(query, *values))]

    def close(self) -> None:
        self.thread.run(self.connection.close())
        self.thread.close()


@pytest.fixture
def sql(nodes: list[PostgresStore], url: str) -> Iterator[Sql]:
    with closing(Sql(url)) as sql:
        yield sql


# Several nodes


def test_one_name_is_added_once(nodes: list[PostgresStore], pump: Pump) -> None:
    answers: list[WireError | None] = []
    for number in range(20):
        nodes[number % 2].add_account(replace(ALICE, password=str(number), subject=None), answers.append)
    while len(answers) < 20:
        pump.turn()
    assert answers.count(None) == 1
    assert {answer.code for answer in answers if answer is not None} == {Code.NAME_TAKEN}


def test_a_change_on_one_node_is_seen_on_all(nodes: list[PostgresStore], pump: Pump) -> None:
    one, other = nodes
    assert pump.answer(partial(one.add_account, ALICE)) is None
    assert pump.answer(partial(other.account, "alice")) == ALICE
    changed = pump.answer(partial(other.change_account, "alice", {"disabled": True}))
    assert pump.answer(partial(one.account, "alice")) == changed == replace(ALICE, disabled=True)


def test_marks_of_many_at_once_do_not_lock_each_other_up(nodes: list[PostgresStore], pump: Pump) -> None:
    rooms = [OpenRoom(nodes[0], pump, name) for name in ("lobby", "games")]
    for room in rooms:
        room.say("hi")
    users = [f"user-{number}" for number in range(300)]
    for seq in range(1, 11):
        for node, order in zip(nodes, (1, -1), strict=True):
            node.mark({(user, room.name): seq for user in users[::order] for room in rooms})
            node.seen(dict.fromkeys(users[::order], seq))
    for node in nodes:
        pump.answer(partial(node.accounts, "", 1))
    for node in nodes:
        assert marks(node, pump, "user-7", ["lobby", "games"]) == {"lobby": 10, "games": 10}


# What is lost with a connection


CHANGES: dict[str, tuple[Callable[[PostgresStore, Any], object], object, str]] = {
    "add": (lambda store, done: store.add_account(ALICE, done), None, "accounts"),
    "change": (
        lambda store, done: store.change_account("bob", {"key": "rob", "name": "Rob"}, done),
        Account("Rob", "rob"),
        "accounts",
    ),
    "record": (lambda store, done: store.record(ENTRY, done), None, "audit"),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("lost", [False, True], ids=["committed", "rolled back"])
def test_a_change_whose_answer_was_lost_is_made_once(
    sql: Sql, url: str, pump: Pump, name: str, lost: bool
) -> None:
    change, expected, table = CHANGES[name]
    port = int(url.rpartition(":")[2].partition("/")[0])
    with Proxy(port) as proxy, closing(start(proxy.url(url), pump)) as store:
        assert pump.answer(partial(store.add_account, Account("bob", "bob"))) is None
        # Each change waits for us, when it is made and not committed yet.
        sql("CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_advisory_xact_lock_shared(77); RETURN NULL; END $$")  # fmt: skip
        sql(f"CREATE TRIGGER hold AFTER INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION hold()")
        sql("SELECT pg_advisory_lock(77)")
        answers: list[Any] = []
        change(store, answers.append)
        waiting = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while not (found := sql(waiting)):
            pass
        proxy.cut()
        if lost:
            sql("SELECT pg_terminate_backend($1)", found[0][0])
        sql("SELECT pg_advisory_unlock(77)")
        while sql("SELECT FROM pg_stat_activity WHERE pid = $1", found[0][0]):
            pass
        pump.drain()
        assert answers == []  # nobody knows yet
        proxy.restore()
        while not answers:
            pump.turn()
        assert answers == [expected]
        keys = [key for (key,) in sql("SELECT key FROM accounts ORDER BY key")]
        assert keys == {"add": ["alice", "bob"], "change": ["rob"], "record": ["bob"]}[name]
        assert len(sql("SELECT FROM audit")) == (name == "record")
        # It is no repetition any more.
        again = pump.answer(partial(change, store))
        if name == "add":
            assert again.code is Code.NAME_TAKEN
        else:
            assert again is None
            assert len(sql("SELECT FROM audit")) == 2 * (name == "record")


def test_what_nobody_waits_for_is_stored_after_an_outage(pump: Pump) -> None:
    with postgres.running() as server, closing(start(server.url, pump)) as store:
        room = OpenRoom(store, pump)
        room.say("hi")
        assert pump.answer(partial(store.add_account, ALICE)) is None
        box = Box(store, pump)
        box.begin()
        server.stop()
        store.mark({("alice", "lobby"): 1})
        store.mark({("bob", "lobby"): 1})
        store.seen({"alice": 500})
        store._keep_notices = 10
        store.note(ENTRY)
        store.note(replace(ENTRY, at_ms=2))
        for number in range(25):
            store.notify([Notice(0, 1, b"%d" % number)])
        refused(pump.answer(partial(store.account, "alice")))
        refused(pump.answer(partial(store.add_account, replace(ALICE, key="other", subject=None))))
        refused(pump.answer(partial(store.directs, "alice")))
        server.start()
        with closing(start(server.url, pump)) as other:
            while marks(other, pump, "bob", ["lobby"]) != {"lobby": 1}:
                pump.drain()
            while pump.answer(partial(other.account, "alice")).seen_at_ms != 500:
                pump.drain()
            there = Box(other, pump)
            while len(bodies := there.bodies()) < 10:
                pump.drain()
            assert marks(other, pump, "alice", ["lobby"]) == {"lobby": 1}
            entries = [entry for _, entry in pump.answer(partial(other.audit, 0, 10))]
            assert entries == [replace(ENTRY, at_ms=2), ENTRY]
            assert bodies == [b"%d" % number for number in range(15, 25)]
            assert there.backlog().dropped == 15
            assert pump.answer(partial(other.account, "other")) is None


def refused(answer: object) -> None:
    assert isinstance(answer, WireError)
    assert answer.code is Code.UNAVAILABLE


def test_a_closed_store_answers_all(url: str, pump: Pump) -> None:
    store = start(url, pump)
    store.close()
    answers: list[Any] = []
    for ask in (
        partial(store.account, "alice"), partial(store.add_account, ALICE), partial(store.record, ENTRY),
        partial(store.directs, "alice"), partial(store.search, ["lobby"], "hi", None, 10), store.beat,
        partial(store.claim, ["bob"]), store.backlog,
    ):  # fmt: skip
        ask(answers.append)
    while len(answers) < 8:
        pump.turn()
    assert all(isinstance(answer, WireError) for answer in answers)


def test_marks_are_stored_when_the_store_is_closed(url: str, pump: Pump) -> None:
    with closing(start(url, pump)) as store:
        OpenRoom(store, pump).say("hi")
        for seq in range(1, 50):
            store.mark({("alice", "lobby"): seq})
    with closing(start(url, pump)) as store:
        assert marks(store, pump, "alice", ["lobby"]) == {"lobby": 49}


def test_without_other_nodes_rooms_with_a_guest_are_in_memory(
    url: str, nodes: list[PostgresStore], sql: Sql, pump: Pump
) -> None:
    for node in nodes:
        node.close()
    names = ["@alice,~guest-1", "tmp-1", "lobby"]
    options: dict[str, Any] = {"deliver": pump.deliver, "in_memory": lambda room: room.startswith("tmp-")}
    with closing(open_store(url, **options)) as store:
        rooms = [OpenRoom(store, pump, name) for name in names]
        assert [room.log.durable for room in rooms] == [False, False, True]
        for room in rooms:
            room.append(moderate("topic", topic=room.name))
        assert [direct.room for direct in pump.answer(partial(store.directs, "alice"))] == names[:1]
        rooms[0].say("a secret")
    assert sql("SELECT name FROM rooms") == [("lobby",)]
    # Who did what in them is kept, as everywhere.
    assert sql("SELECT room FROM audit ORDER BY room") == [(name,) for name in sorted(names)]


# The audit log's bounds


@pytest.mark.parametrize(
    ("keep", "first"),
    [
        (Retention(), 0),
        (AUDIT_KEPT, 0),
        (Retention(events=500), 0),
        (Retention(events=499), 1),
        (Retention(events=3), 497),
        (Retention(age_s=9.6), 400),
        (Retention(age_s=9.6, events=300), 400),
        (Retention(age_s=9.6, events=50), 450),
        (Retention(age_s=0.001), 500),
    ],
)
def test_the_audit_log_has_bounds(sql: Sql, keep: Retention, first: int) -> None:
    sql(
        "INSERT INTO audit (at_ms, actor, action, room, target, detail) "
        "SELECT at_ms, '', '', '', '', '' FROM generate_series(0, 499) AS at_ms"
    )
    assert trim(sql, keep) == list(range(first, 500))


def test_a_clock_that_was_wrong_takes_nothing_too_early(sql: Sql) -> None:
    for at_ms in (9000, 0, 9001, 20_000, 9002):
        sql("INSERT INTO audit (at_ms, actor, action, room, target, detail) VALUES ($1, '', '', '', '', '')",
            at_ms)  # fmt: skip
    assert trim(sql, Retention(age_s=5)) == [9000, 0, 9001, 20_000, 9002]
    assert trim(sql, Retention(age_s=5), now_ms=15_000) == [20_000, 9002]


def trim(sql: Sql, keep: Retention, now_ms: int = NOW_MS) -> list[int]:
    """What is left, by time."""
    while sql.thread.run(audit.trim_entries(sql.connection, keep, now_ms)):
        pass
    return [at_ms for (at_ms,) in sql("SELECT at_ms FROM audit ORDER BY id")]


# The outbox of several nodes


def test_all_begin_at_once(nodes: list[PostgresStore], sql: Sql, pump: Pump) -> None:
    answers: list[WireError | None] = []
    for _ in range(5):
        for node in nodes:
            node.begin_sending(answers.append)
    while len(answers) < 10:
        pump.turn()
    assert answers == [None] * 10
    OpenRoom(nodes[0], pump).say("hi")
    assert Box(nodes[1], pump).waiting() == {"lobby": [1]}


def test_nothing_is_left_out_where_one_appends_and_another_sends(
    nodes: list[PostgresStore], pump: Pump
) -> None:
    writing, sending = nodes
    box = Box(sending, pump)
    box.begin()
    rooms = [OpenRoom(writing, pump, name) for name in ("lobby", "games")]
    seen: dict[str, list[int]] = {"lobby": [], "games": []}
    left = 600

    def say(_: object = None) -> None:
        nonlocal left
        if left:
            left -= 1
            rooms[left % 2].begin(message(f"hi {left}"), say)

    for _ in range(4):
        say()
    while left or box.backlog().events:
        for events in box.unsent(7).events:
            seen[events.room] += range(events.first, events.first + len(events.bodies))
            box.sent({events.room: seen[events.room][-1]})
    assert {name: len(seqs) for name, seqs in seen.items()} == {room.name: room.log.head for room in rooms}
    assert all(seqs == [*range(1, len(seqs) + 1)] for seqs in seen.values())


def test_a_room_that_is_forgotten_waits_no_more(nodes: list[PostgresStore], sql: Sql, pump: Pump) -> None:
    box = Box(nodes[0], pump)
    box.begin()
    room = OpenRoom(nodes[0], pump, "@alice,~bob")
    room.say("psst")
    assert box.waiting() == {"@alice,~bob": [1]}
    nodes[0].forget("@alice,~bob")
    assert box.waiting() == {}
    for table in "events", "rooms", "directs", "waiting", "marks", "facts", "states":
        assert sql(f"SELECT FROM {table}") == []
