# cython: language_level=3, cdivision=True
"""WebSocket frames (RFC 6455). Compiled. Pure: no sockets, clock or await.

`FrameParser` turns bytes into messages, `encode_frame` turns a payload into bytes. Extensions are
not offered, so a reserved bit is always an error.

Memory: a message that lies whole in the fed buffer is copied once, into the resulting bytes object.
Of a message that has arrived in part only the arrived part is held, never what its header announced.
Between messages a parser owns nothing but itself.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

CONTINUATION = 0x0
TEXT = 0x1
BINARY = 0x2
CLOSE = 0x8
PING = 0x9
PONG = 0xA

cdef enum:
    _CONTINUATION = 0x0
    _TEXT = 0x1
    _BINARY = 0x2
    _CLOSE = 0x8
    _PONG = 0xA
    MAX_CONTROL_BYTES = 125  # section 5.5
    # Other fragments are bounded by the size of the message; empty ones would never end.
    MAX_EMPTY_FRAGMENTS = 128


class WebSocketError(Exception):
    """The peer broke the protocol. `close_code` and `reason` are for the close frame that answers it."""

    def __init__(self, close_code: int, reason: str) -> None:
        super().__init__(close_code, reason)
        self.close_code = close_code
        self.reason = reason


# UTF-8 ------------------------------------------------------------------------------------------

cdef inline void utf8_reset(Utf8* state) noexcept nogil:
    state.need = 0
    state.low = 0x80
    state.high = 0xBF


cdef inline bint utf8_feed(Utf8* state, const unsigned char* data, size_t size) noexcept nogil:
    """Goes on checking where it stopped. Returns False at the first byte that cannot be UTF-8."""
    cdef size_t at = 0
    cdef uint64_t word
    cdef unsigned char byte
    while at < size:
        if state.need == 0:
            while size - at >= 8:
                memcpy(&word, data + at, 8)
                if word & <uint64_t>0x8080808080808080:
                    break
                at += 8
            if at == size:
                break
            byte = data[at]
            if byte < 0x80:
                pass
            elif byte < 0xC2:  # a continuation byte, or an overlong form of ASCII
                return False
            elif byte < 0xE0:
                state.need = 1
            elif byte < 0xF0:
                state.need = 2
                if byte == 0xE0:  # overlong
                    state.low = 0xA0
                elif byte == 0xED:  # surrogates
                    state.high = 0x9F
            elif byte < 0xF5:
                state.need = 3
                if byte == 0xF0:  # overlong
                    state.low = 0x90
                elif byte == 0xF4:  # above U+10FFFF
                    state.high = 0x8F
            else:
                return False
        else:
            byte = data[at]
            if byte < state.low or byte > state.high:
                return False
            state.low = 0x80
            state.high = 0xBF
            state.need = <unsigned char>(state.need - 1)
        at += 1
    return True


# Masking ----------------------------------------------------------------------------------------

cdef inline void apply_mask(
    unsigned char* target, const unsigned char* source, size_t size, const unsigned char* key, unsigned int phase
) noexcept nogil:
    """Section 5.3, eight bytes at a time; `phase` is the offset of source[0] in its frame, modulo 4."""
    cdef unsigned char turned[8]
    cdef uint64_t key_word, word
    cdef size_t at = 0
    cdef unsigned int i
    for i in range(8):
        turned[i] = key[(phase + i) & 3]
    memcpy(&key_word, turned, 8)
    while size - at >= 8:
        memcpy(&word, source + at, 8)
        word = word ^ key_word
        memcpy(target + at, &word, 8)
        at += 8
    i = 0
    while at < size:
        target[at] = source[at] ^ turned[i]
        at += 1
        i += 1


# Parsing ----------------------------------------------------------------------------------------

cdef class FrameParser:
    """Reassembles messages from what `feed` is given.

    `max_message_bytes` bounds a message's payload, all fragments together. A server requires masked
    frames (`require_mask=True`), a client requires unmasked ones.

    After a close frame or a `WebSocketError` everything that follows is ignored.
    """

    def __cinit__(self, max_message_bytes: int, require_mask: bool = True) -> None:
        if max_message_bytes < 0:
            raise ValueError("max_message_bytes must not be negative")
        # No bytes object can be longer, and it keeps every sum below from overflowing.
        self.max_message_bytes = min(max_message_bytes, 1 << 62)
        self.require_mask = require_mask
        utf8_reset(&self.utf8)

    def __dealloc__(self) -> None:
        if self.viewing:
            PyBuffer_Release(&self.view)
        PyMem_Free(self.tail)
        PyMem_Free(self.partial)

    def feed(self, data, size=None) -> None:
        """Takes `data` (its first `size` bytes), which MUST stay unchanged until `next` has returned None
        or raised, or `keep` was called."""
        cdef Py_buffer fresh
        if self.finished:
            return
        PyObject_GetBuffer(data, &fresh, PyBUF_SIMPLE)
        cdef size_t length = <size_t>fresh.len
        if size is not None:
            try:
                if size < 0 or size > fresh.len:
                    raise ValueError("size is not within the buffer")
                length = size
            except:
                PyBuffer_Release(&fresh)
                raise
        if self.at == self.end:
            self._drop_input()
            self.view = fresh
            self.viewing = True
            self.at = <const unsigned char*>fresh.buf
            self.end = self.at + length
            return
        try:
            self._append(<const unsigned char*>fresh.buf, length)
        finally:
            PyBuffer_Release(&fresh)

    def keep(self) -> None:
        """Copies what is left of the fed buffer, which may be reused then."""
        if self.viewing:
            if self.at == self.end:
                self._drop_input()
            else:
                self._append(NULL, 0)

    def next(self):
        """Returns the next `(opcode, payload)`, or None when more bytes are needed.

        Data messages come whole, with the opcode of their first fragment; control frames as they come,
        also amid a fragmented message. Raises WebSocketError for whatever section 5 to 8 forbid, at the
        earliest byte that shows it.
        """
        if self.finished:
            return None
        try:
            while True:
                if not self.in_payload and not self._read_head():
                    break
                result = self._read_payload()
                if result is not None:
                    return result
                if self.in_payload:
                    break
        except:
            self._finish()
            raise
        self._drop_input()
        return None

    @property
    def buffered_bytes(self) -> int:
        """What the parser holds of its own: an unfinished message and kept bytes."""
        return self.partial_size + self.tail_size

    @property
    def unread(self) -> bool:
        """Whether there is input that `next` has not looked at."""
        return self.at != self.end

    @property
    def idle(self) -> bool:
        """Whether it is between two messages and holds nothing, so that it may go on with another stream."""
        return not (
            self.finished or self.in_message or self.in_payload or self.head_size or self.viewing or self.tail_size
        )

    cdef _drop_input(self):
        self.at = self.end = NULL
        if self.viewing:
            self.viewing = False
            PyBuffer_Release(&self.view)
        PyMem_Free(self.tail)
        self.tail = NULL
        self.tail_size = 0

    cdef _drop_partial(self):
        PyMem_Free(self.partial)
        self.partial = NULL
        self.partial_size = self.partial_used = self.message_bytes = 0

    cdef _finish(self):
        self.finished = True
        self._drop_input()
        self._drop_partial()

    cdef _append(self, const unsigned char* data, size_t size):
        """Makes the parser's own copy of all input that is left, and `data` after it."""
        cdef size_t left = <size_t>(self.end - self.at)
        cdef unsigned char* fresh = <unsigned char*>PyMem_Malloc(left + size)
        if fresh is NULL:
            raise MemoryError()
        memcpy(fresh, self.at, left)
        if size:
            memcpy(fresh + left, data, size)
        self._drop_input()
        self.tail = fresh
        self.tail_size = left + size
        self.at = fresh
        self.end = fresh + left + size

    cdef bint _gather(self, unsigned int need) noexcept:
        """Moves bytes into `head` until it has `need` of them."""
        while self.head_size < need:
            if self.at == self.end:
                return False
            self.head[self.head_size] = self.at[0]
            self.head_size = <unsigned char>(self.head_size + 1)
            self.at += 1
        return True

    cdef bint _read_head(self) except -1:
        """Reads a frame's header, section 5.2. Returns False when more bytes are needed."""
        cdef unsigned int opcode, need = 2, i
        cdef uint64_t length
        if not self._gather(1):
            return False
        opcode = self.head[0] & 0x0F
        if self.head_size == 1:
            self._check_first_byte(self.head[0], opcode)
        if not self._gather(2):
            return False
        if bool(self.head[1] & 0x80) != self.require_mask:
            raise WebSocketError(1002, "frame is not masked" if self.require_mask else "frame is masked")
        length = self.head[1] & 0x7F
        if opcode >= _CLOSE:
            if length > MAX_CONTROL_BYTES:
                raise WebSocketError(1002, "control frame is longer than 125 bytes")
        elif length == 126:
            need = 4
            if not self._gather(need):
                return False
            length = (<uint64_t>self.head[2] << 8) | self.head[3]
            if length < 126:
                raise WebSocketError(1002, "frame length is not in its shortest form")
        elif length == 127:
            need = 10
            if not self._gather(3):
                return False
            if self.head[2] & 0x80:
                raise WebSocketError(1002, "frame length has its highest bit set")
            if not self._gather(need):
                return False
            length = 0
            for i in range(2, 10):
                length = (length << 8) | self.head[i]
            if length < 65536:
                raise WebSocketError(1002, "frame length is not in its shortest form")
        if opcode < _CLOSE:
            # Both sides are unsigned, and message_bytes never exceeds max_message_bytes.
            if length > self.max_message_bytes - self.message_bytes:
                raise WebSocketError(1009, f"message is longer than {self.max_message_bytes} bytes")
        if self.require_mask:
            if not self._gather(need + 4):
                return False
            memcpy(self.mask, self.head + need, 4)
        self._begin_frame(opcode, length)
        return True

    cdef int _check_first_byte(self, unsigned int byte, unsigned int opcode) except -1:
        if byte & 0x70:
            raise WebSocketError(1002, "reserved bit is set")
        if opcode > _PONG or _BINARY < opcode < _CLOSE:
            raise WebSocketError(1002, f"unknown opcode {opcode}")
        if opcode >= _CLOSE:
            if not byte & 0x80:
                raise WebSocketError(1002, "control frame is fragmented")
        elif opcode == _CONTINUATION:
            if not self.in_message:
                raise WebSocketError(1002, "continuation without a message")
        elif self.in_message:
            raise WebSocketError(1002, "new message before the last one was finished")
        return 0

    cdef int _begin_frame(self, unsigned int opcode, uint64_t length) except -1:
        self.fin = (self.head[0] & 0x80) != 0
        self.control = opcode >= _CLOSE
        self.opcode = <unsigned char>opcode
        self.left = length
        self.phase = 0
        self.head_size = 0
        self.in_payload = True
        if self.control:
            return 0
        if opcode != _CONTINUATION:
            self.in_message = True
            self.message_opcode = self.opcode
            self.empty_fragments = 0
            utf8_reset(&self.utf8)
        if length == 0 and not self.fin:
            self.empty_fragments += 1
            if self.empty_fragments > MAX_EMPTY_FRAGMENTS:
                raise WebSocketError(1008, "too many empty fragments")
        return 0

    cdef object _read_payload(self):
        """Returns a result where this frame completes one. `in_payload` stays set while bytes are missing."""
        cdef size_t available = <size_t>(self.end - self.at)
        cdef size_t take = available if available < self.left else <size_t>self.left
        cdef bytes payload
        if take == self.left and self.fin and (self.control or self.message_bytes == 0):
            if self.partial_used == (self.message_bytes if self.control else 0):
                payload = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>take)
                self._copy(<unsigned char*>PyBytes_AS_STRING(payload), take)
                return self._complete(payload)
        self._reserve(self.partial_used + take)
        if take:
            self._copy(self.partial + self.partial_used, take)
            self.partial_used += take
        if self.left:
            return None
        if not self.fin:
            self.message_bytes = self.partial_used
            self.in_payload = False
            return None
        if self.control:
            payload = PyBytes_FromStringAndSize(
                <char*>self.partial + self.message_bytes, <Py_ssize_t>(self.partial_used - self.message_bytes)
            )
        else:
            payload = PyBytes_FromStringAndSize(<char*>self.partial, <Py_ssize_t>self.partial_used)
        return self._complete(payload)

    cdef int _copy(self, unsigned char* target, size_t size) except -1:
        """Moves `size` bytes of this frame's payload to `target`, unmasked and checked."""
        if self.require_mask:
            apply_mask(target, self.at, size, self.mask, self.phase)
        elif size:
            memcpy(target, self.at, size)
        self.at += size
        self.left -= size
        self.phase = <unsigned char>((self.phase + size) & 3)
        if self.message_opcode == _TEXT and not self.control:
            if not utf8_feed(&self.utf8, target, size):
                raise WebSocketError(1007, "text is not UTF-8")
        return 0

    cdef int _reserve(self, size_t size) except -1:
        cdef size_t fresh_size
        cdef unsigned char* fresh
        if size <= self.partial_size:
            return 0
        # Doubling keeps a message that trickles in from being copied at every byte.
        fresh_size = max(size, min(2 * self.partial_size, <size_t>self.max_message_bytes + MAX_CONTROL_BYTES))
        fresh = <unsigned char*>PyMem_Realloc(self.partial, fresh_size)
        if fresh is NULL:
            raise MemoryError()
        self.partial = fresh
        self.partial_size = fresh_size
        return 0

    cdef object _complete(self, bytes payload):
        self.in_payload = False
        if self.control:
            self.partial_used = self.message_bytes
            if self.message_bytes == 0 and self.partial is not NULL:
                self._drop_partial()
            if self.opcode == _CLOSE:
                parse_close(payload)
                self._finish()
            return self.opcode, payload
        self.in_message = False
        if self.partial is not NULL:
            self._drop_partial()
        if self.message_opcode == _TEXT and self.utf8.need:
            raise WebSocketError(1007, "text ends within a UTF-8 character")
        return self.message_opcode, payload


# Close frames -----------------------------------------------------------------------------------

def parse_close(payload: bytes) -> tuple[int, str]:
    """Returns a close frame's code and reason; 1005 where it has none (section 7.1.5)."""
    if not payload:
        return 1005, ""
    if len(payload) == 1:
        raise WebSocketError(1002, "close frame has half a code")
    code = int.from_bytes(payload[:2], "big")
    # Section 7.4 and IANA's registry; 1004, 1005, 1006 and 1015 never travel.
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise WebSocketError(1002, f"close code {code} is not allowed")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise WebSocketError(1007, "close reason is not UTF-8") from None


def encode_close(code: int, reason: str = "") -> bytes:
    """Returns a server's whole close frame; 1005 means one without a code. A long reason is cut between
    characters."""
    if code == 1005:
        return encode_frame(_CLOSE, b"")
    text = reason.encode()[:MAX_CONTROL_BYTES - 2].decode(errors="ignore").encode()
    return encode_frame(_CLOSE, code.to_bytes(2, "big") + text)


# Encoding ---------------------------------------------------------------------------------------

def encode_frame(opcode: int, payload, mask: bytes | None = None, fin: bool = True) -> bytes:
    """Returns one frame. `payload` is any buffer; `mask` (4 bytes) is for clients."""
    cdef Py_buffer view
    cdef unsigned char head[14]
    cdef size_t head_size, size
    cdef unsigned int flag = 0, kind = opcode
    cdef int i
    cdef bytes key = mask
    if kind > 15:
        raise ValueError("opcode must be within 0..15")
    if key is not None:
        if len(key) != 4:
            raise ValueError("mask must be 4 bytes")
        flag = 0x80
    PyObject_GetBuffer(payload, &view, PyBUF_SIMPLE)
    try:
        size = <size_t>view.len
        head[0] = <unsigned char>((0x80 if fin else 0) | kind)
        if size < 126:
            head[1] = <unsigned char>(flag | size)
            head_size = 2
        elif size < 65536:
            head[1] = <unsigned char>(flag | 126)
            head[2] = <unsigned char>(size >> 8)
            head[3] = <unsigned char>(size & 0xFF)
            head_size = 4
        else:
            head[1] = <unsigned char>(flag | 127)
            for i in range(8):
                head[2 + i] = <unsigned char>((<uint64_t>size >> (56 - 8 * i)) & 0xFF)
            head_size = 10
        if key is not None:
            memcpy(head + head_size, PyBytes_AS_STRING(key), 4)
            head_size += 4
        frame = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>(head_size + size))
        target = <unsigned char*>PyBytes_AS_STRING(frame)
        memcpy(target, head, head_size)
        if key is not None:
            apply_mask(
                target + head_size, <const unsigned char*>view.buf, size, <unsigned char*>PyBytes_AS_STRING(key), 0
            )
        elif size:
            memcpy(target + head_size, view.buf, size)
        return frame
    finally:
        PyBuffer_Release(&view)
