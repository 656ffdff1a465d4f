"""Messages per CPU-second of all nodes together: everyone is in one room, spread over the nodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from benchmarks.nodes.chats import Chat
from benchmarks.nodes.clients import Client, Tally, join, now

CLIENTS = 300
SENDERS = 30


@dataclasses.dataclass(frozen=True)
class Rush:
    """How much is said: so many senders, each with ``window`` messages on the way."""

    senders: int
    window: int

    @property
    def name(self) -> str:
        under_way = self.senders * self.window
        return "one message at a time" if under_way == 1 else f"{under_way} under way"


RUSHES = (Rush(1, 1), Rush(SENDERS, 1), Rush(SENDERS, 4), Rush(SENDERS, 16))
"""The last one leaves no node idle; it is what is promised."""


@dataclasses.dataclass(frozen=True)
class Phase:
    """What a chat did in one phase."""

    per_cpu_s: float
    """Messages, each to all clients, per CPU-second of the nodes."""
    per_s: float
    services_cpu: float
    """CPU time of PostgreSQL and the broker, as a share of the nodes'."""


class Load:
    """The clients of one chat."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.tally = Tally()
        self._senders: list[Client] = []
        self._running = False

    async def open(self, prefix: str) -> None:
        """Has everyone join."""
        for number in range(CLIENTS):
            node = self.chat.nodes[number % len(self.chat.nodes)]
            if number < SENDERS:
                self._senders.append(await join(node, f"{prefix}-{number}", self._heard_by(number)))
            else:
                await join(node, f"{prefix}-{number}", self.tally.add)

    def _heard_by(self, number: int) -> Callable[[int, int], None]:
        def on_heard(messages: int, sents: int) -> None:
            self.tally.add(messages, sents)
            if sents and self._running:
                self._senders[number].say(sents)

        return on_heard

    async def run(self, rush: Rush, messages: int) -> Phase:
        """Says about so many; returns when everyone has heard them all."""
        tally, chat = self.tally, self.chat
        before = tally.sents
        used, services, began = chat.cpu_s(), chat.services_cpu_s(), now()
        self._running = True
        for sender in self._senders[: rush.senders]:
            sender.say(rush.window)
        await tally.until(lambda: tally.sents - before >= messages)
        self._running = False
        await tally.until(self._all_heard)
        elapsed, nodes_cpu = now() - began, chat.cpu_s() - used
        said = tally.sents - before
        return Phase(said / nodes_cpu, said / elapsed, (chat.services_cpu_s() - services) / nodes_cpu)

    def _all_heard(self) -> bool:
        said = sum(sender.said for sender in self._senders)
        return self.tally.sents == said and self.tally.messages == said * CLIENTS
