"""What a peer is: a server that sends everyone what one member says, and how it is started."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import pathlib
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence

from benchmarks.brokers import Broker
from benchmarks.external import free_port, running
from benchmarks.servers import Server

SERVERS = pathlib.Path(__file__).resolve().parent / "servers"
"""The peers' own programs; each takes the port to listen on, at 127.0.0.1, as its first argument."""


@dataclasses.dataclass(frozen=True)
class Peer:
    """A server under test. `start` runs it on the server's core and yields when it accepts connections.

    `dialect` is the load generator's. `windows` are the numbers of outstanding messages per sender that are
    tried: the best one counts. `settings` says in one line what was tuned. `missing` returns None where the
    peer can run here, else what to install.
    """

    name: str
    dialect: str
    language: str
    settings: str
    windows: tuple[int, ...]
    version: Callable[[], str]
    missing: Callable[[], str | None]
    start: Callable[[], contextlib.AbstractContextManager[Server]]


@contextlib.contextmanager
def run_server(
    name: str, command: Callable[[int], Sequence[str]], environment: dict[str, str] | None = None
) -> Iterator[Broker]:
    """Run `command(port)` as `running` does, as a server that may be several processes."""
    port = free_port()
    with running(command(port), port, environment) as process:
        yield Broker(name, process.pid, line_port=port, http_port=port)


def missing_package(module: str, package: str) -> Callable[[], str | None]:
    """A peer's `missing` where it is a Python package."""

    def missing() -> str | None:
        return None if importlib.util.find_spec(module) else f"pip install {package}"

    return missing


def missing_program(program: str, install: str) -> Callable[[], str | None]:
    """A peer's `missing` where it is a program on the PATH (or an absolute path)."""

    def missing() -> str | None:
        return None if shutil.which(program) else install

    return missing


def package_version(*packages: str) -> Callable[[], str]:
    """A peer's `version` where it is one or several Python packages."""

    def version() -> str:
        return ", ".join(f"{package} {importlib.metadata.version(package)}" for package in packages)

    return version


def program_version(*command: str) -> Callable[[], str]:
    """A peer's `version` where a program prints it: the first line that is not empty."""

    def version() -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
        return next((line for line in lines if line), "unknown")

    return version
