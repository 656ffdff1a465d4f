"""Hours of everything at once, at a modest rate: does the server's memory grow?

Rooms are opened and forgotten, names come and go, connections are lost and taken up again, some read slowly.
What the rooms keep is bounded, so that trimming runs as well.
"""

from __future__ import annotations

from ..defaults import DEFAULTS
from .base import Pace, Scenario, Talker
from .churn import Churn
from .slow_readers import SlowReaders, StopAndGo

MOVE_S, AWAY_S = 60.0, 20.0


class Soak(Scenario):
    """Of ten users six talk and move, two visit, one loses its connection, one reads by fits and starts."""

    defaults = DEFAULTS["soak"]

    def start(self) -> None:
        kinds: list[type[Scenario]] = [_Mover] * 6 + [Churn] * 2 + [_Loser, _FitfulReader]
        self.part = kinds[self.number % len(kinds)](self.plan, self.edge, self.number)
        self.part.start()

    def act(self) -> None:
        self.part.act()

    def wait_s(self) -> float:
        return self.part.wait_s()

    def stop(self) -> None:
        self.part.stop()


class _Mover(Talker):
    """Talks, and once a minute or so leaves a room for another one."""

    defaults = Soak.defaults

    def start(self) -> None:
        super().start()
        self.moves = Pace(self.plan, 1 / MOVE_S)

    def act(self) -> None:
        super().act()
        if self.moves.wait_s() > 0 or not self.chat.is_open:
            return
        self.moves.advance()
        self.chat.leave(self.plan.source.choice(list(self.chat.rooms)))
        for room in self.plan.choose_rooms(self.defaults.joins):
            if room not in self.chat.rooms and len(self.chat.rooms) < self.defaults.joins:
                self.chat.join(room)


class _Loser(Talker):
    """Talks, loses its connection every now and then, and comes back for what it has missed."""

    defaults = Soak.defaults

    def start(self) -> None:
        super().start()
        self.losses = Pace(self.plan, 1 / AWAY_S)

    def act(self) -> None:
        super().act()
        if self.losses.wait_s() == 0 and self.chat.is_open:
            self.losses.advance()
            self.chat.drop()


class _FitfulReader(SlowReaders):
    """Stops reading for a while, and then takes all."""

    defaults = Soak.defaults
    is_slow = True

    def start(self) -> None:
        super().start()
        self.chat.pace = StopAndGo(self.plan.source)
