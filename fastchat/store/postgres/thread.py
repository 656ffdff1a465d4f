"""A thread with an event loop of its own: what a server answers is parsed beside the clients' loop."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop

from fastchat.ending import end

Result = TypeVar("Result")


class LoopThread:
    """Runs from its making to ``close``."""

    def __init__(self, name: str) -> None:
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def call(self, callback: Callable[..., object], *args: Any) -> None:
        """Has it called in this thread. From any other; raises RuntimeError after ``close``."""
        self.loop.call_soon_threadsafe(callback, *args)

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Waits for what it returns, or raises. Blocks; not from this thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def close(self) -> None:
        """Cancels what still runs, and ends. Blocks."""
        self.run(_cancel_all())
        self.call(self.loop.stop)
        self._thread.join()
        self.loop.close()


async def _cancel_all() -> None:
    await end([task for task in asyncio.all_tasks() if task is not asyncio.current_task()])
    # What they have closed lets go of its socket in the next turn.
    await asyncio.sleep(0)
