"""The server's side of the control socket."""

import asyncio
import functools
from pathlib import Path

from fastchat import log
from fastchat.chat import Chat
from fastchat.config import Settings
from fastchat.config.cluster import is_postgresql
from fastchat.connection import ControlConnection
from fastchat.control.path import control_path, is_too_long
from fastchat.protocols.line import LineListener, LineProtocol
from fastchat.sockets import is_answered, listen_locally

logger = log.get_logger(__name__)


class ControlSocket:
    """A Unix socket that speaks lines with the operator, where the settings name one."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._listener: LineListener | None = None
        self._server: asyncio.Server | None = None

    async def start(self, settings: Settings, chat: Chat) -> None:
        """Begins to listen. MUST come after the store was opened: who has its file has the socket beside it.

        Raises StartError.
        """
        path = control_path(settings)
        if path is None:
            return
        if settings.server.control == "auto":
            if is_too_long(path):
                logger.warning("no control socket: its path is too long; set server.control", path=str(path))
                return
            if is_postgresql(settings.store.url):
                path.parent.mkdir(parents=True, exist_ok=True)
                if is_answered(path):
                    logger.info("another node on this machine has the control socket", path=str(path))
                    return
        sock = listen_locally(path, "server.control")
        self._path = path
        self._listener = LineListener(
            functools.partial(ControlConnection, chat),
            max_line_bytes=settings.limits.command_bytes,
            close_timeout_s=settings.websocket.close_timeout_s,
        )
        make_protocol = functools.partial(LineProtocol, self._listener)
        self._server = await asyncio.get_running_loop().create_unix_server(make_protocol, sock=sock)

    def stop_accepting(self) -> None:
        """Closes the socket, and nobody finds it any more; connections live on."""
        if self._server is not None:
            self._server.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def stop(self) -> None:
        """When all connections are over."""
        if self._listener is not None:
            self._listener.stop()
