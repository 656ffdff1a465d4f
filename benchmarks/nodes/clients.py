"""Clients of several nodes in one process: they count what they hear, and go on when they are answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import cast

import orjson

from benchmarks.servers import Server

ROOM = "bench"
TEXT = "m" * 64
SENT, MESSAGE = b'{"type":"sent"', b'{"type":"message"'
TIMEOUT_S = 60.0


class Client(asyncio.Protocol):
    """One connection with lines. ``on_heard(messages, sents)`` is told of each read that brings any."""

    def __init__(self, name: str, on_heard: Callable[[int, int], None]) -> None:
        self.name = name
        self._on_heard = on_heard
        self.said = 0
        self._rest = b""
        self.joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no class of asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        hello: dict[str, object] = {"type": "hello", "user": self.name}
        self._write([hello, {"type": "join", "room": ROOM}])

    def _write(self, commands: Sequence[dict[str, object]]) -> None:
        self.transport.write(b"".join(orjson.dumps(command) + b"\n" for command in commands))

    def data_received(self, data: bytes) -> None:
        if not self.joined.done():
            self._rest += data
            if b'{"type":"error"' in self._rest:
                self.joined.set_exception(ConnectionError(self._rest.decode()))
            elif b'{"type":"joined"' in self._rest:
                self.joined.set_result(None)
            return
        # What marks a line may come in two pieces.
        lines, newline, rest = (self._rest + data).rpartition(b"\n")
        self._rest = rest
        if newline:
            self._on_heard(lines.count(MESSAGE), lines.count(SENT))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.joined.done():
            self.joined.set_exception(ConnectionError(f"{self.name} was sent away"))

    def say(self, times: int = 1) -> None:
        """Says something, each under an id of its own."""
        first, self.said = self.said, self.said + times
        self._write(
            [
                {"type": "send", "room": ROOM, "id": f"{number}", "text": TEXT}
                for number in range(first, self.said)
            ]
        )


async def join(node: Server, name: str, on_heard: Callable[[int, int], None]) -> Client:
    """A client that is in the room."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: Client(name, on_heard), "127.0.0.1", node.line_port)
    async with asyncio.timeout(TIMEOUT_S):
        await client.joined
    return client


class Tally:
    """How much was heard in all."""

    def __init__(self) -> None:
        self.messages = 0
        self.sents = 0
        self._changed = asyncio.Event()

    def add(self, messages: int, sents: int) -> None:
        self.messages += messages
        self.sents += sents
        self._changed.set()

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not done():
                self._changed.clear()
                await self._changed.wait()


def now() -> float:
    """Seconds of the clock that delays are taken from."""
    return time.perf_counter()
