"""A bot that greets newcomers and answers !time: `fastchat serve --set hooks.modules=examples.greeting`."""

import contextlib
from datetime import UTC, datetime

from fastchat import Lagged, Server


async def on_start(server: Server) -> None:
    """Sits in the lobby as long as the server runs."""
    async with server.room("lobby", user="greeter") as room:
        while True:
            with contextlib.suppress(Lagged):  # it was too slow: it goes on with what is there
                async for event in room:
                    if event["type"] == "presence":
                        for name in event["joined"]:
                            if name != "greeter":
                                await room.send(f"Welcome, {name}!")
                    elif event["type"] == "message" and event["text"] == "!time":
                        await room.send(f"{datetime.now(UTC):%H:%M} UTC")
                return
