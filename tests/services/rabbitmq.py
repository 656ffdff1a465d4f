"""A RabbitMQ of a test's own: one node with an epmd, a cookie and a home of its own, and no plugins."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.services.service import Service, Shared, free_port, is_running, send, wait_until

# Not /usr/sbin/rabbitmq-server, which becomes the user rabbitmq and forgets the environment.
PROGRAMS = Path("/usr/lib/rabbitmq/bin")
STOP_TIMEOUT_S = 30.0


class RabbitMQ(Service):
    """One broker; the user ``guest`` may do everything in the virtual host ``/``."""

    def __init__(self) -> None:
        found = (PROGRAMS / "rabbitmq-server").exists() and shutil.which("epmd") is not None
        assert found, (
            "RabbitMQ is not installed; `make test` does it, as does: apt-get install rabbitmq-server"
        )
        super().__init__()
        self.names_port, self.nodes_port = free_port(), free_port()
        self.names_pid: int | None = None
        """Of the daemon in which Erlang's nodes find each other: this node's own."""
        configure(self.folder, self.port, "log.console = true\nlog.console.level = warning\n")

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def command(self) -> Sequence[str]:
        return [str(PROGRAMS / "rabbitmq-server")]

    def environment(self) -> Mapping[str, str]:
        return environment(self.folder, self.port, self.names_port, self.nodes_port)

    def start(self) -> None:
        if self.names_pid is None:
            epmd = [str(shutil.which("epmd")), "-address", "127.0.0.1", "-port", str(self.names_port)]
            self.names_pid = self.launch(epmd, {})
        super().start()

    def answers(self) -> bool:
        """Its port is open before it takes logins; it is ready when it greets."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as client:
                client.sendall(b"AMQP\x00\x00\x09\x01")
                return len(client.recv(1)) == 1
        except OSError:
            return False

    def close(self) -> None:
        super().close()
        if self.names_pid is not None:
            names_pid, self.names_pid = self.names_pid, None
            send(names_pid, signal.SIGKILL)
            assert wait_until(lambda: not is_running(names_pid), STOP_TIMEOUT_S)

    def state(self) -> dict[str, Any]:
        ports = {"names_port": self.names_port, "nodes_port": self.nodes_port}
        return {**super().state(), **ports, "names_pid": self.names_pid}

    @classmethod
    def found(cls, state: Mapping[str, Any]) -> Self:
        service = super().found(state)
        service.names_port, service.nodes_port = state["names_port"], state["nodes_port"]
        service.names_pid = state["names_pid"]
        return service

    def control(self, *arguments: str) -> str:
        """Runs `rabbitmqctl`, which takes a second or two; returns what it prints."""
        command = [str(PROGRAMS / "rabbitmqctl"), "--quiet", *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | dict(self.environment())
        )
        assert done.returncode == 0, f"rabbitmqctl {' '.join(arguments)}: {done.stderr}{done.stdout}"
        return done.stdout


def configure(folder: Path, port: int, more: str = "") -> None:
    """Writes the node's files: one port at 127.0.0.1, no plugins, everything else as it comes."""
    (folder / "enabled_plugins").write_text("[].\n")
    (folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\n{more}")


def environment(folder: Path, port: int, names_port: int, nodes_port: int) -> Mapping[str, str]:
    """What a node needs that knows of no other one on this machine."""
    return {
        "HOME": str(folder),  # with the cookie
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(names_port),
        "RABBITMQ_NODENAME": f"fastchat{port}@localhost",
        "RABBITMQ_DIST_PORT": str(nodes_port),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }


SHARED = Shared(RabbitMQ)
"""Of the test run; tests keep apart by names of their own."""
