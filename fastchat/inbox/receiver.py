"""The way from a broker's inbox to those who carry out what comes, and its end."""

import asyncio
import contextlib

from fastchat.broker.interface import InboxSource
from fastchat.inbox.executor import Executor

FINISH_S = 2.0
"""So long at the end is waited for what was begun; what takes longer comes again, and has no effect twice."""


class Receiver:
    """Takes commands from ``start`` to ``close``."""

    def __init__(self, source: InboxSource, executor: Executor) -> None:
        self.source = source
        self.executor = executor
        source.listen(executor.take)

    async def start(self) -> None:
        """Connects. Raises BrokerError as ``InboxSource.start`` does."""
        await self.source.start()

    async def close(self) -> None:
        """Gives back what was not begun, has the rest answered, and disconnects. While the store is open."""
        idle = asyncio.Event()
        self.executor.stop(idle.set)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(idle.wait(), FINISH_S)
        await self.source.close()
        self.executor.close()
