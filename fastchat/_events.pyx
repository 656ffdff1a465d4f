"""Events on their way into a log: drafts, and their JSON. Pure: no sockets, clock or await.

An event's JSON is made once, here, and every client gets these bytes. They are what orjson makes of the same
object: of an object that is always the same but for a few strings and numbers, which is why it pays not to build
it first. What is not a string comes from orjson itself.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, strlen

from enum import StrEnum

import orjson

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef enum:
    STACK_BYTES = 1024  # an event that is no longer than this is put together without memory of its own
    NUMBER_BYTES = 20  # of an int64, with its sign
    # What encode_event and encode_sent write beside strings: their names and punctuation, and three numbers.
    FRAME_BYTES = 80 + 3 * NUMBER_BYTES

cdef const char* HEX_DIGITS = b"0123456789abcdef"
cdef object dumps = orjson.dumps


# Strings ----------------------------------------------------------------------------------------

cdef struct Text:
    # A string's UTF-8, and how long it is between quotes when it is escaped.
    const char* data
    Py_ssize_t size
    Py_ssize_t escaped_size

cdef inline bint is_plain(uint64_t word) noexcept:
    """Whether none of eight bytes has to be escaped: no control character, quote or backslash."""
    cdef uint64_t quote = word ^ <uint64_t>0x2222222222222222
    cdef uint64_t backslash = word ^ <uint64_t>0x5C5C5C5C5C5C5C5C
    # A byte below n borrows from its highest bit when n is taken off; those above 127 have that bit anyway.
    cdef uint64_t found = (word - <uint64_t>0x2020202020202020) & ~word
    found |= (quote - <uint64_t>0x0101010101010101) & ~quote
    found |= (backslash - <uint64_t>0x0101010101010101) & ~backslash
    return not found & <uint64_t>0x8080808080808080


cdef inline char short_escape(unsigned char byte) noexcept:
    """The letter that stands for the byte behind a backslash; 0 where there is none."""
    if byte == b'"' or byte == b"\\":
        return <char>byte
    if byte == b"\n":
        return b"n"
    if byte == b"\t":
        return b"t"
    if byte == b"\r":
        return b"r"
    if byte == b"\b":
        return b"b"
    if byte == b"\f":
        return b"f"
    return 0


cdef int measure(object string, Text* text) except -1:
    """Fills ``text``. Raises TypeError for what is no string, UnicodeEncodeError for half a surrogate pair."""
    cdef Py_ssize_t at = 0
    cdef uint64_t word
    cdef unsigned char byte
    text.data = PyUnicode_AsUTF8AndSize(string, &text.size)
    text.escaped_size = text.size + 2
    while at < text.size:
        if text.size - at >= 8:
            memcpy(&word, text.data + at, 8)
            if is_plain(word):
                at += 8
                continue
        byte = <unsigned char>text.data[at]
        if byte < 0x20 or byte == b'"' or byte == b"\\":
            text.escaped_size += 1 if short_escape(byte) else 5
        at += 1
    return 0


cdef inline char* put_text(char* out, const Text* text) noexcept:
    cdef Py_ssize_t at
    cdef unsigned char byte
    out[0] = b'"'
    out += 1
    if text.escaped_size == text.size + 2:
        memcpy(out, text.data, <size_t>text.size)
        out += text.size
    else:
        for at in range(text.size):
            byte = <unsigned char>text.data[at]
            if byte >= 0x20 and byte != b'"' and byte != b"\\":
                out[0] = <char>byte
                out += 1
            elif short_escape(byte):
                out[0] = b"\\"
                out[1] = short_escape(byte)
                out += 2
            else:
                out = put(out, b"\\u001" if byte & 0x10 else b"\\u000")
                out[0] = HEX_DIGITS[byte & 0x0F]
                out += 1
    out[0] = b'"'
    return out + 1


cdef inline char* put(char* out, const char* literal) noexcept:
    cdef size_t size = strlen(literal)
    memcpy(out, literal, size)
    return out + size


cdef inline char* put_number(char* out, int64_t number) noexcept:
    cdef char digits[NUMBER_BYTES]
    cdef int at = NUMBER_BYTES
    cdef uint64_t left = <uint64_t>number
    if number < 0:
        out[0] = b"-"
        out += 1
        left = 0 - left
    while True:
        at -= 1
        digits[at] = HEX_DIGITS[left % 10]
        left //= 10
        if left == 0:
            break
    memcpy(out, &digits[at], <size_t>(NUMBER_BYTES - at))
    return out + NUMBER_BYTES - at


# Objects ----------------------------------------------------------------------------------------

cpdef bytes encode_event(
    object kind, str room, int64_t seq, str author, int64_t at_ms, dict fields, str event_id=None, of=None
):
    """An event of the log: a message, or what became of the message ``of``.

    ``kind`` is its type, ``at_ms`` milliseconds since 1970, ``fields`` what only this kind has.
    """
    cdef char small[STACK_BYTES]
    cdef char* start = small
    cdef char* out
    cdef Text kind_text, room_text, author_text, id_text, own_text
    cdef bytes own = None  # the fields as an object of their own
    cdef int64_t of_seq = 0
    cdef Py_ssize_t size = FRAME_BYTES
    measure(kind, &kind_text)
    measure(room, &room_text)
    measure(author, &author_text)
    size += kind_text.escaped_size + room_text.escaped_size + author_text.escaped_size
    if event_id is not None:
        measure(event_id, &id_text)
        size += id_text.escaped_size
    if of is not None:
        of_seq = of
    text = fields.get("text")
    if len(fields) == 1 and type(text) is str:
        measure(text, &own_text)
        size += own_text.escaped_size
    else:
        own = dumps(fields)
        size += PyBytes_GET_SIZE(own)
    if size > STACK_BYTES:
        start = <char*>PyMem_Malloc(<size_t>size)
        if start is NULL:
            raise MemoryError()
    out = put_text(put(start, b'{"type":'), &kind_text)
    out = put_text(put(out, b',"room":'), &room_text)
    out = put_number(put(out, b',"seq":'), seq)
    if of is not None:
        out = put_number(put(out, b',"of":'), of_seq)
    if event_id is not None:
        out = put_text(put(out, b',"id":'), &id_text)
    out = put_text(put(out, b',"from":'), &author_text)
    out = put_number(put(out, b',"at":'), at_ms)
    if own is None:
        out = put(put_text(put(out, b',"text":'), &own_text), b"}")
    elif len(fields):
        out[0] = b","
        memcpy(out + 1, PyBytes_AS_STRING(own) + 1, <size_t>(PyBytes_GET_SIZE(own) - 1))
        out += PyBytes_GET_SIZE(own)
    else:
        out = put(out, b"}")
    return finish(small, start, out)


cpdef bytes encode_sent(str room, Stored stored, str event_id, ref):
    """Tells an author that the event is kept. ``event_id`` and ``ref`` (a string or an integer) are the command's."""
    cdef char small[STACK_BYTES]
    cdef char* start = small
    cdef char* out
    cdef Text room_text, id_text, ref_text
    cdef int64_t ref_number = 0
    cdef Py_ssize_t size = FRAME_BYTES
    measure(room, &room_text)
    size += room_text.escaped_size
    if event_id is not None:
        measure(event_id, &id_text)
        size += id_text.escaped_size
    if type(ref) is str:
        measure(ref, &ref_text)
        size += ref_text.escaped_size
    elif ref is not None:
        ref_number = ref
    if size > STACK_BYTES:
        start = <char*>PyMem_Malloc(<size_t>size)
        if start is NULL:
            raise MemoryError()
    out = put_text(put(start, b'{"type":"sent","room":'), &room_text)
    out = put_number(put(out, b',"seq":'), stored.seq)
    out = put_number(put(out, b',"at":'), stored.at_ms)
    if event_id is not None:
        out = put_text(put(out, b',"id":'), &id_text)
    if stored.body is None:
        out = put(out, b',"repeated":true')
    if type(ref) is str:
        out = put_text(put(out, b',"ref":'), &ref_text)
    elif ref is not None:
        out = put_number(put(out, b',"ref":'), ref_number)
    return finish(small, start, put(out, b"}"))


cdef bytes finish(char* small, char* start, char* end):
    """What was written from ``start`` to ``end``; frees it unless it is ``small``."""
    try:
        return PyBytes_FromStringAndSize(start, end - start)
    finally:
        if start is not small:
            PyMem_Free(start)


class Kind(StrEnum):
    """What an event of a log is; the value is its ``type`` on the wire."""

    MESSAGE = "message"
    EDITED = "edited"
    DELETED = "deleted"
    REACTED = "reacted"
    MODERATED = "moderated"


@cython.no_gc
@cython.freelist(256)
@cython.final
cdef class Draft:
    """An event that has no ``seq`` yet. MUST NOT be changed.

    ``at_ms`` is when it came in, in milliseconds since 1970. ``of`` is the ``seq`` of the message that a
    change refers to. ``fields`` are the event's own (text, data, reaction, remove), last in its JSON.
    """

    def __init__(
        self, kind not None, str author not None, int64_t at_ms, dict fields not None, str id=None, of=None
    ):
        self.kind = kind
        self.author = author
        self.at_ms = at_ms
        self.fields = fields
        self.id = id
        self.of = of

    cpdef bytes encode(self, str room, int64_t seq):
        """The event as every client gets it."""
        return encode_event(self.kind, room, seq, self.author, self.at_ms, self.fields, self.id, self.of)

    def __repr__(self):
        return (
            f"Draft({self.kind!r}, {self.author!r}, {self.at_ms}, {self.fields!r}, id={self.id!r}, of={self.of!r})"
        )


@cython.no_gc
@cython.freelist(256)
@cython.final
cdef class Stored:
    """An event that is kept; MUST NOT be changed.

    ``body`` is its JSON, None where the same author and id had been stored before.
    """

    def __init__(self, int64_t seq, int64_t at_ms, bytes body):
        self.seq = seq
        self.at_ms = at_ms
        self.body = body

    def __eq__(self, other):
        cdef Stored stored
        if not isinstance(other, Stored):
            return NotImplemented
        stored = other
        return self.seq == stored.seq and self.at_ms == stored.at_ms and self.body == stored.body

    __hash__ = None

    def __repr__(self):
        return f"Stored({self.seq}, {self.at_ms}, {self.body!r})"
