"""A chat room on websockets, with its broadcast(): `websockets_broadcast.py PORT`."""

from __future__ import annotations

import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve


async def main(port: int) -> None:
    members: set[ServerConnection] = set()

    async def serve_member(member: ServerConnection) -> None:
        members.add(member)
        try:
            while True:
                # As bytes, so that the text is not decoded and encoded again.
                message = await member.recv(decode=False)
                broadcast(members, message, text=True)
        finally:
            members.discard(member)

    async with serve(serve_member, "127.0.0.1", port, compression=None, max_size=1 << 20) as server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
