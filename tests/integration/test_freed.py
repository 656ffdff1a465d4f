"""What is left in a server's memory of connections that have ended: nothing, without the collector's help."""

from fastchat import Server
from fastchat._fanout import Writer
from fastchat.connection import Connection
from fastchat.protocols.base import StreamProtocol
from fastchat.session import Session
from tests.clients import JsonLinesClient, TextClient, WebSocketClient
from tests.integration.embedded import settings
from tests.living import living

KINDS = (Connection, Session, Writer, StreamProtocol)


async def visit(server: Server, number: int) -> None:
    """Comes in each of the ways, joins, talks and goes, politely or not."""
    http, line = server.addresses["http"], server.addresses["line"]
    async with await WebSocketClient.open(http) as browser, await JsonLinesClient.open(line) as program:
        for client, name in ((browser, f"browser{number}"), (program, f"program{number}")):
            await client.hello(name)
            await client.join()
            await client.ask("send", room="lobby", text="hi")
        if number % 2:
            await program.reset()
    async with await TextClient.open(line) as person:
        await person.type(f"/nick person{number}")
        await person.expect("you are")
        if number % 2:
            await person.type("/quit")
            await person.expect_closed()


async def test_connections_that_have_ended_are_freed(no_collector: None) -> None:
    before = living(*KINDS)
    async with Server(settings(line={"banner_after_ms": 0})) as server:  # its timers know connections
        for number in range(4):
            await visit(server, number)
    assert living(*KINDS) == before
