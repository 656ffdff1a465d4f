"""Coroutines of hooks: stepped where they are called, and carried on by a task when they have to wait.

Most hooks answer at once. For these there is no task, no turn of the loop, nothing but the call. But
libraries ask which task they run in, for their time limits and cancellations. So the first step is made in
the name of a *carrier*, a task that waits for something to carry; only where the coroutine has to wait, the
carrier takes it over, in the context that it began in, and the next one gets a carrier of its own.
"""

from __future__ import annotations

import asyncio
import functools
import types
from collections.abc import Callable, Generator
from typing import Any

from fastchat._hooks import Suspended, step

Done = Callable[[Any, BaseException | None], None]


class Carrier:
    """A task that carries on what was begun in its name."""

    def __init__(self, stepper: Stepper) -> None:
        self._stepper = stepper
        self._loop = stepper.loop
        self._load: Suspended | None = None
        self._parked: asyncio.Future[None] | None = None
        self.on_done: Done | None = None
        self.given_up = False
        self.task: asyncio.Task[None] = self._loop.create_task(self._run(), name="hook")

    def carry(self, load: Suspended) -> None:
        """Goes on with it when what it waits for is there."""
        self._load = load
        if self._parked is not None and not self._parked.done():
            self._parked.set_result(None)

    def cancel(self) -> None:
        """Asks the coroutine to stop; it may take its time, or refuse to."""
        self.given_up = True
        self.task.cancel()

    async def _run(self) -> None:
        while True:
            while (load := self._load) is None:
                self._parked = self._loop.create_future()
                await self._parked
            value, error = None, None
            try:
                value = await _carry_on(load)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as raised:
                error = raised
            self._load = None
            # Whoever waits for the answer goes on outside of this task: it may ask the next hook.
            if self.on_done is not None:
                self._loop.call_soon(self.on_done, value, error)
                self.on_done = None
            if not self._stepper.take_back(self):
                return


@types.coroutine
def _carry_on(load: Suspended) -> Generator[Any, Any, Any]:
    """What ``await`` does, from behind the first step, in the coroutine's own context."""
    coroutine, context, waits_for = load.coroutine, load.context, load.waits_for
    resume: Callable[[Any], Any]
    while True:
        try:
            sent = yield waits_for
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as error:
            resume, argument = coroutine.throw, error
        else:
            resume, argument = coroutine.send, sent
        try:
            waits_for = context.run(resume, argument)
        except StopIteration as stop:
            return stop.value


class Stepper:
    """Runs the coroutines of all hooks on one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._spare: Carrier | None = None
        self.task: asyncio.Task[None] | None = None
        """The spare carrier's."""
        self._carriers: set[Carrier] = set()
        self._closed = False

    def step(self, coroutine: Any) -> Any:
        """The coroutine's value; or the Carrier that calls ``on_done`` later, where it has to wait."""
        value = step(coroutine, self.loop, self.renew() if self.task is None else self.task)
        return self.hand_over(value) if type(value) is Suspended else value

    def renew(self) -> asyncio.Task[None]:
        """Makes a carrier, in the name of which the next coroutine begins."""
        carrier = self._spare = Carrier(self)
        self.task = carrier.task
        self._carriers.add(carrier)
        carrier.task.add_done_callback(functools.partial(self._on_end, carrier))
        return carrier.task

    def hand_over(self, load: Suspended) -> Carrier:
        """Has the carrier in whose name it began carry it on."""
        carrier, self._spare, self.task = self._spare, None, None
        assert carrier is not None
        carrier.carry(load)
        return carrier

    def _on_end(self, carrier: Carrier, task: asyncio.Task[None]) -> None:
        self._carriers.discard(carrier)
        if self._spare is carrier:
            self._spare = self.task = None

    def take_back(self, carrier: Carrier) -> bool:
        """Whether the carrier is to wait for another load."""
        if self._spare is not None or self._closed or carrier.given_up or carrier.task.cancelling():
            return False
        self._spare = carrier
        self.task = carrier.task
        return True

    async def close(self, timeout_s: float) -> int:
        """Cancels everything; returns how many coroutines have not ended in time."""
        self._closed = True
        tasks = [carrier.task for carrier in self._carriers if not carrier.task.done()]
        for task in tasks:
            task.cancel()
        if not tasks:
            return 0
        _, left = await asyncio.wait(tasks, timeout=timeout_s)
        return len(left)
