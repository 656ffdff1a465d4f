"""Awaits what a callback answers. Edge: in a loop."""

import asyncio
from collections.abc import Callable
from typing import Any


async def ask(question: Callable[[Callable[[Any], None]], None]) -> Any:
    """What ``question`` answers by the callback that it is given; after a cancellation nobody hears it."""
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def done(result: Any) -> None:
        if not answer.done():
            answer.set_result(result)

    question(done)
    return await answer
