"""The worked example does what its diagram in docs/events.md shows: arrow by arrow, on a real RabbitMQ."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any
from uuid import uuid4

import aio_pika
import orjson
import pytest

from examples import classic
from tests.integration.embedded import settings
from tests.services import rabbitmq

DIAGRAM = re.compile(r"```mermaid\nsequenceDiagram\n(.*?)```", re.DOTALL)
ARROW = re.compile(r"(\w+)->>(\w+): (.+)")
NOTE = re.compile(r"Note over consumer: (.+)")
WAIT_S = 50.0

Arrows = dict[tuple[str, str], list[str]]


def drawn() -> tuple[Arrows, list[str]]:
    """What passes from whom to whom, in order, and what the consumer prints, by the document."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "events.md").read_text()
    (diagram,) = DIAGRAM.findall(text)
    arrows: Arrows = defaultdict(list)
    for sender, receiver, label in ARROW.findall(diagram):
        arrows[sender, receiver].append(label)
    return arrows, NOTE.findall(diagram)


class Passed:
    """What has really passed."""

    def __init__(self) -> None:
        self.arrows: Arrows = defaultdict(list)
        self.printed: list[str] = []
        self._grew = asyncio.Event()

    def add(self, sender: str, receiver: str, label: str) -> None:
        self.arrows[sender, receiver].append(label)
        self._grew.set()

    def show(self, line: str) -> None:
        self.printed.append(line)
        self._grew.set()

    async def until(self, sender: str, receiver: str, label: str, times: int = 1) -> None:
        """Returns when this has passed so often."""
        async with asyncio.timeout(WAIT_S):
            while self.arrows[sender, receiver].count(label) < times:
                self._grew.clear()
                await self._grew.wait()

    async def first_line(self) -> str:
        async with asyncio.timeout(WAIT_S):
            while not self.printed:
                self._grew.clear()
                await self._grew.wait()
        return self.printed.pop(0)


class Client:
    """Says something, and writes down everything that passes."""

    def __init__(self, name: str, passed: Passed) -> None:
        self.name = name
        self._passed = passed

    async def open(self, address: str) -> None:
        host, port = address.rsplit(" ", 1)
        self._reader, self._writer = await asyncio.open_connection(host, int(port))
        self._listening = asyncio.create_task(self._listen())

    async def say(self, type: str, **fields: Any) -> None:
        self._passed.add(self.name, "fastchat", type)
        self._writer.write(orjson.dumps({"type": type, **fields}) + b"\n")
        await self._writer.drain()

    async def _listen(self) -> None:
        while line := await self._reader.readline():
            self._passed.add("fastchat", self.name, orjson.loads(line)["type"])

    async def close(self) -> None:
        self._passed.add(self.name, "fastchat", "closes")
        self._listening.cancel()
        self._writer.close()
        await self._writer.wait_closed()


async def overhear(url: str, name: str, passed: Passed, ready: asyncio.Event) -> None:
    """Writes down what the server tells the broker."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(f"{name}.events", "topic", durable=True)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, "#")
        ready.set()
        async with queue.iterator(no_ack=True) as messages:
            async for message in messages:
                passed.add("fastchat", "RabbitMQ", message.routing_key or "")


def key_of(event: dict[str, Any]) -> str:
    kind = event["type"].removeprefix("chat.fastchat.")
    return kind if kind.startswith("session.") else f"{kind}.{event['subject']}"


async def test_the_diagram_shows_what_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    arrows, notes = drawn()
    passed, ready, stop = Passed(), asyncio.Event(), asyncio.Event()
    name = f"classic-{uuid4().hex[:8]}"
    url = rabbitmq.SHARED.server().url
    describe = classic.describe

    def describe_and_note(event: dict[str, Any]) -> str:
        passed.add("RabbitMQ", "consumer", key_of(event))
        return describe(event)

    monkeypatch.setattr(classic, "describe", describe_and_note)
    monkeypatch.setattr(classic, "QUEUE", name)
    own = settings(broker={"url": url, "name": name}, rooms={"presence_interval_ms": 20})
    async with asyncio.timeout(WAIT_S):
        overhearing = asyncio.create_task(overhear(url, name, passed, ready))
        await ready.wait()
        serving = asyncio.create_task(classic.serve(own, passed.show, stop))
        try:
            await act(passed, (await passed.first_line()).removeprefix("chat with: nc "))
        finally:
            stop.set()
            await serving
            overhearing.cancel()
            await asyncio.wait({overhearing})
    assert dict(passed.arrows) == dict(arrows)
    assert passed.printed == notes


async def act(passed: Passed, address: str) -> None:
    """The story that the diagram tells: each step when all of the one before has passed."""
    alice, bob = Client("alice", passed), Client("bob", passed)
    for number, client in enumerate((alice, bob), 1):
        await client.open(address)
        await client.say("hello", user=client.name)
        await passed.until("RabbitMQ", "consumer", "session.connected", number)
        await client.say("join", room="lobby")
        for one in (alice, bob)[:number]:
            await passed.until("fastchat", one.name, "presence", number if one is alice else 1)
    await alice.say("send", room="lobby", text="hi")
    await passed.until("fastchat", "alice", "sent")
    await passed.until("fastchat", "bob", "message")
    await passed.until("RabbitMQ", "consumer", "message.lobby")
    await bob.say("ack", room="lobby", seq=1)
    for client in (alice, bob):
        await passed.until("fastchat", client.name, "receipt")
    await passed.until("RabbitMQ", "consumer", "receipt.lobby")
    await bob.close()
    await passed.until("RabbitMQ", "consumer", "session.disconnected")
    await passed.until("fastchat", "alice", "presence", 3)
    await alice.close()
    await passed.until("RabbitMQ", "consumer", "session.disconnected", 2)


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


async def started(url: str, folder: Path) -> asyncio.subprocess.Process:
    """The example as a person starts it, but on other ports."""
    own = {
        "FASTCHAT_STORE__URL": f"sqlite://{folder}/chat.db",
        "FASTCHAT_HTTP__LISTEN": free_address(),
        "FASTCHAT_LINE__LISTEN": free_address(),
        "FASTCHAT_BROKER__NAME": f"classic-{uuid4().hex[:8]}",
        "PYTHONUNBUFFERED": "1",
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "examples.classic", url,
        env=os.environ | own, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_ends_at_a_signal_and_quietly(number: signal.Signals, tmp_path: Path) -> None:
    process = await started(rabbitmq.SHARED.server().url, tmp_path)
    assert process.stdout is not None
    async with asyncio.timeout(WAIT_S):
        while not (line := await process.stdout.readline()).startswith(b"chat with: nc "):
            assert line, "it ended before it was ready"
        process.send_signal(number)
        rest = await process.stdout.read()
        assert await process.wait() == 0
    assert b"Traceback" not in rest, rest.decode()
    assert b"exception" not in rest, rest.decode()


async def test_a_wrong_password_is_one_line(tmp_path: Path) -> None:
    url = rabbitmq.SHARED.server().url.replace("guest:guest@", "guest:wrong@")
    process = await started(url, tmp_path)
    async with asyncio.timeout(WAIT_S):
        output, _ = await process.communicate()
    assert process.returncode == 1
    (line,) = output.decode().splitlines()
    assert "refuses the user or password" in line
    assert "wrong" not in line
