"""The two kinds of Locust users: one speaks WebSocket, the other lines. Both do what the scenario says."""

from __future__ import annotations

from typing import ClassVar

from locust import User, task
from locust.exception import StopUser

from .chat import Edge, Refused
from .plan import Plan
from .scenarios import Scenario


class ChatUser(User):
    """A user of the run that is going on; `loadtest.run` sets what all of them share."""

    abstract = True
    plan: ClassVar[Plan]
    scenario: ClassVar[type[Scenario]]
    edges: ClassVar[dict[str, Edge]]
    edge_name: ClassVar[str]
    started: ClassVar[int] = 0

    def on_start(self) -> None:
        self.refused = False
        number, ChatUser.started = ChatUser.started, ChatUser.started + 1
        self.part = self.scenario(self.plan, self.edges[self.edge_name], number)
        try:
            self.part.start()
        except Refused:
            self.refused = True  # Locust would log a traceback for each user that stops right here

    def on_stop(self) -> None:
        self.part.stop()

    def wait_time(self) -> float:
        return 0.0 if self.refused else self.part.wait_s()

    @task
    def act(self) -> None:
        if self.refused:
            raise StopUser
        if self.part.wait_s() > 0:
            return  # Locust acts before it waits: everyone would say something at the start
        try:
            self.part.act()
        except Refused:
            return  # counted where it happened


class WebSocketUser(ChatUser):
    """Needs `--host`."""

    edge_name = "ws"


class LineUser(ChatUser):
    """Needs `--line`."""

    edge_name = "line"
