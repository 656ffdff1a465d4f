"""Peers that are not written in Python: brokers, an IRC daemon, Node and Rust."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from benchmarks.brokers import Broker, data_folder, nats_program

from .peer import SERVERS, Peer, missing_program, program_version, run_server


def _program(name: str) -> str:
    """Debian puts daemons where only root's PATH looks."""
    return shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin") or name


# ---- NATS ----


def _nats_missing() -> str | None:
    return None if nats_program() else "nats-server on the PATH, or its path in NATS_SERVER"


def _nats_version() -> str:
    return program_version(str(nats_program()), "--version")()


@contextlib.contextmanager
def _nats() -> Iterator[Broker]:
    """The core alone, without JetStream: what is published goes to who is connected, and is kept by nobody."""
    program = str(nats_program())
    with run_server("NATS", lambda port: [program, "-a", "127.0.0.1", "-p", str(port)]) as server:
        yield server


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
        version=program_version(_program("mosquitto"), "-h"),
        missing=missing_program(_program("mosquitto"), "apt-get install mosquitto"),
        start=_mosquitto,
    ),
    Peer(
        name="InspIRCd",
        dialect="irc",
        language="C++",
        settings="no flood control, no lookups, send queues of 256 MB, network buffer 64 KB, channel +u",
        windows=(16, 64, 256),
        version=program_version(_program("inspircd"), "--version"),
        missing=missing_program(_program("inspircd"), "apt-get install inspircd"),
        start=_inspircd,
    ),
)
