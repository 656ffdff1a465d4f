cdef class Check:
    cdef readonly str problem

    cdef bint holds(self, value) except -1
