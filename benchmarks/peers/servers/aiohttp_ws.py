"""A chat room on aiohttp, send_str() to each member: `aiohttp_ws.py PORT`."""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import WSMsgType, web

members: set[web.WebSocketResponse] = set()


async def serve_member(request: web.Request) -> web.WebSocketResponse:
    member = web.WebSocketResponse(compress=False, decode_text=False)
    await member.prepare(request)
    members.add(member)
    try:
        async for message in member:
            if message.type is WSMsgType.TEXT:
                await send_to_all(message.data)
    finally:
        members.discard(member)
    return member


async def send_to_all(message: bytes) -> None:
    for member in list(members):
        if not member.closed:
            await member.send_frame(message, WSMsgType.TEXT)


async def main(port: int) -> None:
    application = web.Application()
    application.router.add_get("/ws", serve_member)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
