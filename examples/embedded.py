"""A server inside of a program of one's own, with a bot that counts words: `python examples/embedded.py`."""

import asyncio
from collections import Counter

import uvloop

from fastchat import Message, Server, Settings


class WordCount:
    """Which words were said how often."""

    def __init__(self) -> None:
        self.words: Counter[str] = Counter()

    async def on_message(self, message: Message) -> None:
        """Counts, and lets everything pass."""
        self.words.update(message.text.lower().split())


async def serve(settings: Settings, stop: asyncio.Event) -> Counter[str]:
    """Runs until ``stop``."""
    count = WordCount()
    async with Server(settings, hooks=[count]) as server:
        print(f"chat with: nc {server.addresses['line'].replace(':', ' ')}")
        await server.room("lobby").send("This room counts words.")
        await stop.wait()
    return count.words


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Settings(), asyncio.Event()))
