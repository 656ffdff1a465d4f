import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

from fastchat.people import User

class Message:
    user: User
    room: str
    text: str
    data: dict[str, Any] | None
    id: str | None
    at_ms: int
    edits: int | None
    def __init__(
        self,
        user: User,
        room: str,
        text: str,
        data: dict[str, Any] | None,
        id: str | None,  # noqa: A002
        at_ms: int,
        edits: int | None,
    ) -> None: ...

class Suspended:
    coroutine: Coroutine[Any, Any, Any]
    context: Context
    waits_for: Any
    def __init__(self, coroutine: Coroutine[Any, Any, Any], context: Context, waits_for: Any) -> None: ...

def step(
    coroutine: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]
) -> Any: ...
