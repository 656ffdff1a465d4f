"""Which nodes are alive, and to which slots a node listens."""

from fastchat.cluster.listening import Listening
from fastchat.cluster.nodes import Nodes
from fastchat.store.interface import slot_of


def test_a_node_that_neither_bus_nor_store_knows_is_silent_once() -> None:
    nodes = Nodes(5)
    assert nodes.hear("a", 0.0)
    assert nodes.take_silent(4.9) == []
    assert nodes.take_silent(5.0) == ["a"]
    assert nodes.take_silent(6.0) == []
    assert len(nodes) == 0


def test_a_node_whose_bus_is_away_lives_by_its_lease() -> None:
    nodes = Nodes(5)
    nodes.hear("a", 0.0)
    nodes.confirm(["a", "never-heard-of"], 4.0)
    assert nodes.take_silent(8.9) == []
    assert set(nodes.names) == {"a"}
    assert nodes.take_silent(9.0) == ["a"]


def test_late_words_do_not_bring_back_who_has_said_good_bye() -> None:
    nodes = Nodes(5)
    nodes.hear("a", 0.0)
    nodes.leave("a", 1.0)
    assert not nodes.hear("a", 1.5)
    nodes.confirm(["a"], 2.0)
    assert len(nodes) == 0


def test_who_did_not_listen_gives_everyone_new_time() -> None:
    nodes = Nodes(5)
    nodes.hear("a", 0.0)
    nodes.pardon(60.0)
    assert nodes.take_silent(64.0) == []


class Ear:
    """What a node listens to, as its bus was told."""

    def __init__(self) -> None:
        self.subjects: list[str] = []
        self.fresh = 0
        self.listening = Listening("chat", self.subjects.append, self.subjects.remove, self.on_fresh)

    def on_fresh(self) -> None:
        self.fresh += 1


def test_rooms_of_a_slot_share_a_subscription() -> None:
    ear = Ear()
    same = [name for name in (f"room-{i}" for i in range(2000)) if slot_of(name) == slot_of("lobby")]
    for name in ("lobby", *same[:2]):
        ear.listening.on_open(name)
    assert ear.subjects == [f"chat.slot.{slot_of('lobby')}"]
    assert ear.fresh == 1
    ear.listening.on_let_go("lobby")
    ear.listening.on_let_go(same[0])
    ear.listening.sweep()
    ear.listening.sweep()
    assert len(ear.subjects) == 1
    ear.listening.on_let_go(same[1])
    ear.listening.sweep()
    assert len(ear.subjects) == 1
    ear.listening.sweep()
    assert ear.subjects == []


def test_a_room_that_comes_back_between_two_sweeps_keeps_its_subscription() -> None:
    ear = Ear()
    ear.listening.on_open("lobby")
    ear.listening.on_let_go("lobby")
    ear.listening.sweep()
    ear.listening.on_open("lobby")
    ear.listening.sweep()
    ear.listening.on_let_go("lobby")
    ear.listening.sweep()
    assert len(ear.subjects) == 1
    assert ear.fresh == 1


def test_rooms_of_two_need_no_subscription() -> None:
    ear = Ear()
    ear.listening.on_open("@alice,bob")
    ear.listening.on_let_go("@alice,bob")
    assert ear.subjects == []
