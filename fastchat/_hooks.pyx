"""What hooks look at, and the first step of a coroutine, in the name of a task. No sockets, no clock.

Both are there for every message, so they are compiled.
"""

cimport cython
from cpython.contextvars cimport PyContext_CopyCurrent, PyContext_Enter, PyContext_Exit
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.stdint cimport int64_t

from fastchat._events cimport Draft

from fastchat._events import Kind

# For those who make tasks of their own, as asyncio says of them.
from asyncio.tasks import _enter_task, _leave_task, current_task as _current_task

cdef object enter_task = _enter_task
cdef object leave_task = _leave_task
cdef object current_task = _current_task

cdef object MESSAGE = Kind.MESSAGE
cdef object EDITED = Kind.EDITED

cdef extern from "Python.h":
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT
    PySendResult PyIter_Send(PyObject* iterator, PyObject* value, PyObject** result) except PYGEN_ERROR


@cython.freelist(256)
@cython.final
cdef class Message:
    """What somebody is about to say, as hooks see it. MUST NOT be changed.

    ``user`` is who says it (a ``User``), ``at_ms`` when it came in, in milliseconds since 1970. ``edits`` is the
    ``seq`` of the message that is to be said otherwise; None where this is a new one. ``id`` and ``data`` are None
    where there are none.
    """

    def __init__(self, user, str room not None, str text not None, dict data, str id, int64_t at_ms, edits):
        self.user = user
        self.room = room
        self.text = text
        self.data = data
        self.id = id
        self.at_ms = at_ms
        self.edits = edits

    def __repr__(self):
        return f"Message({self.user!r}, {self.room!r}, {self.text!r}, data={self.data!r}, edits={self.edits!r})"


cpdef Message look_of(user, str room, Draft draft):
    """The draft of something that ``user`` is about to say in words, as hooks see it."""
    cdef Message message = Message.__new__(Message)
    cdef dict fields = draft.fields
    message.user = user
    message.room = room
    message.text = fields["text"]
    if len(fields) > 1:
        message.data = fields.get("data")
    message.id = draft.id
    message.at_ms = draft.at_ms
    message.edits = draft.of
    return message


@cython.final
cdef class Suspended:
    """A coroutine that waits for ``waits_for``, and the context that it runs in."""

    def __init__(self, coroutine, context, waits_for):
        self.coroutine = coroutine
        self.context = context
        self.waits_for = waits_for


cpdef step(coroutine, loop, task):
    """Runs a new coroutine until it ends or has to wait, as if it were ``task``: returns its value, or Suspended.

    Libraries look for the task that is running, to set time limits. What the coroutine does to context variables
    stays its own. Raises what it raises.
    """
    cdef PyObject* result = NULL
    cdef PySendResult outcome
    outer = None
    context = PyContext_CopyCurrent()
    try:
        enter_task(loop, task)
    except RuntimeError:
        outer = current_task(loop)
        leave_task(loop, outer)
        enter_task(loop, task)
    try:
        PyContext_Enter(context)
        try:
            outcome = PyIter_Send(<PyObject*>coroutine, <PyObject*>None, &result)
        finally:
            PyContext_Exit(context)
    finally:
        leave_task(loop, task)
        if outer is not None:
            enter_task(loop, outer)
    value = <object>result
    Py_XDECREF(result)
    return value if outcome == PYGEN_RETURN else Suspended(coroutine, context, value)


@cython.final
cdef class Counters:
    """What became of one hook's calls since the start; for metrics to read.

    ``failed``: raised something else than Refuse, or returned what makes no sense. ``overdue``: did not end within
    their time. ``skipped``: were not made, because too many earlier ones had not come back.
    """

    def __repr__(self):
        return (
            f"Counters(calls={self.calls}, refused={self.refused}, edited={self.edited}, failed={self.failed}, "
            f"overdue={self.overdue}, skipped={self.skipped})"
        )


@cython.freelist(256)
@cython.final
cdef class Question:
    """Something that a hook has yet to answer, in a later turn of the loop.

    ``chain`` asks hooks in their order, ``index`` is where it is. ``last`` says that no other one follows, and that
    its ``args[0]`` is the answer when this one agrees. The answer is for ``entry``, or for ``on_answer``.
    """

    def __init__(self, chain):
        self.chain = chain

    cpdef reply(self, answer):
        """Tells who has asked."""
        if self.entry is not None:
            self.entry.on_answer(answer)
        else:
            self.on_answer(answer)


@cython.freelist(256)
@cython.final
cdef class Entry:
    """An event that waits for hooks, or for one of the same session before it.

    ``waiting`` has each session's last one; ``after`` is the next one. Whose turn it is is ``first``. Where the
    answer is the message as it was, and its author still in the room, it is stored; ``finish_otherwise`` does what
    else may be.
    """

    def __init__(self, dict waiting, session, dict command, draft, membership, store, finish_otherwise, message):
        self.waiting = waiting
        self.session = session
        self.command = command
        self.draft = draft
        self.membership = membership
        self.store = store
        self.finish_otherwise = finish_otherwise
        self.message = message
        self.first = True

    cpdef on_answer(self, answer):
        """The hooks have looked at it: it is stored, and those behind it that they have looked at, too."""
        cdef Entry entry = self
        self.answer = answer
        self.answered = True
        if not self.first:
            return
        while entry.answered:
            if entry.after is None:
                del self.waiting[self.session]
                entry.finish()
                return
            entry.finish()
            entry = entry.after
            entry.first = True

    cdef finish(self):
        if self.answer is self.message and self.membership.subscription in self.session.peer.writer.subscriptions:
            self.store(self.session, self.command, self.draft, self.membership)
        else:
            self.finish_otherwise(self)


UNASKED = object()
"""What ``Gate.look`` says of an event that has to be asked about in all forms."""


@cython.final
cdef class Gate:
    """Lets events pass that nothing is against, which are most.

    ``quick`` asks about messages, None where nobody is to be asked; ``waiting`` has the sessions of which something
    waits. ``all_in_forms``: every event has to be asked about otherwise.
    """

    def __init__(self, Quick quick, dict waiting not None, bint all_in_forms):
        self.quick = quick
        self.waiting = waiting
        self.all_in_forms = all_in_forms

    def look(self, session, str room, Draft draft):
        """None where the event may be stored as it is; a Message and the answer to it; or UNASKED."""
        if self.all_in_forms or (self.waiting and session in self.waiting):
            return UNASKED
        if self.quick is None or not (draft.kind is MESSAGE or draft.kind is EDITED):
            return None
        return self.quick.ask_draft(session.person, room, draft)


def work_off(pool, worker, waiting, done):
    """Calls the functions of the questions in ``waiting``, until there is none; has the pool told of the first."""
    cdef Question question
    while waiting:
        try:
            question = waiting.popleft()
        except IndexError:  # another thread was quicker
            return
        worker.question = question
        try:
            question.result = question.function(*question.args)
        except BaseException as error:  # a hook's exit is no reason for a thread to go
            question.error = error
        worker.question = None
        done.append(question)
        if not pool.told:
            pool.tell()


def take_done(done, on_return):
    """Passes on the answers in ``done``; ``on_return()`` follows a call that had been given up."""
    cdef Question question
    while done:
        question = done.popleft()
        if question.given_up:
            on_return()
        elif question.last and question.result is None and question.error is None:
            question.reply(question.args[0])
        else:
            question.chain.on_done(question)


@cython.final
cdef class Quick:
    """Asks hooks that are coroutine functions, as long as each answers None at once, which most do.

    ``stepper`` has the task in whose name they begin: ``task``, None where ``renew()`` has to make one.
    ``go_on(subject, index, value, error)`` asks the others, from the first one on that did not: with what it has
    returned or raised, if it was asked already.
    """

    def __init__(self, functions, counters, stepper, loop, bint all_quick, go_on):
        self.functions = tuple(functions)
        self.counters = tuple(counters)
        self.stepper = stepper
        self.loop = loop
        self.all_quick = all_quick
        self.go_on = go_on

    cpdef ask(self, subject):
        """The subject when all have agreed; else what ``go_on`` says."""
        cdef Py_ssize_t i = 0, count = len(self.functions)
        value = error = None
        task = self.stepper.task
        if task is None:
            task = self.stepper.renew()
        try:
            while i < count:
                (<Counters?>self.counters[i]).calls += 1
                value = step(self.functions[i](subject), self.loop, task)
                if value is not None:
                    break
                i += 1
            else:
                if self.all_quick:
                    return subject
        except Exception as raised:
            error = raised
        return self.go_on(subject, i, value, error)

    cpdef ask_draft(self, user, str room, Draft draft):
        """As ``ask``, of what ``user`` is about to say: None when all have agreed, else it and the answer."""
        cdef Message message = look_of(user, room, draft)
        answer = self.ask(message)
        return None if answer is message else (message, answer)
