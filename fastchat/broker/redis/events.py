"""Events to other services by a Redis stream: pipelined, confirmed, and capped."""

import asyncio
from collections.abc import Iterator, Sequence

from redis.exceptions import RedisError, ResponseError

from fastchat.broker.interface import Outgoing
from fastchat.broker.link import PING_INTERVAL_S
from fastchat.broker.redis.connection import Command, Connection, RedisLink, Reply
from fastchat.log import get_logger

TRANSACTION_EVENTS = 128
TRANSACTION_BYTES = 256 << 10
"""So much is added at once, or not at all: Redis does nothing else meanwhile."""

_logger = get_logger(__name__)


class RedisEvents(RedisLink):
    """The stream is ``fastchat.events``, where fastchat is the name; its entries' fields key, id and body.

    What Redis has confirmed is as safe as its own settings make it (appendonly, appendfsync, replication).
    """

    def __init__(self, url: str, name: str, keep_entries: int = 0) -> None:
        super().__init__(url, "events")
        self._add = [
            "XADD",
            f"{name}.events",
            *(["MAXLEN", "~", str(keep_entries)] if keep_entries else []),
            "*",
        ]
        self._sending = asyncio.Lock()
        self._connection: Connection | None = None
        self._broken = asyncio.Event()
        self._reason: Exception | None = None
        self._refusal: str | None = None

    @property
    def problem(self) -> str | None:
        return super().problem or self._refusal

    async def _connect(self) -> None:
        self._broken.clear()
        self._connection = await self._open()
        await self._connection.run_one("PING")

    def _on_connection(self) -> None:
        super()._on_connection()
        self._refusal = None

    async def _serve(self) -> None:
        assert self._connection is not None
        while True:
            try:
                async with asyncio.timeout(PING_INTERVAL_S):
                    await self._broken.wait()
            except TimeoutError:
                if not self._sending.locked():
                    await self._connection.run_one("PING")
            else:
                raise self._reason or ConnectionError("connection lost")

    async def _disconnect(self) -> None:
        self._connection = None
        await super()._disconnect()

    async def _finish(self) -> None:
        async with self._sending:
            return

    async def send(self, events: Sequence[Outgoing]) -> int:
        async with self._sending:
            connection = self._connection
            if connection is None or not self.is_connected:
                return 0
            transactions = list(_transactions(events))
            replies: list[Reply] = []
            try:
                await connection.run(
                    [command for one in transactions for command in self._commands(one)], replies
                )
            except (RedisError, OSError, TimeoutError) as error:
                self._reason = error if not isinstance(error, RedisError) else ConnectionError(str(error))
                self._broken.set()
            confirmed, refusal = _outcome(transactions, replies)
            self._note(refusal)
            return confirmed

    def _commands(self, transaction: Sequence[Outgoing]) -> Iterator[Command]:
        # All of them or none: else one that is refused would be overtaken by those behind it.
        yield ("MULTI",)
        for event in transaction:
            yield (*self._add, "key", event.key, "id", event.id, "body", event.body)
        yield ("EXEC",)

    def _note(self, refusal: str | None) -> None:
        if refusal is not None:
            refusal = f"Redis at {self.where} does not take events: {refusal}"
            if refusal != self._refusal:
                _logger.warning("events refused", server=self.where, reason=refusal)
        self._refusal = refusal


def _transactions(events: Sequence[Outgoing]) -> Iterator[Sequence[Outgoing]]:
    together: list[Outgoing] = []
    size = 0
    for event in events:
        if together and (len(together) == TRANSACTION_EVENTS or size + len(event.body) > TRANSACTION_BYTES):
            yield together
            together, size = [], 0
        together.append(event)
        size += len(event.body)
    if together:
        yield together


def _outcome(transactions: Sequence[Sequence[Outgoing]], replies: Sequence[Reply]) -> tuple[int, str | None]:
    """How many events from the first one on are kept, and why the next one was refused."""
    confirmed = place = 0
    for transaction in transactions:
        of_this = replies[place : place + len(transaction) + 2]
        place += len(transaction) + 2
        if len(of_this) < len(transaction) + 2:
            return confirmed, None
        errors = [reply for reply in (*of_this, *_list(of_this[-1])) if isinstance(reply, ResponseError)]
        if errors:
            return confirmed, str(errors[0])
        confirmed += len(transaction)
    return confirmed, None


def _list(reply: Reply) -> Sequence[Reply]:
    return reply if isinstance(reply, list) else ()
