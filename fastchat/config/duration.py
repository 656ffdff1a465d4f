"""Times as people write them: 90s, 10m, 12h, 7d. Pure."""

import re

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhd])")


def parse_duration_s(text: str) -> float:
    """Seconds. Raises ValueError that says how it is written."""
    found = _DURATION.fullmatch(text)
    if found is None or not float(found[1]):
        raise ValueError(f"{text} is no length of time; write it like 90s, 10m, 12h or 7d")
    return float(found[1]) * _UNITS_S[found[2]]
