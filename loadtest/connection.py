"""One TCP connection on gevent's loop, as cheap as it gets: a bare socket and one watcher.

gevent's own socket class is not used: it costs a kilobyte more, and each read tries once in vain.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import os
import socket

import gevent
from gevent.hub import get_hub

from .framing import Framing, LineFraming, Upgrade, WebSocketFraming

_READ, _WRITE = 1, 2
_RECEIVE_BYTES = 1 << 16
_UNSENT_LIMIT_BYTES = 4 << 20

Address = tuple[str, int]


class Lost(Exception):
    """The connection has ended, by whomever. ``str()`` says how, in few different ways."""


class Connection:
    """A connection to HOST:PORT, for one greenlet that reads and any number that write."""

    __slots__ = (
        "_read_watcher", "_socket", "_unsent", "bytes_received", "bytes_sent", "framing", "receive_bytes",
    )  # fmt: skip

    def __init__(self, address: Address, framing: Framing, *, receive_buffer_bytes: int = 0) -> None:
        """Raises Lost when nobody listens there; a ``receive_buffer_bytes`` of 0 leaves it to the kernel."""
        self.framing = framing
        self.receive_bytes = _RECEIVE_BYTES
        self.bytes_sent = self.bytes_received = 0
        self._unsent = bytearray()
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._socket = _socket.socket(family, _socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        if receive_buffer_bytes:
            self._socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, receive_buffer_bytes)
        self._read_watcher = get_hub().loop.io(self._socket.fileno(), _READ)
        try:
            self._connect(address)
        except BaseException:
            self.close()
            raise

    def _connect(self, address: Address) -> None:
        code = self._socket.connect_ex(address)
        if code == errno.EINPROGRESS:
            self._wait_writable()
            code = self._socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if code:
            raise Lost(os.strerror(code))

    def receive(self) -> bytes:
        """Waits for the next bytes. Raises Lost at the end."""
        while True:
            get_hub().wait(self._read_watcher)
            try:
                data = self._socket.recv(self.receive_bytes)
            except (BlockingIOError, InterruptedError):
                continue
            except OSError as error:
                raise Lost(os.strerror(error.errno or 0)) from None
            if not data:
                raise Lost("closed without a word")
            self.bytes_received += len(data)
            return data

    def write(self, data: bytes) -> None:
        """Writes in the order of the calls and never waits; what the socket does not take now goes later."""
        self.bytes_sent += len(data)
        if self._unsent:
            self._unsent += data
            if len(self._unsent) > _UNSENT_LIMIT_BYTES:
                raise Lost("the server takes no more")
            return
        sent = self._send(data)
        if sent < len(data):
            self._unsent += data[sent:]
            gevent.spawn(self._flush)

    def _send(self, data: bytes | bytearray) -> int:
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            raise Lost(os.strerror(error.errno or 0)) from None

    def _flush(self) -> None:
        try:
            while self._unsent:
                self._wait_writable()
                del self._unsent[: self._send(self._unsent)]
        except (Lost, OSError, ValueError):
            self._unsent.clear()  # the reader hears of it, too

    def _wait_writable(self) -> None:
        watcher = get_hub().loop.io(self._socket.fileno(), _WRITE)
        try:
            get_hub().wait(watcher)
        finally:
            watcher.stop()
            watcher.close()

    def finish_sending(self) -> None:
        """Says that nothing more will come: a close frame, or the end of the sending side."""
        try:
            if close_frame := self.framing.encode_close():
                self.write(close_frame)
            else:
                self._socket.shutdown(_socket.SHUT_WR)
        except (Lost, OSError):
            return  # it has ended already, which is what was wanted

    def cut(self) -> None:
        """Ends both directions at once; the reader gets Lost."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(_socket.SHUT_RDWR)

    def close(self) -> None:
        self._read_watcher.stop()
        self._read_watcher.close()
        self._socket.close()


def connect_line(address: Address, *, receive_buffer_bytes: int = 0) -> tuple[Connection, list[bytes]]:
    """A line connection, and the messages that have come already: none."""
    return Connection(address, LineFraming(), receive_buffer_bytes=receive_buffer_bytes), []


def connect_websocket(address: Address, *, receive_buffer_bytes: int = 0) -> tuple[Connection, list[bytes]]:
    """A WebSocket connection after its handshake, and the messages that came with the answer.

    Raises Lost when it cannot be had, Malformed when it was refused.
    """
    connection = Connection(address, WebSocketFraming(), receive_buffer_bytes=receive_buffer_bytes)
    try:
        upgrade = Upgrade(f"{address[0]}:{address[1]}")
        connection.write(upgrade.request)
        while (rest := upgrade.feed(connection.receive())) is None:
            pass
        return connection, connection.framing.feed(rest)
    except BaseException:
        connection.close()
        raise
