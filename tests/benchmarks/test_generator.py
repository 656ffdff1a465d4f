"""The load generator, against servers that work and servers that don't: can its counts be trusted?"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from benchmarks.programs import build_program
from tests.benchmarks.echo_servers import (
    Fault,
    irc_server,
    line_server,
    mqtt_server,
    nats_server,
    nothing_wrong,
    one_changed,
    one_lost,
    one_repeated,
    two_swapped,
    websocket_server,
)

SUBSCRIBERS, SENDERS, MESSAGES = 5, 3, 40

Start = Callable[[Fault], contextlib.AbstractAsyncContextManager[int]]
SERVERS: dict[str, Start] = {
    "echo-line": line_server,
    "echo-ws": websocket_server,
    "nats-core": nats_server,
    "mqtt": mqtt_server,
    "irc": irc_server,
}
ADDED_BYTES = {
    "echo-line": len("\n"),
    "echo-ws": 2,
    "nats-core": len("MSG bench 2 64\r\n\r\n"),
    "mqtt": 4 + len("bench"),
    "irc": len(":u!u@test PRIVMSG #bench :\r\n"),
}
ECHOES = pytest.mark.parametrize("dialect", SERVERS)


async def load(port: int, dialect: str, mode: str, *options: str) -> dict[str, Any]:
    """Run one phase of MESSAGES messages and return its result."""
    counts = ("--subscribers", str(SUBSCRIBERS), "--senders", str(SENDERS), "--grace", "0.1")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(str(build_program("load")), "--port", str(port), "--dialect", dialect, "--mode", mode, *counts),
        *options,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
    )
    assert process.stderr is not None
    assert (await process.stderr.readline()) == b"ready\n"
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"go %d\n" % MESSAGES)
    result: dict[str, Any] = json.loads(await process.stdout.readline())
    process.stdin.close()
    await process.communicate()
    return result


def faults(result: dict[str, Any]) -> dict[str, int]:
    names = ("missing", "lagged", "out_of_order", "errors", "closed")
    return {name: result[name] for name in names if result[name]}


@contextlib.asynccontextmanager
async def send_floor() -> AsyncIterator[int]:
    process = await asyncio.create_subprocess_exec(
        str(build_program("send_floor")),
        "--bytes",
        "176",
        "--ack-bytes",
        "60",
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        yield int(json.loads(await process.stdout.readline())["line"].rpartition(":")[2])
    finally:
        process.kill()
        await process.communicate()


@pytest.mark.parametrize("mode", ["one", "window", "paced"])
async def test_it_counts_what_the_floor_delivers(mode: str) -> None:
    async with send_floor() as port:
        result = await load(port, "floor", mode, "--rate", "1000")
    assert faults(result) == {}
    assert (result["sent"], result["acked"]) == (MESSAGES, MESSAGES)
    assert result["deliveries"] == MESSAGES * SUBSCRIBERS
    assert result["bytes"] == 176 * MESSAGES * SUBSCRIBERS


@pytest.mark.parametrize("mode", ["one", "window", "paced"])
@ECHOES
async def test_it_counts_what_an_echo_server_delivers(dialect: str, mode: str) -> None:
    async with SERVERS[dialect](nothing_wrong) as port:
        result = await load(port, dialect, mode, "--rate", "1000", "--text-bytes", "64")
    senders = 1 if mode == "one" else SENDERS
    assert faults(result) == {}
    assert (result["sent"], result["acked"]) == (MESSAGES, MESSAGES)
    assert result["deliveries"] == MESSAGES * SUBSCRIBERS == result["delays_us"]["count"]
    # Their own copies are waited for, the other senders' are not.
    own = 0 if dialect == "irc" else 1
    assert MESSAGES * own <= result["sender_deliveries"] <= MESSAGES * (senders - 1 + own)
    assert result["bytes"] == MESSAGES * SUBSCRIBERS * (64 + ADDED_BYTES[dialect])


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (one_lost, {"missing": 1, "lagged": 1}),
        (two_swapped, {"out_of_order": 1}),
        (one_repeated, {"out_of_order": 1}),
        (one_changed, {"missing": 1, "lagged": 1, "errors": 1}),
    ],
)
@ECHOES
async def test_it_sees_what_a_server_gets_wrong(dialect: str, fault: Fault, seen: dict[str, int]) -> None:
    async with SERVERS[dialect](fault) as port:
        # One sender, so that the messages that change places are of the same one.
        result = await load(port, dialect, "window", "--senders", "1")
    assert faults(result) == seen


async def test_a_message_is_missing_although_no_later_one_tells() -> None:
    async with line_server(lambda sent: sent[: MESSAGES - 1]) as port:
        result = await load(port, "echo-line", "window")
    assert faults(result) == {"missing": 1}
