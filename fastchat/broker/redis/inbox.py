"""Commands from other services by a Redis stream, which all nodes read as one consumer group."""

import asyncio
import random
import secrets
from collections.abc import Callable, Sequence

from redis.exceptions import ResponseError

from fastchat.broker.answers import Answers, Taken, pass_on, retry_delay_s
from fastchat.broker.interface import Delivery
from fastchat.broker.redis.connection import Command, Connection, RedisLink, Reply

ACK_WAIT_S = 15.0
"""A node that says nothing of a command for so long has died: another one gets it."""

BLOCK_MS = 1000
DEAD_LETTERS_MAX = 100_000
REASON_BYTES = 4096
GROUP = "fastchat"
FORGOTTEN_AFTER_MS = 86_400_000


class RedisInbox(RedisLink):
    """The stream is ``fastchat.inbox``, where fastchat is the name; an entry's field ``body`` is the command.

    A field ``id`` names it, else the entry's own id does. What can never be done is added to
    ``fastchat.inbox.dead``, with the field ``reason`` and the entry's fields. What is answered is removed.
    """

    def __init__(self, url: str, name: str, ack_wait_s: float = ACK_WAIT_S) -> None:
        super().__init__(url, "inbox")
        self._stream = f"{name}.inbox"
        self._dead = f"{name}.inbox.dead"
        self._ack_wait_s = ack_wait_s
        self._consumer = secrets.token_hex(8)
        self._on_delivery: Callable[[Delivery], None] = lambda delivery: None
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._space = asyncio.Event()
        self._answers: Answers[Sequence[bytes]] = Answers(self._work.set)
        self._later: dict[str, asyncio.TimerHandle] = {}
        self._reading: Connection | None = None
        self._telling: Connection | None = None

    def listen(self, on_delivery: Callable[[Delivery], None]) -> None:
        self._on_delivery = on_delivery

    async def _connect(self) -> None:
        # Reading waits at the server, so that answers need a connection of their own.
        self._reading = await self._open()
        self._telling = await self._open()
        try:
            await self._telling.run_one("XGROUP", "CREATE", self._stream, GROUP, "0", "MKSTREAM")
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise ConnectionError(f"{self._stream} cannot be read by a group: {error}") from error
        await self._forget_the_dead(self._telling)

    async def _forget_the_dead(self, telling: Connection) -> None:
        """Consumers of nodes that ended long ago, with nothing left unanswered."""
        for fields in await telling.run_one("XINFO", "CONSUMERS", self._stream, GROUP):
            consumer = dict(zip(fields[::2], fields[1::2], strict=True))
            if not consumer[b"pending"] and consumer[b"idle"] > FORGOTTEN_AFTER_MS:
                await telling.run_one("XGROUP", "DELCONSUMER", self._stream, GROUP, consumer[b"name"])

    def _on_connection(self) -> None:
        super()._on_connection()
        self._work.set()  # answers that the last connection did not take

    async def _serve(self) -> None:
        reading, telling = self._reading, self._telling
        assert reading is not None
        assert telling is not None
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read(reading))
            tasks.create_task(self._answer(telling))
            tasks.create_task(self._hold(telling))
            tasks.create_task(self._claim(telling))

    async def _read(self, reading: Connection) -> None:
        while True:
            count = self._answers.room - len(self._later)
            if count <= 0:
                self._space.clear()
                await self._space.wait()
                continue
            reply = await reading.run_one(
                "XREADGROUP", "GROUP", GROUP, self._consumer, "COUNT", count,
                "BLOCK", BLOCK_MS, "STREAMS", self._stream, ">",
            )  # fmt: skip
            for _, entries in reply or ():
                self._take(entries, times=1)

    async def _claim(self, telling: Connection) -> None:
        """Takes over what other nodes have left."""
        while True:
            start: bytes | str = "-"
            while start != b"0-0" and (count := self._answers.room - len(self._later)) > 0:
                reply = await telling.run_one(
                    "XAUTOCLAIM", self._stream, GROUP, self._consumer,
                    int(self._ack_wait_s * 1000), start, "COUNT", count,
                )  # fmt: skip
                start = reply[0]
                self._take(reply[1], times=2)
            await asyncio.sleep(self._ack_wait_s / 2)

    async def _hold(self, telling: Connection) -> None:
        """Says of what is not answered that it is being worked on, before its time is over."""
        while True:
            await asyncio.sleep(self._ack_wait_s / 3)
            held = [*self._answers.unanswered, *self._later]
            if held:
                await telling.run_one("XCLAIM", self._stream, GROUP, self._consumer, 0, *held, "JUSTID")

    def _take(self, entries: Sequence[Reply], times: int) -> None:
        for entry_id, fields in entries:
            if fields is None:  # removed since
                continue
            key = entry_id.decode()
            if key not in self._later:
                self._pass_on(Taken(key, tuple(fields), _field(fields, b"body"), times))

    def _pass_on(self, taken: Taken[Sequence[bytes]]) -> None:
        own_id = _field(taken.mark, b"id").decode(errors="replace")
        delivery = self._answers.take(taken, own_id or taken.key)
        if delivery is not None:
            pass_on(delivery, self._on_delivery)

    def _pass_on_again(self, taken: Taken[Sequence[bytes]]) -> None:
        del self._later[taken.key]
        self._pass_on(Taken(taken.key, taken.mark, taken.body, taken.times + 1))

    async def _answer(self, telling: Connection) -> None:
        ready = self._answers.ready
        while True:
            await self._work.wait()
            self._work.clear()
            while ready:
                batch = tuple(ready)
                commands = [command for taken in batch for command in self._commands(taken)]
                for reply in await telling.run(commands) if commands else ():
                    if isinstance(reply, ResponseError):
                        raise reply
                for taken in batch:
                    ready.popleft()
                    self._put_off(taken)
            self._idle.set()
            self._space.set()

    def _commands(self, taken: Taken[Sequence[bytes]]) -> Sequence[Command]:
        if taken.verdict == "retry":
            return ()
        done: list[Command] = [("XACK", self._stream, GROUP, taken.key), ("XDEL", self._stream, taken.key)]
        if taken.verdict == "accept":
            return done
        reason = taken.reason.encode()[:REASON_BYTES]
        dead: Command = (
            "XADD",
            self._dead,
            "MAXLEN",
            "~",
            DEAD_LETTERS_MAX,
            "*",
            "reason",
            reason,
            *taken.mark,
        )
        # A dead letter may come twice, where the connection ends in between; never not at all.
        return [dead, *done]

    def _put_off(self, taken: Taken[Sequence[bytes]]) -> None:
        # Redis has no delays: it stays this node's until then, or another one's, should this one die.
        if taken.verdict == "retry":
            delay_s = retry_delay_s(taken.times, random.random())
            loop = asyncio.get_running_loop()
            self._later[taken.key] = loop.call_later(delay_s, self._pass_on_again, taken)

    async def close(self) -> None:
        await super().close()
        for timer in self._later.values():
            timer.cancel()
        self._later.clear()

    async def _finish(self) -> None:
        while self._answers.ready:
            self._idle.clear()
            await self._idle.wait()


def _field(fields: Sequence[bytes], name: bytes) -> bytes:
    for place in range(0, len(fields) - 1, 2):
        if fields[place] == name:
            return fields[place + 1]
    return b""
