"""Hooks in a running server: one that hangs, raises, is slow, edits or refuses, and nobody else notices."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastchat import Message
from fastchat.server import Server
from tests.clients import JsonLinesClient
from tests.integration.embedded import member, settings
from tests.server_process import ServerProcess

ROOT = Path(__file__).resolve().parents[2]

MODULE = """
from fastchat import Refuse

async def on_message(message):
    if "spam" in message.text:
        raise Refuse("no advertising here")
    if "damn" in message.text:
        return message.text.replace("damn", "****")
"""


class Gate:
    """A hook that lets messages through that say nothing of waiting, and others when the test says so."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.began = threading.Semaphore(0)

    def on_message(self, message: Message) -> None:
        if "wait" in message.text:
            self.began.release()
            self.opened.wait()


class AsyncGate:
    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.began = asyncio.Semaphore(0)

    async def on_message(self, message: Message) -> None:
        if "wait" in message.text:
            self.began.release()
            await self.opened.wait()


@pytest.fixture
def gate() -> Iterator[Gate]:
    before = {*threading.enumerate()}
    gate = Gate()
    yield gate
    gate.opened.set()
    for thread in threading.enumerate():
        if thread not in before and thread.name.startswith("hook "):
            thread.join(10)
            assert not thread.is_alive(), "a hook's thread is left"


async def test_a_module_that_the_configuration_names(
    start_server: Callable[..., ServerProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "housekeeping_hooks.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    server = start_server("hooks.modules=housekeeping_hooks")
    async with await JsonLinesClient.open(server.line) as alice:
        await alice.hello("alice")
        await alice.join("lobby")
        answer = await alice.ask("send", room="lobby", text="buy spam")
        assert (answer["code"], answer["message"]) == ("refused", "no advertising here")
        await alice.send("send", room="lobby", text="damn")
        assert (await alice.expect("message"))["text"] == "****"


async def test_while_a_thread_hangs_nobody_else_notices(gate: Gate) -> None:
    async with (
        Server(settings(), hooks=[gate]) as server,
        member(server, "alice") as alice,
        member(server, "bob") as bob,
    ):
        await alice.send("send", room="lobby", text="wait", ref="first")
        await alice.send("send", room="lobby", text="behind it", ref="second")
        await asyncio.to_thread(gate.began.acquire)
        for text in ("one", "two", "three"):
            assert (await bob.ask("send", room="lobby", text=text))["type"] == "sent"
            assert (await alice.expect("message"))["text"] == text
        assert (await alice.ask("ping"))["type"] == "pong"
        gate.opened.set()
        assert (await alice.expect("sent", ref="first"))["seq"] == 4
        assert (await alice.expect("sent", ref="second"))["seq"] == 5


async def test_while_a_coroutine_waits_nobody_else_notices() -> None:
    gate = AsyncGate()
    async with (
        Server(settings(), hooks=[gate]) as server,
        member(server, "alice") as alice,
        member(server, "bob") as bob,
    ):
        await alice.send("send", room="lobby", text="wait", ref="first")
        await alice.send("send", room="lobby", text="behind it", ref="second")
        await gate.began.acquire()
        assert (await bob.ask("send", room="lobby", text="one"))["seq"] == 1
        gate.opened.set()
        assert (await alice.expect("sent", ref="first"))["seq"] == 2
        assert (await alice.expect("sent", ref="second"))["seq"] == 3


@pytest.mark.parametrize(("failure", "expected"), [("refuse", "error"), ("pass", "sent")])
async def test_a_thread_that_never_comes_back_is_done_without(
    gate: Gate, failure: str, expected: str
) -> None:
    rules = {"on_message_timeout_ms": 300, "on_message_failure": failure, "threads": 2}
    # Who asks again and again until a thread is back asks any number of times.
    unlimited = {"messages_per_s": 0, "messages_per_s_per_user": 0}
    started = Server(settings(hooks=rules, limits=unlimited), hooks=[gate])
    async with started as server, member(server, "alice") as alice:
        for _ in range(2):
            assert (await alice.ask("send", room="lobby", text="wait"))["type"] == expected
        # All threads hang: the hook is down, and what it would let pass is not asked any more either.
        assert (await alice.ask("send", room="lobby", text="hi"))["type"] == expected
        assert server.hooks is not None
        counters = server.hooks.hooks[0].counters
        assert (counters.overdue, counters.skipped) == (2, 1)
        gate.opened.set()
        async with asyncio.timeout(10):
            lost = (-1, -1)
            while lost != (counters.overdue, counters.skipped):  # until it is asked again and in time
                lost = (counters.overdue, counters.skipped)
                answer = await alice.ask("send", room="lobby", text="hi")
        assert answer["type"] == "sent"


async def test_a_hook_that_hangs_does_not_hold_up_the_stop(gate: Gate) -> None:
    async with asyncio.timeout(10):
        async with Server(settings(), hooks=[gate]) as server, member(server, "alice") as alice:
            await alice.send("send", room="lobby", text="wait")
            await asyncio.to_thread(gate.began.acquire)
        assert not gate.opened.is_set()


async def test_a_hook_that_raises_costs_its_sender_one_message() -> None:
    class Broken:
        async def on_message(self, message: Message) -> None:
            if "crash" in message.text:
                raise RuntimeError("of all things")

    async with Server(settings(), hooks=[Broken()]) as server, member(server, "alice") as alice:
        answer = await alice.ask("send", room="lobby", text="crash")
        assert (answer["code"], answer["retry_after_ms"]) == ("refused", 1000)
        assert "of all things" not in answer["message"], "what goes wrong inside is not a client's business"
        assert (await alice.ask("send", room="lobby", text="hi"))["seq"] == 1
