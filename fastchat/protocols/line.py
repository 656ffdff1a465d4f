"""The line edge: one TCP connection on which every line is a message."""

import asyncio
import contextlib
import socket
from collections.abc import Callable

from fastchat.protocols.base import CLOSED, CLOSING, OPEN, Listener, Loop, StreamProtocol, peer_address
from fastchat.protocols.stream import Handler

_NEWLINE = b"\n"
_CARRIAGE_RETURN = 13
_START_BYTES = 16  # of a line that is too long: enough to tell what it is

# There is no ping in this protocol: the kernel finds out within two minutes that a peer is gone.
_TCP_OPTIONS = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 60),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 15),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 4),
)


class LineListener(Listener):
    """What all connections of one line port share.

    `max_line_bytes` bounds a line without its newline. What `admit` returns is written as a line to who is
    refused.
    """

    __slots__ = ("max_line_bytes",)

    def __init__(
        self,
        handler_factory: Callable[[], Handler],
        *,
        max_line_bytes: int = 65536,
        admit: Callable[[str], str | None] | None = None,
        close_timeout_s: float = 5.0,
        loop: Loop | None = None,
    ) -> None:
        super().__init__(handler_factory, admit=admit, close_timeout_s=close_timeout_s, loop=loop)
        self.max_line_bytes = max_line_bytes


class LineProtocol(StreamProtocol):
    """One connection of the line port: `loop.create_server(lambda: LineProtocol(listener))`.

    A line ends with a newline, or with the client's end of input; one carriage return before it is not part
    of it.
    """

    __slots__ = ("_end", "_eof", "_eof_told", "_kept", "_skipping")

    _listener: LineListener

    def __init__(self, listener: LineListener) -> None:
        super().__init__(listener)
        self._kept = b""
        self._skipping = False
        self._eof = False
        # The code and reason of a close that waits until everything is written.
        self._end: tuple[int, str] | None = None
        self._eof_told = False

    # Called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.peer_address = peer_address(transport)
        enable_keep_alive(transport)
        listener = self._listener
        refusal = listener.admit(self.peer_address) if listener.admit is not None else None
        if refusal is not None:
            self.transport.write(refusal.encode() + _NEWLINE)
            self._drain()
            return
        self._state = OPEN
        self._handler = handler = listener.handler_factory()
        handler.on_open(self)

    def buffer_updated(self, nbytes: int) -> None:
        if self._state == OPEN:
            self._kept += self._listener.read_buffer[:nbytes]
            self._work_off()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._end is not None and not self._writing_paused:
            end, self._end = self._end, None
            self._finish(*end)

    def eof_received(self) -> bool:
        """A client that has ended its input still gets its answers, so the connection stays open for them."""
        self._eof = True
        if self._state > CLOSING:
            return False
        if self._state == OPEN and not self._reading_paused:
            self._end_input()
        # TLS has no half-closed connections.
        return self.transport.can_write_eof()

    # Lines

    def _receive(self) -> None:
        if self._state != OPEN or self._handler is None:
            return
        data = self._kept
        find, on_message, limit = data.find, self._handler.on_message, self._listener.max_line_bytes
        at = 0
        try:
            # One turn for each line: what it costs is what a client that floods costs everyone else.
            while not self._reading_paused:
                newline = find(_NEWLINE, at)
                if newline < 0:
                    at = self._check_unfinished(data, at)
                    return
                start, at = at, newline + 1
                if self._skipping:
                    self._skipping = False
                    continue
                if newline > start and data[newline - 1] == _CARRIAGE_RETURN:
                    newline -= 1
                if newline - start > limit:
                    self._handler.on_oversize(limit, data[start : min(newline, start + _START_BYTES)])
                else:
                    on_message(data[start:newline], True)
                if self._state != OPEN:
                    return
            self.transport.pause_reading()
        finally:
            self._kept = data[at:] if self._state == OPEN else b""

    def _hand_over(self, data: bytes, start: int, end: int) -> None:
        assert self._handler is not None
        if end > start and data[end - 1] == _CARRIAGE_RETURN:
            end -= 1
        if end - start > self._listener.max_line_bytes:
            self._handler.on_oversize(
                self._listener.max_line_bytes, data[start : min(end, start + _START_BYTES)]
            )
        else:
            self._handler.on_message(data[start:end], True)

    def _check_unfinished(self, data: bytes, at: int) -> int:
        """Returns from where on `data` is to be kept: nothing of a line that is too long already."""
        size = len(data) - at
        if not self._skipping:
            limit = self._listener.max_line_bytes
            # A carriage return may turn out to belong to the newline.
            if size <= limit or (size == limit + 1 and data[-1] == _CARRIAGE_RETURN):
                return at
            assert self._handler is not None
            self._skipping = True
            self._handler.on_oversize(limit, data[at : at + _START_BYTES])
        return len(data)

    def _go_on(self) -> None:
        if self._eof:
            self._going_on = False
            self._work_off()
            if self._state == OPEN and not self._reading_paused:
                self._end_input()
        else:
            super()._go_on()

    def _end_input(self) -> None:
        """Hands over the last line, finished or not, and gives the handler time to answer."""
        if self._eof_told:
            return
        self._eof_told = True
        last, self._kept = self._kept, b""
        if last and not self._skipping:
            self._hand_over(last, 0, len(last))
        if self._state == OPEN:
            self._listener.closing.add(self)
            if self._handler is not None:
                self._handler.on_eof()

    # The end

    def close(self, code: int, reason: str) -> None:
        if self._state == OPEN:
            self._state = CLOSING
            self._kept = b""
            self._listener.closing.add(self)
            # What the handler's output collects within this turn of the loop still goes out.
            self._listener.loop.call_soon(self._finish, code, reason)

    def on_close_timeout(self) -> None:
        if self._state == OPEN:
            self.close(1000, "")
        else:
            super().on_close_timeout()

    def _finish(self, code: int, reason: str) -> None:
        if self._state == CLOSING and self._writing_paused:
            # Who is told of the end may take the loop away, and with it what is not sent yet.
            self._end = code, reason
            return
        self._tell_close(code, reason)
        if self._state != CLOSED:
            self._drain()

    def _drain(self) -> None:
        if self._eof:
            self._listener.closing.add(self)
            self.transport.close()
        else:
            super()._drain()


def enable_keep_alive(transport: asyncio.BaseTransport) -> None:
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    for level, name, value in _TCP_OPTIONS:
        # Not every system has all of them, and the peer may have gone already.
        with contextlib.suppress(AttributeError, OSError):
            sock.setsockopt(level, getattr(socket, name), value)
