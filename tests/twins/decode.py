"""Takes apart what was framed, without a line of the code that framed it."""

import struct


def lines(data: bytes) -> list[bytes]:
    """The lines in ``data``, which ends with one."""
    *whole, rest = data.split(b"\n")
    assert rest == b"", "half a line"
    return whole


def text_messages(data: bytes) -> list[bytes]:
    """The payloads of unmasked text frames (RFC 6455 section 5.2), of which none is cut off."""
    payloads = []
    while data:
        flags, length = struct.unpack_from("!BB", data)
        assert flags == 0x81, "not a whole text message"
        start = 2
        if length == 126:
            (length,) = struct.unpack_from("!H", data, 2)
            assert length > 125, "not the shortest form"
            start = 4
        elif length == 127:
            (length,) = struct.unpack_from("!Q", data, 2)
            assert length > 65535, "not the shortest form"
            start = 10
        assert length < 1 << 63, "masked, or longer than can be"
        payload, data = data[start : start + length], data[start + length :]
        assert len(payload) == length, "half a frame"
        payloads.append(payload)
    return payloads
