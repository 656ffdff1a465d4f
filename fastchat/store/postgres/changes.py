"""Changes whose outcome is known before anybody is told: where a connection breaks, they are tried again."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastchat.messages import WireError
from fastchat.store.errors import unavailable
from fastchat.store.postgres.connection import Connection, Reader
from fastchat.store.postgres.errors import is_of_connection, is_of_others
from fastchat.store.postgres.thread import LoopThread

RETRY_S = 0.5

Change = Callable[[Connection, bool], Awaitable[Any]]
"""Changes something; it is told whether that may have been done already. MUST then come to the same."""


class Changes:
    """One change after the other, on a connection of their own.

    ``submit`` as a reader's, so that questions can be asked behind what was submitted before.
    """

    def __init__(self, thread: LoopThread, connection: Reader) -> None:
        """``connection``: a single one."""
        self.deliver = connection.deliver
        self.submit = connection.submit
        self._thread = thread
        self._connection = connection
        self._waiting: set[_Attempt] = set()
        self._closed = False

    def make(self, change: Change, done: Callable[[Any], None]) -> None:
        """Makes the change; ``done`` gets what it returns, or a WireError: then nothing was changed."""
        self._try(_Attempt(change, done))

    def later(self, callback: Callable[[], object]) -> None:
        """Has it called in the loop's thread after a while; not any more after ``close``."""
        if not self._closed:
            self._thread.call(self._thread.loop.call_later, RETRY_S, self.deliver, callback)

    def close(self) -> None:
        """Answers what nobody knows the outcome of. In the thread, when the connection is closed."""
        self._closed = True
        for attempt in self._waiting:
            self.deliver(attempt.done, unavailable("it is closed"))
        self._waiting.clear()

    def _try(self, attempt: "_Attempt") -> None:
        def on_answer(result: Any) -> None:
            if isinstance(result, WireError) and attempt.in_doubt and not self._closed:
                self._waiting.add(attempt)
                self.later(lambda: self._again(attempt))
            else:
                attempt.done(result)

        self._connection.submit(attempt.run, on_answer)

    def _again(self, attempt: "_Attempt") -> None:
        if attempt in self._waiting:
            self._waiting.remove(attempt)
            self._try(attempt)


class _Attempt:
    def __init__(self, change: Change, done: Callable[[Any], None]) -> None:
        self._change = change
        self.done = done
        self.in_doubt = False

    async def run(self, connection: Connection) -> Any:
        while True:
            again, self.in_doubt = self.in_doubt, True
            try:
                result = await self._change(connection, again)
            except Exception as error:
                if is_of_others(error):
                    self.in_doubt = again
                    continue
                self.in_doubt = is_of_connection(error)
                raise
            self.in_doubt = False
            return result
