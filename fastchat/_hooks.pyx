"""What hooks look at, and the first step of a coroutine, in the name of a task. No sockets, no clock.

Both are there for every message, so they are compiled.
"""

cimport cython
from cpython.contextvars cimport PyContext_CopyCurrent, PyContext_Enter, PyContext_Exit
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.stdint cimport int64_t

# For those who make tasks of their own, as asyncio says of them.
from asyncio.tasks import _enter_task, _leave_task, current_task as _current_task

cdef object enter_task = _enter_task
cdef object leave_task = _leave_task
cdef object current_task = _current_task

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
    """

    def __init__(self, functions, counters, stepper, loop):
        self.functions = tuple(functions)
        self.counters = tuple(counters)
        self.stepper = stepper
        self.loop = loop

    def ask(self, subject):
        """None when all have agreed; else the first other one's index, and what it returned or raised."""
        cdef Py_ssize_t i
        task = self.stepper.task
        if task is None:
            task = self.stepper.renew()
        for i in range(len(self.functions)):
            (<Counters?>self.counters[i]).calls += 1
            try:
                value = step(self.functions[i](subject), self.loop, task)
            except Exception as error:
                return i, None, error
            if value is not None:
                return i, value, None
        return None
