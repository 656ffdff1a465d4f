"""Carries out commands of other services, each once. Pure: no sockets, clock or await.

They are taken in the order in which they come: what adds a message is given to the store before the next
command is looked at, and commits together with it; all else is waited for. A command is accepted when what it
did is stored. One that comes again is known by its ``id``, as a client's is, and accepted without effect.
"""

from collections import deque
from collections.abc import Callable
from functools import partial

from fastchat import log
from fastchat._fanout import Writer
from fastchat._ring import Profile
from fastchat.broker.interface import Delivery
from fastchat.inbox.authors import Authors
from fastchat.inbox.commands import Order, parse_order
from fastchat.local import Inbox
from fastchat.messages import Code, Reply, WireError
from fastchat.room import Room
from fastchat.rooms import Hub
from fastchat.session import Limits, Session, check_content
from fastchat.store import Draft, Kind, Stored

logger = log.get_logger(__name__)

PASSING = frozenset({Code.UNAVAILABLE, Code.RATE_LIMITED})
"""What a later try may overcome."""


class Clerk:
    """The other side of a session that works for the operator: hears one answer after the other."""

    echo = False
    address = "inbox"

    def __init__(self, hub: Hub, profile: Profile, limits: Limits) -> None:
        self.writer = Writer(hub.fanout, profile, Inbox(), self)
        self.session = Session(hub, self, limits, "")
        self.session.serve_operator()
        self._done: Callable[[WireError | None], None] | None = None

    def carry_out(
        self, order: Order, now: float, wall_ms: int, done: Callable[[WireError | None], None]
    ) -> None:
        """MUST NOT be called again before ``done`` was."""
        self._done = done
        self.session.receive(order.wire, now, wall_ms)

    def _answer(self, error: WireError | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(error)

    # Peer: called by the session

    def take_token(self) -> None:
        """There is none."""

    def reply(self, reply: Reply) -> None:
        """Hears an ``error``, which is all that is answered here beside ``sent``."""
        if reply["type"] == "error":
            self._answer(WireError(Code(reply["code"]), reply["message"], field=reply.get("field")))

    def reply_sent(self, room: str, stored: Stored, event_id: str | None, ref: str | int | None) -> None:
        """Hears that it is stored."""
        self._answer(None)

    def end(self, code: int, reason: str) -> None:
        """There is no connection to end."""

    def on_unblocked(self) -> None:
        """Waits for answers, and for nothing else."""

    def on_writable(self) -> None:
        """Nothing is ever written."""


class Executor:
    """Takes deliveries, one command after the other. MUST be driven in the loop's thread."""

    def __init__(
        self, hub: Hub, profile: Profile, limits: Limits, authors: Authors, wall_ms: Callable[[], int]
    ) -> None:
        self._hub = hub
        self._limits = limits
        self._authors = authors
        self._wall_ms = wall_ms
        self._clerk = Clerk(hub, profile, limits)
        self._waiting: deque[Delivery] = deque()
        self._busy = False
        self._going_on = False
        self._stopped = False
        self._on_idle: Callable[[], None] = lambda: None
        self.unanswered = 0
        self.accepted = 0
        self.rejected = 0
        self.retried = 0

    def take(self, delivery: Delivery) -> None:
        """Carries out one command, and answers it in the end."""
        self.unanswered += 1
        self._waiting.append(delivery)
        self._go_on()

    def stop(self, on_idle: Callable[[], None] = lambda: None) -> None:
        """Gives back what has not been begun: it comes again, here or elsewhere.

        ``on_idle`` is called when all that was begun has been answered.
        """
        self._stopped = True
        self._on_idle = on_idle
        self._go_on()
        self._count_down(0)

    def close(self) -> None:
        """Gives up the names that are held. After the last answer."""
        self._clerk.session.close()
        self._clerk.writer.close()
        self._authors.close()

    def _go_on(self) -> None:
        # A store that answers at once comes back to here.
        if self._going_on:
            return
        self._going_on = True
        try:
            while self._waiting and not self._busy:
                delivery = self._waiting.popleft()
                if self._stopped:
                    self._retry(delivery, "the server stops")
                else:
                    self._busy = True
                    self._begin(delivery)
        finally:
            self._going_on = False

    def _next(self) -> None:
        self._busy = False
        self._go_on()

    def _begin(self, delivery: Delivery) -> None:
        try:
            order = parse_order(delivery.body, delivery.id, self._limits.command_bytes)
            if order.wire["type"] == "send":
                check_content(self._limits, order.wire["text"], order.wire.get("data"))
                self._authors.find(order.author, partial(self._on_author, delivery, order))
            else:
                self._clerk.carry_out(
                    order, self._hub.clock(), self._wall_ms(), partial(self._on_done, delivery)
                )
        except WireError as error:
            self._on_done(delivery, error)
        except Exception:
            logger.exception("a command from the inbox failed", id=delivery.id)
            self._on_done(delivery, WireError(Code.REFUSED, "the server failed at it; its log says why"))

    def _on_done(self, delivery: Delivery, error: WireError | None) -> None:
        self._answer(delivery, error)
        self._next()

    # Posting

    def _on_author(self, delivery: Delivery, order: Order, author: str | WireError) -> None:
        if isinstance(author, WireError):
            self._on_done(delivery, author)
        else:
            self._hub.open(order.wire["room"], partial(self._on_room, delivery, order, author))

    def _on_room(self, delivery: Delivery, order: Order, author: str, room: Room | WireError) -> None:
        if isinstance(room, WireError):
            self._on_done(delivery, room)
            return
        fields = {name: value for name, value in order.wire.items() if name in ("text", "data")}
        draft = Draft(Kind.MESSAGE, author, self._wall_ms(), fields, order.wire["id"])

        def on_stored(stored: Stored | WireError) -> None:
            self._answer(delivery, stored if isinstance(stored, WireError) else None)

        room.post(draft, None, on_stored)
        self._next()

    # Answering

    def _answer(self, delivery: Delivery, error: WireError | None) -> None:
        if error is None:
            self.accepted += 1
            delivery.accept()
            self._count_down()
        elif error.code in PASSING:
            self._retry(delivery, error.message)
        else:
            self.rejected += 1
            logger.warning("a command from the inbox was rejected", id=delivery.id, reason=error.message)
            delivery.reject(f"{error.code}: {error.message}")
            self._count_down()

    def _retry(self, delivery: Delivery, reason: str) -> None:
        self.retried += 1
        logger.debug("a command from the inbox has to come again", id=delivery.id, reason=reason)
        delivery.retry()
        self._count_down()

    def _count_down(self, answered: int = 1) -> None:
        self.unanswered -= answered
        if self._stopped and not self.unanswered:
            self._on_idle()
