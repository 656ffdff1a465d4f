"""Runs hooks: in their order, each within its time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastchat import log
from fastchat._hooks import Gate
from fastchat.auth.interface import Credentials
from fastchat.hooks.chains import ActionChain, Check, CredentialsChain, EventChain, Hook, MessageChain
from fastchat.hooks.interface import Kind, Question, Rules
from fastchat.hooks.loading import Installed
from fastchat.hooks.tasks import Stepper
from fastchat.hooks.threads import Pool
from fastchat.messages import WireError
from fastchat.people import User

EVENTS = (Kind.ON_JOIN, Kind.ON_LEAVE, Kind.ON_CONNECT, Kind.ON_DISCONNECT)
"""Hooks that are told of what has happened."""

UNTOLD_MAX = 10_000
"""Events that hooks have not dealt with; of more they are not told."""

CLOSE_TIMEOUT_S = 1.0
"""How long hooks may take to end when the server stops."""

logger = log.get_logger(__name__)


class Runner:
    """All hooks of one server. MUST be made in the loop that it is to run on, and closed there."""

    def __init__(
        self, installed: Sequence[Installed], rules: Mapping[Kind, Rules], threads: int, check: Check
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._stepper = Stepper(self._loop)
        self._threads = threads
        self._pools: dict[object, Pool] = {}
        self.hooks = [self._make(one, rules.get(one.kind, Rules(refuses=False))) for one in installed]
        self._messages = MessageChain(self._of(Kind.ON_MESSAGE), self._stepper, time.monotonic, check)
        self._actions = ActionChain(self._of(Kind.AUTHORIZE), self._stepper, time.monotonic)
        self._credentials = CredentialsChain(self._of(Kind.AUTHENTICATE), self._stepper, time.monotonic)
        self._events: dict[Kind, list[EventChain]] = {
            kind: [EventChain([hook], self._stepper, time.monotonic) for hook in self._of(kind)]
            for kind in EVENTS
        }
        self._happened: list[tuple[EventChain, tuple[Any, ...]]] = []
        self._untold = 0
        self._all_told = asyncio.Event()
        self._started: set[asyncio.Task[None]] = set()
        self.waiting: dict[Any, Any] = {}
        self.messages = bool(self._messages.hooks)
        self.actions = bool(self._actions.hooks)
        self.credentials = bool(self._credentials.hooks)
        self.ask_draft = self._messages.quick.ask_draft
        self.look = Gate(self._messages.quick if self.messages else None, self.waiting, self.actions).look
        self.ask_action = self._actions.ask

    def _of(self, kind: Kind) -> list[Hook]:
        return [hook for hook in self.hooks if hook.kind is kind]

    def _make(self, installed: Installed, rules: Rules) -> Hook:
        """A hook; those of one owner that are told of events share a pool, which keeps the order."""
        hook = Hook(installed, rules)
        if not hook.asynchronous and hook.kind is not Kind.ON_START:
            key = id(installed.owner) if hook.kind in EVENTS else installed
            if key not in self._pools:
                self._pools[key] = Pool(
                    hook.name,
                    self._threads,
                    rules.timeout_s,
                    clock=time.monotonic,
                    call_soon=self._loop.call_soon,
                    call_later=self._loop.call_later,
                    deliver=self._loop.call_soon_threadsafe,
                )
            hook.pool = self._pools[key]
        return hook

    def authenticate(self, credentials: Credentials, done: Callable[[User | WireError | None], None]) -> None:
        """Who the client is; None where no hook says anything about it."""
        answer = self._credentials.ask(credentials)
        if type(answer) is Question:
            answer.on_answer = done
        else:
            done(answer)

    # Events

    def tell(self, kind: Kind, *args: Any) -> None:
        """Has hooks called about what has happened, in this order, after this turn of the loop."""
        for chain in self._events[kind]:
            if self._untold >= UNTOLD_MAX:
                chain.hooks[0].counters.skipped += 1
                continue
            if not self._happened:
                self._loop.call_soon(self._tell)
            self._untold += 1
            self._happened.append((chain, args))

    def _tell(self) -> None:
        happened, self._happened = self._happened, []
        for chain, args in happened:
            answer = chain.ask(*args)
            if type(answer) is Question:
                answer.on_answer = self._on_told
            else:
                self._on_told(answer)

    def _on_told(self, answer: object) -> None:
        self._untold -= 1
        if not self._untold:
            self._all_told.set()

    # The beginning and the end

    def start(self, server: object) -> None:
        """Calls ``on_start(server)``; what is ``async`` runs until it ends or the server stops."""
        for hook in self._of(Kind.ON_START):
            hook.counters.calls += 1
            if hook.asynchronous:
                task = self._loop.create_task(self._run(hook, server), name=hook.name)
                self._started.add(task)
                task.add_done_callback(self._started.discard)
            else:
                try:
                    hook.function(server)
                except Exception as error:
                    hook.fail(error, time.monotonic())

    async def _run(self, hook: Hook, server: object) -> None:
        try:
            await hook.function(server)
        except Exception as error:
            hook.fail(error, time.monotonic())

    async def close(self) -> None:
        """Ends what can be ended; a call that hangs does not hold up the stop."""
        self._all_told.clear()
        if self._untold:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_told.wait(), CLOSE_TIMEOUT_S)
        for task in self._started:
            task.cancel()
        left = 0
        if self._started:
            left = len((await asyncio.wait(self._started, timeout=CLOSE_TIMEOUT_S))[1])
        left += await self._stepper.close(CLOSE_TIMEOUT_S)
        for pool in self._pools.values():
            left += await asyncio.to_thread(pool.close, CLOSE_TIMEOUT_S)
        if left:
            logger.warning("hooks have not ended and are left behind", calls=left)
