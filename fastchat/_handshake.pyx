"""The opening handshake as nearly every client sends it, in one pass. Compiled. Pure: no sockets, clock or await.

``open_plain`` knows a plain request and nothing else: every header that matters once and spelled as usual, no
byte out of the ordinary. It says no to whatever it is not sure of, and never why: ``fastchat.handshake`` then reads
the request again, finds what is wrong with it, or that it is unusual but fine. What is let in here MUST be let in
there, with the same answer.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp

from binascii import b2a_base64
from hashlib import sha1

cdef extern from "<strings.h>" nogil:
    int strncasecmp(const char* one, const char* other, size_t size)

cdef enum:
    KEY_BYTES = 24
    # The headers that decide, each a bit: none of them may come twice.
    UPGRADE = 1
    CONNECTION = 2
    KEY = 4
    VERSION = 8
    HOST = 16
    PROTOCOL = 32
    ORIGIN = 64
    NEEDED = UPGRADE | CONNECTION | KEY | VERSION | HOST

cdef bytes KEY_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
cdef bytes ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: "
)
cdef bytes END = b"\r\n\r\n"

# What a byte may be part of.
cdef enum:
    IN_NAME = 1
    IN_VALUE = 2
    IN_BASE64 = 4

cdef unsigned char[256] ALLOWED

cdef _allow(bytes characters, unsigned char part):
    cdef Py_ssize_t i
    for i in range(PyBytes_GET_SIZE(characters)):
        ALLOWED[<unsigned char>PyBytes_AS_STRING(characters)[i]] |= part

_allow(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", IN_NAME | IN_BASE64)
_allow(b"-_", IN_NAME)
_allow(b"+/", IN_BASE64)
_allow(bytes(range(0x20, 0x7F)) + b"\t", IN_VALUE)


def open_plain(bytes data not None, bytes path not None, bytes subprotocol not None, Py_ssize_t limit_bytes):
    """What is to be answered to a plain request for a WebSocket at ``path`` that ``data`` begins with, or None.

    ``(response, size, origin, forwarded_for)``: the 101 response, the bytes of the request, its Origin if it has
    one, and its X-Forwarded-For headers. A head that is longer than ``limit_bytes`` is not plain.
    """
    cdef const char* start = PyBytes_AS_STRING(data)
    cdef const char* end = start + PyBytes_GET_SIZE(data)
    cdef const char* at = _skip_request_line(start, end, path)
    cdef const char* name
    cdef const char* colon
    cdef const char* value
    cdef const char* stop
    cdef const char* key = NULL
    cdef str origin = None
    cdef list forwarded_for = None
    cdef bint offered = False
    cdef int seen = 0
    cdef int header
    if at is NULL:
        return None
    while end - at >= 2 and not (at[0] == b"\r" and at[1] == b"\n"):
        name = at
        while at < end and ALLOWED[<unsigned char>at[0]] & IN_NAME:
            at += 1
        if at == name or at == end or at[0] != b":":
            return None
        colon = at
        at += 1
        value = at
        while at < end and ALLOWED[<unsigned char>at[0]] & IN_VALUE:
            at += 1
        if end - at < 2 or at[0] != b"\r" or at[1] != b"\n":
            return None
        stop = at
        at += 2
        while value < stop and _is_blank(value[0]):
            value += 1
        while value < stop and _is_blank((stop - 1)[0]):
            stop -= 1
        header = _judge(name, colon - name, value, stop - value)
        if header < 0 or header & seen:
            return None
        seen |= header
        if header == KEY:
            key = value
        elif header == PROTOCOL:
            offered = _has_token(value, stop, PyBytes_AS_STRING(subprotocol), PyBytes_GET_SIZE(subprotocol), True)
        elif header == ORIGIN:
            origin = PyBytes_FromStringAndSize(value, stop - value).decode("ascii")
        elif header == 0 and _is(name, colon - name, b"x-forwarded-for", 15):
            if forwarded_for is None:
                forwarded_for = []
            forwarded_for.append(PyBytes_FromStringAndSize(value, stop - value).decode("ascii"))
    if end - at < 2 or seen & NEEDED != NEEDED or at + 2 - start > limit_bytes:
        return None
    return _accept(key, subprotocol if offered else None), at + 2 - start, origin, forwarded_for


cdef const char* _skip_request_line(const char* at, const char* end, bytes path) noexcept:
    """Where the headers begin; NULL where the line is another one."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(path)
    if end - at < 4 + size + 11 or memcmp(at, b"GET ", 4) != 0:
        return NULL
    at += 4
    if memcmp(at, PyBytes_AS_STRING(path), <size_t>size) != 0 or memcmp(at + size, b" HTTP/1.1\r\n", 11) != 0:
        return NULL
    return at + size + 11


cdef inline bint _is_blank(char character) noexcept:
    return character == b" " or character == b"\t"


cdef inline bint _is(const char* text, Py_ssize_t size, const char* other, Py_ssize_t other_size) noexcept:
    return size == other_size and strncasecmp(text, other, <size_t>size) == 0


cdef int _judge(const char* name, Py_ssize_t size, const char* value, Py_ssize_t length) noexcept:
    """Which header this is, 0 for one that decides nothing; -1 where only a closer look can tell."""
    if size == 4 and _is(name, size, b"host", 4):
        return HOST if length > 0 else -1
    if size == 6 and _is(name, size, b"origin", 6):
        return ORIGIN
    if size == 7 and _is(name, size, b"upgrade", 7):
        return UPGRADE if _is(value, length, b"websocket", 9) else -1
    if size == 10 and _is(name, size, b"connection", 10):
        return CONNECTION if _has_token(value, value + length, b"upgrade", 7, False) else -1
    if size == 17 and _is(name, size, b"sec-websocket-key", 17):
        return KEY if _is_key(value, length) else -1
    if size == 21 and _is(name, size, b"sec-websocket-version", 21):
        return VERSION if length == 2 and memcmp(value, b"13", 2) == 0 else -1
    if size == 22 and _is(name, size, b"sec-websocket-protocol", 22):
        # What is offered beside the protocol, or instead of it, may be a token.
        if memchr(value, b",", <size_t>length) is not NULL or (
            length >= 15 and memcmp(value, b"fastchat.token.", 15) == 0
        ):
            return -1
        return PROTOCOL
    # It may have a token.
    if size == 13 and _is(name, size, b"authorization", 13):
        return -1
    # A body, which would begin where messages do.
    if (size == 14 and _is(name, size, b"content-length", 14)) or (
        size == 17 and _is(name, size, b"transfer-encoding", 17)
    ):
        return -1
    return 0


cdef bint _has_token(
    const char* at, const char* stop, const char* token, Py_ssize_t size, bint exact
) noexcept:
    """Whether a comma-separated list has the token."""
    cdef const char* first
    cdef const char* last
    while at < stop:
        first = at
        while at < stop and at[0] != b",":
            at += 1
        last = at
        at += 1
        while first < last and _is_blank(first[0]):
            first += 1
        while first < last and _is_blank((last - 1)[0]):
            last -= 1
        if last - first == size:
            if memcmp(first, token, <size_t>size) == 0 or (not exact and _is(first, size, token, size)):
                return True
    return False


cdef bint _is_key(const char* key, Py_ssize_t length) noexcept:
    """Whether this is 16 bytes in base64."""
    cdef Py_ssize_t i
    if length != KEY_BYTES or key[22] != b"=" or key[23] != b"=":
        return False
    for i in range(22):
        if not ALLOWED[<unsigned char>key[i]] & IN_BASE64:
            return False
    return True


cdef bytes _accept(const char* key, bytes subprotocol):
    """The 101 response, as ``handshake.encode_accept`` has it."""
    cdef bytes digest = sha1(key[:KEY_BYTES] + KEY_SUFFIX, usedforsecurity=False).digest()
    cdef bytes response = ACCEPTED + <bytes>b2a_base64(digest, newline=False)
    if subprotocol is None:
        return response + END
    return response + b"\r\nsec-websocket-protocol: " + subprotocol + END
