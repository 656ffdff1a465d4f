"""How long to wait before the next attempt: longer each time, and spread. Pure: no clock or await."""

FIRST_S = 0.1
LONGEST_S = 5.0
SETTLED_S = 5.0


class Backoff:
    """Delays that double, each spread over its upper half, so that nodes do not come back together."""

    def __init__(self, first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s

    def next_s(self, chance: float) -> float:
        """The delay before the next attempt; ``chance`` is uniform in [0, 1)."""
        delay_s = self._next_s
        self._next_s = min(delay_s * 2, self._longest_s)
        return delay_s * (1 + chance) / 2

    def connected_for(self, lasted_s: float) -> None:
        """Starts from the shortest again, unless the connection broke as soon as it was there."""
        if lasted_s >= SETTLED_S:
            self._next_s = self._first_s
