"""The bus on NATS: core publish and subscribe."""

import asyncio
from collections.abc import Mapping, Sequence

from nats.errors import Error

from fastchat.broker.bus import BusLink
from fastchat.broker.interface import BrokerError
from fastchat.broker.nats import subjects
from fastchat.broker.nats.client import NatsLink


class NatsBus(BusLink, NatsLink):
    """Subjects stand behind ``<name>.bus.``.

    A server that cannot pass on what it has for us cuts us off: we come again.
    """

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url)
        self._prefix = subjects.bus(name)
        self._numbers: dict[str, int] = {}

    async def _connect(self) -> None:
        client = await self._open(no_echo=True)
        self._numbers.clear()
        await self._ask_again()
        # The server has the subscriptions once it answers what was sent behind them.
        await client.flush()

    async def _change(self, changes: Mapping[str, bool]) -> None:
        assert self._client is not None
        for subject, wanted in changes.items():
            if wanted:
                self._numbers[subject] = await self._client.receive(self._prefix + subject, self._on_received)
            else:
                await self._client.stop_receiving(self._numbers.pop(subject))

    def _on_received(self, subject: str, payload: bytes, reply: str, headers: Mapping[str, str]) -> None:
        self._deliver(subject[len(self._prefix) :], payload)

    async def _send(self, batch: Sequence[tuple[str, bytes]]) -> None:
        assert self._client is not None
        post, prefix = self._client.post, self._prefix
        for subject, payload in batch:
            await post(prefix + subject, payload)

    async def probe(self) -> None:
        if self._client is None or not self.is_connected:
            raise BrokerError(self.problem or f"{self.where} is away")
        try:
            # Its answer comes behind everything that the server has sent us before.
            await self._client.flush()
        except (Error, OSError) as error:
            raise BrokerError(self.problem or f"{self.where}: {error}") from None

    async def _finish(self) -> None:
        await BusLink._finish(self)
        await NatsLink._finish(self)

    async def _serve(self) -> None:
        assert self._client is not None
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pump())
            tasks.create_task(self._client.watch())
