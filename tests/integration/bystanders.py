"""Two people who share a room with whoever misbehaves, and must not notice."""

from tests.clients import Client
from tests.integration.rooms import fresh_name, say
from tests.server_process import ServerProcess


class Bystanders:
    """Two people in a room, one on each transport, who go on chatting."""

    def __init__(self, server: ServerProcess, room: str, clients: list[Client]) -> None:
        self.room = room
        self.server = server
        self.clients = clients

    async def hear(self, text: str) -> None:
        """Asserts that somebody says this."""
        for client in self.clients:
            await client.expect("message", room=self.room, text=text)

    async def chat(self) -> None:
        """Asserts that what each says reaches the other, and that the server's log has no traceback."""
        for one, other in (self.clients, reversed(self.clients)):
            text = fresh_name("undisturbed")
            await say(one, self.room, text)
            await other.expect("message", room=self.room, text=text)
        assert "Traceback" not in self.server.log
        assert "exception" not in self.server.log.lower()
