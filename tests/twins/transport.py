"""Transports as uvloop's are: on a socket whose free space the test decides, or on a real one. No loop."""

import socket
from collections.abc import Callable
from typing import Any


class FakeTransport:
    """Tries the socket at once, keeps what it does not take, and says so inside of ``write``.

    ``room`` is how many bytes the socket still takes (None: all). ``sent`` is what the socket took, ``calls``
    what each write was given, in pieces, the very objects.
    """

    def __init__(self, room: int | None = None) -> None:
        self.room = room
        self.sent = bytearray()
        self.buffered = bytearray()
        self.calls: list[list[bytes]] = []
        self.limits: tuple[int | None, int | None] | None = None
        self.aborted = False
        self.protocol: Any = None
        self.on_write: Callable[[], object] = lambda: None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limits = (high, low)

    def get_write_buffer_size(self) -> int:
        return len(self.buffered)

    def get_extra_info(self, name: str) -> Any:
        return None

    def write(self, data: bytes | memoryview) -> None:
        self.writelines([bytes(data)])

    def writelines(self, pieces: list[bytes]) -> None:
        self.on_write()
        self.calls.append(list(pieces))
        was_empty = not self.buffered
        self.buffered += b"".join(pieces)
        if was_empty:
            self._send()
            if self.buffered:
                self.protocol.pause()

    def _send(self) -> None:
        taken = len(self.buffered) if self.room is None else min(self.room, len(self.buffered))
        self.sent += self.buffered[:taken]
        del self.buffered[:taken]
        if self.room is not None:
            self.room -= taken

    def drain(self, room: int | None = None) -> None:
        """The peer has read: the socket has ``room`` again (None: without end)."""
        was_full = bool(self.buffered)
        self.room = room
        self._send()
        if was_full and not self.buffered:
            self.protocol.resume()

    def abort(self) -> None:
        self.aborted = True


class PassedTransport(FakeTransport):
    """The same on a real socket that takes everything, for a fan-out that sends on it, past ``write``.

    What the socket was given is noted by ``catch_up``, write by write, as if ``write`` had been called then.
    """

    def __init__(self) -> None:
        super().__init__()
        # This kind keeps writes apart.
        self.socket, self.peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.peer.setblocking(False)

    def get_extra_info(self, name: str) -> Any:
        return self.socket if name == "socket" else None

    def catch_up(self) -> None:
        while True:
            try:
                data = self.peer.recv(1 << 20)
            except BlockingIOError:
                return
            super().writelines([data])

    def writelines(self, pieces: list[bytes]) -> None:
        self.catch_up()
        super().writelines(pieces)

    def close(self) -> None:
        self.socket.close()
        self.peer.close()
