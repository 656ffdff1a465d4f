"""For how long a commit waits for more, where nodes share a database. Pure: no sockets, clock or await.

Whoever is answered sends again, and not all in the same moment: a commit of those who come first makes the
others wait for it and for the commits of other nodes between. So it waits a moment for as many as were in
the last one. With one sender there is nothing to wait for.
"""

SHARE = 0.5
"""Of the time that the last commit took."""

WAIT_MAX_S = 0.002


class Filling:
    """What the last commit was like."""

    __slots__ = ("_took_s", "count")

    def __init__(self) -> None:
        self.count = 0
        """So many events fill the next commit."""
        self._took_s = 0.0

    def on_commit(self, count: int, took_s: float) -> None:
        """So many events were committed."""
        self.count, self._took_s = count, took_s

    def wait_s(self, count: int) -> float:
        """For how long to wait for more where there are ``count`` events; 0: not at all."""
        return min(SHARE * self._took_s, WAIT_MAX_S) if count < self.count else 0.0
