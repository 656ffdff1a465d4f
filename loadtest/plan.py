"""What a run is: its scenario with all numbers settled, and what the users of one process share."""

from __future__ import annotations

import dataclasses
import itertools
import random
import secrets
from typing import Any

from gevent.event import Event

from .defaults import Defaults
from .figures import Figures
from .popularity import Zipf

_TIMED_PER_S = 2000
"""So many deliveries a process times per second; Locust takes some 3 µs for each."""


@dataclasses.dataclass
class Plan:
    """Rates are of all users together, over all processes; the rest is one process's."""

    users: int
    rate: float
    room_count: int
    rooms: Zipf
    text: str
    figures: Figures
    all_started: Event
    """Set when all users of this process have been started."""
    source: random.Random
    token: str
    """Begins the names of this process's users, so that no two processes have the same."""
    numbers: itertools.count[int]

    @property
    def rate_per_user(self) -> float:
        return self.rate / max(1, self.users)

    def name_room(self, rank: int) -> str:
        return f"load-{rank}"

    def choose_rooms(self, wanted: int) -> list[str]:
        return [self.name_room(rank) for rank in self.rooms.choose_distinct(self.source, wanted)]


def make_plan(options: Any, defaults: Defaults, figures: Figures) -> Plan:
    """``options`` are Locust's with ours; what they do not say is as the scenario usually is."""
    users = options.all_users
    rate = options.rate if options.rate is not None else defaults.rate_per_user * users
    room_count = options.rooms or max(1, round(defaults.rooms_per_user * users))
    if options.every:
        figures.every = options.every
    else:
        deliveries_per_s = rate * min(users, users / room_count * defaults.joins)
        figures.every = max(1, round(deliveries_per_s / _TIMED_PER_S))
    return Plan(
        users=users,
        rate=rate,
        room_count=room_count,
        rooms=Zipf(room_count, options.zipf),
        text="m" * options.text_bytes,
        figures=figures,
        all_started=Event(),
        source=random.Random(),
        token=secrets.token_hex(4),
        numbers=itertools.count(1),
    )
