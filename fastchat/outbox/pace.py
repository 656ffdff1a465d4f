"""How fast a busy loop's outbox may be sent. Pure: no sockets, clock or await.

Chat goes first. What waits is safe in the store, so sending gets the time that the loop has left, and a tenth
of it where it has none left. How much that is shows in the pauses between two batches: there the loop is the
chat's alone.
"""

LEAST_SHARE = 0.1
"""Of the loop's time, when it has none left."""

BATCH_MAX = 1000
BATCH_MIN = 16

BUSY_BATCH_S = 0.004
"""What a batch may cost while the loop is busy: for about so long it may hold up everyone."""

IDLE_BATCH_S = 0.02
"""The same where nobody else needs the loop."""

LOOK_S = 0.001
"""The shortest pause in which the loop's own load is measured."""


class Pace:
    """Sizes of batches, and the pauses between them. Times are in seconds.

    ``now`` is a monotonic clock's, ``cpu`` the time that the loop's thread has had of the processor.
    """

    def __init__(self) -> None:
        self.size = 64
        """How many events the next batch should have."""
        self.busy = 0.0
        """The part of the loop's time that others take, of late."""
        self._since: tuple[float, float] | None = None

    @property
    def share(self) -> float:
        """The part of the loop's time that sending may take."""
        return max(LEAST_SHARE, 1.0 - self.busy)

    def begin(self, now: float, cpu: float, late_s: float = 0.0) -> None:
        """A batch begins, ``late_s`` later than was asked for.

        A loop that comes late has no time left, even where other processes are to blame.
        """
        if self._since is None:
            return
        wall_s = now - self._since[0]
        if wall_s >= LOOK_S / 2:
            busy = min(1.0, max(cpu - self._since[1], late_s) / wall_s)
            self.busy += (busy - self.busy) / 2

    def end(self, now: float, cpu: float, cost_s: float, count: int) -> float:
        """A batch of so many is over, and took so much of the loop's time; returns the pause to make."""
        self._since = (now, cpu)
        if count >= self.size // 2:
            target_s = IDLE_BATCH_S if self.share > 0.5 else BUSY_BATCH_S
            fitting = int(count * target_s / max(cost_s, 1e-6))
            self.size = max(BATCH_MIN, min(BATCH_MAX, fitting, 2 * self.size))
        return max(LOOK_S, cost_s * (1.0 / self.share - 1.0))


FIRST_RETRY_S = 0.1
LAST_RETRY_S = 10.0


def retry_s(failures: int, chance: float) -> float:
    """How long to wait after so many failures in a row; ``chance`` is random, from 0 to 1.

    Half of it at least, so that nodes that lost a broker together do not come back together.
    """
    longest_s = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(failures - 1, 20))
    return longest_s * (0.5 + 0.5 * chance)
