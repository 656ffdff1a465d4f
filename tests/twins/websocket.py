"""The frame parser's twin: it looks at everything that has arrived so far, again and again."""

from fastchat._websocket import WebSocketError

MAX_EMPTY_FRAGMENTS = 128


class FrameParserTwin:
    """Behaves as `fastchat._websocket.FrameParser`, without any care for time or memory."""

    def __init__(self, max_message_bytes: int, require_mask: bool = True) -> None:
        self.max_message_bytes = max_message_bytes
        self.require_mask = require_mask
        self.data = b""
        self.opcode: int | None = None
        self.message = b""
        self.empty_fragments = 0
        self.finished = False

    def feed(self, data: bytes) -> None:
        self.data += data

    def next(self) -> tuple[int, bytes] | None:
        while not self.finished:
            try:
                frame = self.parse_frame()
                if frame is None:
                    return None
                result = self.accept(*frame)
            except WebSocketError:
                self.finished = True
                raise
            if result is not None:
                self.finished = result[0] == 8
                return result
        return None

    def parse_frame(self) -> tuple[bool, int, bytes] | None:
        data = self.data
        if not data:
            return None
        fin, opcode = bool(data[0] & 0x80), data[0] & 0x0F
        self.check_first_byte(data[0], fin, opcode)
        if len(data) < 2:
            return None
        if bool(data[1] & 0x80) != self.require_mask:
            raise WebSocketError(1002, "masking")
        length, at = data[1] & 0x7F, 2
        if opcode >= 8 and length > 125:
            raise WebSocketError(1002, "long control frame")
        if length >= 126:
            at, least = (4, 126) if length == 126 else (10, 65536)
            if length == 127 and len(data) > 2 and data[2] & 0x80:
                raise WebSocketError(1002, "highest bit")
            if len(data) < at:
                return None
            length = int.from_bytes(data[2:at], "big")
            if length < least:
                raise WebSocketError(1002, "not the shortest form")
        if opcode < 8 and len(self.message) + length > self.max_message_bytes:
            raise WebSocketError(1009, "too long")
        key = bytes(4)
        if self.require_mask:
            key, at = data[at : at + 4], at + 4
            if len(data) < at:
                return None
        if (
            opcode < 8
            and not fin
            and length == 0
            and self.empty_fragments + (opcode == 0) > MAX_EMPTY_FRAGMENTS
        ):
            raise WebSocketError(1008, "empty fragments")
        payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(data[at : at + length]))
        if opcode < 8 and (opcode or self.opcode) == 1:
            check_utf8(self.message + payload, final=fin and len(payload) == length)
        if len(payload) < length:
            return None
        self.data = data[at + length :]
        return fin, opcode, payload

    def check_first_byte(self, byte: int, fin: bool, opcode: int) -> None:
        if byte & 0x70:
            raise WebSocketError(1002, "reserved bit")
        if opcode not in (0, 1, 2, 8, 9, 10):
            raise WebSocketError(1002, "unknown opcode")
        if opcode >= 8 and not fin:
            raise WebSocketError(1002, "fragmented control frame")
        if opcode == 0 and self.opcode is None:
            raise WebSocketError(1002, "continuation of nothing")
        if opcode in (1, 2) and self.opcode is not None:
            raise WebSocketError(1002, "message within a message")

    def accept(self, fin: bool, opcode: int, payload: bytes) -> tuple[int, bytes] | None:
        if opcode >= 8:
            if opcode == 8:
                check_close(payload)
            return opcode, payload
        if opcode:
            self.opcode = opcode
            self.empty_fragments = 0
        if not fin and not payload:
            self.empty_fragments += 1
        self.message += payload
        if not fin:
            return None
        assert self.opcode is not None
        result = self.opcode, self.message
        self.opcode, self.message = None, b""
        return result


def check_utf8(data: bytes, *, final: bool) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        # Only a character that the next bytes may finish is no error yet.
        if final or error.reason != "unexpected end of data":
            raise WebSocketError(1007, "UTF-8") from None


def check_close(payload: bytes) -> None:
    if len(payload) == 1:
        raise WebSocketError(1002, "half a code")
    if payload:
        code = int.from_bytes(payload[:2], "big")
        if not (code in (1000, 1001, 1002, 1003) or 1007 <= code <= 1014 or 3000 <= code < 5000):
            raise WebSocketError(1002, "code")
        check_utf8(payload[2:], final=True)
