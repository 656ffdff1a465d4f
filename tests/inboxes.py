"""A stand-in for the inbox of a broker: what was handed over, and what became of it."""

import itertools
from collections.abc import Callable
from typing import Any

import orjson

from fastchat.broker.interface import Delivery


class FakeSource:
    """An ``InboxSource`` without a broker. ``answers`` has what each delivery was answered, by its number."""

    problem: str | None = None

    def __init__(self) -> None:
        self.answers: dict[int, str] = {}
        self.on_delivery: Callable[[Delivery], None] = lambda delivery: None
        self.started = self.closed = False
        self._numbers = itertools.count(1)

    def listen(self, on_delivery: Callable[[Delivery], None]) -> None:
        self.on_delivery = on_delivery

    async def start(self) -> None:
        self.started = True

    async def close(self) -> None:
        self.closed = True

    def deliver(self, body: bytes | dict[str, Any], id: str = "") -> int:
        """Hands a command over; returns its number."""
        number = next(self._numbers)

        def answer(text: str) -> None:
            assert number not in self.answers, "a delivery is answered once"
            self.answers[number] = text

        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        self.on_delivery(
            Delivery(
                raw, id, lambda: answer("accepted"), lambda reason: answer(reason), lambda: answer("retry")
            )
        )
        return number
