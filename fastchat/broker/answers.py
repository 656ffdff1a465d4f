"""Commands that have been taken from a broker and not been answered. Pure: no sockets, clock or await."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from fastchat.broker.interface import Delivery
from fastchat.log import get_logger

UNANSWERED_MAX = 256

Verdict = Literal["accept", "reject", "retry"]
Mark = TypeVar("Mark")

_logger = get_logger(__name__)


@dataclass(slots=True)
class Taken(Generic[Mark]):
    """One command. ``mark`` is what the broker knows it by; it changes where it comes again unanswered."""

    key: str
    mark: Mark
    body: bytes
    times: int
    """How often it has been given out, this time included."""
    verdict: Verdict | None = None
    reason: str = ""


class Answers(Generic[Mark]):
    """Remembers what is unanswered, and queues answers until the broker has them."""

    def __init__(self, on_answer: Callable[[], None]) -> None:
        """``on_answer()`` with each answer that waits in ``ready``."""
        self._on_answer = on_answer
        self.unanswered: dict[str, Taken[Mark]] = {}
        """By ``key``, in the order in which they came: those without a verdict."""
        self.ready: deque[Taken[Mark]] = deque()

    @property
    def room(self) -> int:
        """How many more may be taken."""
        return max(0, UNANSWERED_MAX - len(self.unanswered) - len(self.ready))

    def take(self, taken: Taken[Mark], delivery_id: str) -> Delivery | None:
        """The delivery to pass on; None where it is being worked on already, and has only come again."""
        known = self.unanswered.get(taken.key)
        if known is not None:
            known.mark = taken.mark
            return None
        self.unanswered[taken.key] = taken
        return Delivery(
            body=taken.body,
            id=delivery_id,
            accept=lambda: self._answer(taken, "accept"),
            reject=lambda reason: self._answer(taken, "reject", reason),
            retry=lambda: self._answer(taken, "retry"),
        )

    def _answer(self, taken: Taken[Mark], verdict: Verdict, reason: str = "") -> None:
        if taken.verdict is None:
            taken.verdict, taken.reason = verdict, reason
            self.unanswered.pop(taken.key, None)
            self.ready.append(taken)
            self._on_answer()


def pass_on(delivery: Delivery, on_delivery: Callable[[Delivery], None]) -> None:
    """Hands it to whoever listens. A fault there must not end the inbox: the command comes again."""
    try:
        on_delivery(delivery)
    except Exception:
        _logger.exception("inbox listener failed")
        delivery.retry()


def retry_delay_s(times: int, chance: float) -> float:
    """How long a command waits that has been given out so often; ``chance`` is uniform in [0, 1)."""
    return min(30.0, 2.0 ** min(times - 1, 5)) * (1 + chance) / 2
