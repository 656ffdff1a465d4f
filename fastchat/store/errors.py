"""What is said of a store that cannot be used. Pure: no sockets, clock or await."""

from fastchat.messages import Code, WireError

RETRY_AFTER_MS = 1000


class StoreError(Exception):
    """The database cannot be used. One line that says why, and what to do about it where that can be told."""


def unavailable(reason: str) -> WireError:
    """What clients are told of a store that cannot store."""
    return WireError(
        Code.UNAVAILABLE,
        f"the message store is not available ({reason}); send it again later",
        retry_after_ms=RETRY_AFTER_MS,
    )
