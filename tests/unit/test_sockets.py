"""Listening sockets: how many connections a loop takes in one turn."""

import asyncio
import contextlib
import socket

import uvloop

from fastchat.config import Address
from fastchat.sockets import ACCEPTS_PER_TURN, accepting_sockets, bound_address, listen

TURNS = 3  # one to accept; a loop may need another one before and after it


class Counting(asyncio.Protocol):
    """Counts the connections that were made."""

    made = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        type(self).made += 1
        transport.close()


def test_all_who_wait_are_accepted_in_one_turn() -> None:
    listener = listen(Address("127.0.0.1", 0), "http.listen", "--http", 0, 0)
    port = int(bound_address(listener).rpartition(":")[2])
    Counting.made = 0

    async def accept() -> int:
        loop = asyncio.get_running_loop()
        servers = [await loop.create_server(Counting, sock=sock) for sock in accepting_sockets(listener)]
        for _ in range(TURNS):
            await asyncio.sleep(0)
        for server in servers:
            server.close()
        return Counting.made

    with contextlib.ExitStack() as stack:
        # The kernel has completed them before the loop looks: they wait in the listening socket's queue.
        for _ in range(ACCEPTS_PER_TURN):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            assert runner.run(accept()) == ACCEPTS_PER_TURN
