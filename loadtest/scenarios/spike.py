"""Everyone joins one room within a second, as when a stream goes live; then they talk."""

from __future__ import annotations

import gevent

from ..defaults import DEFAULTS
from .base import Pace, Talker

SPREAD_S = 1.0


class Spike(Talker):
    """Connections come first, while users are started. When all are there they join, evenly over a second."""

    defaults = DEFAULTS["spike"]

    def start(self) -> None:
        self.chat.open()
        self.plan.all_started.wait()
        gevent.sleep(self.plan.source.uniform(0, SPREAD_S))
        self.chat.join(self.plan.name_room(0))
        self.pace = Pace(self.plan, self.plan.rate_per_user)
