"""What each scenario is where it is not told otherwise. Pure."""

from __future__ import annotations

import dataclasses

KEEP_EVENTS = 5000
"""In `soak`: the busiest room has some 40 messages a second, and nobody is away for two minutes."""


@dataclasses.dataclass(frozen=True)
class Defaults:
    users: int
    time_s: float
    rate_per_user: float
    """Messages per second."""
    rooms_per_user: float
    """How many rooms there are, as a share of the users; one at least."""
    joins: int = 1
    """In how many rooms a user is."""
    start_s: float = 3.0
    """Over how long the users are started."""
    settings: tuple[str, ...] = ()
    """What the own server needs, as for `fastchat serve --set`."""


DEFAULTS = {
    "steady": Defaults(users=500, time_s=30, rate_per_user=0.2, rooms_per_user=0.1, joins=3),
    "fanout": Defaults(users=500, time_s=30, rate_per_user=0.02, rooms_per_user=0.0),
    "spike": Defaults(users=500, time_s=20, rate_per_user=0.02, rooms_per_user=0.0),
    "herd": Defaults(users=500, time_s=30, rate_per_user=0.2, rooms_per_user=0.1, joins=3),
    "slow_readers": Defaults(users=300, time_s=30, rate_per_user=0.4, rooms_per_user=0.01),
    "churn": Defaults(users=200, time_s=30, rate_per_user=0.6, rooms_per_user=0.2),
    "soak": Defaults(
        users=300,
        time_s=3600,
        rate_per_user=0.67,
        rooms_per_user=0.5,
        joins=2,
        start_s=15.0,
        settings=(
            f'rooms.classes=[{{"pattern": "*", "keep_events": {KEEP_EVENTS}}}]',
            # Few of 150 rooms stay in memory when nobody is there, so that they come and go.
            "rooms.empty_kept=20",
            # Rings of a usual size would go on filling for hours, and that is no leak.
            "fanout.ring_bytes=16384",
            "fanout.high_water_bytes=16384",
            "fanout.low_water_bytes=8192",
            # And so it is with the blocks for those who come back.
            "fanout.replay_bytes=2097152",
        ),
    ),
}
