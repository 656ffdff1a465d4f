"""How much is measured beside the peers."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class PeersPlan:
    rounds: int = 3
    seconds: float = 1.0
    trial_seconds: float = 0.5
    grace_seconds: float = 4.0
    members: tuple[int, ...] = (100, 1000, 5000)
    senders: int = 10
    trial_members: int = 1000
    best_windows: int = 2
    delay_members: int = 1000
    delay_rates: tuple[int, ...] = (20, 100)
    delay_seconds: float = 1.5
    idle_warm_up: int = 500
    idle_connections: int = 10_000
    stuck: int = 100
    stuck_healthy: int = 900
    stuck_text_bytes: int = 16_000
    stuck_bytes: int = 6_000_000
    stuck_seconds: float = 12.0
    stuck_rounds: int = 1


FULL = PeersPlan()
QUICK = PeersPlan(
    rounds=1,
    seconds=0.5,
    trial_seconds=0.1,
    grace_seconds=2.0,
    members=(1000,),
    best_windows=1,
    delay_rates=(100,),
    delay_seconds=0.8,
    idle_connections=1000,
    stuck_bytes=4_000_000,
    idle_warm_up=100,
    stuck_seconds=1.5,
)
