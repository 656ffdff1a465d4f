from libc.stdint cimport int64_t

from fastchat._events cimport Draft

cdef class Entry

cdef class Message:
    cdef readonly object user
    cdef readonly str room
    cdef readonly str text
    cdef readonly dict data
    cdef readonly str id
    cdef readonly int64_t at_ms
    cdef readonly object edits

cpdef Message look_of(user, str room, Draft draft)

cdef class Suspended:
    cdef readonly object coroutine
    cdef readonly object context
    cdef readonly object waits_for

cdef class Counters:
    cdef public int64_t calls
    cdef public int64_t refused
    cdef public int64_t edited
    cdef public int64_t failed
    cdef public int64_t overdue
    cdef public int64_t skipped

cdef class Question:
    cdef public object chain
    cdef public object function
    cdef public tuple args
    cdef public object result
    cdef public object error
    cdef public object on_answer
    cdef public Entry entry
    cdef public double deadline
    cdef public Py_ssize_t index
    cdef public bint given_up
    cdef public bint last

    cpdef reply(self, answer)

cdef class Entry:
    cdef dict waiting
    cdef readonly object session
    cdef readonly dict command
    cdef readonly object draft
    cdef readonly object membership
    cdef readonly object store
    cdef object finish_otherwise
    cdef public object message
    cdef public object answer
    cdef public Entry after
    cdef public bint answered
    cdef public bint first

    cpdef on_answer(self, answer)
    cdef finish(self)

cdef class Quick:
    cdef tuple functions
    cdef tuple counters
    cdef object stepper
    cdef object loop
    cdef bint all_quick
    cdef object go_on

    cpdef ask(self, subject)
    cpdef ask_draft(self, user, str room, Draft draft)

cdef class Gate:
    cdef Quick quick
    cdef dict waiting
    cdef bint all_in_forms

cpdef step(coroutine, loop, task)
