"""Reads that many ask for at once: who asks in one turn of the loop shares one.

So does who asks while another one is under way. A read for each would hand the interpreter to the reader's
thread and back for every client that returns, which takes longer than the read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, Protocol, TypeVar

from fastchat.messages import WireError

QUESTIONS_MAX = 1000
"""Questions that are answered with one read: about 10 ms of the reader's thread."""

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Asked(Protocol):
    """Who answers queries in a thread of its own, which it hands its connection."""

    def deliver(self, callback: Callable[..., object], /, *args: Any) -> object:
        """Runs it in the loop's thread."""

    def submit(self, query: Callable[[Any], Any], done: Callable[[Any], None]) -> object:
        """Runs the query; ``done`` gets what it returns, or a WireError."""


class SharedReads(Generic[Question, Answer]):
    """Questions of one kind. When everyone comes back at once, a read for each would be dear.

    ``read`` answers any number of them, in their order, in the reader's thread: in a sequence, or in what the
    reader waits for to have one.
    """

    def __init__(
        self,
        reader: Asked,
        read: Callable[[Any, Sequence[Question]], Sequence[Answer] | Coroutine[Any, Any, Sequence[Answer]]],
    ) -> None:
        self._reader = reader
        self._read = read
        self._waiting: deque[tuple[Question, Callable[[Any], None]]] = deque()
        self._reading = False

    def ask(self, question: Question, done: Callable[[Answer | WireError], None]) -> None:
        """Answers it with those that others ask meanwhile."""
        self._waiting.append((question, done))
        self._go_on()

    def _go_on(self) -> None:
        if self._waiting and not self._reading:
            self._reading = True
            # Not at once: the sockets that are still to be read in this turn have questions too.
            self._reader.deliver(self._submit)

    def _submit(self) -> None:
        # Taken when the reader's turn comes, so that it has everyone who has asked by then.
        taken: list[tuple[Question, Callable[[Any], None]]] = []
        self._reader.submit(lambda connection: self._take(connection, taken), self._on_read(taken))

    def _take(self, connection: object, taken: list[tuple[Question, Callable[[Any], None]]]) -> object:
        while self._waiting and len(taken) < QUESTIONS_MAX:
            taken.append(self._waiting.popleft())
        return self._read(connection, [question for question, _ in taken])

    def _on_read(
        self, taken: list[tuple[Question, Callable[[Any], None]]]
    ) -> Callable[[Sequence[Answer] | WireError], None]:
        def answer(answers: Sequence[Answer] | WireError) -> None:
            self._reading = False
            # Where not even a thread could be had, nobody has taken the first question.
            asked = taken or [self._waiting.popleft()]
            self._go_on()
            failure: Exception | None = None
            for number, (_, done) in enumerate(asked):
                try:
                    done(answers if isinstance(answers, WireError) else answers[number])
                except Exception as error:  # the others are to have theirs
                    failure = failure or error
            if failure is not None:
                raise failure

        return answer
