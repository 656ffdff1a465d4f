"""Runs hooks: in their order, each within its time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastchat import log
from fastchat.hooks.chains import ActionChain, Check, Hook, MessageChain
from fastchat.hooks.interface import Kind, Question, Rules
from fastchat.hooks.loading import Installed
from fastchat.hooks.tasks import Stepper
from fastchat.hooks.threads import Pool

CLOSE_TIMEOUT_S = 1.0
"""How long hooks may take to end when the server stops."""

logger = log.get_logger(__name__)


class Runner:
    """All hooks of one server. MUST be made in the loop that it is to run on, and closed there."""

    def __init__(
        self, installed: Sequence[Installed], rules: Mapping[Kind, Rules], threads: int, check: Check
    ) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._stepper = Stepper(loop)
        self._threads = threads
        self.hooks = [Hook(one, rules.get(one.kind, Rules())) for one in installed]
        self._messages = MessageChain(self._of(Kind.ON_MESSAGE), self._stepper, time.monotonic, check)
        self._actions = ActionChain(self._of(Kind.AUTHORIZE), self._stepper, time.monotonic)
        for chain in (self._messages, self._actions):
            for hook in chain.hooks:
                self._give_pool(hook, chain.on_done)
        self.waiting: dict[Any, Any] = {}
        self.messages = bool(self._messages.hooks)
        self.actions = bool(self._actions.hooks)
        self.ask_message = self._messages.ask
        self.ask_action = self._actions.ask

    def _of(self, kind: Kind) -> list[Hook]:
        return [hook for hook in self.hooks if hook.kind is kind]

    def _give_pool(self, hook: Hook, on_done: Callable[[Question], None]) -> None:
        if hook.asynchronous:
            return
        hook.pool = Pool(
            hook.name,
            self._threads,
            hook.rules.timeout_s,
            on_done,
            clock=time.monotonic,
            call_soon=self._loop.call_soon,
            call_later=self._loop.call_later,
            deliver=self._loop.call_soon_threadsafe,
        )

    async def close(self) -> None:
        """Ends what can be ended; a call that hangs does not hold up the stop."""
        left = await self._stepper.close(CLOSE_TIMEOUT_S)
        for hook in self.hooks:
            if hook.pool is not None:
                left += await asyncio.to_thread(hook.pool.close, CLOSE_TIMEOUT_S)
        if left:
            logger.warning("hooks have not ended and are left behind", calls=left)
