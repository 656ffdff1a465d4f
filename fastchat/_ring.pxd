from libc.stdint cimport int64_t, uint64_t

cdef enum:
    SPANS_KEPT = 8

cdef class Event:
    cdef readonly int64_t seq
    cdef readonly uint64_t hidden_from
    cdef readonly bytes body
    cdef dict encoded

cdef class Profile:
    cdef int64_t serial
    cdef readonly str name
    cdef readonly Py_ssize_t high_water_bytes
    cdef readonly Py_ssize_t low_water_bytes
    cdef int framing
    cdef object encoder

    cpdef bytes encode(self, bytes body)
    cdef bytes encode_event(self, Event event)

cdef class Ring:
    cdef list slots
    cdef int64_t mask
    cdef readonly int64_t first_seq
    cdef readonly int64_t head_seq
    cdef readonly Py_ssize_t size_bytes
    cdef readonly Py_ssize_t limit_bytes
    # The spans built since the last append: many subscribers stand at the same cursor.
    cdef list spans
    cdef int spans_used
    cdef int64_t span_profile[SPANS_KEPT]
    cdef int64_t span_after[SPANS_KEPT]
    cdef int64_t span_end[SPANS_KEPT]

    cpdef append(self, Event event)
    cpdef set_limit(self, Py_ssize_t limit_bytes)
    cpdef forget_spans(self)
    cdef inline Event at(self, int64_t seq)
    cdef evict(self)
    cdef int64_t end_of(self, Profile profile, int64_t after, Py_ssize_t budget_bytes) except -1
    cdef bytes build(self, Profile profile, int64_t after, int64_t end, uint64_t reader)
    cdef bytes span(self, Profile profile, int64_t after, Py_ssize_t budget_bytes, uint64_t reader, int64_t* end)
    cdef inline int kept(self, int64_t serial, int64_t after) noexcept
    cdef int kept_to_head(self, int64_t serial, int64_t after) noexcept
    cdef Py_ssize_t framed_size_of(self, Profile profile, int64_t seq) except -1
