"""A token bucket. Pure: no sockets, clock or await."""

ROUNDING = 1e-6


class TokenBucket:
    """Lets ``rate_per_s`` things happen per second on average, and ``burst`` at once. Rate 0: no limit."""

    __slots__ = ("_burst", "_filled_at", "_rate_per_s", "_tokens")

    def __init__(self, rate_per_s: float, burst: int, now: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._tokens = float(burst)
        self._filled_at = now

    def take(self, now: float) -> float:
        """Takes one token and returns 0, or takes none and returns the seconds until there is one."""
        if not self._rate_per_s:
            return 0.0
        wait_s = self.wait_s(now)
        if wait_s <= 0:
            self._tokens -= 1
            return 0.0
        return wait_s

    def wait_s(self, now: float, tokens: int = 1) -> float:
        """The seconds until there are so many tokens, or as many as there can be; 0 when there are."""
        if not self._rate_per_s:
            return 0.0
        # What had to wait is paid for with the time at which it came, which may be before the last payment.
        if now > self._filled_at:
            self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate_per_s)
            self._filled_at = now
        missing = min(tokens, self._burst) - self._tokens
        # Who waited exactly as long as told has a whole token, whatever the fractions add up to.
        return missing / self._rate_per_s if missing > ROUNDING else 0.0
