"""What only the PostgreSQL store does: several on one database, who may use it, what it keeps."""

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from fastchat.messages import Code, WireError
from fastchat.store import Retention, Stored, StoreError, open_store
from fastchat.store.interface import Committed
from fastchat.store.postgres.store import PostgresStore
from tests.postgres_nodes import Nodes
from tests.postgres_nodes import url as url
from tests.pump import OpenRoom, Pump, message, moderate, react
from tests.services import postgres


@pytest.fixture
def nodes(url: str) -> Iterator[Nodes]:
    nodes = Nodes(url)
    yield nodes
    nodes.close()


# Several nodes


@pytest.mark.parametrize("disturbance", ["none", "every third is lost", "all are lost"])
def test_all_nodes_have_one_order(nodes: Nodes, disturbance: str) -> None:
    every = {"none": 0, "every third is lost": 3, "all are lost": 1}[disturbance]
    nodes.lost = lambda committed: bool(every) and committed.seq % every == 0
    rooms = [nodes.room(nodes.start()) for _ in range(3)]
    answers: list[Stored | WireError] = []
    texts = [f"{number} of {node}" for number in range(60) for node in range(3)]
    for number, text in enumerate(texts):
        rooms[number % 3].begin(message(text, id=text), answers.append)
    nodes.wait_until(lambda: len(answers) == len(texts))
    for room in rooms:
        room.store.compare()  # type: ignore[attr-defined]
    nodes.wait_until(lambda: all(room.log.head == len(texts) for room in rooms))
    first, *others = [room.bodies() for room in rooms]
    assert len(first) == len(texts)
    assert all(other == first for other in others)
    assert sorted(answer.seq for answer in answers if isinstance(answer, Stored)) == [*range(1, 181)]
    assert {event["text"] for event in rooms[0].replay_all()} == set(texts)
    assert [event["seq"] for event in rooms[1].replay_all()] == [*range(1, 181)]


def test_what_the_bus_repeats_and_reorders_is_told_once_and_in_order(nodes: Nodes) -> None:
    heard: list[Committed] = []
    nodes.lost = lambda committed: heard.append(committed) or True  # type: ignore[func-returns-value]
    one, other = nodes.room(nodes.start()), nodes.room(nodes.start())
    one.fill(20)
    nodes.stores[1].receive([*reversed(heard), *heard])
    nodes.wait_until(lambda: other.log.head == 20)
    assert other.told == [*range(1, 21)]
    assert other.bodies() == one.bodies()


def test_the_same_id_on_two_nodes_at_once_is_one_message(nodes: Nodes) -> None:
    rooms = [nodes.room(nodes.start()) for _ in range(2)]
    answers: list[Stored | WireError] = []
    for number in range(50):
        for room in rooms:
            room.begin(message("hi", id=f"i{number}"), answers.append)
    nodes.wait_until(lambda: len(answers) == 100)
    assert sorted(answer.seq for answer in answers if isinstance(answer, Stored)) == sorted(
        [*range(1, 51)] * 2
    )
    assert sum(isinstance(answer, Stored) and answer.body is not None for answer in answers) == 50


def test_changes_of_one_message_on_two_nodes_at_once(nodes: Nodes) -> None:
    rooms = [nodes.room(nodes.start()) for _ in range(2)]
    rooms[0].say("hi")
    answers: list[Stored | WireError] = []
    for number in range(30):
        for node, room in enumerate(rooms):
            room.begin(react(1, f"r{number % 5}", f"user-{node}-{number}"), answers.append)
    nodes.wait_until(lambda: len(answers) == 60)
    assert all(isinstance(answer, Stored) for answer in answers), answers
    (state,) = rooms[0].messages(newest=True, limit=1)
    assert sum(len(users) for users in state["reactions"].values()) == 60


def test_a_new_room_has_one_epoch_on_all_nodes(nodes: Nodes) -> None:
    one, other = nodes.start(), nodes.start()
    for name in "lobby", "@alice,bob", "@alice,~guest":
        assert nodes.room(one, name).log.epoch == nodes.room(other, name).log.epoch
    epoch = nodes.room(one, "@alice,~guest").log.epoch
    one.forget("@alice,~guest")
    nodes.pump.answer(one.backlog)
    assert nodes.room(other, "@alice,~guest").log.epoch != epoch


def test_a_room_is_made_by_one_of_those_who_try(nodes: Nodes) -> None:
    rooms = [nodes.room(nodes.start()) for _ in range(3)]
    answers: list[Stored | WireError] = []
    for room in rooms:
        room.begin(moderate("create", role="owner"), answers.append)
    nodes.wait_until(lambda: len(answers) == 3)
    refused = [answer for answer in answers if isinstance(answer, WireError)]
    assert len(refused) == 2
    assert {error.code for error in refused} <= {Code.NAME_TAKEN, Code.UNAVAILABLE}
    assert rooms[0].refuse(moderate("create", "bob", role="owner")).code in (
        Code.NAME_TAKEN,
        Code.UNAVAILABLE,
    )
    assert rooms[0].read() == ([], False)


def test_what_is_forbidden_on_one_node_is_not_stored_on_another(nodes: Nodes) -> None:
    nodes.lost = lambda committed: True
    one, other = nodes.room(nodes.start()), nodes.room(nodes.start())
    one.append(moderate("ban", user="bob", until=0))
    refused = other.refuse(message("too late", "bob"))
    assert (refused.code, refused.retry_after_ms) == (Code.UNAVAILABLE, 200)
    assert "rules of room lobby have just changed" in refused.message
    assert other.told_facts == [{"ban bob": 0}]
    assert other.append(message("the rules are known now", "carol")).seq == 2
    # Its own changes are no surprise to a node, and what was sent before them is as if it came before.
    assert [type(answer) for answer in one.begin_all([moderate("unban", user="bob"), message("hi")])] == [
        Stored, Stored,
    ]  # fmt: skip


def test_facts_come_by_the_bus_or_by_comparing(nodes: Nodes) -> None:
    one, other = nodes.room(nodes.start()), nodes.room(nodes.start())
    one.append(moderate("topic", topic="apples"))
    nodes.wait_until(lambda: other.told_facts == [{"topic": "apples"}])
    nodes.lost = lambda committed: True
    one.set_facts({"blocked bob": True})
    nodes.stores[1].compare()
    nodes.wait_until(lambda: len(other.told_facts) == 2)
    assert other.told_facts[-1] == {"topic": "apples", "blocked bob": True}


def test_many_rooms_in_one_commit(nodes: Nodes) -> None:
    store, other = nodes.start(), nodes.start()
    rooms = [nodes.room(store, f"room-{number}") for number in range(300)]
    answers: list[Stored | WireError] = []
    for number in range(1200):
        rooms[number % 300].begin(message(f"m{number}"), answers.append)
    nodes.wait_until(lambda: len(answers) == 1200)
    for room in rooms[::30]:
        assert [event["seq"] for event in room.replay_all()] == [1, 2, 3, 4]
    # Of a room that is gone the others do not hear.
    guests = nodes.room(store, "@alice,~guest")
    guests.say("hi")
    other.forget("@alice,~guest")
    nodes.pump.answer(other.backlog)
    answers.clear()
    guests.begin(message("too late"), answers.append)
    rooms[0].begin(message("not at all"), answers.append)
    nodes.wait_until(lambda: len(answers) == 2)
    refused, stored = sorted(answers, key=lambda answer: isinstance(answer, Stored))
    assert isinstance(refused, WireError)
    assert refused.message == "room @alice,~guest is not there any more; join it again"
    assert isinstance(stored, Stored)
    assert stored.seq == 5


# One process alone


def test_without_a_bus_a_database_is_for_one_process(nodes: Nodes) -> None:
    nodes.start(alone=True)
    with pytest.raises(StoreError, match=r"another fastchat uses this database; set broker\.url"):
        nodes.start()


def test_many_start_at_once(url: str) -> None:
    pump = Pump()
    ready = threading.Barrier(6)

    def start(_: int) -> PostgresStore:
        ready.wait()
        return PostgresStore(url, deliver=pump.deliver, alone=False)

    with ThreadPoolExecutor(6) as threads, ExitStack() as stack:
        stores = list(threads.map(start, range(6)))
        for store in stores:
            stack.callback(store.close)
        assert len({OpenRoom(store, pump).log.epoch for store in stores}) == 1
        assert len({store.node for store in stores}) == 6


def test_what_comes_after_the_end_is_refused(nodes: Nodes) -> None:
    room = nodes.room(nodes.start())
    room.say("hi")
    answers: list[Any] = []
    for number in range(100):
        room.begin(message(f"m{number}"), answers.append)
    nodes.stores[0].close()
    room.begin(message("too late"), answers.append)
    room.log.read(0, 10, 10, False, answers.append)
    nodes.stores[0].rooms("", 10, answers.append)
    nodes.wait_until(lambda: len(answers) == 103)
    *sent, refused, page, rooms = answers
    assert [answer.seq for answer in sent] == [*range(2, 102)]
    assert {error.code for error in (refused, page, rooms)} == {Code.UNAVAILABLE}


# What is refused


def refusal(url: str) -> str:
    with pytest.raises(StoreError) as raised:
        open_store(url, deliver=Pump().deliver)
    assert postgres.PASSWORD not in str(raised.value)
    return str(raised.value)


def test_what_cannot_be_used_says_what_to_do(url: str) -> None:
    server = postgres.SHARED.server()
    assert "createdb nowhere" in refusal(server.url_of("nowhere"))
    assert "check the user and the password" in refusal(url.replace(postgres.PASSWORD, "wrong"))
    assert "check its address and whether it runs" in refusal(
        f"postgresql://u@127.0.0.1:{postgres.free_port()}/x"
    )


def test_another_programs_schema_is_left_alone(url: str) -> None:
    server, name = postgres.SHARED.server(), url.rpartition("/")[2]
    server.execute("CREATE SCHEMA fastchat; CREATE TABLE fastchat.meta (name text, value text)", name)
    assert "is another program's; choose another database" in refusal(url)
    server.execute("INSERT INTO fastchat.meta VALUES ('owner', 'fastchat'), ('version', '99')", name)
    assert "of version 99, written by a newer fastchat" in refusal(url)
    assert server.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'fastchat'", name).strip() == "1"


def test_without_asyncpg(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name in list(sys.modules):
        if name.startswith("fastchat.store.postgres"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    assert "pip install 'fastchat-server[postgres]'" in refusal(url)


# Retention


def test_what_is_not_kept_is_trimmed_and_what_waits_is(nodes: Nodes) -> None:
    store = nodes.start(retention=lambda room: Retention(events=3) if room == "lobby" else Retention())
    lobby, games = nodes.room(store), nodes.room(store, "games")
    lobby.fill(10)
    games.fill(10)
    trim(store)
    nodes.wait_until(lambda: lobby.log.first == 8)
    assert [event["seq"] for event in lobby.replay_all()] == [8, 9, 10]
    assert lobby.replay(0)[0] == 8
    assert games.log.first == 1
    assert nodes.pump.answer(store.begin_sending) is None
    lobby.fill(10)
    trim(store)
    assert len(lobby.replay_all()) >= 10
    assert nodes.pump.answer(lambda done: store.sent({"lobby": 20}, [], done)) is None
    trim(store)
    nodes.wait_until(lambda: lobby.log.first == 18)
    assert lobby.say("next").seq == 21


def test_a_node_that_has_missed_what_nobody_has_any_more_says_so(nodes: Nodes) -> None:
    store = nodes.start(retention=lambda room: Retention(events=3))
    one, other = nodes.room(store), nodes.room(nodes.start())
    one.fill(2)
    nodes.wait_until(lambda: other.log.head == 2)
    nodes.lost = lambda committed: True
    one.fill(10)
    trim(store)
    nodes.wait_until(lambda: one.log.first == 10)
    other.store.compare()  # type: ignore[attr-defined]
    nodes.wait_until(lambda: other.lost)
    anew = nodes.room(nodes.stores[1])
    assert (other.log.head, anew.log.head, anew.replay(0)[0]) == (2, 12, 10)


def trim(store: PostgresStore) -> None:
    async def run() -> None:
        connection = await store._server.connect("upkeep")
        try:
            await store._upkeep.run_pass(connection)
        finally:
            await connection.close()

    store._thread.run(run())
