"""The HTTP edge: uvicorn's protocol, which waits for a request's head neither for ever nor at any length."""

import asyncio
import typing

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from fastchat.handshake import HEAD_LIMIT_BYTES, encode_response
from fastchat.protocols.websocket import WebSocketProtocol

# How long a refused peer may take to read why.
_LINGER_S = 2.0


class HttpProtocol(HttpToolsProtocol):
    """One HTTP connection: what a `WebSocketListener` has for what is `otherwise`.

    A connection without a whole request head `handshake_timeout_s` after it was made, or after the first byte
    of a later request, is cut (0: never). A head over 32 KiB gets 431. A WebSocket upgrade hands the socket
    over to a `WebSocketProtocol` that `config.ws` makes, together with what has arrived after the request.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, typing.Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        handshake_timeout_s: float = 10.0,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.handshake_timeout_s = handshake_timeout_s
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = True
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._unset_keepalive_if_required()
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self._hand_over(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            if self._head_bytes > HEAD_LIMIT_BYTES:
                self._refuse_long_head()
            else:
                self._refuse(400, "this is not an HTTP request")
        else:
            if self._in_head and self._head_bytes > HEAD_LIMIT_BYTES:
                self._refuse_long_head()

    # Called by the parser

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        if self._head_timer is None:
            self._start_head_timer()

    def on_headers_complete(self) -> None:
        self._stop_head_timer()
        self._in_head = False
        self._head_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if self._head_bytes > HEAD_LIMIT_BYTES:
            raise ValueError("the head is too long")
        self._head_bytes = 0
        super().on_headers_complete()

    # The hand-over

    def _hand_over(self, rest: bytes) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            # Two would write to one socket.
            self._refuse(400, "an earlier request is not answered yet")
            return
        self.connections.discard(self)
        # The parser and this object hold each other: without it they go at once.
        self.parser = None  # type: ignore[assignment]
        head = [self.scope["method"].encode(), b" ", self.url, b" HTTP/1.1\r\n"]
        head += [part for name, value in self.headers for part in (name, b": ", value, b"\r\n")]
        websocket = typing.cast("WebSocketProtocol", self.ws_protocol_class())  # type: ignore[misc]
        websocket.take_over(self.transport, b"".join([*head, b"\r\n", rest]))

    # Refusals

    def _refuse_long_head(self) -> None:
        self._refuse(431, f"the request is longer than {HEAD_LIMIT_BYTES} bytes")

    def _refuse(self, status: int, reason: str) -> None:
        """Answers and ends the sending side; what still arrives is discarded, so that the answer is not lost
        with a reset."""
        self._refused = True
        self._stop_head_timer()
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            # An earlier request's answer must not go on behind this one, nor this one lie within it.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.close()
                return
        self.transport.write(encode_response(status, reason))
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._head_timer = self.loop.call_later(_LINGER_S, self.transport.abort)
        else:
            self.transport.close()

    def _start_head_timer(self) -> None:
        if self.handshake_timeout_s > 0:
            self._head_timer = self.loop.call_later(self.handshake_timeout_s, self._on_head_timeout)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _on_head_timeout(self) -> None:
        self._head_timer = None
        if self._head_bytes:
            self._refuse(408, "the request took too long")
        else:
            self.transport.close()
