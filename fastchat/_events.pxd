from libc.stdint cimport int64_t

cdef class Draft:
    cdef readonly object kind
    cdef readonly str author
    cdef readonly int64_t at_ms
    cdef readonly dict fields
    cdef readonly str id
    cdef readonly object of

    cpdef bytes encode(self, str room, int64_t seq)

cdef class Stored:
    cdef readonly int64_t seq
    cdef readonly int64_t at_ms
    cdef readonly bytes body

cpdef bytes encode_event(object kind, str room, int64_t seq, str author, int64_t at_ms, dict fields, str event_id=*, of=*)
cpdef bytes encode_sent(str room, Stored stored, str event_id, ref)
