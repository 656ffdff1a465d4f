"""Who keeps failing waits, longer and longer, and is forgotten in the end."""

import pytest

from fastchat.auth.attempts import FORGET_S, Attempts, network


def fail(attempts: Attempts, key: str, now: float, times: int = 1) -> None:
    for _ in range(times):
        assert attempts.wait_s(key, now) == 0
        attempts.begin(key, now)


def test_the_first_failures_cost_nothing_and_then_each_doubles_the_wait() -> None:
    attempts, now, waits = Attempts(3, 60), 100.0, []
    for _ in range(12):
        attempts.begin("alice", now)
        waits.append(attempts.wait_s("alice", now))
        now += waits[-1]
        assert attempts.wait_s("alice", now) == 0
    assert waits == [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


def test_a_wait_ends_at_its_moment() -> None:
    attempts = Attempts(1, 60)
    fail(attempts, "alice", 100.0)
    assert attempts.wait_s("alice", 100.75) == 0.25
    assert attempts.wait_s("alice", 101.0) == 0


def test_others_do_not_wait() -> None:
    attempts = Attempts(1, 60)
    fail(attempts, "alice", 0.0)
    assert attempts.wait_s("bob", 0.0) == 0


def test_attempts_at_once_count_before_any_has_failed() -> None:
    attempts = Attempts(3, 60)
    fail(attempts, "alice", 0.0, times=3)
    assert attempts.wait_s("alice", 0.0) == 1


def test_success_forgets_and_a_taken_back_attempt_was_none() -> None:
    attempts = Attempts(2, 60)
    fail(attempts, "alice", 0.0, times=2)
    attempts.take_back("alice")
    assert attempts.wait_s("alice", 0.0) == 0
    attempts.begin("alice", 0.0)
    attempts.succeed("alice")
    assert len(attempts) == 0
    attempts.succeed("alice")
    attempts.take_back("alice")
    assert len(attempts) == 0
    fail(attempts, "alice", 0.0)
    attempts.take_back("alice")
    assert len(attempts) == 0


def test_quiet_for_long_is_forgotten() -> None:
    attempts = Attempts(1, 60)
    fail(attempts, "alice", 0.0)
    assert attempts.wait_s("alice", 1 + FORGET_S) == 0
    attempts.begin("alice", 1 + FORGET_S)
    assert attempts.wait_s("alice", 1 + FORGET_S) == 2  # it was not yet
    assert attempts.wait_s("alice", 4 + 2 * FORGET_S) == 0
    assert len(attempts) == 0


def test_memory_is_bounded_and_the_newest_stay() -> None:
    attempts = Attempts(1, 60, entries_max=10)
    for number in range(1000):
        attempts.begin(str(number), float(number) / 1000)
    assert len(attempts) == 10
    assert attempts.wait_s("999", 1.0) > 0
    assert attempts.wait_s("989", 1.0) == 0


def test_who_keeps_failing_is_not_the_one_who_is_forgotten() -> None:
    attempts = Attempts(1, 60, entries_max=10)
    for number in range(100):
        attempts.begin("alice", float(number))
        attempts.begin(str(number), float(number))
    assert attempts.wait_s("alice", 99.0) == 60


def test_a_million_failures_are_no_overflow() -> None:
    attempts = Attempts(1, 1e9)
    for _ in range(2000):
        attempts.begin("alice", 0.0)
    assert attempts.wait_s("alice", 0.0) == 1e9


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_one_place_is_one_address_or_one_network(address: str, place: str) -> None:
    assert network(address) == place
