"""How long somebody has to wait who keeps failing. Pure: no sockets, clock or await.

The first failures cost nothing; from then on each doubles the wait, up to a bound. An attempt counts as
failed from its beginning until it succeeds, so that a hundred at once are a hundred. What has been quiet for
as long as its wait and ``FORGET_S`` is forgotten; so is, when there are too many, whoever failed the longest
time ago.
"""

import ipaddress
from collections import OrderedDict

FORGET_S = 900.0
FIRST_WAIT_S = 1.0
ENTRIES_MAX = 20_000


class Attempts:
    """Failures by whom they count against: the key of a name, or an address. ``now`` in seconds."""

    def __init__(self, free: int, wait_max_s: float, entries_max: int = ENTRIES_MAX) -> None:
        self._free = free
        self._wait_max_s = wait_max_s
        self._entries_max = entries_max
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()  # how often, and when last

    def __len__(self) -> int:
        return len(self._failed)

    def wait_s(self, key: str, now: float) -> float:
        """The seconds until this one may try again; 0 when it may now."""
        failures, last_at = self._recent(key, now)
        return max(0.0, last_at + self._delay_s(failures) - now)

    def begin(self, key: str, now: float) -> None:
        """Counts an attempt as failed. MUST be called only if there is no wait."""
        failures, _ = self._recent(key, now)
        self._failed[key] = (failures + 1, now)
        self._failed.move_to_end(key)
        while len(self._failed) > self._entries_max:
            self._failed.popitem(last=False)

    def succeed(self, key: str) -> None:
        """The attempt was right: so are those before it."""
        self._failed.pop(key, None)

    def take_back(self, key: str) -> None:
        """The attempt says nothing against this one: others behind the same address may still be guessing."""
        if (known := self._failed.get(key)) is None:
            return
        failures, last_at = known
        if failures > 1:
            self._failed[key] = (failures - 1, last_at)
        else:
            del self._failed[key]

    def _recent(self, key: str, now: float) -> tuple[int, float]:
        known = self._failed.get(key)
        if known is None:
            return 0, now
        failures, last_at = known
        if now - last_at > self._delay_s(failures) + FORGET_S:
            del self._failed[key]
            return 0, now
        return known

    def _delay_s(self, failures: int) -> float:
        if failures < self._free:
            return 0.0
        # Not beyond 2^30: a float has an end.
        return float(min(self._wait_max_s, FIRST_WAIT_S * 2 ** min(failures - self._free, 30)))


def network(address: str) -> str:
    """What of an address counts as one place: of IPv6 the /64 that one customer is given at least."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv6Address):
        if known.ipv4_mapped is not None:
            return str(known.ipv4_mapped)
        return str(ipaddress.ip_network((known, 64), strict=False))
    return address
