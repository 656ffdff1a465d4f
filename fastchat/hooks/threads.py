"""Worker threads for hooks that are not ``async``: what they cost, and how many of them may be lost.

What comes in one turn of the loop is handed over together, and what is done comes back together, so that a
thread is woken once for many calls. One thread does the work, as long as it gets on. Where it hangs in one
call (``STALL_S``) another one goes on with the rest; that the operator's function waits for something is
nobody else's business.

A call that is not done in time is given up: it is answered as overdue, and its thread counts as stuck until
it comes back. When all threads that there may be are stuck, the pool is down: nothing is handed over any
more, and whoever asks is told at once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from fastchat._hooks import take_done, work_off
from fastchat.hooks.interface import Question

STALL_S = 0.02
"""How long the next call waits for a thread before another one is woken."""

LOOK_S = 0.01
"""How often the threads are looked after while they have something to do."""

CROWDED_S = 0.1
"""How long calls wait before another thread is woken though the others get on."""


class Overdue(Exception):
    """The hook has not come back in time."""


class Worker:
    """One thread, and what it does at the moment."""

    __slots__ = ("question", "seen", "thread")

    def __init__(self) -> None:
        self.question: Question | None = None
        self.seen: Question | None = None
        self.thread: threading.Thread | None = None


class Pool:
    """Calls one hook in threads. Everything but ``_work`` happens in the loop's thread.

    A question's ``chain.on_done`` is called when ``result`` or ``error`` is there. ``deliver`` schedules a
    callback from any thread.
    """

    def __init__(
        self,
        name: str,
        most: int,
        limit_s: float,
        *,
        clock: Callable[[], float],
        call_soon: Callable[[Callable[[], None]], Any],
        call_later: Callable[[float, Callable[[], None]], Any],
        deliver: Callable[[Callable[[], None]], Any],
    ) -> None:
        self.name = name
        self.most = most
        self.limit_s = limit_s
        self.stuck = 0
        self.workers: list[Worker] = []
        self._clock = clock
        self._call_soon = call_soon
        self._call_later = call_later
        self._deliver = deliver
        self._gathered: list[Question] = []
        self._deadline = 0.0
        self._waiting: deque[Question] = deque()
        self._done: deque[Question] = deque()
        self.told = False  # the loop will look at what is done
        self._looking = False
        self._closed = False
        self._wake = threading.Lock()  # taken by who wakes up; whoever has work to hand out lets go of it
        self._wake.acquire(blocking=False)

    @property
    def down(self) -> bool:
        """Whether all threads that there may be are stuck."""
        return self.stuck >= self.most

    def submit(self, question: Question) -> bool:
        """Has ``question.function`` called with the rest of this turn's; False where the pool is down."""
        if self.stuck >= self.most or self._closed:
            return False
        if not self._gathered:
            self._deadline = self._clock() + self.limit_s
            self._call_soon(self._hand_over)
        question.deadline = self._deadline
        self._gathered.append(question)
        return True

    def _hand_over(self) -> None:
        self._waiting.extend(self._gathered)
        self._gathered.clear()
        # Those that are given up may never come back; the others have or will have time.
        if len(self.workers) == self.stuck < self.most:
            self._start_worker()
        self._wake_one()
        if not self._looking:
            self._looking = True
            self._call_later(LOOK_S, self._look)

    def _wake_one(self) -> None:
        if self._wake.locked():
            self._wake.release()

    def _start_worker(self) -> None:
        worker = Worker()
        worker.thread = threading.Thread(
            target=self._work, args=(worker,), name=f"hook {self.name}", daemon=True
        )
        self.workers.append(worker)
        worker.thread.start()

    # In a thread

    def _work(self, worker: Worker) -> None:
        while True:
            self._wake.acquire()
            if self._closed:
                self._wake.release()  # for the next one
                return
            try:
                work_off(self, worker, self._waiting, self._done)
            except RuntimeError:  # the loop is over
                return

    def tell(self) -> None:
        """Has the loop look at what is done, soon; until then it need not be told again."""
        self.told = True
        self._deliver(self._take_done)

    # In the loop

    def _take_done(self) -> None:
        self.told = False
        take_done(self._done, self._on_return)

    def _on_return(self) -> None:
        self.stuck -= 1

    def _look(self) -> None:
        """Gives up what is overdue, and sees to it that what waits is not held up by what hangs."""
        now = self._clock()
        stalled = busy = idle = False
        for worker in self.workers:
            question = worker.question
            if question is None:
                idle = True
            elif not question.given_up:
                if question.deadline <= now:
                    self.stuck += 1
                    self._give_up(question)
                else:
                    busy = True
                    stalled = stalled or question is worker.seen
            worker.seen = question
        self._give_up_waiting(now)
        if self._waiting:
            busy = True
            waits_s = now - (self._waiting[0].deadline - self.limit_s) if self._waiting else 0.0
            if waits_s >= CROWDED_S or (waits_s >= STALL_S and (stalled or self.stuck)):
                if idle:
                    self._wake_one()
                elif len(self.workers) < self.most:
                    self._start_worker()
                    self._wake_one()
        self._looking = busy
        if busy:
            self._call_later(LOOK_S, self._look)

    def _give_up_waiting(self, now: float) -> None:
        """Those whose time is over before a thread has taken them, and all when none is left to do so."""
        while self._waiting:
            try:
                question = self._waiting.popleft()
            except IndexError:  # a thread was quicker
                return
            if question.deadline > now and not self.down:
                self._waiting.appendleft(question)
                return
            self._give_up(question)

    def _give_up(self, question: Question) -> None:
        question.given_up = True
        question.chain.on_overdue(question)

    def close(self, timeout_s: float) -> int:
        """Ends the threads that have nothing to do; returns how many were stuck and are left. Blocks."""
        self._closed = True
        self._waiting.clear()
        if self._wake.locked():
            self._wake.release()
        for worker in self.workers:
            if worker.thread is not None and worker.question is None:
                worker.thread.join(timeout_s)
        return sum(worker.thread is not None and worker.thread.is_alive() for worker in self.workers)
