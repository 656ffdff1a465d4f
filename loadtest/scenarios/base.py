"""What all scenarios have in common: one user of it, that starts, acts again and again, and stops."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import ClassVar

from ..chat import Chat, Edge
from ..defaults import Defaults
from ..plan import Plan


class Pace:
    """Moments at random, so many per second on average; they don't shift when one was missed a little."""

    __slots__ = ("_due", "_per_s", "_plan")

    def __init__(self, plan: Plan, per_s: float) -> None:
        self._plan = plan
        self._per_s = per_s
        self._due = time.monotonic()
        self.advance()

    def advance(self) -> None:
        self._due += self._plan.source.expovariate(self._per_s) if self._per_s > 0 else 3600.0

    def wait_s(self) -> float:
        return max(0.0, self._due - time.monotonic())


class Scenario(ABC):
    """One user. ``start`` and ``act`` may wait, and may raise Refused, which has been counted then."""

    defaults: ClassVar[Defaults]
    expects_loss: ClassVar[bool] = False

    def __init__(self, plan: Plan, edge: Edge, number: int) -> None:
        """``number`` is 0, 1, 2 … among the users of this process."""
        self.plan = plan
        self.edge = edge
        self.number = number
        self.chat = self.make_chat()

    def make_chat(self) -> Chat:
        """A client with a name that nobody else has."""
        name = f"{self.plan.token}-{next(self.plan.numbers)}"
        chat = Chat(self.edge, name, self.plan.figures)
        chat.expects_loss = self.expects_loss
        return chat

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def act(self) -> None: ...

    @abstractmethod
    def wait_s(self) -> float:
        """How long until it acts again."""

    def stop(self) -> None:
        self.chat.close()


class Talker(Scenario):
    """Someone who is in some rooms and says something now and then in one of them."""

    def start(self) -> None:
        self.pace = Pace(self.plan, self.plan.rate_per_user)
        self.chat.open()
        for room in self.choose_rooms():
            self.chat.join(room)

    def choose_rooms(self) -> list[str]:
        return self.plan.choose_rooms(self.defaults.joins)

    def act(self) -> None:
        self.pace.advance()
        if self.chat.rooms:
            self.chat.say(self.plan.source.choice(list(self.chat.rooms)), self.plan.text)

    def wait_s(self) -> float:
        return self.pace.wait_s()
