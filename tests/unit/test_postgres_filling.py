"""For how long a commit waits for more."""

import pytest

from fastchat.store.postgres.filling import WAIT_MAX_S, Filling


def test_nobody_waits_before_the_first_commit() -> None:
    assert Filling().wait_s(1) == 0


def test_a_single_sender_never_waits() -> None:
    filling = Filling()
    filling.on_commit(1, 0.003)
    assert filling.wait_s(1) == 0


def test_fewer_than_last_time_wait_for_half_of_what_that_took() -> None:
    filling = Filling()
    filling.on_commit(10, 0.001)
    assert filling.wait_s(9) == pytest.approx(0.0005)
    assert filling.wait_s(10) == filling.wait_s(11) == 0


def test_a_slow_disk_makes_nobody_wait_for_long() -> None:
    filling = Filling()
    filling.on_commit(10, 15.0)
    assert filling.wait_s(1) == WAIT_MAX_S


def test_those_who_do_not_come_are_waited_for_once() -> None:
    filling = Filling()
    filling.on_commit(10, 0.001)
    filling.on_commit(2, 0.001)
    assert filling.wait_s(2) == 0
