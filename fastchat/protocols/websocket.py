"""The WebSocket edge: handshake, messages, pings and the close handshake of one connection."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from fastchat._handshake import open_plain
from fastchat._websocket import (
    CLOSE,
    PING,
    TEXT,
    FrameParser,
    WebSocketError,
    encode_close,
    encode_frame,
    parse_close,
)
from fastchat._websocket import PONG as _PONG
from fastchat.handshake import (
    HEAD_LIMIT_BYTES,
    SUBPROTOCOL,
    HandshakeError,
    check_upgrade,
    client_address,
    encode_accept,
    encode_response,
    is_allowed_origin,
    is_upgrade,
    normalize_origins,
    parse_networks,
    parse_request,
)
from fastchat.protocols.base import (
    CLOSED,
    CLOSING,
    DRAINING,
    HANDSHAKE,
    OPEN,
    Listener,
    Loop,
    StreamProtocol,
    peer_address,
)
from fastchat.protocols.deadlines import Deadlines
from fastchat.protocols.keepalive import KeepAlive
from fastchat.protocols.stream import Handler

_PING_FRAME = encode_frame(PING, b"")
_SUBPROTOCOL = SUBPROTOCOL.encode()


class WebSocketListener(Listener):
    """What all WebSocket connections of one listening socket share.

    `allowed_origins`: empty welcomes all. `trusted_proxies`: addresses and CIDR networks whose
    X-Forwarded-For is believed. `max_message_bytes` bounds a message, all its fragments together. Times of 0
    mean no limit, a `ping_interval_s` of 0 no pings. `otherwise` makes the protocol that takes a connection
    over whose first read is not the whole head of a request for a WebSocket; None answers all requests here.
    """

    __slots__ = (
        "allowed_origins",
        "handshakes",
        "keep_alive",
        "max_message_bytes",
        "otherwise",
        "path",
        "path_bytes",
        "spare_parser",
        "trusted_proxies",
    )

    def __init__(
        self,
        handler_factory: Callable[[], Handler],
        *,
        max_message_bytes: int = 65536,
        path: str = "/ws",
        allowed_origins: Iterable[str] = (),
        trusted_proxies: Iterable[str] = (),
        admit: Callable[[str], str | None] | None = None,
        ping_interval_s: float = 20.0,
        ping_timeout_s: float = 20.0,
        close_timeout_s: float = 5.0,
        handshake_timeout_s: float = 10.0,
        otherwise: Callable[[], asyncio.Protocol] | None = None,
        loop: Loop | None = None,
    ) -> None:
        super().__init__(handler_factory, admit=admit, close_timeout_s=close_timeout_s, loop=loop)
        self.max_message_bytes = max_message_bytes
        self.otherwise = otherwise
        # Between messages a connection has no parser: whoever reads next takes this one.
        self.spare_parser: FrameParser | None = None
        self.path = path
        self.path_bytes = path.encode("ascii")
        self.allowed_origins = normalize_origins(allowed_origins)
        self.trusted_proxies = parse_networks(trusted_proxies)
        self.keep_alive = KeepAlive(ping_interval_s, ping_timeout_s, self.loop)
        self.handshakes: Deadlines[WebSocketProtocol] = Deadlines(
            handshake_timeout_s, lambda protocol: protocol.on_handshake_timeout(), self.loop
        )

    def take_parser(self) -> FrameParser:
        """Returns a parser that has read nothing yet."""
        parser, self.spare_parser = self.spare_parser, None
        return FrameParser(self.max_message_bytes) if parser is None else parser

    def stop(self) -> None:
        super().stop()
        self.keep_alive.stop()
        for protocol in self.handshakes.stop():
            protocol.abort()


class WebSocketProtocol(StreamProtocol):
    """One WebSocket connection, from its opening handshake on.

    It listens by itself, `loop.create_server(lambda: WebSocketProtocol(listener))`, hands the socket over to
    what the listener has for other requests, and takes it back (`take_over`) when one of these is an upgrade.

    Data frames are written to the transport by others, complete; so control frames always lie between them.
    """

    __slots__ = ("_parser", "_pending", "awaiting_pong", "keep_alive_slice")

    _listener: WebSocketListener

    def __init__(self, listener: WebSocketListener) -> None:
        super().__init__(listener)
        # Only while there is a part of a message: see `_receive`.
        self._parser: FrameParser | None = None
        # In the handshake: what has arrived of the request. Later: a pong that waits for the peer to read.
        self._pending = b""
        self.awaiting_pong = 0
        self.keep_alive_slice = 0

    # Called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._listener.handshakes.add(self)

    def buffer_updated(self, nbytes: int) -> None:
        self.awaiting_pong = 0
        if self._state == HANDSHAKE:
            self._receive_first(bytes(self._listener.read_buffer[:nbytes]))
        elif self._state < DRAINING:
            self._feed(self._listener.read_buffer, nbytes)

    def eof_received(self) -> bool:
        """The peer has ended its side: without a close frame this is no clean end (section 7.1.5)."""
        if self._state < DRAINING:
            self._state = DRAINING
            self._listener.keep_alive.discard(self)
            self._listener.closing.add(self)
            self._tell_close(1006, "the connection ended without a close frame")
        return False

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self._state == OPEN and self._pending:
            pong, self._pending = self._pending, b""
            self.transport.write(pong)
            self._go_on_soon()
        if self._handler is not None and not self._writing_paused:
            self._handler.on_resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.handshakes.discard(self)
        self._listener.keep_alive.discard(self)
        super().connection_lost(exc)

    # The opening handshake

    def take_over(self, transport: asyncio.Transport, data: bytes) -> None:
        """Takes a connection from another protocol: `data` is an upgrade's head, and what came behind it."""
        self.connection_made(transport)
        # Before the handler hears of it: it may set limits that pause writing at once.
        transport.set_protocol(self)
        self._receive_head(data)

    def _receive_first(self, data: bytes) -> None:
        listener = self._listener
        plain = None
        if not self._pending:
            plain = open_plain(data, listener.path_bytes, _SUBPROTOCOL, HEAD_LIMIT_BYTES)
        if plain is not None and is_allowed_origin(plain[2], listener.allowed_origins):
            response, size, _, forwarded_for = plain
            self._admit(response, forwarded_for or ())
            self._go_on_behind_head(data, size)
        elif self._pending or listener.otherwise is None or is_upgrade(data):
            self._receive_head(data)
        else:
            self._hand_over(listener.otherwise(), data)

    def _hand_over(self, protocol: asyncio.Protocol, data: bytes) -> None:
        self._state = CLOSED
        self._listener.handshakes.discard(self)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        protocol.data_received(data)

    def _receive_head(self, data: bytes) -> None:
        head = self._pending + data
        end = head.find(b"\r\n\r\n") + 4
        if end > HEAD_LIMIT_BYTES or (end < 4 and len(head) > HEAD_LIMIT_BYTES):
            self._refuse(encode_response(431, f"the request is longer than {HEAD_LIMIT_BYTES} bytes"))
        elif end < 4:
            self._pending = head
        else:
            self._pending = b""
            self._answer(head[:end])
            self._go_on_behind_head(head, end)

    def _go_on_behind_head(self, data: bytes, size: int) -> None:
        if self._state == OPEN and size < len(data):
            self._feed(data[size:], len(data) - size)

    def _answer(self, head: bytes) -> None:
        listener = self._listener
        try:
            request = parse_request(head)
            upgrade = check_upgrade(request, listener.path, listener.allowed_origins)
        except HandshakeError as error:
            self._refuse(error.response)
            return
        self._admit(encode_accept(upgrade), request.headers.get("x-forwarded-for", ()), upgrade.token)

    def _admit(self, response: bytes, forwarded_for: Sequence[str], token: str | None = None) -> None:
        """Opens the connection with this response, if one more is welcome from where it comes."""
        listener = self._listener
        self.peer_address = address = peer_address(self.transport)
        if forwarded_for:
            self.peer_address = address = client_address(address, forwarded_for, listener.trusted_proxies)
        refusal = listener.admit(address) if listener.admit is not None else None
        if refusal is not None:
            self._refuse(encode_response(503, refusal))
            return
        listener.handshakes.discard(self)
        self._state = OPEN
        self._handler = handler = listener.handler_factory()
        self.transport.write(response)
        listener.keep_alive.add(self)
        handler.on_open(self)
        if token is not None:
            handler.on_token(token)

    def _refuse(self, response: bytes) -> None:
        self._pending = b""
        self._listener.handshakes.discard(self)
        self.transport.write(response)
        self._drain()

    def on_handshake_timeout(self) -> None:
        """The peer has not sent a whole request in time."""
        if self._state == HANDSHAKE and not self._pending and self._listener.otherwise is not None:
            self.abort()  # as HTTP does it: a browser opens connections that it may never need
        elif self._state == HANDSHAKE:
            self._refuse(encode_response(408, "the request took too long"))

    # Messages

    def pause_reading(self) -> None:
        """The socket itself is paused when there is something that may not be handed over.

        Most who wait have said everything: to pause and resume each of them would cost as much as an answer.
        """
        if self._state == OPEN:
            self._reading_paused = True

    def resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            if not self.transport.is_reading():
                self._go_on_soon()

    def _is_blocked(self) -> bool:
        return self._reading_paused or (self._state == OPEN and self._pending != b"")

    def _feed(self, data: bytes | memoryview, size: int) -> None:
        if self._parser is None:
            self._parser = self._listener.take_parser()
        self._parser.feed(data, size)
        self._work_off()

    def _receive(self) -> None:
        parser = self._parser
        if parser is None:
            return
        pongs: list[bytes] = []
        try:
            while self._state < DRAINING:
                if self._reading_paused or self._pending:
                    if self._pending or parser.unread:
                        self.transport.pause_reading()
                    break
                message = parser.next()
                if message is None:
                    break
                opcode, payload = message
                if self._state != OPEN and opcode != CLOSE:
                    continue
                if opcode < CLOSE:
                    if pongs:
                        self._send_pongs(pongs)
                    assert self._handler is not None
                    self._handler.on_message(payload, opcode == TEXT)
                elif opcode == PING:
                    pongs.append(encode_frame(_PONG, payload))
                    if self._writing_paused:
                        self._send_pongs(pongs)
                elif opcode == CLOSE:
                    self._on_close_frame(*parse_close(payload))
        except WebSocketError as error:
            self._fail(error)
        finally:
            parser.keep()
            if parser.idle:
                self._parser, self._listener.spare_parser = None, parser
        if pongs and self._state == OPEN:
            self._send_pongs(pongs)

    def _send_pongs(self, pongs: list[bytes]) -> None:
        """Answers pings, all of one read together.

        A peer that pings but doesn't read gets one pong, the latest (section 5.5.3), and is not read from
        until it has read: what it costs stays bounded.
        """
        if self._writing_paused:
            self._pending = pongs[-1]
        else:
            self.transport.write(b"".join(pongs))
        pongs.clear()

    # Keep-alive

    def is_stalled(self) -> bool:
        return self._writing_paused or self._is_blocked()

    def send_ping(self) -> None:
        self.transport.write(_PING_FRAME)

    def on_ping_timeout(self) -> None:
        self._tell_close(1006, "the peer did not answer a ping")
        self.abort()

    # The close handshake

    def close(self, code: int, reason: str) -> None:
        if self._state == HANDSHAKE:
            self._refuse(encode_response(503, reason))
        elif self._state == OPEN:
            self._state = CLOSING
            self._listener.keep_alive.discard(self)
            self._listener.closing.add(self)
            self.transport.write(encode_close(code, reason))
            # Whatever reading waited for: the peer's close frame must be seen.
            self._pending = b""
            self._reading_paused = False
            self._go_on_soon()

    def _take_last_words(self) -> None:
        # A script may send its commands and the close frame in one packet: it is answered all the same.
        if self._state == OPEN and self._handler is not None:
            self._handler.on_last_words()

    def _on_close_frame(self, code: int, reason: str) -> None:
        self._take_last_words()
        self._tell_close(code, reason)
        if self._state == OPEN:
            self.transport.write(encode_close(code))
            self._drain()
        else:
            self._state = DRAINING
            self.transport.close()

    def _fail(self, error: WebSocketError) -> None:
        """The peer broke the protocol: says so and ends (section 7.1.7)."""
        if self._state == OPEN:
            self._take_last_words()
            self._tell_close(error.close_code, error.reason)
            self.transport.write(encode_close(error.close_code, error.reason))
        else:
            self._tell_close(1006, error.reason)
        self._drain()

    def _drain(self) -> None:
        self._listener.keep_alive.discard(self)
        super()._drain()
