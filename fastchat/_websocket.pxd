"""What a FrameParser holds. Compiled, pure."""

from libc.stdint cimport uint64_t


cdef struct Utf8:
    # How many continuation bytes are missing, and the range that the next one must lie in.
    unsigned char need, low, high


cdef class FrameParser:
    cdef readonly uint64_t max_message_bytes

    # Input that is not consumed yet, from `at` to `end`: in the caller's buffer while `viewing`, otherwise
    # in `tail`.
    cdef const unsigned char* at
    cdef const unsigned char* end
    cdef unsigned char* tail
    cdef size_t tail_size

    # What has arrived of an unfinished message, unmasked: whole fragments up to `message_bytes`, after
    # them the frame that is arriving, data or control.
    cdef unsigned char* partial
    cdef size_t partial_size, partial_used, message_bytes

    # The frame that is arriving.
    cdef uint64_t left
    cdef unsigned char head[14]
    cdef unsigned char mask[4]
    cdef unsigned char head_size, phase, opcode

    # The message that is arriving.
    cdef unsigned char message_opcode
    cdef Utf8 utf8
    cdef unsigned int empty_fragments

    cdef bint require_mask, in_payload, in_message, fin, control, finished, viewing
    cdef Py_buffer view

    cdef _drop_input(self)
    cdef _drop_partial(self)
    cdef _finish(self)
    cdef _append(self, const unsigned char* data, size_t size)
    cdef bint _gather(self, unsigned int need) noexcept
    cdef bint _read_head(self) except -1
    cdef int _check_first_byte(self, unsigned int byte, unsigned int opcode) except -1
    cdef int _begin_frame(self, unsigned int opcode, uint64_t length) except -1
    cdef object _read_payload(self)
    cdef int _copy(self, unsigned char* target, size_t size) except -1
    cdef int _reserve(self, size_t size) except -1
    cdef object _complete(self, bytes payload)
