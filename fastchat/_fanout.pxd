from libc.stdint cimport int64_t, uint64_t

from fastchat._ring cimport Event, Profile, Ring

# What a sweep looks at in a Subscription and a Writer comes first, so that it lies in one or two cache lines.

cdef class Subscription:
    cdef readonly int64_t seq
    cdef readonly int64_t ephemeral_seq
    cdef int64_t hidden
    cdef readonly Writer writer
    cdef bint waiting
    cdef readonly Channel channel
    cdef int64_t ephemeral_hidden
    cdef Py_ssize_t index

cdef class Channel:
    cdef readonly str name
    cdef readonly Ring ring
    cdef readonly Ring ephemeral
    cdef readonly Fanout fanout
    cdef public object source
    cdef list waiting
    cdef list subscriptions
    cdef Py_ssize_t next_index
    cdef Py_ssize_t unvisited
    cdef bint queued

    cpdef publish(self, Event event, Subscription hidden_from=*)
    cdef deliver(self, Ring ring, Event event)

cdef class Writer:
    cdef int fd
    cdef int turn
    cdef int rooms  # len(subscriptions)
    cdef readonly bint paused
    cdef unsigned char blocking
    cdef unsigned char queued
    cdef unsigned char hides
    cdef unsigned char held
    cdef readonly bint closed
    cdef readonly Profile profile
    cdef list replies
    cdef readonly uint64_t id
    cdef readonly Fanout fanout
    cdef readonly double paused_at
    cdef readonly object owner
    cdef readonly object transport
    cdef Py_ssize_t reply_bytes
    cdef readonly list subscriptions
    cdef list left

    cpdef write(self, bytes data)
    cpdef bint would_block(self)
    cdef bint has_room(self)

cdef class Fanout:
    cdef public double slice_s
    cdef readonly int64_t events
    cdef readonly int64_t deliveries
    cdef readonly int64_t writes
    cdef readonly int64_t bytes_written
    cdef readonly int64_t pauses
    cdef readonly int64_t lags
    cdef readonly int64_t missed
    cdef readonly int64_t sweeps
    cdef readonly int64_t failures
    cdef readonly double sweep_time_s
    cdef readonly set stalled
    cdef object call_soon
    cdef object clock
    cdef object encode_lagged
    cdef object run
    cdef object behind
    cdef object busy
    cdef list spanned
    cdef dict fetched  # by channel and cursor, what sources have given in this tick
    cdef bytes joined
    cdef bytes joined_first
    cdef bytes joined_second
    cdef object error
    cdef bint scheduled
    cdef uint64_t writers

    cdef double now(self) except? -1
    cdef schedule(self)
    cdef queue_writer(self, Writer writer)
    cdef queue_channel(self, Channel channel)
    cdef serve_behind(self, double deadline)
    cdef bint sweep(self, Channel channel, double deadline) except -1
    cdef Py_ssize_t share(self, Channel channel, Py_ssize_t most) except -1
    cdef hand_over(self, Subscription subscription, bytes span, Py_ssize_t sent)
    cdef serve(self, Writer writer)
    cdef Py_ssize_t take_more(self, Subscription subscription, Py_ssize_t budget_bytes, list chunks) except? -1
    cdef bint fits(self, Subscription subscription, Py_ssize_t budget_bytes) except -1
    cdef bytes take(self, Subscription subscription, Py_ssize_t budget_bytes)
    cdef bytes join(self, bytes first, bytes second)
    cdef bytes take_log(self, Subscription subscription, Py_ssize_t budget_bytes)
    cdef bytes take_ephemeral(self, Subscription subscription, Py_ssize_t budget_bytes)
    cdef Ring fetch(self, Subscription subscription)
    cdef bytes span(
        self, Subscription subscription, Ring ring, int64_t after, Py_ssize_t budget_bytes, bint hides, int64_t* end
    )
    cdef bytes lag(self, Subscription subscription, int64_t last_missed)
    cdef bint flush(self, Writer writer) except -1
    cdef transmit(self, Writer writer, list chunks)
    cdef transmit_one(self, Writer writer, bytes data)
    cdef transmit_rest(self, Writer writer, bytes data, Py_ssize_t sent)
    cdef inline void count_write(self, Py_ssize_t size) noexcept
    cdef fail(self, Writer writer)
