"""Guests' names, claimed for a node: who shares what with whom, and what is given back."""

from collections.abc import Callable, Collection, Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fastchat.cluster.names import ClaimedNames
from fastchat.messages import Code, WireError


class Registry:
    """The store: claims that wait for the test's answer; what is given back takes effect in turn."""

    def __init__(self) -> None:
        self.others: set[str] = set()
        self.own: set[str] = set()
        self.waiting: list[Callable[[], None]] = []
        self.trips: list[tuple[str, list[str]]] = []
        self.fails = False
        """Whether the store does what it is asked for, and then cannot say so."""

    def claim(self, keys: Sequence[str], done: Callable[[Collection[str] | WireError], None]) -> None:
        self.trips.append(("claim", list(keys)))

        def answer() -> None:
            taken = {key for key in keys if key in self.others}
            self.own.update(set(keys) - taken)
            done(WireError(Code.UNAVAILABLE, "the store is away") if self.fails else taken)

        self.waiting.append(answer)

    def release(self, keys: Sequence[str]) -> None:
        self.trips.append(("release", list(keys)))
        self.waiting.append(lambda: self.own.difference_update(keys))

    def answer(self) -> None:
        while self.waiting:
            self.waiting.pop(0)()


class Desk:
    """One node's names over a registry; ``turn`` is the loop's."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.soon: list[Callable[[], None]] = []
        self.given: list[str] = []
        self.names = ClaimedNames(self.registry, self.soon.append, self.given.append)
        self.answers: list[tuple[str, Code | None]] = []

    def claim(self, name: str) -> None:
        self.names.claim(
            name, lambda error: self.answers.append((name, None if error is None else error.code))
        )

    def turn(self) -> None:
        soon, self.soon[:] = self.soon[:], []
        for callback in soon:
            callback()

    def settle(self) -> None:
        while self.soon or self.registry.waiting:
            self.turn()
            self.registry.answer()


def test_who_comes_at_once_shares_a_trip_and_is_answered_with_its_end() -> None:
    desk = Desk()
    desk.registry.others.add("bob")
    for name in ("Alice", "bob", "carol"):
        desk.claim(name)
    desk.turn()
    assert desk.registry.trips == [("claim", ["alice", "bob", "carol"])]
    assert desk.answers == []
    desk.registry.answer()
    assert desk.answers == [("Alice", None), ("bob", Code.NAME_TAKEN), ("carol", None)]
    assert desk.given == ["Alice", "carol"]


def test_a_name_is_given_back_when_the_last_who_claimed_it_is_gone() -> None:
    desk = Desk()
    desk.claim("alice")
    desk.claim("alice")
    desk.settle()
    desk.claim("alice")
    assert desk.answers == [("alice", None)] * 3
    desk.names.release("alice")
    desk.names.release("alice")
    desk.settle()
    assert desk.registry.own == {"alice"}
    desk.names.release("alice")
    desk.settle()
    assert desk.registry.own == set()
    assert len(desk.names) == 0


def test_who_comes_back_before_the_store_was_told_costs_no_trip() -> None:
    desk = Desk()
    desk.claim("alice")
    desk.settle()
    desk.names.release("alice")
    desk.claim("alice")
    desk.settle()
    assert desk.registry.trips == [("claim", ["alice"])]
    assert desk.registry.own == {"alice"}


def test_who_comes_back_while_the_store_is_told_claims_anew() -> None:
    desk = Desk()
    desk.claim("alice")
    desk.settle()
    desk.names.release("alice")
    desk.turn()
    desk.claim("alice")
    desk.settle()
    assert desk.answers[-1] == ("alice", None)
    assert desk.registry.own == {"alice"}


def test_a_claim_in_doubt_is_taken_back() -> None:
    desk = Desk()
    desk.registry.fails = True
    desk.claim("alice")
    desk.turn()
    desk.registry.answer()
    assert desk.answers == [("alice", Code.UNAVAILABLE)]
    assert desk.registry.own == {"alice"}
    desk.settle()
    assert desk.registry.own == set()


def test_what_is_held_is_claimed_again() -> None:
    desk = Desk()
    desk.claim("alice")
    desk.claim("bob")
    desk.settle()
    desk.registry.own.clear()
    desk.registry.others.add("bob")
    told: list[Collection[str] | WireError] = []
    desk.names.claim_again(told.append)
    desk.settle()
    assert told == [{"bob"}]
    assert desk.registry.own == {"alice"}


NAMES = ("alice", "bob", "carol")


class NamesMachine(RuleBasedStateMachine):
    """Whoever was answered and has not left holds the name, in the store too once everything is settled."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk()
        self.asked = dict.fromkeys(NAMES, 0)

    def held(self, name: str) -> int:
        return self.desk.names._holders.get(name, 0)

    @rule(name=st.sampled_from(NAMES))
    def come(self, name: str) -> None:
        self.desk.claim(name)

    @precondition(lambda self: any(self.held(name) for name in NAMES))
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        self.desk.names.release(data.draw(st.sampled_from([name for name in NAMES if self.held(name)])))

    @rule()
    def turn(self) -> None:
        self.desk.turn()

    @rule()
    def answer_one(self) -> None:
        if self.desk.registry.waiting:
            self.desk.registry.waiting.pop(0)()

    @rule(name=st.sampled_from(NAMES))
    def somebody_elsewhere(self, name: str) -> None:
        if name not in self.desk.registry.own:
            self.desk.registry.others ^= {name}

    @invariant()
    def nobody_else_has_what_is_held(self) -> None:
        assert all(name in self.desk.registry.own for name in NAMES if self.held(name))

    def teardown(self) -> None:
        self.desk.settle()
        assert self.desk.registry.own == {name for name in NAMES if self.held(name)}


NamesMachine.TestCase.settings = settings(max_examples=200, deadline=None)
TestNames = NamesMachine.TestCase
