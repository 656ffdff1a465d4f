"""What the values in a JSON object have to be. Pure: no sockets, clock or await.

A ``Check`` is for one value, ``Fields`` for the values of an object by their names. Both are made once, as tables,
and say in words what is wrong. Types are exact: ``true`` is no integer.
"""

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t

cdef extern from "Python.h":
    # A borrowed reference, or NULL with or without an exception.
    PyObject* PyDict_GetItemWithError(dict table, object key) except? NULL
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow) except? -1


cdef class Check:
    """One value's. Called with a value it returns what is wrong with it, or None."""

    def __init__(self, str problem not None):
        self.problem = problem

    def __call__(self, value):
        return None if self.holds(value) else self.problem

    cdef bint holds(self, value) except -1:
        raise NotImplementedError


@cython.final
cdef class Pattern(Check):
    """A string that is matched as a whole by ``regex``, a compiled pattern."""

    cdef object fullmatch

    def __init__(self, str problem not None, regex):
        self.problem = problem
        self.fullmatch = regex.fullmatch

    cdef bint holds(self, value) except -1:
        return type(value) is str and self.fullmatch(value) is not None


@cython.final
cdef class Text(Check):
    """A string of ``least`` to ``most`` characters."""

    cdef Py_ssize_t least
    cdef Py_ssize_t most

    def __init__(self, str problem not None, Py_ssize_t least, Py_ssize_t most):
        self.problem = problem
        self.least = least
        self.most = most

    cdef bint holds(self, value) except -1:
        return type(value) is str and self.least <= len(<str>value) <= self.most


@cython.final
cdef class Integer(Check):
    """An integer from ``least`` to ``most``; None means that there is no upper limit."""

    cdef int64_t least
    cdef int64_t most
    cdef bint unlimited

    def __init__(self, str problem not None, int64_t least, most):
        self.problem = problem
        self.least = least
        self.unlimited = most is None
        self.most = 0 if most is None else most

    cdef bint holds(self, value) except -1:
        cdef int overflow = 0
        cdef int64_t number
        if type(value) is not int:
            return False
        number = PyLong_AsLongLongAndOverflow(value, &overflow)
        if overflow:
            return overflow > 0 and self.unlimited
        return number >= self.least and (self.unlimited or number <= self.most)


@cython.final
cdef class Instance(Check):
    """A value of exactly this type."""

    cdef type kind

    def __init__(self, str problem not None, type kind not None):
        self.problem = problem
        self.kind = kind

    cdef bint holds(self, value) except -1:
        return type(value) is self.kind


@cython.final
cdef class Table(Check):
    """An object whose every key and value is right."""

    cdef Check keys
    cdef Check values

    def __init__(self, str problem not None, Check keys not None, Check values not None):
        self.problem = problem
        self.keys = keys
        self.values = values

    cdef bint holds(self, value) except -1:
        if type(value) is not dict:
            return False
        for key, one in (<dict>value).items():
            if not (self.keys.holds(key) and self.values.holds(one)):
                return False
        return True


@cython.final
cdef class Either(Check):
    """What one of two checks lets pass."""

    cdef Check first
    cdef Check second

    def __init__(self, str problem not None, Check first not None, Check second not None):
        self.problem = problem
        self.first = first
        self.second = second

    cdef bint holds(self, value) except -1:
        return self.first.holds(value) or self.second.holds(value)


@cython.final
cdef class Fields:
    """The fields of one kind of object by name, those that it must have and those that it may have."""

    cdef readonly dict required
    cdef readonly dict optional

    def __init__(self, dict required not None, dict optional not None):
        self.required = required
        self.optional = optional

    def find_problem(self, dict value not None):
        """The name of the first field that is wrong, and what is wrong with it; or None."""
        cdef PyObject* field
        for name, check in self.required.items():
            field = PyDict_GetItemWithError(value, name)
            if field is NULL:
                return name, "is missing"
            if not (<Check?>check).holds(<object>field):
                return name, (<Check>check).problem
        for name, check in self.optional.items():
            field = PyDict_GetItemWithError(value, name)
            if field is not NULL and not (<Check?>check).holds(<object>field):
                return name, (<Check>check).problem
        return None
