"""What both edges share: the read buffer, pausing, and a close that reaches the peer."""

import asyncio
import sys
import threading
import typing
from collections.abc import Callable

from fastchat.protocols.deadlines import Clock, Deadlines
from fastchat.protocols.stream import Handler

READ_BUFFER_BYTES = 65536

# A connection's states. They only go up.
HANDSHAKE = 0  # lines have none
OPEN = 1
CLOSING = 2  # this side has said the end, the other one has not
DRAINING = 3  # nothing more is written; what still arrives is discarded
CLOSED = 4

_of_thread = threading.local()


def shared_read_buffer(sizehint: int = -1) -> memoryview:
    """Returns the one buffer into which all sockets of this thread's loop are read, as `get_buffer` is to.

    A loop reads one socket at a time and a Protocol leaves nothing in it, so an idle connection needs none.
    """
    try:
        buffer: memoryview = _of_thread.buffer
    except AttributeError:
        buffer = _of_thread.buffer = memoryview(bytearray(READ_BUFFER_BYTES))
    return buffer


def peer_address(transport: asyncio.BaseTransport) -> str:
    """Returns the peer's IP as text, "" for a local socket and for a peer that has gone already."""
    peer = transport.get_extra_info("peername")
    if not isinstance(peer, tuple):
        return ""
    # How a socket that listens on IPv4 and IPv6 tells of IPv4.
    return sys.intern(str(peer[0]).removeprefix("::ffff:"))


class Loop(Clock, typing.Protocol):
    """The part of an event loop that the edges need."""

    def call_soon(self, callback: Callable[..., object], /, *args: object) -> object: ...


class Listener:
    """What all connections of one listening socket share. MUST be made in the thread of its loop.

    `handler_factory` makes a connection's handler. `admit(peer_address)` is asked before one is made: None
    welcomes it and `on_open` follows surely, anything else is the reason to refuse. `close_timeout_s` is
    how long a peer may take to let go of a connection that is being closed.
    """

    __slots__ = ("admit", "closing", "handler_factory", "loop", "read_buffer")

    def __init__(
        self,
        handler_factory: Callable[[], Handler],
        *,
        admit: Callable[[str], str | None] | None = None,
        close_timeout_s: float = 5.0,
        loop: Loop | None = None,
    ) -> None:
        self.handler_factory = handler_factory
        self.admit = admit
        self.loop: Loop = asyncio.get_running_loop() if loop is None else loop
        self.read_buffer = shared_read_buffer()
        self.closing: Deadlines[StreamProtocol] = Deadlines(
            close_timeout_s, lambda protocol: protocol.on_close_timeout(), self.loop
        )

    def stop(self) -> None:
        """Stops the timers, when all connections are over."""
        self.closing.stop()


class StreamProtocol(asyncio.BufferedProtocol):
    """A `Stream` over a socket. Subclasses tell where a message ends."""

    __slots__ = (
        "_going_on",
        "_handler",
        "_listener",
        "_reading_paused",
        "_state",
        "_writing_paused",
        "peer_address",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        # None before it is open and once it was told of the end, so that no cycle outlives a connection.
        self._handler: Handler | None = None
        self._state = HANDSHAKE
        self._reading_paused = False
        self._writing_paused = False
        self._going_on = False
        self.peer_address = ""

    # Duties of the subclass

    def _receive(self) -> None:
        """Hands over what has arrived until there is no whole message, reading is blocked or it is over."""
        raise NotImplementedError

    def _is_blocked(self) -> bool:
        """Tells whether nothing may be handed over now."""
        return self._reading_paused

    def _work_off(self) -> None:
        """Hands over what has arrived, and tells the handler that this was it."""
        self._receive()
        if self._handler is not None:
            self._handler.on_settled()

    # Called by the transport

    def connection_made(self, transport: typing.Any) -> None:
        self.transport = transport

    # The same function for all, not a method: a transport keeps what it calls, and a method is an object.
    get_buffer = staticmethod(shared_read_buffer)

    def pause_writing(self) -> None:
        self._writing_paused = True
        if self._handler is not None:
            self._handler.on_pause_writing()

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self._handler is not None:
            self._handler.on_resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._state = CLOSED
        self._listener.closing.discard(self)
        self._tell_close(1006, "the connection was lost")

    # Stream

    def pause_reading(self) -> None:
        if self._state == OPEN:
            self._reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self._go_on_soon()

    def abort(self) -> None:
        if self._state != CLOSED:
            self._state = CLOSED
            self.transport.abort()

    # Reading again

    def _go_on_soon(self) -> None:
        if not self._going_on:
            self._going_on = True
            self._listener.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """What was kept comes first; only then is the socket read again."""
        self._going_on = False
        if self._state == CLOSED:
            return
        self._work_off()
        if not self._is_blocked() and self._state != CLOSED:
            self.transport.resume_reading()

    # The end

    def _tell_close(self, code: int, reason: str) -> None:
        handler = self._handler
        if handler is not None:
            self._handler = None
            handler.on_close(code, reason)

    def _drain(self) -> None:
        """Ends the sending side, and reads on until the peer ends its own.

        To close the socket while bytes of the peer's are unread would reset the connection, which may take
        our last words from the peer before it has read them.
        """
        self._state = DRAINING
        self._listener.closing.add(self)
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.transport.resume_reading()
        else:
            self.transport.close()

    def on_close_timeout(self) -> None:
        """The peer has not let go in time."""
        self.abort()
