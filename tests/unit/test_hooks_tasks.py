"""Hooks that are coroutines: stepped at once, carried on by a task where they wait."""

import asyncio
import contextvars
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fastchat.hooks.tasks import Carrier, Stepper

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nothing")


@pytest.fixture
async def stepper() -> AsyncIterator[Stepper]:
    stepper = Stepper(asyncio.get_running_loop())
    yield stepper
    assert await stepper.close(1) == 0


async def value_of(carrier: Any) -> Any:
    """What a coroutine that had to wait comes to."""
    assert isinstance(carrier, Carrier)
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def on_done(value: Any, error: BaseException | None) -> None:
        if error is None:
            answer.set_result(value)
        else:
            answer.set_exception(error)

    carrier.on_done = on_done
    return await answer


async def test_what_does_not_wait_has_its_value_at_once(stepper: Stepper) -> None:
    async def answer() -> str:
        return "done"

    before = len(asyncio.all_tasks())
    assert [stepper.step(answer()) for _ in range(10)] == ["done"] * 10
    assert len(asyncio.all_tasks()) == before + 1, "one carrier is all that there is"


async def test_what_it_raises_is_raised_at_once(stepper: Stepper) -> None:
    async def fail() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError):
        stepper.step(fail())


async def test_what_waits_goes_on_later(stepper: Stepper) -> None:
    loop = asyncio.get_running_loop()
    first: asyncio.Future[str] = loop.create_future()
    second: asyncio.Future[str] = loop.create_future()

    async def answer() -> str:
        one = await first
        await asyncio.sleep(0)
        return one + await second

    carrier = stepper.step(answer())
    first.set_result("one ")
    second.set_result("two")
    assert await value_of(carrier) == "one two"


async def test_what_it_raises_later_is_told(stepper: Stepper) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError("gone")

    with pytest.raises(LookupError):
        await value_of(stepper.step(fail()))


async def test_it_runs_in_one_task_from_the_first_step_on(stepper: Stepper) -> None:
    async def tasks() -> list[object]:
        before = asyncio.current_task()
        await asyncio.sleep(0)
        return [before, asyncio.current_task()]

    before, after = await value_of(stepper.step(tasks()))
    assert before is after is not None
    assert before is not asyncio.current_task()


async def test_time_limits_of_its_own_work(stepper: Stepper) -> None:
    async def limited() -> str:
        try:
            async with asyncio.timeout(0):
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            return "over"
        return "never"

    assert await value_of(stepper.step(limited())) == "over"


async def test_context_variables_are_its_own(stepper: Stepper) -> None:
    async def change(name: str) -> str:
        token = variable.set(name)
        await asyncio.sleep(0)
        now = variable.get()
        variable.reset(token)
        return now

    one, two = stepper.step(change("one")), stepper.step(change("two"))
    assert [*await asyncio.gather(value_of(one), value_of(two))] == ["one", "two"]

    async def keep() -> str:
        before = variable.get()
        variable.set("kept")
        return before

    assert [stepper.step(keep()), stepper.step(keep())] == ["nothing", "nothing"]
    assert variable.get() == "nothing"


async def test_several_may_wait_and_their_tasks_are_used_again(stepper: Stepper) -> None:
    async def wait() -> object:
        await asyncio.sleep(0)
        return asyncio.current_task()

    first = await asyncio.gather(*(value_of(stepper.step(wait())) for _ in range(5)))
    assert len(set(first)) == 5
    assert await value_of(stepper.step(wait())) in first


async def test_one_that_is_cancelled_ends_and_no_other(stepper: Stepper) -> None:
    ended = []

    async def wait() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(asyncio.current_task())

    carrier, other = stepper.step(wait()), stepper.step(wait())
    await asyncio.sleep(0)
    carrier.cancel()
    with pytest.raises(asyncio.CancelledError):
        await value_of(carrier)
    assert ended == [carrier.task]
    assert not other.task.done()


async def test_one_that_does_not_want_to_end_is_left_behind() -> None:
    stepper = Stepper(asyncio.get_running_loop())
    free: asyncio.Future[None] = stepper.loop.create_future()

    async def wait() -> None:
        while not free.done():
            try:
                await asyncio.shield(free)
            except asyncio.CancelledError:
                continue

    carrier = stepper.step(wait())
    await asyncio.sleep(0)
    assert await stepper.close(0) == 1
    free.set_result(None)
    await asyncio.wait([carrier.task])
