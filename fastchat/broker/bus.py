"""What buses have in common: a turn's payloads in one batch, wanted subjects, and listeners that may fail."""

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence

from fastchat.broker.link import Link
from fastchat.log import get_logger

MAX_PAYLOAD_BYTES = 1 << 20
"""Larger payloads are not sent: NATS takes no more as it comes. Whoever publishes keeps well below."""

MAX_WAITING_BYTES = 16 << 20
"""What may wait for a broker that takes nothing. What is beyond is forgotten, as without a connection."""

_logger = get_logger(__name__)


class BusLink(Link):
    """A bus on one broker; a subclass sends batches and tells the server what is wanted."""

    def __init__(self, url: str) -> None:
        super().__init__(url, "bus")
        self._on_message: Callable[[str, bytes], None] = lambda subject, payload: None
        self._on_connected: Callable[[], None] = lambda: None
        self._wanted: dict[str, None] = {}
        self._asked: set[str] = set()
        self._unasked = False
        self._waiting: list[tuple[str, bytes]] = []
        self._waiting_bytes = 0
        self._work = asyncio.Event()
        self._sent = asyncio.Event()
        self.forgotten = 0
        """Payloads that were not sent, since the broker was away, took nothing, or they are too large."""

    # For a subclass to fill in

    @abstractmethod
    async def _send(self, batch: Sequence[tuple[str, bytes]]) -> None:
        """Publishes in order."""

    @abstractmethod
    async def _change(self, changes: Mapping[str, bool]) -> None:
        """Listens to the subjects (True) or does no more (False). After a new connection that is all."""

    # For everyone

    def listen(self, on_message: Callable[[str, bytes], None], on_connected: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_connected = on_connected

    def publish(self, subject: str, payload: bytes) -> None:
        size = len(payload)
        if not self.is_connected or size > MAX_PAYLOAD_BYTES or self._waiting_bytes > MAX_WAITING_BYTES:
            self._forget(subject, size)
            return
        self._waiting.append((subject, payload))
        self._waiting_bytes += size
        self._work.set()

    def _forget(self, subject: str, size: int) -> None:
        self.forgotten += 1
        if size > MAX_PAYLOAD_BYTES:
            _logger.error("bus payload too large", subject=subject, bytes=size, limit=MAX_PAYLOAD_BYTES)

    def subscribe(self, subject: str) -> None:
        self._wanted[subject] = None
        self._unasked = True
        self._work.set()

    def unsubscribe(self, subject: str) -> None:
        self._wanted.pop(subject, None)
        self._unasked = True
        self._work.set()

    # In the keeper's task

    async def _pump(self) -> None:
        """Sends what waits and asks for what is wanted, as it comes. Never returns."""
        while True:
            await self._work.wait()
            self._work.clear()
            if self._unasked:
                await self._ask()
            if self._waiting:
                batch, self._waiting = self._waiting, []
                await self._send(batch)
                self._waiting_bytes -= sum(len(payload) for _, payload in batch)
                self._sent.set()

    async def _ask(self) -> None:
        """Tells the server what has become wanted or unwanted since it was last told."""
        self._unasked = False
        wanted = self._wanted.keys()
        changes = dict.fromkeys(wanted - self._asked, True) | dict.fromkeys(self._asked - wanted, False)
        self._asked = set(wanted)
        if changes:
            await self._change(changes)

    async def _ask_again(self) -> None:
        """With a new connection: for all that is wanted. What waited for the last one is forgotten."""
        self.forgotten += len(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        self._asked.clear()
        await self._ask()

    def _on_connection(self) -> None:
        super()._on_connection()
        self._guarded(self._on_connected)

    def _deliver(self, subject: str, payload: bytes) -> None:
        if subject in self._wanted:
            self._guarded(self._on_message, subject, payload)

    def _guarded(self, callback: Callable[..., None], *args: object) -> None:
        try:
            callback(*args)
        except Exception:  # a fault above must not end the bus
            _logger.exception("bus listener failed")

    async def _finish(self) -> None:
        while self._waiting_bytes and self.is_connected:
            self._sent.clear()
            await self._sent.wait()
