"""A connection to a broker that is kept: when it is lost it is made again, after delays that grow."""

import asyncio
import random
from abc import ABC, abstractmethod
from contextlib import suppress

from fastchat.broker.address import parse_addresses, without_secrets
from fastchat.broker.backoff import Backoff
from fastchat.broker.interface import BrokerError
from fastchat.ending import end
from fastchat.log import get_logger

START_WAIT_S = 2.0
CONNECT_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 1.0

PING_INTERVAL_S = 1.0
ANSWER_TIMEOUT_S = 3.0
"""A server that answers nothing for so long is taken for gone: it is paused, or its machine is."""

_logger = get_logger(__name__)


class Link(ABC):
    """What every connection to a broker has in common; a subclass knows how to make and to use it.

    ``problem`` is None from a connection's being usable until it is lost.
    """

    def __init__(self, url: str, role: str) -> None:
        """``role`` is for the log: ``bus``, ``events`` or ``inbox``. Raises BrokerError for a bad address."""
        self._url = url
        self._role = role
        self.where = ", ".join(address.where for address in parse_addresses(url))
        self._problem: str | None = f"not connected to {self.where} yet"
        self._tried = asyncio.Event()
        self._refused: BrokerError | None = None
        self._keeper: asyncio.Task[None] | None = None

    # For a subclass to fill in

    @abstractmethod
    async def _connect(self) -> None:
        """Makes the connection usable. Raises BrokerError for what only other settings can mend."""

    @abstractmethod
    async def _serve(self) -> None:
        """Uses the connection, and watches it; raises when it is lost."""

    @abstractmethod
    async def _disconnect(self) -> None:
        """Lets the connection go, or what there is of it. MUST NOT wait for the server."""

    async def _finish(self) -> None:
        """Waits for what was begun; has a second."""
        return

    # For everyone

    @property
    def problem(self) -> str | None:
        return self._problem

    @property
    def is_connected(self) -> bool:
        return self._problem is None

    async def start(self) -> None:
        self._keeper = asyncio.create_task(self._keep(), name=f"broker {self._role}")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._tried.wait(), START_WAIT_S)
        if self._refused is not None:
            refused = self._refused
            await self.close()
            raise refused

    async def close(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        if self.is_connected:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._finish(), CLOSE_TIMEOUT_S)
        await end([keeper])
        self._problem = "closed"

    async def _keep(self) -> None:
        backoff = Backoff()
        loop = asyncio.get_running_loop()
        while True:
            connected_at: float | None = None
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await self._connect()
                connected_at = loop.time()
                self._on_connection()
                await self._serve()
                raise ConnectionError("the connection is closed")
            except Exception as error:  # whatever it is, the broker is away: that has to be survived
                self._on_failure(error)
            finally:
                await self._let_go()
            if connected_at is not None:
                backoff.connected_for(loop.time() - connected_at)
            await asyncio.sleep(backoff.next_s(random.random()))

    def _on_connection(self) -> None:
        _logger.info("broker connected", role=self._role, server=self.where)
        self._problem = self._refused = None
        self._tried.set()

    def _on_failure(self, error: Exception) -> None:
        problem = self._describe(error)
        if isinstance(error, BrokerError) and not self._tried.is_set():
            # Whoever starts it tells of this one.
            self._refused = BrokerError(problem)
        elif problem != self._problem:
            _logger.warning("broker away", role=self._role, server=self.where, reason=problem)
        self._problem = problem
        self._tried.set()

    async def _let_go(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._disconnect()
        except Exception as error:  # the library's own trouble with a connection that is gone
            _logger.debug("broker not closed cleanly", role=self._role, reason=type(error).__name__)

    def _describe(self, error: Exception) -> str:
        while isinstance(error, ExceptionGroup):  # several tasks use the connection: the first says why
            error = error.exceptions[0]
        if isinstance(error, BrokerError):
            return without_secrets(str(error), self._url, f"{self.where} refuses the connection")
        if isinstance(error, TimeoutError):
            return f"{self.where} does not answer"
        kind = type(error).__name__
        return f"{self.where}: {without_secrets(str(error) or kind, self._url, kind)}"
