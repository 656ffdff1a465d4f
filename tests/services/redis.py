"""A Redis server of a test's own, whose file of commands is in its folder."""

import shutil
import socket
from collections.abc import Sequence

from tests.services.service import Service, Shared


class Redis(Service):
    """One server; anyone may do everything, unless it has a password."""

    options: Sequence[str] = ()

    def __init__(self, *options: str) -> None:
        """``options`` as on its command line."""
        assert shutil.which("redis-server"), (
            "Redis is not installed; `make test` does it, as does: apt-get install redis-server"
        )
        super().__init__()
        self.options = options

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        own = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)]
        kept = ["--appendonly", "yes", "--save", ""]
        return [str(shutil.which("redis-server")), *own, *kept, *self.options]

    def answers(self) -> bool:
        """It takes connections before it has read its file."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as client:
                client.sendall(b"PING\r\n")
                return client.recv(5) in (b"+PONG", b"-NOAU")
        except OSError:
            return False


SHARED = Shared(Redis)
"""Of the test run; tests keep apart by names of their own."""
