"""How fast the outbox is sent beside a loop that has much, little or nothing else to do."""

import pytest

from fastchat.outbox.pace import (
    BATCH_MAX,
    BATCH_MIN,
    BUSY_BATCH_S,
    FIRST_RETRY_S,
    LAST_RETRY_S,
    LEAST_SHARE,
    Pace,
    retry_s,
)


class Loop:
    """A loop whose other work takes a part of its time; it sends batches that cost ``each_s`` an event."""

    def __init__(self, others: float, each_s: float = 50e-6) -> None:
        self.pace = Pace()
        self.now = self.cpu = 0.0
        self.others, self.each_s = others, each_s
        self.late_s = 0.0
        self.spent_s = 0.0
        self.sent = 0

    def send(self, batches: int) -> None:
        for _ in range(batches):
            self.pace.begin(self.now, self.cpu, self.late_s)
            cost_s = self.pace.size * self.each_s
            self.sent += self.pace.size
            self.spent_s += cost_s
            # While it sends, the others get their part of the time that passes.
            self._pass(cost_s / max(1e-9, 1 - min(self.others, 0.9)), busy=1.0)
            pause_s = self.pace.end(self.now, self.cpu, cost_s, self.pace.size)
            self._pass(pause_s, busy=self.others)

    def _pass(self, wall_s: float, busy: float) -> None:
        self.now += wall_s
        self.cpu += wall_s * busy


def share_of(loop: Loop) -> float:
    loop.send(30)
    before = loop.now, loop.spent_s
    loop.send(100)
    return (loop.spent_s - before[1]) / (loop.now - before[0])


def test_a_busy_loop_gives_at_most_a_tenth() -> None:
    assert share_of(Loop(others=1.0)) <= LEAST_SHARE


def test_an_idle_loop_gives_nearly_everything() -> None:
    assert share_of(Loop(others=0.0)) > 0.9


@pytest.mark.parametrize("others", [0.3, 0.6, 0.8])
def test_a_loop_that_is_neither_gives_what_it_has_left(others: float) -> None:
    assert share_of(Loop(others)) <= 1 - others + 0.05


def test_batches_fit_the_loop() -> None:
    busy, idle = Loop(1.0), Loop(0.0)
    busy.send(30)
    idle.send(30)
    assert BATCH_MIN <= busy.pace.size <= BUSY_BATCH_S / busy.each_s < idle.pace.size <= BATCH_MAX
    dear, cheap = Loop(0.0, each_s=0.01), Loop(0.0, each_s=1e-6)
    dear.send(10)
    cheap.send(10)
    assert (dear.pace.size, cheap.pace.size) == (BATCH_MIN, BATCH_MAX)


def test_it_is_quick_again_when_the_others_have_done() -> None:
    loop = Loop(1.0)
    loop.send(50)
    loop.others = 0.0
    loop.send(6)
    assert loop.pace.share > 0.9


def test_a_loop_that_comes_late_is_busy_whoever_has_the_processor() -> None:
    pace = Pace()
    now = 0.0
    for _ in range(10):
        pace.begin(now, 0.0, late_s=0.05)
        pace.end(now, 0.0, 0.001, 1)
        now += 0.05
    assert pace.share < 0.2


def test_small_batches_say_nothing_of_large_ones() -> None:
    pace = Pace()
    before = pace.size
    pace.end(1.0, 1.0, 0.001, 1)
    assert pace.size == before


def test_retries() -> None:
    assert retry_s(1, 0.0) == FIRST_RETRY_S / 2
    assert retry_s(1, 1.0) == FIRST_RETRY_S
    assert retry_s(3, 1.0) == 4 * FIRST_RETRY_S
    assert [retry_s(failures, 1.0) for failures in (8, 50, 10_000)] == [LAST_RETRY_S] * 3
    assert retry_s(10_000, 0.0) == LAST_RETRY_S / 2
