"""Listening sockets and what the kernel holds for each connection. Edge: opens sockets, reads nothing.

A kernel that buffers megabytes for a reader that has stopped reading is memory too, and messages that lie
there cannot be skipped any more. TCP_NOTSENT_LOWAT bounds what a socket takes beyond what is on its way: the
low watermark. It is set on the listening socket, and accepted ones inherit it, as they do SO_SNDBUF.
"""

import os
import socket
from pathlib import Path

from fastchat.config import Address
from fastchat.errors import StartError, cannot_listen

# Linux and macOS have it; the constant is in Python's socket module from 3.12 on.
TCP_NOTSENT_LOWAT: int | None = getattr(
    socket, "TCP_NOTSENT_LOWAT", 25 if hasattr(socket, "TCP_INFO") else None
)

BACKLOG = 4096

ACCEPTS_PER_TURN = 16
"""Connections that a loop accepts between two looks at its other sockets.

libuv takes one from each listening handle in a turn of the loop. When thousands come back at once, each would
have turns of its own, and nothing that a turn's work shares would be shared: no tick, no span, no read.
"""


def listen(
    address: Address,
    setting: str,
    flag: str,
    low_water_bytes: int,
    send_buffer_bytes: int,
    *,
    shared: bool = False,
) -> socket.socket:
    """A listening TCP socket. Raises StartError, which names the ``setting`` and its ``flag``.

    ``shared``: other processes of this user listen there, too, each with a queue of its own.
    """
    try:
        listener = _bind(address, shared=shared)
        try:
            limit_kernel_buffer(listener, low_water_bytes, send_buffer_bytes)
            listener.listen(BACKLOG)
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise cannot_listen(address, setting, flag, error) from None
    return listener


def reserve(address: Address, setting: str, flag: str) -> socket.socket:
    """A socket that has the address and does not listen: others listen there with ``listen(shared=True)``.

    Raises StartError, also where somebody listens there already who would share it.
    """
    if address.port:
        listen(address, setting, flag, 0, 0).close()
    try:
        return _bind(address, shared=True)
    except OSError as error:
        raise cannot_listen(address, setting, flag, error) from None


def _bind(address: Address, *, shared: bool) -> socket.socket:
    """A TCP socket that has the address. Raises OSError."""
    family, kind, protocol, _, target = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(target)
    except BaseException:
        bound.close()
        raise
    return bound


def listen_locally(path: Path, setting: str) -> socket.socket:
    """A listening Unix socket that only this user can connect to. Raises StartError.

    What a server that was killed has left there is replaced; one that lives is not.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket() and not is_answered(path):
            path.unlink()
        # Nobody may connect before the permissions are right.
        mask = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise StartError(
            f"cannot listen on {path} ({setting}): {reason[:1].lower()}{reason[1:]}; choose another, or off"
        ) from None
    return listener


def is_answered(path: Path) -> bool:
    """Whether somebody listens at this Unix socket. Raises OSError where nobody can know."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
    return True


def accepting_sockets(listener: socket.socket) -> list[socket.socket]:
    """The listening socket and duplicates of it, all of one queue: each accepts one connection in a turn."""
    return [listener, *(listener.dup() for _ in range(ACCEPTS_PER_TURN - 1))]


def limit_kernel_buffer(sock: socket.socket, low_water_bytes: int, send_buffer_bytes: int) -> None:
    """Bounds the unsent bytes that the kernel takes, and its send buffer; 0 leaves either to the kernel."""
    if low_water_bytes and TCP_NOTSENT_LOWAT is not None:
        sock.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, low_water_bytes)
    if send_buffer_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)


def bound_address(listener: socket.socket) -> str:
    """Where it really listens, as HOST:PORT."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
