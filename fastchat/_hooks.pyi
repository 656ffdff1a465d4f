import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from typing import Any

from fastchat._events import Draft
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

def look_of(user: User, room: str, draft: Draft) -> Message: ...

class Suspended:
    coroutine: Coroutine[Any, Any, Any]
    context: Context
    waits_for: Any
    def __init__(self, coroutine: Coroutine[Any, Any, Any], context: Context, waits_for: Any) -> None: ...

def step(
    coroutine: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]
) -> Any: ...

class Counters:
    calls: int
    refused: int
    edited: int
    failed: int
    overdue: int
    skipped: int

class Question:
    chain: Any
    function: Callable[..., Any]
    args: tuple[Any, ...]
    result: Any
    error: BaseException | None
    on_answer: Callable[[Any], None]
    entry: Entry | None
    last: bool
    deadline: float
    index: int
    given_up: bool
    def __init__(self, chain: Any) -> None: ...
    def reply(self, answer: Any) -> None: ...

class Entry:
    session: Any
    command: dict[str, Any]
    draft: Draft
    membership: Any
    store: Any
    message: Message | None
    answer: Any
    after: Entry | None
    answered: bool
    first: bool
    def __init__(
        self,
        waiting: dict[Any, Entry],
        session: Any,
        command: dict[str, Any],
        draft: Draft,
        membership: Any,
        store: Any,
        finish_otherwise: Callable[[Entry], None],
        message: Message | None,
    ) -> None: ...
    def on_answer(self, answer: Any) -> None: ...

def work_off(pool: Any, worker: Any, waiting: deque[Question], done: deque[Question]) -> None: ...
def take_done(done: deque[Question], on_return: Callable[[], None]) -> None: ...

class Quick:
    def __init__(
        self,
        functions: Sequence[Callable[..., Any]],
        counters: Sequence[Counters],
        stepper: Any,
        loop: asyncio.AbstractEventLoop,
        all_quick: bool,
        go_on: Callable[[Any, int, Any, BaseException | None], Any],
    ) -> None: ...
    def ask(self, subject: Any) -> Any: ...
    def ask_draft(self, user: User, room: str, draft: Draft) -> tuple[Message, Any] | None: ...

UNASKED: object

class Gate:
    def __init__(self, quick: Quick | None, waiting: dict[Any, Any], all_in_forms: bool) -> None: ...
    def look(self, session: Any, room: str, draft: Draft) -> Any: ...
