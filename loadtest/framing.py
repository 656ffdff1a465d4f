"""WebSocket frames and lines as a client sends and reads them. Pure: no sockets, clock or await.

RFC 6455 asks clients to mask, with a key that proxies cannot foresee. A load test has no proxy to protect, so
the key is 0: the frames are valid, masking costs nothing here, and the server unmasks as ever.
"""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Protocol

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_NO_MASK = b"\0\0\0\0"


class Malformed(Exception):
    """The server sent what is no proper frame, or no proper answer to the upgrade."""


class Framing(Protocol):
    """One connection's framing: what to write, and the messages in what was read."""

    replies: bytearray
    """Bytes that have to be written because of what was read: pongs, the answer to a close frame."""
    close_code: int | None
    """From the server's close frame, 1005 if it had none; None before, and always for lines."""

    def encode(self, message: bytes) -> bytes: ...

    def feed(self, received: bytes) -> list[bytes]: ...

    def encode_close(self) -> bytes: ...


class LineFraming:
    """One JSON object per line."""

    __slots__ = ("_rest", "close_code", "replies")

    def __init__(self) -> None:
        self.replies = bytearray()
        self.close_code: int | None = None
        self._rest = b""

    def encode(self, message: bytes) -> bytes:
        return message + b"\n"

    def feed(self, received: bytes) -> list[bytes]:
        """The lines that are whole now, without their ends."""
        lines = (self._rest + received).split(b"\n") if self._rest else received.split(b"\n")
        self._rest = lines.pop()
        return lines

    def encode_close(self) -> bytes:
        """Lines have no close frame; the caller ends its sending side instead."""
        return b""


class WebSocketFraming:
    """RFC 6455 after the handshake. What a server may not send raises Malformed."""

    __slots__ = ("_fragments", "_rest", "close_code", "replies")

    def __init__(self) -> None:
        self.replies = bytearray()
        self.close_code: int | None = None
        self._rest = b""
        self._fragments: list[bytes] | None = None

    def encode(self, message: bytes) -> bytes:
        return encode_frame(TEXT, message)

    def encode_close(self) -> bytes:
        return encode_frame(CLOSE, b"\x03\xe8")

    def feed(self, received: bytes) -> list[bytes]:
        """The messages that are whole now; nothing after the server's close frame is looked at."""
        data = self._rest + received if self._rest else received
        messages: list[bytes] = []
        start, end = 0, len(data)
        while end - start >= 2 and self.close_code is None:
            first, length = data[start], data[start + 1]
            body = start + 2
            if length == 126:
                body += 2
                length = int.from_bytes(data[start + 2 : body])
            elif length == 127:
                body += 8
                length = int.from_bytes(data[start + 2 : body])
            elif length > 127:
                raise Malformed("a server's frame is masked")
            if body > end or end - body < length:
                break
            start = body + length
            payload = data[body:start]
            if first == 0x81 and self._fragments is None:
                messages.append(payload)
            else:
                self._take_other(first, payload, messages)
        self._rest = data[start:] if start < end else b""
        return messages

    def _take_other(self, first: int, payload: bytes, messages: list[bytes]) -> None:
        """Control frames and fragments: rare, so apart from the loop."""
        final, opcode = first & 0x80, first & 0x0F
        if first & 0x70:
            raise Malformed("reserved bits are set")
        if opcode == PING:
            self.replies += encode_frame(PONG, payload)
        elif opcode == CLOSE:
            self.close_code = int.from_bytes(payload[:2]) if len(payload) >= 2 else 1005
            self.replies += encode_frame(CLOSE, payload[:2])
        elif opcode == PONG:
            return
        elif opcode in (TEXT, BINARY):
            if self._fragments is not None:
                raise Malformed("a message begins inside another one")
            if final:
                messages.append(payload)
            else:
                self._fragments = [payload]
        elif opcode == 0 and self._fragments is not None:
            self._fragments.append(payload)
            if final:
                messages.append(b"".join(self._fragments))
                self._fragments = None
        else:
            raise Malformed(f"opcode {opcode:#x} is not expected here")


def encode_frame(opcode: int, payload: bytes) -> bytes:
    """One final client frame, masked with the key 0."""
    length = len(payload)
    if length < 126:
        head = bytes((0x80 | opcode, 0x80 | length))
    elif length < 1 << 16:
        head = bytes((0x80 | opcode, 0xFE)) + length.to_bytes(2)
    else:
        head = bytes((0x80 | opcode, 0xFF)) + length.to_bytes(8)
    return head + _NO_MASK + payload


class Upgrade:
    """The opening handshake: write ``request``, and call ``feed`` until it returns something."""

    def __init__(self, host: str, path: str = "/ws") -> None:
        key = base64.b64encode(os.urandom(16))
        self._accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest()).lower()
        self._received = b""
        self.request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: fastchat.v1\r\n"
            f"Sec-WebSocket-Key: {key.decode()}\r\n\r\n"
        ).encode()

    def feed(self, received: bytes) -> bytes | None:
        """What came behind the answer's head; None until that is whole. Raises Malformed on a refusal."""
        self._received += received
        head, blank, rest = self._received.partition(b"\r\n\r\n")
        if not blank:
            return None
        lines = head.split(b"\r\n")
        status = lines[0].split(b" ", 2)[1:2]
        if status != [b"101"]:
            raise Malformed(f"the upgrade was refused with {b''.join(status).decode(errors='replace')}")
        if b"sec-websocket-accept: " + self._accept not in [line.strip().lower() for line in lines[1:]]:
            raise Malformed("the upgrade's answer has a wrong key")
        return rest
