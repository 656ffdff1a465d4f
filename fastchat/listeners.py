"""What listens for clients: WebSocket and HTTP on one port, lines on the other."""

import asyncio
import functools
import socket
import typing
from collections.abc import Callable

import uvicorn

from fastchat.chat import Chat
from fastchat.config import Settings
from fastchat.connection import LineConnection, WebSocketConnection
from fastchat.messages import Code, WireError, dumps, error_reply
from fastchat.protocols.http import HttpProtocol
from fastchat.protocols.line import LineListener
from fastchat.protocols.websocket import WebSocketListener, WebSocketProtocol
from fastchat.sockets import BACKLOG, accepting_sockets

KEEP_ALIVE_S = 5  # how long an HTTP connection may wait for its next request


class HttpServer(uvicorn.Server):
    """uvicorn's server under our own lifecycle: signals are the whole process's business, not its.

    What it accepts is ``make_protocol``'s: the keywords that uvicorn gives its own are nothing to that.
    """

    def __init__(self, config: uvicorn.Config, make_protocol: Callable[[], asyncio.BaseProtocol]) -> None:
        super().__init__(config)
        self._make_protocol = make_protocol
        self.servers = []
        self._ticking: asyncio.Task[None] | None = None

    async def start(self, listener: socket.socket) -> None:
        """Begins to accept."""
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup(sockets=[])
        loop = asyncio.get_running_loop()
        for sock in accepting_sockets(listener):
            self.servers.append(await loop.create_server(self._make_protocol, sock=sock, backlog=BACKLOG))
        self._ticking = asyncio.create_task(self.main_loop())

    def stop_accepting(self) -> None:
        """Closes the listening socket, as far as it was opened; connections live on."""
        for server in self.servers:
            server.close()

    async def stop(self) -> None:
        """Ends what is still open, if it was ever started."""
        if self._ticking is not None:
            self.should_exit = True
            await self._ticking
            await self.shutdown()


def build_websockets(settings: Settings, chat: Chat) -> WebSocketListener:
    """What every WebSocket connection shares."""
    return WebSocketListener(
        functools.partial(WebSocketConnection, chat),
        max_message_bytes=settings.limits.command_bytes,
        allowed_origins=settings.http.allowed_origins,
        trusted_proxies=settings.http.trusted_proxies,
        admit=chat.census.refusal,
        ping_interval_s=settings.websocket.ping_interval_s,
        ping_timeout_s=settings.websocket.ping_timeout_s,
        close_timeout_s=settings.websocket.close_timeout_s,
        handshake_timeout_s=settings.limits.handshake_timeout_s,
    )


def build_lines(settings: Settings, chat: Chat) -> LineListener:
    """What every connection of the line port shares."""

    def admit(address: str) -> str | None:
        reason = chat.census.refusal(address)
        if reason is None:
            return None
        return dumps(error_reply(WireError(Code.TOO_MANY_CONNECTIONS, reason), None)).decode()

    return LineListener(
        functools.partial(LineConnection, chat),
        max_line_bytes=settings.limits.command_bytes,
        admit=admit,
        close_timeout_s=settings.websocket.close_timeout_s,
    )


def build_http(
    settings: Settings, websockets: WebSocketListener, application: Callable[..., typing.Any]
) -> HttpServer:
    """The HTTP server, whose connections are the WebSocket's until they turn out to be none."""
    make_websocket = functools.partial(WebSocketProtocol, websockets)
    config = uvicorn.Config(
        application,
        ws=typing.cast("type[asyncio.Protocol]", make_websocket),
        lifespan="off",
        log_config=None,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=1,
    )
    server = HttpServer(config, make_websocket)
    websockets.otherwise = functools.partial(
        HttpProtocol,
        config,
        server.server_state,
        {},
        handshake_timeout_s=settings.limits.handshake_timeout_s,
    )
    return server
