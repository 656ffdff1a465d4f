"""The classic: a chat server, a queue in RabbitMQ, a consumer that prints connects, messages and receipts.

`python -m examples.classic` starts the server and the consumer; name RabbitMQ where it is on another machine,
as in `python -m examples.classic amqp://user:password@host`. Then chat with `nc`, and see what is printed.
"""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Callable
from typing import Any

import aio_pika
import uvloop

from fastchat import Server, Settings
from fastchat.errors import StartError

LOCAL = "amqp://guest:guest@127.0.0.1/"
QUEUE = "fastchat-classic"
KINDS = ("session", "message", "receipt")


def describe(event: dict[str, Any]) -> str:
    """One line that says what has happened, of a CloudEvent as docs/events.md describes it."""
    data = event["data"]
    match event["type"].removeprefix("chat.fastchat."):
        case "session.connected":
            return f"+ {data['user']} is here"
        case "session.disconnected":
            return f"- {data['user']} has gone"
        case "message":
            return f"[{data['room']}] {data['from']}: {data['text']}"
        case "receipt":
            read = ", ".join(f"{user} up to {seq}" for user, seq in data["receipts"].items())
            return f"[{event['subject']}] read by {read}"
        case other:  # new types may come at any time
            return f"? {other}"


async def consume(url: str, show: Callable[[str], None]) -> None:
    """Shows each event once, and takes it out of the queue then. Until it is cancelled."""
    seen: set[str] = set()
    connection = await aio_pika.connect_robust(url)
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=100)
        # The server makes the same queue, whoever is first, and has it keep everything.
        queue = await channel.declare_queue(QUEUE, durable=True)
        async with queue.iterator() as messages:
            async for message in messages:
                async with message.process():
                    event = json.loads(message.body)
                    if event["id"] not in seen:  # after an outage an event may come again
                        seen.add(event["id"])
                        show(describe(event))


async def serve(settings: Settings, show: Callable[[str], None], stop: asyncio.Event) -> None:
    """Runs the server and the consumer until ``stop``; they know of each other by the queue alone."""
    broker = settings.broker.model_copy(update={"queue": QUEUE, "events": KINDS})
    async with Server(settings.model_copy(update={"broker": broker})) as server:
        show(f"chat with: nc {server.addresses['line'].replace(':', ' ')}")
        consumer = asyncio.create_task(consume(settings.broker.url, show))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({consumer, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (consumer, stopping):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await consumer


async def serve_until_signal(settings: Settings) -> None:
    """Until Ctrl-C, or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(settings, print, stop)


def main() -> int:
    """The program."""
    url = sys.argv[1] if len(sys.argv) > 1 else LOCAL
    settings = Settings.model_validate({"broker": {"url": url}})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(serve_until_signal(settings))
        except StartError as error:
            print(error, file=sys.stderr)
            return 1
        except OSError as error:
            print(f"no RabbitMQ at {url.rpartition('@')[2]}: {error}", file=sys.stderr)
            print("start one (on Debian: sudo apt-get install rabbitmq-server), or name one", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
