"""Token buckets. Pure: no sockets, clock or await.

A bucket holds ``burst`` tokens and gains ``rate_per_s`` of them per second; a rate of 0 is no limit. All that
has to be remembered of one is when it will be full, ``full_at``: a time in the past (or 0) is a full bucket.
"""

ROUNDING = 1e-6


def wait_s(full_at: float, now: float, rate_per_s: float, burst: int, tokens: int = 1) -> float:
    """The seconds until there are so many tokens, or as many as there can be; 0 when there are."""
    if not rate_per_s or now >= full_at:
        return 0.0
    missing = min(tokens, burst) - (burst - (full_at - now) * rate_per_s)
    # Who waited exactly as long as told has a whole token, whatever the fractions add up to.
    return missing / rate_per_s if missing > ROUNDING else 0.0


def take(full_at: float, now: float, rate_per_s: float) -> float:
    """The new ``full_at`` after one token was taken. MUST be called only if there is one."""
    return max(full_at, now) + 1 / rate_per_s if rate_per_s else full_at


def exceed(full_at: float, now: float, rate_per_s: float, burst: int) -> float:
    """As ``take``, where it was taken elsewhere, whether there was one or not."""
    return min(take(full_at, now, rate_per_s), now + burst / rate_per_s)
