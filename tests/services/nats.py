"""A NATS server of a test's own, with JetStream in its folder."""

import shutil
import socket
from collections.abc import Sequence

from tests.services.service import Service, Shared


class Nats(Service):
    """One server; anyone may do everything, unless it has a token or a user."""

    options: Sequence[str] = ()

    def __init__(self, *options: str) -> None:
        """``options`` as on its command line."""
        assert shutil.which("nats-server"), (
            "NATS is not installed; `make test` does it, as does: apt-get install nats-server"
        )
        super().__init__()
        self.options = options

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        store = str(self.folder / "jetstream")
        own = ["--addr", "127.0.0.1", "--port", str(self.port), "--jetstream", "--store_dir", store]
        return [str(shutil.which("nats-server")), *own, *self.options]

    def answers(self) -> bool:
        """It greets when it is ready; JetStream has taken up its streams by then."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as client:
                return client.recv(4) == b"INFO"
        except OSError:
            return False


SHARED = Shared(Nats)
"""Of the test run; tests keep apart by names of their own."""
