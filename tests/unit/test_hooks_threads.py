"""Hooks in worker threads: batches, order, hanging calls, the bound of threads that are lost."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fastchat.hooks.interface import Question
from fastchat.hooks.threads import CROWDED_S, LOOK_S, Overdue, Pool
from tests.fakes import FakeLoop

PATIENCE_S = 10.0


class Desk:
    """A loop whose time stands still, a pool on it, and what came back."""

    def __init__(self, most: int = 2, limit_s: float = 1.0) -> None:
        self.loop = FakeLoop()
        self.delivered: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.answers: list[Any] = []
        self.deliveries = 0
        self.gate = threading.Event()
        self.began: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.pool = Pool(
            "test",
            most,
            limit_s,
            clock=self.loop.time,
            call_soon=self.loop.call_soon,
            call_later=self.loop.call_later,
            deliver=self.delivered.put,
        )

    def on_done(self, question: Question) -> None:
        self.answers.append(question.result if question.error is None else question.error)

    def on_overdue(self, question: Question) -> None:
        self.answers.append(Overdue(*question.args))

    def ask(self, function: Callable[..., Any], *args: Any) -> bool:
        question = Question(self)
        question.function, question.args = function, args
        return self.pool.submit(question)

    def hang(self, name: str) -> str:
        """A hook that waits for the test."""
        self.began.put(name)
        assert self.gate.wait(PATIENCE_S)
        return f"{name} is back"

    def wait_for(self, answers: int) -> list[Any]:
        """Lets the threads work until there are so many answers; no time passes."""
        self.loop.turn()
        while len(self.answers) < answers:
            self.delivered.get(timeout=PATIENCE_S)()
            self.deliveries += 1
        return self.answers

    def is_down(self) -> bool:
        return self.pool.down

    def wait_until_back(self) -> None:
        """Lets a thread that was given up report."""
        self.delivered.get(timeout=PATIENCE_S)()


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.gate.set()
    desk.pool.close(PATIENCE_S)
    for worker in desk.pool.workers:
        assert worker.thread is not None
        worker.thread.join(PATIENCE_S)
        assert not worker.thread.is_alive()


def test_there_is_no_thread_before_there_is_something_to_do(desk: Desk) -> None:
    assert desk.pool.workers == []


def test_what_comes_in_one_turn_is_done_in_its_order_by_one_thread(desk: Desk) -> None:
    threads = set()

    def square(number: int) -> int:
        threads.add(threading.get_ident())
        return number * number

    for number in range(100):
        assert desk.ask(square, number)
    assert desk.wait_for(100) == [number * number for number in range(100)]
    assert len(threads) == len(desk.pool.workers) == 1
    assert threading.get_ident() not in threads


def test_what_a_hook_raises_is_its_answer(desk: Desk) -> None:
    def leave() -> None:
        raise SystemExit("not with me")

    desk.ask(leave)
    desk.ask(str, 1)
    left, one = desk.wait_for(2)
    assert isinstance(left, SystemExit)
    assert one == "1"


def test_a_hook_that_hangs_holds_up_nobody_else(desk: Desk) -> None:
    desk.ask(desk.hang, "first")
    desk.ask(str, "second")
    desk.loop.turn()
    assert desk.began.get(timeout=PATIENCE_S) == "first"
    desk.loop.advance(3 * LOOK_S)
    assert desk.wait_for(1) == ["second"]
    desk.gate.set()
    assert desk.wait_for(2) == ["second", "first is back"]
    assert desk.pool.stuck == 0


def test_a_call_that_takes_too_long_is_given_up_and_its_thread_comes_back(desk: Desk) -> None:
    desk.ask(desk.hang, "late")
    desk.loop.turn()
    desk.began.get(timeout=PATIENCE_S)
    desk.loop.advance(1.1)
    assert [type(answer) for answer in desk.answers] == [Overdue]
    assert desk.pool.stuck == 1
    desk.gate.set()
    desk.wait_until_back()
    assert desk.pool.stuck == 0
    assert len(desk.answers) == 1, "an answer that comes too late must not count"


def test_no_call_is_given_up_before_its_time(desk: Desk) -> None:
    desk.ask(desk.hang, "in time")
    desk.loop.turn()
    desk.began.get(timeout=PATIENCE_S)
    desk.loop.advance(0.9)
    assert desk.answers == []
    desk.gate.set()
    assert desk.wait_for(1) == ["in time is back"]


def test_when_all_threads_hang_the_pool_is_down_until_one_comes_back(desk: Desk) -> None:
    for name in ("one", "two", "three"):
        assert desk.ask(desk.hang, name)
    desk.loop.turn()
    desk.began.get(timeout=PATIENCE_S)
    desk.loop.advance(2 * CROWDED_S)
    desk.began.get(timeout=PATIENCE_S)
    desk.loop.advance(1)
    assert desk.is_down()
    assert len(desk.answers) == 3, "what no thread is left for is answered, too"
    assert len(desk.pool.workers) == 2
    assert not desk.ask(str, "four")
    desk.gate.set()
    desk.wait_until_back()
    assert not desk.is_down()
    assert desk.ask(str, "five")
    assert desk.wait_for(4)[-1] == "five"


def test_nobody_looks_after_threads_that_have_nothing_to_do(desk: Desk) -> None:
    desk.ask(str, 1)
    desk.wait_for(1)
    desk.loop.advance(1)
    assert desk.loop.timers == 0


def test_close_does_not_wait_for_a_thread_that_hangs(desk: Desk) -> None:
    desk.ask(desk.hang, "for ever")
    desk.loop.turn()
    desk.began.get(timeout=PATIENCE_S)
    assert desk.pool.close(PATIENCE_S) == 1
    assert not desk.ask(str, "too late")
