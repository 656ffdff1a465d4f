"""A chat room on FastAPI and uvicorn, as FastAPI's documentation shows one: `fastapi_ws.py PORT`."""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

application = FastAPI()
members: list[WebSocket] = []


@application.websocket("/ws")
async def serve_member(member: WebSocket) -> None:
    await member.accept()
    members.append(member)
    try:
        while True:
            message = await member.receive_text()
            for other in members:
                await other.send_text(message)
    except WebSocketDisconnect:
        pass
    finally:
        members.remove(member)


if __name__ == "__main__":
    uvicorn.run(
        application,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws=sys.argv[2] if len(sys.argv) > 2 else "websockets-sansio",
        ws_per_message_deflate=False,
        access_log=False,
        log_level="warning",
    )
