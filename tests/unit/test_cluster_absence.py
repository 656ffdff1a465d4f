"""Who is away, as nodes agree on it."""

from hypothesis import given
from hypothesis import strategies as st

from fastchat.cluster.absence import Absence, Word


def test_the_later_word_counts_and_of_two_at_once_that_of_the_greater_name() -> None:
    absence = Absence("b")
    absence.say("alice", "tea")
    absence.receive("a", "alice", Word(1, "a", "lunch"))
    assert absence.text("alice") == "tea"
    absence.receive("a", "alice", Word(2, "a", None))
    assert absence.text("alice") is None
    assert absence.say("alice", "home") == Word(3, "b", "home")


def test_a_word_is_taken_over_once_and_outlives_who_has_said_it() -> None:
    absence = Absence("b")
    absence.receive("a", "alice", Word(4, "a", "tea"))
    assert absence.take_over("alice") == Word(4, "a", "tea")
    assert absence.take_over("alice") is None
    assert absence.take_over("bob") is None
    absence.forget("a", "alice")
    assert absence.text("alice") == "tea"
    assert dict(absence.own()) == {"alice": Word(4, "a", "tea")}
    absence.forget("b", "alice")
    assert not len(absence)


def test_an_older_word_of_the_same_node_changes_nothing() -> None:
    absence = Absence("b")
    absence.receive("a", "alice", Word(2, "a", "tea"))
    absence.receive("a", "alice", Word(1, "a", None))
    assert absence.text("alice") == "tea"
    assert absence.users("a") == ["alice"]


@given(st.permutations(range(6)), st.permutations(range(6)))
def test_nodes_agree_whatever_the_order(one: list[int], two: list[int]) -> None:
    words = [Word(turn, node, f"{turn}{node}") for turn in (1, 2, 3) for node in ("a", "b")]
    nodes = [Absence("x"), Absence("y")]
    for absence, order in zip(nodes, (one, two), strict=True):
        for index in order:
            absence.receive(words[index].node, "alice", words[index])
    assert nodes[0].text("alice") == nodes[1].text("alice") == "3b"
