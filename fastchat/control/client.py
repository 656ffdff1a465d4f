"""The client's side of the control socket: one question, one answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import orjson

from fastchat.config import Settings
from fastchat.errors import StartError

ANSWER_TIMEOUT_S = 60.0  # a password takes its time, and more where many people log in

Reply = dict[str, Any]


class ControlError(Exception):
    """The server has refused a command, or cannot be asked. One line that says why."""


class Control:
    """A conversation with a server as its operator. A context manager."""

    def __init__(self, path: Path) -> None:
        """Connects. Raises OSError."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(ANSWER_TIMEOUT_S)
            self._socket.connect(str(path))
        except BaseException:
            self._socket.close()
            raise
        self._file = self._socket.makefile("rb")
        self._refs = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self._socket.close()

    def ask(self, kind: str, **fields: Any) -> Reply:
        """The reply to one command; fields that are None are left out. Raises ControlError."""
        self._refs += 1
        command = {name: value for name, value in fields.items() if value is not None}
        line = orjson.dumps({"type": kind, "ref": self._refs, **command}) + b"\n"
        try:
            self._socket.sendall(line)
            while answer := self._file.readline():
                reply: Reply = orjson.loads(answer)
                if reply.get("ref") == self._refs:
                    break
            else:
                raise ControlError("the server has ended the connection")
        except OSError as error:
            raise ControlError(f"the server does not answer: {error}") from None
        if reply["type"] == "error":
            raise ControlError(reply["message"])
        return reply

    def ask_all(self, kind: str, listed: str, key: str) -> list[Reply]:
        """What is ``listed`` on all pages of a reply, each asked for ``after`` the last ``key``.

        Raises ControlError.
        """
        found: list[Reply] = []
        after = None
        while True:
            page = self.ask(kind, after=after)
            found += page[listed]
            if not page["more"]:
                return found
            after = found[-1][key]


@contextlib.contextmanager
def open_control(settings: Settings) -> Iterator[Control]:
    """The server that runs on these settings; where none does, one for this conversation alone.

    Raises ControlError.
    """
    # Not before it is needed: it takes the compiled modules along.
    from fastchat.control.path import control_path

    path = control_path(settings)
    if path is not None and (control := _connect(path)) is not None:
        with control:
            yield control
        return
    if settings.store.url == "memory:":
        raise ControlError(
            "no server runs with these settings, and store.url is memory:, which keeps nothing without one; "
            "start the server with server.control set, or name a store with --store URL"
        )
    with _own_server(settings) as own, own:
        yield own


def _connect(path: Path) -> Control | None:
    """The server that listens there; None where there is none. Raises ControlError."""
    try:
        return Control(path)
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ControlError(
            f"cannot use the control socket {path}: {reason[:1].lower()}{reason[1:]}"
        ) from None


@contextlib.contextmanager
def _own_server(settings: Settings) -> Iterator[Control]:
    """A server that has the store open and listens to nobody else."""
    # Not before it is needed: it takes the whole server along, and the compiled modules.
    from fastchat.server import Server

    with tempfile.TemporaryDirectory(prefix="fastchat-") as folder:
        path = Path(folder) / "control"
        section = settings.server.model_copy(update={"control": str(path)})
        server = Server(settings.model_copy(update={"server": section}))
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="fastchat-control", daemon=True)
        thread.start()
        try:
            try:
                asyncio.run_coroutine_threadsafe(server.start(["control"]), loop).result()
            except StartError as error:
                raise ControlError(str(error)) from None
            try:
                yield Control(path)
            finally:
                asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
