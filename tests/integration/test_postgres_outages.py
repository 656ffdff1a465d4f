"""A PostgreSQL server that goes away and comes back: everybody is answered once, by what is stored."""

from collections.abc import Iterator
from functools import partial

import pytest

from fastchat.messages import Code, WireError
from fastchat.store import Stored
from fastchat.store.postgres.store import PostgresStore
from tests.postgres_nodes import Nodes, Room
from tests.postgres_nodes import url as url
from tests.pump import delete, edit, message
from tests.services import postgres
from tests.services.postgres import Postgres
from tests.services.proxy import Proxy

TIMEOUT_S = 3.0
"""Of a command in these tests, where a server is made to answer nothing."""


@pytest.fixture
def nodes(url: str) -> Iterator[Nodes]:
    nodes = Nodes(url)
    yield nodes
    nodes.close()


@pytest.fixture
def server() -> Iterator[Postgres]:
    with postgres.running() as server:
        yield server


def send(room: Room, begin: int, count: int, answers: dict[str, list[Stored | WireError]]) -> None:
    for number in range(begin, begin + count):
        key = f"i{number}"
        room.begin(message(f"m{number}", id=key), answers.setdefault(key, []).append)


def test_a_connection_that_breaks_in_the_middle_of_commits(nodes: Nodes, url: str) -> None:
    port = postgres.SHARED.server().port
    with Proxy(port) as proxy:
        room = nodes.room(nodes.start(url=proxy.url(url)))
        answers: dict[str, list[Stored | WireError]] = {}
        for attempt in range(12):
            # The answer, or what was asked, is under way when the connection breaks.
            proxy.delay(attempt % 4)
            send(room, 100 * attempt, 100, answers)
            proxy.cut()
            proxy.restore()
            nodes.wait_until(lambda: all(answers.values()))
            while nodes.stores[0].problem is not None:
                nodes.pump.turn()
        assert any(isinstance(got[0], Stored) for got in answers.values())
        check(room, answers)
        assert room.say("at last").seq == room.log.head
        nodes.close()


def test_what_is_committed_while_the_answer_is_lost_is_answered_once(nodes: Nodes, url: str) -> None:
    server, name = postgres.SHARED.server(), url.rpartition("/")[2]
    count = "SELECT count(*) FROM fastchat.events"
    with Proxy(server.port) as proxy:
        store = nodes.start(url=proxy.url(url), durability="full")
        room = nodes.room(store)
        room.say("first")
        # The question arrives, and the answer would take as long again.
        proxy.delay(1500)
        answers: list[Stored | WireError] = []
        for text in "one", "two", "three":  # without ids: nothing else tells that they were stored
            room.begin(message(text), answers.append)
        while server.execute(count, name).strip() == "1":
            nodes.pump.drain()
        proxy.cut()
        wait_for_problem(nodes, store)
        assert answers == []
        proxy.restore()
        nodes.wait_until(lambda: len(answers) == 3)
        assert [answer.seq for answer in answers if isinstance(answer, Stored)] == [2, 3, 4]
        assert all(isinstance(answer, Stored) and answer.body for answer in answers)
        assert server.execute(count, name).strip() == "4"
        assert [event["text"] for event in room.replay_all()] == ["first", "one", "two", "three"]
        nodes.close()


def test_a_server_that_is_killed_and_started_again(server: Postgres) -> None:
    nodes = Nodes(server.create_database())
    store = nodes.start(durability="full")
    room = nodes.room(store)
    answers: dict[str, list[Stored | WireError]] = {}
    try:
        send(room, 0, 300, answers)
        server.kill()
        wait_for_problem(nodes, store)
        send(room, 300, 10, answers)
        server.start()
        nodes.wait_until(lambda: all(answers.values()) and store.problem is None)
        check(room, answers)
        assert all(isinstance(answers[f"i{number}"][0], WireError) for number in range(300, 310))
        assert room.say("at last", id="at last").seq == room.log.head
    finally:
        nodes.close()


def test_a_server_that_is_paused_for_longer_than_it_may_take(server: Postgres) -> None:
    nodes = Nodes(server.create_database())
    store = nodes.start(command_timeout_s=TIMEOUT_S)
    room = nodes.room(store)
    answers: dict[str, list[Stored | WireError]] = {}
    try:
        room.say("first", id="first")
        server.pause()
        send(room, 0, 5, answers)
        wait_for_problem(nodes, store)
        assert not any(answers.values()), "somebody was told what is not known yet"
        assert room.refuse(message("too early")).code == Code.UNAVAILABLE
        server.resume()
        nodes.wait_until(lambda: all(answers.values()) and store.problem is None)
        assert [answer.seq for (answer,) in answers.values() if isinstance(answer, Stored)] == [2, 3, 4, 5, 6]
        check(room, answers | {"first": [Stored(1, 1000, None)]})
        assert room.append(edit(1, "changed")).seq == 7
        assert room.append(delete(1)).seq == 8
    finally:
        nodes.close()


def wait_for_problem(nodes: Nodes, store: PostgresStore) -> None:
    """Until the store knows that the server does not answer."""
    while store.problem is None:
        nodes.pump.answer(lambda done: store.later(0.02, partial(done, None)))


def check(room: Room, answers: dict[str, list[Stored | WireError]]) -> None:
    """Everybody was answered once, and what they were told is what is stored."""
    stored = {event["id"]: event["seq"] for event in room.replay_all()}
    for key, (answer,) in answers.items():
        if isinstance(answer, Stored):
            assert stored[key] == answer.seq
        else:
            assert answer.code == Code.UNAVAILABLE
            assert key not in stored
    assert sorted(stored.values()) == [*range(1, len(stored) + 1)]
    assert [event["seq"] for event in room.replay_all()] == [*range(1, len(stored) + 1)]
