"""A server inside of the test's own process, with hooks that the test wrote."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastchat.config import Settings
from fastchat.server import Server
from tests.clients import JsonLinesClient


def settings(**sections: dict[str, Any]) -> Settings:
    """Ports that the kernel chooses, rooms in memory, no patience at the stop."""
    defaults: dict[str, dict[str, Any]] = {
        "http": {"listen": "127.0.0.1:0"},
        "line": {"listen": "127.0.0.1:0"},
        "store": {"url": "memory:"},
        "server": {"drain_s": 1},
    }
    merged: dict[str, Any] = {
        name: {**defaults.get(name, {}), **sections.get(name, {})} for name in defaults | sections
    }
    return Settings(**merged)


@asynccontextmanager
async def member(server: Server, user: str, *rooms: str) -> AsyncIterator[JsonLinesClient]:
    """A program that has said hello and joined."""
    async with await JsonLinesClient.open(server.addresses["line"]) as client:
        await client.hello(user)
        for room in rooms or ("lobby",):
            await client.join(room)
        yield client
