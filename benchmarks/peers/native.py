"""Peers that are not written in Python: brokers, an IRC daemon, Node and Rust."""

from __future__ import annotations

import contextlib
import functools
import json
import pathlib
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence

from benchmarks.brokers import Broker, data_folder, nats_program
from benchmarks.external import LOG
from benchmarks.programs import BUILD

from .peer import SERVERS, Peer, missing_program, program_version, run_server

_MAKE_TIMEOUT_S = 120.0


def _program(name: str) -> str:
    """Debian puts daemons where only root's PATH looks."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin") or name


def _number(version: Callable[[], str]) -> Callable[[], str]:
    """A program's line about itself, without its name."""
    return lambda: next(
        (word.lstrip("v") for word in version().split() if word.lstrip("v")[:1].isdigit()), "unknown"
    )


# ---- NATS ----


def _nats_missing() -> str | None:
    return None if nats_program() else "nats-server on the PATH, or its path in NATS_SERVER"


def _nats_version() -> str:
    return _number(program_version(str(nats_program()), "--version"))()


def _nats() -> contextlib.AbstractContextManager[Broker]:
    """The core alone, without JetStream: what is published goes to who is connected, and nobody keeps it."""
    program = str(nats_program())
    return run_server("NATS", lambda port: [program, "-a", "127.0.0.1", "-p", str(port)])


# ---- mosquitto, InspIRCd ----


@contextlib.contextmanager
def _configured(name: str, program: list[str], config: str) -> Iterator[Broker]:
    """Run a program that takes the path of a configuration file as its last argument."""
    template = (SERVERS / config).read_text()
    with data_folder() as folder:

        def command(port: int) -> list[str]:
            path = folder / config
            path.write_text(template.replace("{port}", str(port)).replace("{folder}", str(folder)))
            return [*program, str(path)]

        with run_server(name, command) as server:
            yield server


def _mosquitto() -> contextlib.AbstractContextManager[Broker]:
    return _configured("mosquitto", [_program("mosquitto"), "-c"], "mosquitto.conf")


def _inspircd() -> contextlib.AbstractContextManager[Broker]:
    return _configured(
        "InspIRCd", [_program("inspircd"), "--nofork", "--runasroot", "--config"], "inspircd.conf"
    )


# ---- ws on Node ----

_NODE = BUILD / "node"
_NODE_PACKAGE = _NODE / "node_modules" / "ws"


@functools.cache
def _node_missing() -> str | None:
    """The package is installed below build/ when it is first asked for."""
    if not shutil.which("node") or not shutil.which("npm"):
        return "apt-get install nodejs npm"
    if _NODE_PACKAGE.exists():
        return None
    _NODE.mkdir(parents=True, exist_ok=True)
    command = ["npm", "install", "--prefix", str(_NODE), "--no-audit", "--no-fund", "ws@8"]
    return None if _make("npm", command) else f"npm install --prefix {_NODE} ws@8"


def _node_version() -> str:
    package = json.loads((_NODE_PACKAGE / "package.json").read_text())["version"]
    return f"{package}, Node {_number(program_version('node', '--version'))()}"


def _node_ws() -> contextlib.AbstractContextManager[Broker]:
    return run_server(
        "ws on Node",
        lambda port: ["node", str(SERVERS / "node_ws.js"), str(port)],
        {"NODE_PATH": str(_NODE / "node_modules"), "NODE_ENV": "production"},
    )


# ---- tokio ----

_CRATES = pathlib.Path("/usr/share/cargo/registry")
_TOKIO = BUILD / "tokio_broadcast"
_TOKIO_LINES_A_WRITE = 1000
_TOKIO_PROGRAM = _TOKIO / "target" / "release" / "tokio_broadcast"


@functools.cache
def _tokio_missing() -> str | None:
    """The program is compiled below build/ when it is first asked for, with the crates that Debian has."""
    if not shutil.which("cargo") or not list(_CRATES.glob("tokio-1.*")):
        return "apt-get install cargo librust-tokio-dev"
    _TOKIO.mkdir(parents=True, exist_ok=True)
    shutil.copy2(SERVERS / "tokio_broadcast.rs", _TOKIO)
    shutil.copy2(SERVERS / "tokio_broadcast.toml", _TOKIO / "Cargo.toml")
    command = ["cargo", "build", "--release", "--offline", "--manifest-path", str(_TOKIO / "Cargo.toml")]
    command += ["--target-dir", str(_TOKIO / "target")]
    command += ["--config", 'source.crates-io.replace-with="debian"']
    command += ["--config", f'source.debian.directory="{_CRATES}"']
    return None if _make("cargo", command) else f"cargo and crates that fit together; see {LOG}"


def _tokio_version() -> str:
    lock = (_TOKIO / "Cargo.lock").read_text().partition('name = "tokio"\nversion = "')[2]
    compiler = _number(program_version("rustc", "--version"))()
    return f"{lock.partition(chr(34))[0]}, rustc {compiler}"


def _tokio_broadcast() -> contextlib.AbstractContextManager[Broker]:
    """A write for each line, as such servers are usually written."""
    return run_server("tokio broadcast", lambda port: [str(_TOKIO_PROGRAM), str(port), "1"])


def _tokio_coalescing() -> contextlib.AbstractContextManager[Broker]:
    """A write for all lines that are there."""
    lines = str(_TOKIO_LINES_A_WRITE)
    return run_server("tokio, coalescing", lambda port: [str(_TOKIO_PROGRAM), str(port), lines])


def _make(name: str, command: Sequence[str]) -> bool:
    """Run a command that makes a peer; what it says is in the log. Returns False when it fails."""
    with LOG.open("ab") as log:
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=_MAKE_TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            log.write(f"{name}: not done after {_MAKE_TIMEOUT_S:.0f} s\n".encode())
            return False
    return done.returncode == 0


NATIVE: tuple[Peer, ...] = (
    Peer(
        name="NATS",
        dialect="nats-core",
        language="Go",
        settings="core, no JetStream; defaults",
        windows=(16, 64, 256),
        version=_nats_version,
        missing=_nats_missing,
        start=_nats,
    ),
    Peer(
        name="mosquitto",
        dialect="mqtt",
        language="C",
        settings="QoS 0, no persistence, no limit on queued messages, TCP_NODELAY, no $SYS",
        windows=(1, 4, 16, 64),
        version=_number(program_version(_program("mosquitto"), "-h")),
        missing=missing_program(_program("mosquitto"), "apt-get install mosquitto"),
        start=_mosquitto,
    ),
    Peer(
        name="InspIRCd",
        dialect="irc",
        language="C++",
        settings="no flood control, no lookups, send queues of 256 MB, network buffer 64 KB, channel +u",
        windows=(16, 64, 256),
        version=lambda: program_version(_program("inspircd"), "--version")().removeprefix("InspIRCd-"),
        missing=missing_program(_program("inspircd"), "apt-get install inspircd"),
        start=_inspircd,
    ),
    Peer(
        name="ws on Node",
        dialect="echo-ws",
        language="JavaScript, C++",
        settings="the arrived Buffer is sent to everyone, permessage-deflate off, backlog 4,096",
        windows=(1, 4, 16),
        version=_node_version,
        missing=_node_missing,
        start=_node_ws,
    ),
    Peer(
        name="tokio broadcast",
        dialect="echo-line",
        language="Rust",
        settings="one thread, a channel of 4,096 lines, each written when its turn comes, TCP_NODELAY, LTO",
        windows=(1, 4, 16),
        version=_tokio_version,
        missing=_tokio_missing,
        start=_tokio_broadcast,
    ),
    Peer(
        name="tokio, coalescing",
        dialect="echo-line",
        language="Rust",
        settings=f"the same; all lines that are there in one write, up to {_TOKIO_LINES_A_WRITE}",
        windows=(16, 64, 256),
        version=_tokio_version,
        missing=_tokio_missing,
        start=_tokio_coalescing,
    ),
)
