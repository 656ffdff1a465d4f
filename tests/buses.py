"""A broker within the process, for tests of what goes over its buses."""

import asyncio
from collections.abc import Callable

from fastchat.broker.interface import BrokerError


class Exchange:
    """Carries payloads between its buses, each in a later turn of the loop."""

    def __init__(self) -> None:
        self.buses: list[ExchangeBus] = []
        self.carried: list[tuple[str, bytes]] = []

    def bus(self) -> "ExchangeBus":
        """One more node's."""
        bus = ExchangeBus(self)
        self.buses.append(bus)
        return bus

    def carry(self, sender: "ExchangeBus", subject: str, payload: bytes) -> None:
        self.carried.append((subject, payload))
        for bus in self.buses:
            if bus.problem is None and subject in bus.subjects:
                asyncio.get_running_loop().call_soon(bus.on_message, subject, payload)


class ExchangeBus:
    """A `Bus` that hears itself, too."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.subjects: set[str] = set()
        self.problem: str | None = "not started yet"
        self.on_message: Callable[[str, bytes], None] = lambda subject, payload: None
        self.on_connected: Callable[[], None] = lambda: None

    async def start(self) -> None:
        self.restore()

    async def close(self) -> None:
        self.problem = "closed"

    def publish(self, subject: str, payload: bytes) -> None:
        if self.problem is None:
            self.exchange.carry(self, subject, payload)

    def subscribe(self, subject: str) -> None:
        self.subjects.add(subject)

    def unsubscribe(self, subject: str) -> None:
        self.subjects.discard(subject)

    async def probe(self) -> None:
        if self.problem is not None:
            raise BrokerError(self.problem)
        await asyncio.sleep(0)

    def listen(self, on_message: Callable[[str, bytes], None], on_connected: Callable[[], None]) -> None:
        self.on_message, self.on_connected = on_message, on_connected

    # What a test does to it

    def cut(self) -> None:
        """The connection is lost; what was on its way is heard all the same."""
        self.problem = "the connection is cut"

    def restore(self) -> None:
        """It is there again."""
        self.problem = None
        self.on_connected()
