from libc.stdint cimport int64_t

cdef class Message:
    cdef readonly object user
    cdef readonly str room
    cdef readonly str text
    cdef readonly dict data
    cdef readonly str id
    cdef readonly int64_t at_ms
    cdef readonly object edits

cdef class Suspended:
    cdef readonly object coroutine
    cdef readonly object context
    cdef readonly object waits_for
