"""What users do: one file for each scenario."""

from __future__ import annotations

from .base import Scenario
from .churn import Churn
from .fanout import Fanout
from .herd import Herd
from .slow_readers import SlowReaders
from .soak import Soak
from .spike import Spike
from .steady import Steady

SCENARIOS: dict[str, type[Scenario]] = {
    "steady": Steady,
    "fanout": Fanout,
    "spike": Spike,
    "herd": Herd,
    "slow_readers": SlowReaders,
    "churn": Churn,
    "soak": Soak,
}

__all__ = ["SCENARIOS", "Scenario"]
