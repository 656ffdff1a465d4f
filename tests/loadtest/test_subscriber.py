"""What a load test makes of the server's messages: holes, repeats, `lagged` and the like are failures."""

from collections import Counter
from typing import Any

import pytest

from loadtest.cursors import OwnMessages, RoomCursor
from loadtest.subscriber import Asked, StillThere, Subscriber


class Recorder:
    """Figures that only remember."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.times: list[tuple[str, float]] = []
        self.failures: list[str] = []

    def time(self, edge: str, name: str, took_s: float, length: int = 0) -> None:
        self.times.append((name, took_s))

    def fail(self, edge: str, name: str, reason: str) -> None:
        self.failures.append(name)

    def receive_delivery(self, edge: str, data: Any, now: float, length: int) -> None:
        self.times.append(("delivery", now - data))


class Reply:
    """Where someone waits for an answer."""

    def __init__(self) -> None:
        self.values: list[bool] = []

    def set(self, value: bool) -> None:
        self.values.append(value)

    def ready(self) -> bool:
        return bool(self.values)


class User(Subscriber):
    """Alice, in the lobby from 10 on."""

    def __init__(self, *, head: int = 10) -> None:
        self.recorder = Recorder()
        super().__init__("alice", "ws", self.recorder)
        self.again: list[tuple[str, str, str]] = []
        self.now = 100.0
        self.rooms["lobby"] = RoomCursor("lobby")
        self.get("joined", room="lobby", head=head, epoch="e", reset=False, ref=1)

    def say_again(self, room: str, message_id: str, text: str) -> None:
        self.again.append((room, message_id, text))

    def get(self, type: str, **fields: Any) -> None:
        self.receive({"type": type, **fields}, self.now, 100)

    def get_message(self, seq: int, author: str = "bob", **fields: Any) -> None:
        self.get("message", **{"room": "lobby", "seq": seq, "from": author, "data": 99.5, **fields})

    def lose_connection(self) -> None:
        self.returning, self.lost_at, self.attempt = True, self.now, self.now + 1
        self.rooms["lobby"].joined = False
        self.now += 2


@pytest.fixture
def user() -> User:
    return User()


def test_deliveries_of_others_are_timed(user: User) -> None:
    user.get_message(11)
    user.get_message(12)
    assert user.recorder.times == [("delivery", 0.5), ("delivery", 0.5)]
    assert user.recorder.count["deliveries"] == 2
    assert user.recorder.failures == []


@pytest.mark.parametrize(
    ("seqs", "failures"), [((12,), ["hole"]), ((11, 11), ["repeat"]), ((11, 13, 12), ["hole", "repeat"])]
)
def test_holes_and_repeats_are_failures(user: User, seqs: tuple[int, ...], failures: list[str]) -> None:
    for seq in seqs:
        user.get_message(seq)
    assert user.recorder.failures == failures


def test_missing_events_are_counted(user: User) -> None:
    user.get_message(15)
    assert user.recorder.count["events missing"] == 4


@pytest.mark.parametrize("kind", ["edited", "deleted", "reacted"])
def test_changes_are_events_of_the_log_too(user: User, kind: str) -> None:
    user.get(kind, room="lobby", seq=12, **{"from": "bob", "data": 99.0})
    assert user.recorder.failures == ["hole"]


def test_lagged_is_a_failure_and_joins_what_follows(user: User) -> None:
    user.get("lagged", room="lobby", **{"from": 11, "to": 20, "missed": 10})
    user.get_message(21)
    assert user.recorder.failures == ["lagged"]
    assert user.recorder.count["events lagged"] == 10


def test_an_event_after_left_is_a_failure(user: User) -> None:
    user.get("left", room="lobby", ref=2)
    user.get_message(11)
    assert user.recorder.failures == ["repeat"]


def test_one_s_own_message_twice_is_a_failure(user: User) -> None:
    own = user.own["lobby"] = OwnMessages()
    own.send("7", "hi", now=99.0)
    user.get("sent", room="lobby", id="7", seq=11, ref="7")
    user.get_message(11, "alice", id="7")
    assert (user.recorder.times, user.recorder.failures) == ([("sent", 1.0)], [])
    user.get_message(12, "alice", id="7")
    assert user.recorder.failures == ["repeat"]


def test_an_acknowledged_message_that_never_came_is_lost(user: User) -> None:
    own = user.own["lobby"] = OwnMessages()
    own.send("7", "hi", now=99.0)
    user.get("sent", room="lobby", id="7", seq=11, ref="7")
    user.check_own("lobby")
    assert user.recorder.failures == []  # it may still come
    user.get_message(11)
    user.check_own("lobby")
    assert user.recorder.failures == ["lost"]


def test_a_return_is_over_when_everything_has_come(user: User) -> None:
    user.get_message(11)
    user.recorder.times.clear()
    user.lose_connection()
    user.get("joined", room="lobby", head=13, epoch="e", reset=False, ref=1)
    user.get_message(12)
    assert user.returning
    user.get_message(13)
    assert user.recorder.times == [("return", 1.0), ("away", 2.0)]  # and what was missed is not timed
    assert user.recorder.count["replayed"] == 2
    user.get_message(14)
    assert user.recorder.times[2] == ("delivery", 2.5)
    assert user.recorder.failures == []


def test_a_return_with_nothing_missed_is_over_at_once(user: User) -> None:
    user.recorder.times.clear()
    user.lose_connection()
    user.get("joined", room="lobby", head=10, epoch="e", reset=False, ref=1)
    assert user.recorder.times == [("return", 1.0), ("away", 2.0)]


def test_what_has_no_answer_is_said_again_after_a_return(user: User) -> None:
    own = user.own["lobby"] = OwnMessages()
    own.send("7", "hi", now=99.0)
    user.lose_connection()
    user.get("joined", room="lobby", head=11, epoch="e", reset=False, ref=1)
    assert user.again == [("lobby", "7", "hi")]
    user.get_message(11, "alice", id="7")  # it had been stored
    user.get("sent", room="lobby", id="7", seq=11, ref="7", repeated=True)
    user.check_own("lobby")
    assert user.recorder.failures == []


def test_another_log_after_a_return_is_a_failure(user: User) -> None:
    user.lose_connection()
    user.get("joined", room="lobby", head=0, epoch="other", reset=True, ref=1)
    assert user.recorder.failures == ["reset"]


def test_another_log_where_nothing_was_said_is_none() -> None:
    user = User(head=0)
    user.lose_connection()
    user.get("joined", room="lobby", head=0, epoch="other", reset=True, ref=1)
    assert user.recorder.failures == []


def test_errors_are_failures_and_wake_who_waits(user: User) -> None:
    reply = Reply()
    user.answers[5] = Asked("join", 99.0, reply)
    user.get("error", code="too_many_rooms", message="", ref=5)
    assert (user.recorder.failures, reply.values) == (["error"], [False])


def test_a_refused_message_is_not_lost(user: User) -> None:
    own = user.own["lobby"] = OwnMessages()
    own.send("7", "hi", now=99.0)
    user.get("error", code="rate_limited", message="", ref="7")
    user.get_message(11)
    user.check_own("lobby")
    assert user.recorder.failures == ["error"]


def test_a_name_that_is_still_taken_is_tried_again(user: User) -> None:
    with pytest.raises(StillThere):
        user.get("error", code="name_taken", message="", ref=1)
    assert user.recorder.failures == []
    assert user.wait_s > 0


def test_answers_are_timed(user: User) -> None:
    user.recorder.times.clear()
    hello, join = Reply(), Reply()
    user.attempt = 99.0
    user.answers |= {2: Asked("hello", 99.0, hello), 3: Asked("join", 99.8, join)}
    user.rooms["tea"] = RoomCursor("tea")
    user.get("welcome", ref=2)
    user.get("joined", room="tea", head=0, epoch="e", reset=False, ref=3)
    assert user.recorder.times == [("connect", 1.0), ("join", pytest.approx(0.2))]
    assert hello.values == join.values == [True]


def test_a_bye_says_when_to_come_back(user: User) -> None:
    user.get("bye", code=1012, reason="", reconnect_after_ms=1500, cursors={})
    assert user.wait_s == 1.5


def test_what_it_does_not_know_is_passed_over(user: User) -> None:
    user.get("presence", room="lobby", joined=[], left=[], members=3)
    user.get("something_new", room="lobby")
    assert user.recorder.failures == []
