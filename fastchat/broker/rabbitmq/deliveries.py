"""Messages that RabbitMQ delivers, taken out of what it sends. Pure: no sockets, clock or await.

The library makes a task of each message, after a turn in two others: that would be most of what a message by
the bus takes. What is no delivery passes on to the library as it came. Sections are those of AMQP 0-9-1.
"""

import struct
from collections.abc import Callable

_METHOD, _HEADER, _BODY, _HEARTBEAT = 1, 2, 3, 8
_HEAD_BYTES = 7
_DELIVER = struct.pack(">HH", 60, 60)

_head = struct.Struct(">BHI")
_size = struct.Struct(">Q")
_SIZE_AT = 4
"""Behind class and weight, in the frame of a content header (section 4.2.6.1)."""

OnDelivery = Callable[[str, str, bytes], None]
"""Called with exchange, routing key and body."""


class Deliveries:
    """Takes the bytes of one connection whose deliveries all come by one channel, and need no answer."""

    def __init__(self, on_delivery: OnDelivery) -> None:
        self._on_delivery = on_delivery
        self._rest = b""
        self._is_raw = False
        self._route: tuple[str, str] | None = None
        self._body: list[bytes] = []
        self._missing = -1

    def receive_data(self, data: bytes) -> bytes:
        """Returns what is for the library: whole frames."""
        if self._is_raw:
            return data
        if self._rest:
            data = self._rest + data
        others: list[bytes] = []
        at, end = 0, len(data)
        while end - at >= _HEAD_BYTES:
            kind, _, size = _head.unpack_from(data, at)
            if kind not in (_METHOD, _HEADER, _BODY, _HEARTBEAT):
                # Not AMQP 0-9-1, or not any more: the library knows what to say of it.
                self._is_raw, self._rest = True, b""
                return b"".join((*others, data[at:]))
            begin = at + _HEAD_BYTES
            after = begin + size + 1
            if after > end:
                break
            if not self._take(kind, data, begin, size):
                others.append(data[at:after])
            at = after
        self._rest = data[at:]
        return b"".join(others)

    def _take(self, kind: int, data: bytes, begin: int, size: int) -> bool:
        """Takes a frame that is of a delivery."""
        if kind == _METHOD:
            if data[begin : begin + 4] != _DELIVER:
                return False
            self._route = _parse_route(data, begin + 4)
            return True
        if self._route is None or kind == _HEARTBEAT:
            return False
        if kind == _HEADER:
            (self._missing,) = _size.unpack_from(data, begin + _SIZE_AT)
        else:
            self._body.append(data[begin : begin + size])
            self._missing -= size
        if self._missing == 0:
            (exchange, key), body = self._route, b"".join(self._body)
            self._route, self._body = None, []
            self._on_delivery(exchange, key, body)
        return True


def _parse_route(data: bytes, at: int) -> tuple[str, str]:
    """Exchange and routing key: behind consumer tag, delivery tag and a bit (section 1.8.3.8)."""
    at += 1 + data[at] + 8 + 1
    exchange_end = at + 1 + data[at]
    key_end = exchange_end + 1 + data[exchange_end]
    return data[at + 1 : exchange_end].decode(), data[exchange_end + 1 : key_end].decode()
