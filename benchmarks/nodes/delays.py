"""How much later a client of the second node hears what one of the first has heard."""

from __future__ import annotations

import asyncio

from benchmarks.nodes.chats import Chat
from benchmarks.nodes.clients import Tally, join, now

RATE = 200.0


async def measure(chat: Chat, count: int) -> list[float]:
    """Microseconds by which the second node is behind, for each of ``count`` messages at a fixed rate."""
    heard_at: dict[int, list[float]] = {0: [], 1: []}
    tally = Tally()

    def listen(node: int, messages: int, sents: int) -> None:
        heard_at[node] += [now()] * messages
        tally.add(messages, sents)

    clients = [
        await join(node, f"delay-{number}", lambda *heard, number=number: listen(number, *heard))
        for number, node in enumerate(chat.nodes[:2])
    ]
    sender = await join(chat.nodes[0], "delay-sender", lambda messages, sents: None)
    loop = asyncio.get_running_loop()
    begin = loop.time()
    for number in range(count):
        await asyncio.sleep(begin + number / RATE - loop.time())
        sender.say()
    await tally.until(lambda: min(map(len, heard_at.values())) == count)
    for client in (*clients, sender):
        client.transport.abort()
    return [(second - first) * 1e6 for first, second in zip(heard_at[0], heard_at[1], strict=True)]
