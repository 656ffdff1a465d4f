"""Hooks in their order: what they may answer, what becomes of those that fail, hang, or answer nonsense."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from fastchat._events import Draft
from fastchat._events import Kind as EventKind
from fastchat._hooks import look_of
from fastchat.hooks import Kind, Refuse, Rules, Runner, collect
from fastchat.hooks.interface import REASON_LENGTH_MAX, Message, Question, clean_reason
from fastchat.messages import WireError
from fastchat.people import User
from fastchat.session import Limits, check_content

ALICE = User("alice")
START = dict.fromkeys(Kind, Rules(timeout_s=10))

Start = Callable[..., Runner]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    runners: list[Runner] = []

    def start(*owners: object, rules: Mapping[Kind, Rules] = START, threads: int = 2) -> Runner:
        runner = Runner(collect(owners), rules, threads, lambda *content: check_content(Limits(), *content))
        runners.append(runner)
        return runner

    yield start
    for runner in runners:
        await runner.close()


def ask(runner: Runner, text: str, data: dict[str, Any] | None = None) -> Any:
    """The answer to who wants to say this; the message itself where it may be said as it is."""
    fields: dict[str, Any] = {"text": text} if data is None else {"text": text, "data": data}
    draft = Draft(EventKind.MESSAGE, ALICE.name, 0, fields)
    looked = runner.ask_draft(ALICE, "lobby", draft)
    return look_of(ALICE, "lobby", draft) if looked is None else looked[1]


async def answer_to(asked: Any) -> Any:
    """The answer, whether it was there at once or not."""
    if not isinstance(asked, Question):
        return asked
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    asked.on_answer = answer.set_result
    return await answer


async def say(runner: Runner, text: str, data: dict[str, Any] | None = None) -> Any:
    """The text and data as they are sent, or the error."""
    answer = await answer_to(ask(runner, text, data))
    return answer if isinstance(answer, WireError) else (answer.text, answer.data)


class Async:
    """The same hook in both ways."""

    def __init__(self, hook: Callable[[Message], Any]) -> None:
        self._hook = hook

    async def on_message(self, message: Message) -> Any:
        return self._hook(message)


class Waiting(Async):
    async def on_message(self, message: Message) -> Any:
        await asyncio.sleep(0)
        return self._hook(message)


class Threaded(Async):
    def on_message(self, message: Message) -> Any:
        return self._hook(message)


WAYS = pytest.mark.parametrize("way", [Async, Waiting, Threaded])


@WAYS
async def test_none_lets_it_pass(start: Start, way: type[Async]) -> None:
    assert await say(start(way(lambda message: None)), "hi", {"a": 1}) == ("hi", {"a": 1})


@WAYS
@pytest.mark.parametrize(
    ("result", "sent"),
    [
        ("bye", ("bye", {"a": 1})),
        ({"text": "bye"}, ("bye", {"a": 1})),
        ({"data": None}, ("hi", None)),
        ({"text": "bye", "data": {"b": 2}}, ("bye", {"b": 2})),
    ],
)
async def test_it_may_be_changed(start: Start, way: type[Async], result: Any, sent: Any) -> None:
    runner = start(way(lambda message: result))
    assert await say(runner, "hi", {"a": 1}) == sent
    assert runner.hooks[0].counters.edited == 1


@WAYS
async def test_it_may_be_refused(start: Start, way: type[Async]) -> None:
    def refuse(message: Message) -> None:
        raise Refuse("not before six")

    runner = start(way(refuse))
    error = await say(runner, "hi")
    assert (error.code, error.message, error.retry_after_ms) == ("refused", "not before six", None)
    assert (runner.hooks[0].counters.refused, runner.hooks[0].counters.failed) == (1, 0)


@WAYS
@pytest.mark.parametrize(
    "result", [1, b"x", {}, {"txt": "x"}, "", "\ud800", "x" * 5000, {"text": None}, {"data": [1]}]
)
async def test_nonsense_is_a_failure(start: Start, way: type[Async], result: Any) -> None:
    runner = start(way(lambda message: result))
    error = await say(runner, "hi")
    assert (error.code, error.retry_after_ms) == ("refused", 1000)
    assert runner.hooks[0].counters.failed == 1


@WAYS
@pytest.mark.parametrize("refuses", [True, False])
async def test_a_hook_that_fails_refuses_or_passes(start: Start, way: type[Async], refuses: bool) -> None:
    runner = start(way(lambda message: 1 / 0), rules={Kind.ON_MESSAGE: Rules(10, refuses)})
    answer = await say(runner, "hi")
    assert isinstance(answer, WireError) if refuses else answer == ("hi", None)
    assert runner.hooks[0].counters.failed == 1


@WAYS
async def test_hooks_see_what_those_before_them_have_made_of_it(start: Start, way: type[Async]) -> None:
    runner = start(way(lambda message: message.text + "1"), way(lambda message: message.text + "2"))
    assert await say(runner, "0") == ("012", None)


@WAYS
async def test_the_first_refusal_counts(start: Start, way: type[Async]) -> None:
    asked: list[Message] = []

    def refuse(message: Message) -> None:
        raise Refuse("first")

    runner = start(way(lambda message: None), way(refuse), way(asked.append))
    assert (await say(runner, "hi")).message == "first"
    assert asked == []


async def test_all_ways_go_together(start: Start) -> None:
    ways = (Async, Threaded, Waiting, Threaded, Async)
    runner = start(*(way(lambda message: message.text + "x") for way in ways))
    assert await asyncio.gather(*(say(runner, str(i)) for i in range(50))) == [
        (f"{i}xxxxx", None) for i in range(50)
    ]


@pytest.mark.parametrize("refuses", [True, False])
async def test_a_coroutine_that_hangs_is_cancelled(start: Start, refuses: bool) -> None:
    cancelled = asyncio.Event()

    class Hangs:
        async def on_message(self, message: Message) -> None:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                cancelled.set()

    runner = start(Hangs(), Async(lambda message: "seen"), rules={Kind.ON_MESSAGE: Rules(0.01, refuses)})
    answer = await say(runner, "hi")
    assert isinstance(answer, WireError) if refuses else answer == ("seen", None)
    await asyncio.wait_for(cancelled.wait(), 10)
    assert (runner.hooks[0].counters.overdue, runner.hooks[0].counters.failed) == (1, 0)


@pytest.mark.parametrize("refuses", [True, False])
async def test_threads_that_hang_are_given_up_and_at_last_not_asked(start: Start, refuses: bool) -> None:
    gate = threading.Event()
    rules = {Kind.ON_MESSAGE: Rules(0.05, refuses)}
    runner = start(Threaded(lambda message: gate.wait()), Async(lambda message: "seen"), rules=rules)
    counters = runner.hooks[0].counters
    answers = []
    try:
        while not counters.skipped:
            answers += await asyncio.gather(*(say(runner, "hi") for _ in range(3)))
    finally:
        gate.set()
    for answer in answers:
        assert isinstance(answer, WireError) if refuses else answer == ("seen", None)
    assert counters.overdue >= 2
    assert counters.skipped + counters.overdue == counters.calls == len(answers)


async def test_a_function_that_returns_a_coroutine_is_told_what_to_do(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    async def really() -> None:
        raise AssertionError("nobody awaits it")

    runner = start(Threaded(lambda message: really()))
    assert isinstance(await say(runner, "hi"), WireError)
    assert runner.hooks[0].counters.failed == 1


async def test_failures_are_logged_but_not_each(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    runner = start(Async(lambda message: 1 / 0))
    for _ in range(5):
        await say(runner, "hi")
    assert runner.hooks[0].counters.failed == 5
    assert capsys.readouterr().out.count("a hook has failed") == 1


async def test_close_ends_what_waits(start: Start) -> None:
    ended: list[bool] = []

    class Hangs:
        async def on_message(self, message: Message) -> None:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                ended.append(True)

    runner = start(Hangs())
    asked = ask(runner, "hi")
    asked.on_answer = lambda answer: None
    await asyncio.sleep(0)
    await runner.close()
    assert ended == [True]


def test_reasons_are_one_visible_line() -> None:
    assert clean_reason("be\u202e nice\n\n please\x1b[31m\x00\u2028") == "be nice please [31m"
    assert clean_reason("x" * 10_000) == "x" * REASON_LENGTH_MAX
    assert clean_reason("") == ""
