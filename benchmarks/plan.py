"""How much is measured: the sizes that the targets are stated for, or a quick look."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Plan:
    rounds: int = 3
    seconds: float = 3.0
    subscribers: int = 1000
    text_bytes: int = 64
    senders: int = 10
    window: int = 64
    idle_connections: int = 10_000
    idle_warm_up: int = 500
    flood_bytes: int = 1_000_000_000
    flood_text_bytes: int = 4000
    stuck_readers: int = 1000
    healthy_readers: int = 100
    room_members: int = 10_000
    ping_seconds: float = 10.0
    ingest_senders: int = 100
    ingest_window: int = 16
    ingest_subscribers: int = 10
    ingest_seconds: float = 5.0
    pace_rate: float = 100.0
    pace_seconds: float = 5.0
    delay_rate: float = 100.0
    delay_seconds: float = 5.0
    missed_messages: int = 100_000
    returning_clients: int = 10_000
    returning_behind: int = 100

    @property
    def outstanding(self) -> int:
        return self.senders * self.window


FULL = Plan()
QUICK = Plan(
    rounds=1,
    seconds=1.0,
    flood_bytes=60_000_000,
    ping_seconds=3.0,
    ingest_seconds=2.0,
    delay_seconds=2.0,
    pace_seconds=2.0,
)
