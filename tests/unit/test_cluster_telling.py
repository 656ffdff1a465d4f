"""What a node tells of its own people: numbered lists, and snapshots in pieces."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from fastchat.cluster.changes import Change
from fastchat.cluster.telling import PIECE_COST, Telling
from fastchat.people import User


class Somebody:
    def __init__(self, user: str) -> None:
        self.user = user
        self.person = User(user)


class Stage:
    """The other nodes, and a loop whose turns the test makes."""

    node = "one"

    def __init__(self) -> None:
        self.told: list[list[Any]] = []
        self.told_to: list[tuple[str, list[Any]]] = []
        self.standing: list[Change] = []
        self._due: list[Callable[[], None]] = []
        self.telling = Telling(self, self.call_later, lambda user, room: 0, lambda: self.standing)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        assert delay_s == 0
        self._due.append(callback)

    def turn(self) -> None:
        due, self._due = self._due, []
        for callback in due:
            callback()

    def turns(self) -> int:
        """Until there is nothing left to do; how many it took."""
        count = 0
        while self._due:
            self.turn()
            count += 1
        return count

    def tell_all(self, payload: bytes) -> None:
        self.told.append(orjson.loads(payload))

    def tell(self, node: str, payload: bytes) -> None:
        self.told_to.append((node, orjson.loads(payload)))

    def come(self, user: str, *rooms: str) -> Somebody:
        session = Somebody(user)
        self.telling.come(session)
        for room in rooms:
            self.telling.join(session, room)
        return session


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_what_happens_in_one_turn_is_told_together(stage: Stage) -> None:
    alice = stage.come("alice", "lobby")
    stage.come("bob")
    assert stage.told == []
    stage.turn()
    assert stage.told == [["changes", 1, [["c", 1, "alice", 1, {"lobby": 0}], ["c", 2, "bob", 1, {}]]]]
    stage.telling.join(alice, "club")
    stage.telling.leave(alice, "lobby")
    stage.telling.read(alice, "club", 3)
    stage.telling.read(alice, "club", 4)
    stage.turn()
    assert stage.told[1] == ["changes", 2, [["j", 1, "club", 0], ["l", 1, "lobby"], ["r", 1, "club", 4]]]
    assert stage.telling.number == 2
    stage.turn()
    assert len(stage.told) == 2


def test_who_comes_and_goes_in_one_turn_is_not_told_of(stage: Stage) -> None:
    stage.telling.go(stage.come("alice", "lobby"))
    stage.turn()
    assert stage.told == []


def test_only_the_first_and_the_last_seat_of_a_session_are_told(stage: Stage) -> None:
    bot = stage.come("bot")
    stage.turn()
    for _ in range(2):
        stage.telling.join(bot, "lobby")
    stage.telling.leave(bot, "lobby")
    stage.turn()
    assert stage.told[1][2] == [["j", 1, "lobby", 0]]
    stage.telling.leave(bot, "lobby")
    stage.telling.leave(bot, "lobby")
    stage.turn()
    assert stage.told[2][2] == [["l", 1, "lobby"]]


def test_of_who_is_not_known_nothing_is_told(stage: Stage) -> None:
    nobody = Somebody("nobody")
    stage.telling.join(nobody, "lobby")
    stage.telling.leave(nobody, "lobby")
    stage.telling.read(nobody, "lobby", 1)
    stage.telling.tell_of(nobody, "t", "lobby")
    stage.telling.go(nobody)
    assert stage.turns() == 0


def test_much_is_told_in_several_lists(stage: Stage) -> None:
    for number in range(PIECE_COST):
        stage.come(f"guest-{number}", "lobby")
    stage.turn()
    assert [number for _, number, _ in stage.told] == [1, 2]
    assert sum(len(changes) for _, _, changes in stage.told) == PIECE_COST


def test_a_snapshot_is_as_of_the_number_that_it_has(stage: Stage) -> None:
    alice = stage.come("alice")
    stage.turn()
    stage.telling.join(alice, "lobby")  # in the same turn of the loop
    stage.telling.begin_snapshot("two", 7, 0)
    assert stage.told[-1] == ["changes", 2, [["j", 1, "lobby", 0]]]
    assert stage.told_to == [("two", ["snapshot", 7, 0, True, 2, [["c", 1, "alice", 1, {"lobby": 0}]]])]
    stage.turns()
    assert len(stage.told) == 2


def test_a_large_snapshot_is_a_piece_in_each_turn_for_each_who_has_asked(stage: Stage) -> None:
    sessions = [stage.come(f"guest-{number}", "lobby") for number in range(PIECE_COST)]
    stage.standing = [["a", "guest-1", 1, "one", "tea"]]
    stage.turns()
    for node in ("two", "three"):
        stage.telling.begin_snapshot(node, 1, 0)
    stage.telling.go(sessions[0])  # is the last one to be told of
    late = stage.come("late")
    stage.turns()
    stage.telling.leave(late, "lobby")
    for node in ("two", "three"):
        pieces = [piece for target, piece in stage.told_to if target == node]
        assert [piece[2:4] for piece in pieces] == [[0, False], [1, True]]
        numbers = [piece[4] for piece in pieces]
        assert numbers == sorted(numbers)
        changes = [change for piece in pieces for change in piece[5]]
        assert changes[0] == ["a", "guest-1", 1, "one", "tea"]
        assert {change[2] for change in changes[1:]} == {f"guest-{number}" for number in range(1, PIECE_COST)}


def test_who_is_gone_gets_no_more_of_a_snapshot(stage: Stage) -> None:
    for number in range(PIECE_COST):
        stage.come(f"guest-{number}", "lobby")
    stage.turns()
    stage.telling.begin_snapshot("two", 1, 0)
    stage.telling.end_snapshot("two")
    stage.turns()
    assert len(stage.told_to) == 1


def test_a_snapshot_has_the_commands_that_were_not_heard(stage: Stage) -> None:
    stage.telling.send_away("alice", 4500, "bye")
    stage.turn()
    stage.telling.set_operator("bob", True)
    stage.turn()
    stage.telling.begin_snapshot("two", 1, 1)
    assert stage.told_to[0][1][5] == [["o", 2, "bob", True]]
    assert [change for _, _, changes in stage.told for change in changes] == [
        ["x", 1, "alice", 4500, "bye"],
        ["o", 2, "bob", True],
    ]


def test_accounts_are_named_once(stage: Stage) -> None:
    for _ in range(2):
        session = stage.come("alice")
        session.person = User("alice", guest=False)
    stage.come("guest")
    assert stage.telling.accounts() == ["alice"]
