"""Users come, join a room, say something and leave: the cost of coming and going."""

from __future__ import annotations

import gevent

from ..defaults import DEFAULTS
from .base import Pace, Scenario

MESSAGES = 3
"""How many a visitor says."""
BETWEEN_S = 0.3


class Churn(Scenario):
    """One visit after the other, each over a connection and under a name of its own."""

    defaults = DEFAULTS["churn"]

    def start(self) -> None:
        self.pace = Pace(self.plan, self.plan.rate_per_user / MESSAGES)

    def act(self) -> None:
        self.pace.advance()
        self.chat = self.make_chat()
        self.chat.returns = False
        self.chat.open()
        (room,) = self.plan.choose_rooms(1)
        self.chat.join(room)
        for _ in range(MESSAGES):
            self.chat.say(room, self.plan.text)
            gevent.sleep(self.plan.source.expovariate(1 / BETWEEN_S))
        self.chat.leave(room)
        self.chat.close()

    def wait_s(self) -> float:
        return self.pace.wait_s()
