"""Leases, slots, guests' names and their rooms of two, among several nodes on one real database.

Leases are measured by the database's clock: what makes one end is a change of its row, not waiting.
"""

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any

import pytest

from fastchat.messages import Code, WireError
from fastchat.store.interface import SLOTS, Standing, slot_of
from fastchat.store.postgres.changes import Changes
from fastchat.store.postgres.connection import Reader, Server
from fastchat.store.postgres.schema import migrate
from fastchat.store.postgres.sharing import Sharing
from fastchat.store.postgres.thread import LoopThread
from tests.pump import Pump
from tests.services import postgres
from tests.services.postgres import Postgres


class Node:
    """What one process has of the database, as far as it shares."""

    def __init__(self, url: str, name: str, pump: Pump) -> None:
        self.pump = pump
        self.name = name
        self.thread = LoopThread(f"fastchat-test-{name}")
        self.server = Server(url, name)
        self.connection = Reader(self.thread, self.server, pump.deliver, "changes", 1)
        self.changes = Changes(self.thread, self.connection)
        self.sharing = Sharing(name, self.changes)
        self.closed = False

    def beat(self) -> Standing:
        found = self.pump.answer(self.sharing.beat)
        assert isinstance(found, Standing), found
        return found

    def slots(self) -> set[int]:
        return set(self.beat().slots)

    def claim(self, *keys: str) -> Collection[str]:
        """Those that others have."""
        found = self.pump.answer(partial(self.sharing.claim, keys))
        assert not isinstance(found, WireError), found
        return {*found}

    def release(self, *keys: str) -> None:
        self.sharing.release(keys)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.thread.run(self.connection.close())
            self.thread.run(self._close_changes())
            self.thread.close()

    async def _close_changes(self) -> None:
        self.changes.close()


class Chat:
    """Some nodes on one database."""

    def __init__(self, server: Postgres) -> None:
        self.server = server
        self.url = server.create_database()
        self.pump = Pump()
        self.nodes: list[Node] = []
        node = self.add("first")
        node.thread.run(self._migrate(node))

    async def _migrate(self, node: Node) -> None:
        connection = await node.server.connect("migration")
        await migrate(connection, self.url)
        await connection.close()

    def add(self, name: str) -> Node:
        node = Node(self.url, name, self.pump)
        self.nodes.append(node)
        return node

    def sql(self, text: str) -> list[str]:
        database = self.url.rpartition("/")[2]
        return self.server.execute(f"SET search_path = fastchat; {text}", database).split()

    def end_lease(self, node: Node) -> None:
        """As if it had not been heard of for long."""
        self.sql(f"UPDATE nodes SET until = now() - interval '1 s' WHERE node = '{node.name}'")

    def settle(self, nodes: Sequence[Node]) -> list[set[int]]:
        """Beats until nothing moves any more."""
        before: list[set[int]] = []
        for _ in range(10):
            now = [node.slots() for node in nodes]
            if now == before:
                return now
            before = now
        raise AssertionError("slots still move")

    def make_room(self, name: str) -> None:
        self.sql(
            f"INSERT INTO rooms (name, epoch, head) VALUES ('{name}', 'e', 1);"
            "INSERT INTO events SELECT id, 1, 'message', 'a', null, 1, '{}' FROM rooms"
            f" WHERE name = '{name}';"
            f"INSERT INTO marks SELECT 'alice', id, 1 FROM rooms WHERE name = '{name}'"
        )

    def rooms(self) -> list[str]:
        return self.sql("SELECT name FROM rooms ORDER BY name")

    def close(self) -> None:
        for node in self.nodes:
            node.close()
        self.server.drop_database(self.url)


@pytest.fixture
def chat() -> Iterator[Chat]:
    chat = Chat(postgres.SHARED.server())
    yield chat
    chat.close()


@pytest.fixture
def nodes(chat: Chat) -> list[Node]:
    return [chat.nodes[0], chat.add("second"), chat.add("third")]


# Leases and slots


def test_a_node_alone_has_all_the_work(chat: Chat) -> None:
    node = chat.nodes[0]
    assert node.beat() == Standing(("first",), frozenset(range(SLOTS)), renewed=True)
    assert node.beat() == Standing(("first",), frozenset(range(SLOTS)), renewed=True)


def test_the_work_is_shared_out_evenly(chat: Chat, nodes: list[Node]) -> None:
    for count in (1, 2, 3):
        shares = chat.settle(nodes[:count])
        assert set.union(*shares) == {*range(SLOTS)}
        assert sum(map(len, shares)) == SLOTS
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_as_few_move_as_can_be(chat: Chat, nodes: list[Node]) -> None:
    one, two = chat.settle(nodes[:2])
    after_one, after_two, _ = chat.settle(nodes)
    assert after_one < one
    assert after_two < two
    chat.end_lease(nodes[2])
    again_one, again_two = chat.settle(nodes[:2])
    assert again_one > after_one
    assert again_two > after_two


def test_nobody_gets_a_slot_that_another_may_still_work_for(nodes: list[Node]) -> None:
    first, second, _ = nodes
    before = first.slots()
    assert second.slots() == set()
    kept = first.slots()  # told here that it has less
    assert len(kept) == SLOTS // 2
    assert second.slots() == set()
    assert first.slots() == kept  # so it has stopped
    assert second.slots() == before - kept


def test_two_who_come_at_once_share(chat: Chat, nodes: list[Node]) -> None:
    answers: list[Standing | WireError] = []
    for _ in range(6):
        for node in nodes:
            node.sharing.beat(answers.append)
    while len(answers) < 18:
        chat.pump.turn()
    assert sorted(map(len, chat.settle(nodes))) == [85, 85, 86]


def test_a_dead_node_is_ended_and_its_work_done_by_others(chat: Chat, nodes: list[Node]) -> None:
    chat.settle(nodes)
    assert nodes[0].beat().nodes == ("first", "second", "third")
    chat.end_lease(nodes[1])
    standing = nodes[0].beat()
    assert standing.nodes == ("first", "third")
    assert len(standing.slots) == SLOTS // 2
    assert len(nodes[2].slots().union(standing.slots)) == SLOTS


def test_a_node_learns_that_its_lease_has_ended(chat: Chat, nodes: list[Node]) -> None:
    first, second, _ = nodes
    assert first.beat().renewed
    chat.end_lease(first)
    assert second.beat().nodes == ("second",)
    standing = first.beat()
    assert not standing.renewed
    assert first.beat().renewed


def test_a_lease_that_nobody_else_has_ended_is_lost_all_the_same(chat: Chat) -> None:
    node = chat.nodes[0]
    assert node.claim("bob") == set()
    chat.end_lease(node)
    assert not node.beat().renewed


def test_a_claim_does_not_hide_that_the_lease_had_ended(chat: Chat, nodes: list[Node]) -> None:
    first, second, _ = nodes
    first.beat()
    chat.end_lease(first)
    second.beat()
    first.claim("bob")
    assert not first.beat().renewed


def test_a_node_that_ends_leaves_its_work_at_once(chat: Chat, nodes: list[Node]) -> None:
    first, second, _ = nodes
    chat.settle(nodes[:2])
    first.claim("bob")
    answer = chat.pump.answer(partial(first.changes.submit, first.sharing.leave))
    assert answer is None
    assert second.beat().nodes == ("second",)
    assert len(second.slots()) == SLOTS
    assert second.claim("bob") == set()


def test_slots_are_the_same_in_the_database(chat: Chat) -> None:
    names = ["lobby", "@alice,~bob", "x" * 64, "@ä,日本", "a-b.c_d"]
    for name in names:
        assert chat.sql(f"SELECT slot_of('{name}')") == [str(slot_of(name))]


# Guests' names


def test_a_name_is_one_node_s(nodes: list[Node]) -> None:
    first, second, _ = nodes
    assert first.claim("bob", "carol") == set()
    assert first.claim("bob") == set()
    assert second.claim("bob", "dave") == {"bob"}
    assert first.claim("dave", "erin", "carol") == {"dave"}


def test_a_name_that_was_given_back_is_free(nodes: list[Node]) -> None:
    first, second, _ = nodes
    first.claim("bob", "carol", "dave")
    first.release("bob")
    first.release("dave", "nobody")
    first.beat()
    assert second.claim("bob", "carol", "dave") == {"carol"}
    second.release("carol")
    second.beat()
    assert second.claim("carol") == {"carol"}


def test_who_takes_a_name_again_keeps_it(nodes: list[Node]) -> None:
    first, second, _ = nodes
    first.claim("bob")
    for _ in range(5):
        first.release("bob")
        assert first.claim("bob") == set()
    assert second.claim("bob") == {"bob"}
    first.release("bob")
    first.beat()
    assert second.claim("bob") == set()


@pytest.mark.parametrize("key", ["a\0b", "\\", "ü", "日本", "'"])
def test_any_name_can_be_claimed(nodes: list[Node], key: str) -> None:
    first, second, _ = nodes
    assert first.claim(key) == set()
    assert second.claim(key, key + "x") == {key}


def test_all_who_ask_at_once_share_round_trips(chat: Chat, nodes: list[Node]) -> None:
    nodes[1].claim("guest-7")
    asked: list[object] = []
    submit = nodes[0].connection.submit

    def count(query: Any, done: Any) -> None:
        asked.append(query)
        submit(query, done)

    nodes[0].changes.submit = count
    answers: dict[int, Collection[str]] = {}
    for number in range(500):
        nodes[0].sharing.claim([f"guest-{number}"], partial(answers.__setitem__, number))
    while len(answers) < 500:
        chat.pump.turn()
    assert {number for number, taken in answers.items() if taken} == {7}
    assert len(asked) < 10


def test_two_nodes_that_want_the_same_names_at_once_share_them(chat: Chat, nodes: list[Node]) -> None:
    keys = [f"guest-{number}" for number in range(200)]
    answers: list[tuple[str, object]] = []

    def keep(key: str, taken: object) -> None:
        answers.append((key, taken))

    for key in keys:
        for node in nodes:
            node.sharing.claim([key], partial(keep, key))
    while len(answers) < 600:
        chat.pump.turn()
    assert sorted(key for key, taken in answers if not taken) == sorted(keys)


def test_the_names_of_a_dead_node_are_free(chat: Chat, nodes: list[Node]) -> None:
    first, second, _ = nodes
    first.claim("bob")
    chat.end_lease(first)
    assert second.claim("bob") == {"bob"}
    second.beat()
    assert second.claim("bob") == set()
    assert first.claim("bob") == {"bob"}


# Guests' rooms of two


def test_rooms_of_a_dead_node_s_guests_are_forgotten(chat: Chat, nodes: list[Node]) -> None:
    first, second, _ = nodes
    first.claim("bob", "dave")
    second.claim("carol")
    for room in ("@alice,~Bob", "@~bob,~carol", "@alice,~carol", "@alice,bob", "lobby"):
        chat.make_room(room)
    chat.end_lease(first)
    second.beat()
    assert chat.rooms() == ["@alice,bob", "@alice,~carol", "lobby"]
    assert chat.sql("SELECT count(*) FROM events") == chat.sql("SELECT count(*) FROM marks") == ["3"]


def test_a_name_is_not_free_before_the_rooms_are_gone(chat: Chat, nodes: list[Node]) -> None:
    first, second, _ = nodes
    first.claim("bob")
    chat.make_room("@alice,~bob")
    # Somebody has ended the lease, and died before it forgot the rooms.
    chat.sql("DELETE FROM nodes; UPDATE claims SET node = NULL")
    assert second.claim("bob") == {"bob"}
    second.beat()
    assert chat.rooms() == []
    assert second.claim("bob") == set()


def test_a_room_is_forgotten_with_everything_in_it(chat: Chat) -> None:
    node = chat.nodes[0]
    for room in ("@alice,~bob", "@alice,~carol"):
        chat.make_room(room)
    node.sharing.forget("@alice,~bob")
    node.sharing.forget("@nobody,~here")
    node.beat()
    assert chat.rooms() == ["@alice,~carol"]
    assert chat.sql("SELECT count(*) FROM events") == ["1"]


def test_a_name_is_not_given_back_before_its_rooms_are_gone(
    chat: Chat, nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, _ = nodes
    first.claim("bob")
    chat.make_room("@alice,~bob")
    with monkeypatch.context() as context:
        context.setattr(first.changes, "submit", lambda query, done: None)
        first.sharing.forget("@alice,~bob")  # it waits for a better time
    first.release("bob")
    first.beat()
    assert chat.rooms() == []
    assert second.claim("bob") == set()


# When the database is away


def test_what_cannot_be_done_is_done_later() -> None:
    with postgres.running() as server:
        chat = Chat(server)
        node, other = chat.nodes[0], chat.add("second")
        node.claim("bob", "carol")
        chat.make_room("@alice,~bob")
        server.stop()
        error = chat.pump.answer(partial(other.sharing.claim, ["bob"]))
        assert isinstance(error, WireError)
        assert error.code is Code.UNAVAILABLE
        assert isinstance(chat.pump.answer(node.sharing.beat), WireError)
        node.release("bob", "carol")
        node.sharing.forget("@alice,~bob")
        server.start()
        while chat.rooms() or not is_free(other, "bob", "carol"):
            chat.pump.drain()
        chat.close()


def is_free(node: Node, *keys: str) -> bool:
    taken = node.pump.answer(partial(node.sharing.claim, keys))
    return not isinstance(taken, WireError) and not taken
