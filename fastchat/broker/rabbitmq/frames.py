"""Messages that are published, as AMQP 0-9-1 frames. Pure: no sockets, clock or await.

The library makes objects, a lock's turn and a place in a queue of each message; here a batch is one piece of
bytes. Sections are those of the specification.
"""

import struct
from collections.abc import Mapping

_METHOD, _HEADER, _BODY = 1, 2, 3
_END = b"\xce"
_FRAME_OVERHEAD_BYTES = 8

_BASIC, _PUBLISH = 60, 40

# Which properties follow, from the highest bit on (section 4.2.6.1).
_CONTENT_TYPE, _HEADERS, _DELIVERY_MODE, _MESSAGE_ID = 1 << 15, 1 << 13, 1 << 12, 1 << 7

_frame = struct.Struct(">BHI")
_method = struct.Struct(">HHH")
_content = struct.Struct(">HHQH")


class Publisher:
    """Frames (sections 2.3.5 and 4.2) of messages to one exchange through one channel."""

    def __init__(
        self,
        channel: int,
        frame_max_bytes: int,
        exchange: str,
        *,
        content_type: str = "",
        persistent: bool = False,
        mandatory: bool = False,
    ) -> None:
        """``frame_max_bytes`` is what the server and the client have agreed on."""
        self._channel = channel
        self._most_bytes = frame_max_bytes - _FRAME_OVERHEAD_BYTES
        self._method = _method.pack(_BASIC, _PUBLISH, 0) + encode_short(exchange)
        self._options = bytes([mandatory])
        self._flags = (_CONTENT_TYPE if content_type else 0) | (_DELIVERY_MODE if persistent else 0)
        self._content_type = encode_short(content_type) if content_type else b""
        self._mode = b"\x02" if persistent else b""

    def encode(
        self, key: str, body: bytes, message_id: str = "", headers: Mapping[str, str] | None = None
    ) -> bytes:
        """All frames of one message. Raises ValueError where a name is longer than 255 bytes."""
        method = self._method + encode_short(key) + self._options
        flags, properties = self._flags, self._content_type
        if headers:
            flags |= _HEADERS
            properties += encode_table(headers)
        properties += self._mode
        if message_id:
            flags |= _MESSAGE_ID
            properties += encode_short(message_id)
        size = len(body)
        content = _content.pack(_BASIC, 0, size, flags) + properties
        begin = (
            _frame.pack(_METHOD, self._channel, len(method)),
            method,
            _END,
            _frame.pack(_HEADER, self._channel, len(content)),
            content,
            _END,
        )
        if size <= self._most_bytes:
            return b"".join((*begin, _frame.pack(_BODY, self._channel, size), body, _END) if size else begin)
        pieces = [body[start : start + self._most_bytes] for start in range(0, size, self._most_bytes)]
        rest = [_frame.pack(_BODY, self._channel, len(piece)) + piece + _END for piece in pieces]
        return b"".join((*begin, *rest))


def encode_short(text: str) -> bytes:
    """A short string (section 4.2.5.3)."""
    data = text.encode()
    if len(data) > 255:
        raise ValueError(f"AMQP takes names of up to 255 bytes, and not {text[:40]!r}…")
    return bytes([len(data)]) + data


def encode_table(texts: Mapping[str, str]) -> bytes:
    """A table of long strings (section 4.2.5.5)."""
    fields = []
    for name, text in texts.items():
        data = text.encode()
        fields.append(encode_short(name) + b"S" + struct.pack(">I", len(data)) + data)
    table = b"".join(fields)
    return struct.pack(">I", len(table)) + table
