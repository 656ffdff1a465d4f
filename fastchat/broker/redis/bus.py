"""The bus on Redis: publish and subscribe, with a connection for each."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

from redis.exceptions import RedisError

from fastchat.broker.bus import BusLink
from fastchat.broker.interface import BrokerError
from fastchat.broker.link import ANSWER_TIMEOUT_S, PING_INTERVAL_S
from fastchat.broker.redis.connection import Connection, RedisLink, Reply


class RedisBus(BusLink, RedisLink):
    """Channels are the subjects behind ``<name>.bus.``, in all databases of the server.

    Redis cuts off who does not take what it has for them (client-output-buffer-limit pubsub): we come again.
    """

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url)
        self._prefix = f"{name}.bus."
        self._publishing: Connection | None = None
        self._listening: Connection | None = None
        self._pongs: deque[asyncio.Future[None]] = deque()

    async def _connect(self) -> None:
        self._publishing = await self._open()
        self._listening = listening = await self._open()
        await self._ask_again()
        # It answers each subscription, and the ping behind them.
        await self._listening.send([("PING",)])
        while not _is_pong(reply := await listening.read()):
            self._on_reply(reply)

    async def _change(self, changes: Mapping[str, bool]) -> None:
        assert self._listening is not None
        wanted = [self._prefix + subject for subject, wanted in changes.items() if wanted]
        unwanted = [self._prefix + subject for subject, wanted in changes.items() if not wanted]
        commands = [("SUBSCRIBE", *wanted)] if wanted else []
        await self._listening.send([*commands, *([("UNSUBSCRIBE", *unwanted)] if unwanted else [])])

    async def _send(self, batch: Sequence[tuple[str, bytes]]) -> None:
        assert self._publishing is not None
        replies = await self._publishing.run(
            [("PUBLISH", self._prefix + subject, payload) for subject, payload in batch]
        )
        refused = next((reply for reply in replies if isinstance(reply, Exception)), None)
        if refused is not None:
            raise refused

    async def probe(self) -> None:
        if self._listening is None or not self.is_connected:
            raise BrokerError(self.problem or f"{self.where} is away")
        pong: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pongs.append(pong)
        try:
            await self._listening.send([("PING",)])
        except (RedisError, OSError) as error:
            raise BrokerError(self.problem or f"{self.where}: {error}") from None
        await asyncio.wait([pong])
        if pong.cancelled():
            raise BrokerError(self.problem or f"{self.where}: the connection was lost")

    async def _serve(self) -> None:
        assert self._listening is not None
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pump())
            tasks.create_task(self._hear(self._listening))
            tasks.create_task(self._watch())

    async def _hear(self, listening: Connection) -> None:
        while True:
            self._on_reply(await listening.read())

    def _on_reply(self, reply: Reply) -> None:
        if _is_pong(reply):
            if self._pongs and not (pong := self._pongs.popleft()).done():
                pong.set_result(None)
        elif reply[0] == b"message":
            self._deliver(reply[1].decode()[len(self._prefix) :], reply[2])

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(PING_INTERVAL_S)
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await self.probe()

    async def _disconnect(self) -> None:
        self._publishing = self._listening = None
        for pong in self._pongs:
            pong.cancel()
        self._pongs.clear()
        await super()._disconnect()


def _is_pong(reply: Reply) -> bool:
    # The first one is said as long as there are no subscriptions.
    return reply == b"PONG" or (isinstance(reply, list) and reply[0] == b"pong")
