"""Ends tasks for certain. Edge: awaits them."""

import asyncio
from collections.abc import Collection
from typing import Any

AGAIN_S = 0.2


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancels tasks, and returns when all of them have ended, whatever with.

    A library may forget a cancellation that comes in the same moment as what it waits for, as
    ``asyncio.wait_for`` does up to Python 3.11; so a task that does not end is cancelled again.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_S)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not report it
