"""Fan-out: brings every subscriber's cursor to the head of its rooms, as far as its transport is writable.

There is one operation and one place that does it, the *tick*: it runs once per loop iteration in which
something was published, answered or drained, and within ``slice_s`` seconds it

1. *flushes* the writers that have replies waiting or are behind (``Fanout.flush``), then
2. *sweeps* the channels that have news (``Fanout.sweep``): every writable subscriber that is not at the head
   gets one span in one write.

What is left when the slice is over goes on in the next iteration, after the sockets had their turn; who comes
late in a sweep then gets a larger span. So throughput rises with load and delay is bounded by one sweep.

Watermarks
----------
A transport is asked to call ``pause_writing`` as soon as the socket does not take everything, and
``resume_writing`` when all of it has gone. In between nothing more is given to it, so that it never holds more
than one write. That is at most the profile's high watermark; only the replies, and the first event behind
them, may take it beyond, because neither can wait for less. A paused subscriber costs a cursor. The low
watermark is the kernel's (TCP_NOTSENT_LOWAT): see ``fastchat.sockets``.

Sending
-------
Most spans go out with ``send`` on the transport's own file descriptor: nothing is buffered there, or the
writer would be paused, and the descriptor is open until ``connection_lost``, where ``Writer.close`` MUST be
called. What the socket does not take, every error, and all that TLS has to encrypt is the transport's.

In a large room nearly everyone stands at the same place and wants nothing else. The first one's span is kept,
and ``Fanout.share`` sends it to the others: an instruction there is done for every delivery, and so is every
cache line looked at, for after a ``send`` the processor's caches hold the kernel's data.

Ephemeral events
----------------
What is not in the log (typing, presence) has a small ring of its own beside it, so that it never takes room
from messages. Only who is brought to the head of the log is given any, in the same write where it fits; what a
slow subscriber does not get in time is gone, and nobody is told.

Replay
------
Where a channel has a ``source``, a subscriber whose cursor the ring has moved past is brought forward from
there, block by block under the same watermarks, until its cursor is in the ring again. While the source is
asked the subscription waits: it is not behind, no tick looks at it. What the source has forgotten as well is
reported as missed. An event that comes from there is hidden from nobody: the log does not remember it.

Lagging
-------
A subscriber is told which part of the log is gone (``encode_lagged``) and goes on from the oldest event that is
held.

Closing
-------
``Writer.close`` takes its subscriptions out of their channels at once, also in the middle of a sweep. An
exception out of one transport closes that one; the sweep goes on. So it does when an encoder or an owner
raises, but that is a mistake of ours: ``tick`` raises it, for the loop to report, when its work is done.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from libc.string cimport memset
from libc.time cimport time_t

from fastchat._ring cimport Event, Profile, Ring

import time
from collections import deque

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len

cdef extern from "<sys/socket.h>" nogil:
    struct msghdr:
        iovec* msg_iov
        size_t msg_iovlen
    ssize_t sendmsg(int fd, const msghdr* message, int flags)
    ssize_t send(int fd, const void* data, size_t length, int flags)
    int MSG_DONTWAIT
    int MSG_NOSIGNAL

cdef extern from "<time.h>" nogil:
    struct timespec:
        time_t tv_sec
        long tv_nsec

    int clock_gettime(int clock, timespec* now)
    int CLOCK_MONOTONIC

cdef extern from * nogil:
    void __builtin_prefetch(const void* address)

cdef enum:
    VISITS_PER_LOOK = 8  # subscribers served between two looks at the clock: about 50 µs of work
    EPHEMERAL_BYTES = 16384  # of each room
    PIECES_MAX = 16  # of a write that goes to the socket itself


@cython.final
cdef class Subscription:
    """A cursor: how far one writer has got in one channel. Made by ``Writer.subscribe``.

    ``seq`` is the last event of the log that was given to the transport, or that the writer was told it missed.
    """

    def cancel(self):
        """Leaves the channel: nothing more of it is written. May be called again."""
        if self.index >= 0:
            self.writer.subscriptions.remove(self)
            self.writer.rooms -= 1
            leave_channel(self)


cdef leave_channel(Subscription subscription):
    cdef Channel channel = subscription.channel
    cdef Subscription last = <Subscription>channel.subscriptions.pop()
    if last is not subscription:
        channel.subscriptions[subscription.index] = last
        last.index = subscription.index
        # The last one may have moved to where the sweep has been already: look at everyone again.
        channel.unvisited = PyList_GET_SIZE(channel.subscriptions)
    subscription.index = -1


cdef inline bint is_behind(Subscription subscription) noexcept:
    """Whether there is something to be written to this subscription now."""
    cdef Channel channel = subscription.channel
    if subscription.seq != channel.ring.head_seq:
        return not subscription.waiting
    return subscription.ephemeral_seq != channel.ephemeral.head_seq


@cython.final
cdef class Channel:
    """One room's ring and its subscribers. Made by ``Fanout.channel``.

    ``source`` is where older events come from: ``fetch(channel, after)`` returns a Ring with the log's events that
    follow ``after``, or those that are left of them, none beyond the channel's own head; or None, and calls
    ``wake`` after it has returned, when it has them. Without a source what the ring has forgotten is gone.
    """

    def __len__(self):
        """The number of subscriptions."""
        return len(self.subscriptions)

    cpdef publish(self, Event event, Subscription hidden_from=None):
        """Appends the event to the log's ring and has it delivered in this loop iteration's tick. Never blocks.

        ``hidden_from``: the subscription whose writer is named in ``event.hidden_from``, if any. Raises
        ValueError when ``event.seq`` would leave a hole.
        """
        if hidden_from is not None:
            hidden_from.hidden = event.seq
            hidden_from.writer.hides = True
        self.deliver(self.ring, event)

    def announce(self, bytes body not None, Subscription hidden_from=None):
        """As ``publish``, of something that is not in the log: whoever is not in time does not get it."""
        cdef int64_t seq = self.ephemeral.head_seq + 1
        cdef uint64_t writer_id = 0
        if hidden_from is not None:
            hidden_from.ephemeral_hidden = seq
            writer_id = hidden_from.writer.id
        # A copy of its own size: what orjson returns keeps the kilobyte that it was written in.
        body = PyBytes_FromStringAndSize(PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body))
        self.deliver(self.ephemeral, Event(seq, body, hidden_from=writer_id))

    cdef deliver(self, Ring ring, Event event):
        ring.append(event)
        self.fanout.events += 1
        self.unvisited = PyList_GET_SIZE(self.subscriptions)
        self.fanout.queue_channel(self)

    def wake(self, int64_t after=0, int64_t before=INT64_MAX):
        """Goes on with the subscriptions that wait for ``source`` at a cursor from ``after`` to ``before - 1``."""
        cdef Subscription subscription
        cdef list waiting = self.waiting
        self.waiting = []
        for subscription in waiting:
            if subscription.index < 0:
                continue
            if after <= subscription.seq < before:
                subscription.waiting = False
                self.fanout.queue_writer(subscription.writer)
            else:
                self.waiting.append(subscription)


@cython.final
cdef class Writer:
    """The writing side of one connection: its transport, its cursors and the replies that wait.

    ``owner.on_writable()`` is called once after ``would_block`` returned True and there is room again.
    ``subscriptions`` is the writer's own list.
    """

    def __init__(self, Fanout fanout not None, Profile profile not None, transport, owner=None):
        fanout.writers += 1
        self.id = fanout.writers
        self.fanout = fanout
        self.profile = profile
        self.owner = owner
        self.transport = transport
        self.subscriptions = []
        sock = transport.get_extra_info("socket")
        encrypted = transport.get_extra_info("sslcontext") is not None
        self.fd = -1 if sock is None or encrypted else sock.fileno()
        transport.set_write_buffer_limits(high=0, low=0)
        if transport.get_write_buffer_size():
            self.pause()  # whoever wrote before had been told so, this writer has not

    cpdef write(self, bytes data):
        """Sends framed bytes (a reply) with this iteration's tick, before any later event of a room."""
        if self.closed:
            return
        if self.replies is None:
            self.replies = [data]
        else:
            self.replies.append(data)
        self.reply_bytes += PyBytes_GET_SIZE(data)
        if self.held and not self.has_room():
            self.held = False
        self.fanout.queue_writer(self)

    cdef bint has_room(self):
        return not self.paused and self.reply_bytes < self.profile.high_water_bytes

    cpdef bint would_block(self):
        """Whether replies have nowhere to go, so that no more commands may be read until ``on_writable``."""
        if self.closed or self.has_room():
            return False
        self.blocking = True
        return True

    def pause(self):
        """MUST be called from the protocol's ``pause_writing``."""
        if self.paused or self.closed:
            return
        self.paused = True
        self.paused_at = self.fanout.now()
        self.fanout.pauses += 1
        self.fanout.stalled.add(self)

    def resume(self):
        """MUST be called from the protocol's ``resume_writing``."""
        if not self.paused:
            return
        self.paused = False
        self.fanout.stalled.discard(self)
        if not self.closed:
            self.fanout.queue_writer(self)

    def subscribe(self, Channel channel not None, after=None):
        """Starts a cursor behind ``after`` (a ``seq`` from 0 to the head's), or at the head.

        Where neither ring nor source reaches back to ``after``, the first thing that is written is ``lagged``.
        Raises ValueError when ``after`` is out of range.
        """
        cdef Subscription subscription = Subscription.__new__(Subscription)
        cdef Ring ring = channel.ring
        if after is not None and not 0 <= after <= ring.head_seq:
            raise ValueError(f"after is {after}, the log reaches from 0 to {ring.head_seq}")
        subscription.channel = channel
        subscription.writer = self
        # Of what had been hidden from this writer before, the ring does not tell which was the last.
        subscription.hidden = ring.head_seq if self.hides else 0
        subscription.index = PyList_GET_SIZE(channel.subscriptions)
        subscription.seq = ring.head_seq if after is None else after
        subscription.ephemeral_seq = channel.ephemeral.head_seq
        self.held = False
        if subscription.seq < ring.head_seq or self.replies is not None:
            self.fanout.queue_writer(self)
        channel.subscriptions.append(subscription)
        # The sweep counts from where it stands: with one more on its way it would end one too early.
        channel.unvisited += 1
        if self.subscriptions:
            self.subscriptions.append(subscription)
        else:
            self.subscriptions = [subscription]  # without the room that append leaves: most have one
        self.rooms += 1
        return subscription

    def subscription(self, Channel channel not None):
        """The one of this channel, or None."""
        cdef Subscription subscription
        for subscription in self.subscriptions:
            if subscription.channel is channel:
                return subscription
        return None

    @property
    def channels(self):
        """The names of the channels that it is subscribed to, and of those that it was when it was closed."""
        cdef Subscription subscription
        cdef list names = [subscription.channel.name for subscription in self.subscriptions]
        return names if self.left is None else self.left + names

    def flush(self):
        """Writes what waits now instead of with the tick, replies first, as far as the transport takes it."""
        self.fanout.serve(self)
        if self.fanout.spanned or self.fanout.fetched or self.fanout.joined is not None:
            self.fanout.schedule()  # the tick lets go of what is kept for sharing

    def settle(self):
        """MUST be called when a read has been worked off: replies that no event will follow go out at once.

        So a question is answered before the rest of this iteration's reading and before the tick. A writer
        that is behind waits for the tick: replies and events then share a write.
        """
        cdef Subscription subscription
        if self.replies is None:
            return
        for subscription in self.subscriptions:
            if is_behind(subscription):
                return
        self.fanout.serve(self)

    def hold(self):
        """Keeps the replies for a moment, so that the next one and a first room's events share their write.

        MUST be followed by ``release``. It ends as well with a subscription, and when replies have no room; where
        there is a subscription already nothing is held, as its events would be, too.
        """
        if self.rooms == 0 and self.has_room():
            self.held = True

    def release(self):
        """Ends ``hold``."""
        if self.held:
            self.held = False
            if self.replies is not None:
                self.fanout.queue_writer(self)

    def finish(self):
        """Hands the waiting replies to the transport, paused or not: for the last words before it is closed."""
        if self.replies is not None:
            self.fanout.transmit(self, self.replies)
            self.replies = None
            self.reply_bytes = 0

    def close(self):
        """Ends every subscription and drops what waits; the transport is the caller's. May be called again."""
        cdef Subscription subscription
        if self.closed:
            return
        self.left = self.channels
        self.closed = True
        for subscription in self.subscriptions:
            leave_channel(subscription)
        self.subscriptions = []
        self.rooms = 0
        self.replies = None
        self.reply_bytes = 0
        self.owner = None
        self.transport = None
        self.fd = -1
        self.fanout.stalled.discard(self)


cdef inline void pass_by(Channel channel) noexcept:
    """Goes on to the next subscriber. Has the memory of those behind on its way while the kernel sends."""
    cdef Py_ssize_t i = channel.next_index + 1
    cdef PyObject* following
    channel.next_index = i
    channel.unvisited -= 1
    if i + 1 < PyList_GET_SIZE(channel.subscriptions):
        following = PyList_GET_ITEM(channel.subscriptions, i + 1)
        __builtin_prefetch(&(<Subscription>following).seq)
        __builtin_prefetch(&(<Subscription>following).waiting)
        following = <PyObject*>(<Subscription>PyList_GET_ITEM(channel.subscriptions, i)).writer
        __builtin_prefetch(&(<Writer>following).fd)
        __builtin_prefetch(&(<Writer>following).id)


cdef inline bint wants_log_alone(PyObject* subscription, PyObject* writer, int64_t ephemeral_seq) noexcept:
    """Whether ``send`` of the log's next span is all that this subscriber needs: so it is in nearly every case."""
    return (
        (<Writer>writer).rooms == 1
        and (<Writer>writer).replies is None
        and (<Writer>writer).fd >= 0
        and not (<Writer>writer).paused
        and not (<Writer>writer).blocking
        and not (<Subscription>subscription).waiting
        and (<Subscription>subscription).hidden <= (<Subscription>subscription).seq
        and (<Subscription>subscription).ephemeral_seq == ephemeral_seq
    )


cdef Py_ssize_t send_pieces(int fd, list chunks) noexcept:
    """As ``send``, of at most PIECES_MAX pieces."""
    cdef iovec pieces[PIECES_MAX]
    cdef msghdr message
    cdef Py_ssize_t i
    memset(&message, 0, sizeof(message))
    for i in range(PyList_GET_SIZE(chunks)):
        pieces[i].iov_base = PyBytes_AS_STRING(<bytes>PyList_GET_ITEM(chunks, i))
        pieces[i].iov_len = <size_t>PyBytes_GET_SIZE(<bytes>PyList_GET_ITEM(chunks, i))
    message.msg_iov = pieces
    message.msg_iovlen = <size_t>PyList_GET_SIZE(chunks)
    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)


@cython.final
cdef class Fanout:
    """Serves every channel and writer of one event loop.

    ``call_soon(callback)`` schedules the tick, ``clock()`` gives seconds, ``encode_lagged(name, first, last)``
    gives the JSON that says which events of a channel were missed. The counters count since the start:
    events published, deliveries (events × subscribers), writes (calls of a transport), bytes written, pauses,
    lags and the events missed in them, sweeps completed and the seconds spent in ticks, transports that failed.
    """

    def __init__(self, call_soon, clock, encode_lagged, double slice_s=0.005):
        self.call_soon = call_soon
        # This one a sweep need not call Python for.
        self.clock = None if clock is time.monotonic else clock
        self.encode_lagged = encode_lagged
        self.slice_s = slice_s
        self.stalled = set()
        self.behind = deque()
        self.busy = deque()
        self.spanned = []
        self.fetched = {}
        self.run = self.tick

    def channel(self, str name not None, Py_ssize_t ring_bytes, int64_t head_seq=0):
        """A channel with an empty ring whose next event is ``head_seq + 1``."""
        cdef Channel channel = Channel.__new__(Channel)
        channel.name = name
        channel.fanout = self
        channel.ring = Ring(ring_bytes, head_seq)
        channel.ephemeral = Ring(EPHEMERAL_BYTES)
        channel.waiting = []
        channel.subscriptions = []
        return channel

    def overdue(self, double limit_s):
        """The writers that have taken nothing for longer than ``limit_s`` seconds."""
        cdef Writer writer
        cdef double since = self.now() - limit_s
        return [writer for writer in self.stalled if writer.paused_at < since]

    # Scheduling

    cdef double now(self) except? -1:
        cdef timespec now
        if self.clock is not None:
            return self.clock()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return <double>now.tv_sec + 1e-9 * <double>now.tv_nsec

    cdef schedule(self):
        if not self.scheduled:
            self.scheduled = True
            self.call_soon(self.run)

    cdef queue_writer(self, Writer writer):
        if not writer.queued and not writer.paused and not writer.held:
            writer.queued = True
            self.behind.append(writer)
            self.schedule()

    cdef queue_channel(self, Channel channel):
        if not channel.queued:
            channel.queued = True
            self.busy.append(channel)
            self.schedule()

    def tick(self):
        """Serves everyone who waits, for at most one slice; schedules itself when something is left."""
        cdef double start = self.now()
        cdef double deadline = start + self.slice_s
        cdef Channel channel
        cdef Ring ring
        self.scheduled = False
        # Stragglers get half of the slice at most, so that they cannot hold up those who keep pace.
        self.serve_behind(start + self.slice_s / 2)
        while self.busy:
            channel = self.busy.popleft()
            if self.sweep(channel, deadline):
                channel.queued = False
                self.sweeps += 1
            else:
                # To the back of the queue: a large room must not keep the small ones waiting.
                self.busy.append(channel)
            if self.now() >= deadline:
                break
        for ring in self.spanned:
            ring.forget_spans()
        self.spanned.clear()
        self.fetched.clear()
        self.joined = self.joined_first = self.joined_second = None
        self.sweep_time_s += self.now() - start
        if self.behind or self.busy:
            self.schedule()
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    cdef serve_behind(self, double deadline):
        """Flushes the waiting writers, each at most once, until time runs out."""
        cdef Py_ssize_t waiting = len(self.behind)
        cdef Py_ssize_t visits = 0
        cdef Writer writer
        while waiting > 0:
            waiting -= 1
            writer = self.behind.popleft()
            writer.queued = False
            self.serve(writer)
            visits += 1
            if visits % VISITS_PER_LOOK == 0 and self.now() >= deadline:
                return

    cdef bint sweep(self, Channel channel, double deadline) except -1:
        """Brings the writable subscribers to the head; returns False when time ran out before the last one."""
        cdef Py_ssize_t visits = 0
        cdef Py_ssize_t shared
        cdef Subscription subscription
        cdef Writer writer
        while channel.unvisited > 0:
            if channel.next_index >= PyList_GET_SIZE(channel.subscriptions):
                channel.next_index = 0
                if PyList_GET_SIZE(channel.subscriptions) == 0:
                    channel.unvisited = 0
                    break
            shared = self.share(channel, VISITS_PER_LOOK - visits % VISITS_PER_LOOK)
            if shared == 0:
                subscription = <Subscription>PyList_GET_ITEM(channel.subscriptions, channel.next_index)
                pass_by(channel)
                writer = subscription.writer
                if writer.paused or writer.closed or not is_behind(subscription):
                    continue
                self.serve(writer)
                shared = 1
            visits += shared
            if visits % VISITS_PER_LOOK == 0 and self.now() >= deadline:
                return channel.unvisited == 0
        return True

    cdef Py_ssize_t share(self, Channel channel, Py_ssize_t most) except -1:
        """Sends spans that the ring keeps to those next in turn who want nothing else; returns to how many.

        It does what ``serve`` does, in the shortest way: between two sends no Python runs, so nothing changes,
        and references need not be counted.
        """
        cdef Ring ring = channel.ring
        cdef bytes span = None
        cdef Subscription left
        cdef PyObject* subscription = NULL
        cdef PyObject* writer
        cdef int64_t serial = 0
        cdef int64_t after = -1
        cdef Py_ssize_t visits = 0
        cdef Py_ssize_t sent = 0
        cdef Py_ssize_t size = 0
        cdef int i
        if ring.spans_used == 0:
            return 0
        while visits < most and sent == size and channel.unvisited > 0:
            if channel.next_index >= PyList_GET_SIZE(channel.subscriptions):
                break
            subscription = PyList_GET_ITEM(channel.subscriptions, channel.next_index)
            writer = <PyObject*>(<Subscription>subscription).writer
            if not wants_log_alone(subscription, writer, channel.ephemeral.head_seq):
                break
            if (<Subscription>subscription).seq != after or (<Writer>writer).profile.serial != serial:
                after = (<Subscription>subscription).seq
                serial = (<Writer>writer).profile.serial
                i = ring.kept_to_head(serial, after)
                if i < 0:
                    break
                span = <bytes>PyList_GET_ITEM(ring.spans, i)
                size = PyBytes_GET_SIZE(span)
            pass_by(channel)
            sent = send((<Writer>writer).fd, PyBytes_AS_STRING(span), <size_t>size, MSG_DONTWAIT | MSG_NOSIGNAL)
            (<Subscription>subscription).seq = ring.head_seq
            (<Writer>writer).turn = 1
            visits += 1
            self.deliveries += ring.head_seq - after
            if sent == size:
                self.count_write(size)
        if sent != size:
            left = <Subscription>subscription  # it may be about to leave: here it is counted again
            self.hand_over(left, span, sent)
        return visits

    # Writing

    cdef serve(self, Writer writer):
        """Flushes, and queues the writer while there is more; what goes wrong ends this writer alone."""
        try:
            if self.flush(writer):
                self.queue_writer(writer)
        except Exception as error:
            self.fail(writer)
            self.error = error
            self.schedule()

    cdef hand_over(self, Subscription subscription, bytes span, Py_ssize_t sent):
        """As ``serve``, with what the socket has not taken of a shared span."""
        cdef Writer writer = subscription.writer
        try:
            self.transmit_rest(writer, span, sent)
            if is_behind(subscription) and not writer.paused and not writer.closed:
                self.queue_writer(writer)
        except Exception as error:
            self.fail(writer)
            self.error = error
            self.schedule()

    cdef bint flush(self, Writer writer) except -1:
        """Writes replies, then spans, up to the high watermark. Returns whether more could be written now."""
        cdef Py_ssize_t budget = writer.profile.high_water_bytes
        cdef Py_ssize_t count = writer.rooms
        cdef Py_ssize_t i
        cdef Subscription subscription
        cdef bytes span
        cdef list chunks = None
        cdef bint more = False
        cdef bint any_span = False
        if writer.closed or writer.paused or writer.held:
            return False
        if count == 1 and writer.replies is None and not writer.blocking:
            # Nearly everyone in a large room: what follows comes down to this.
            subscription = <Subscription>PyList_GET_ITEM(writer.subscriptions, 0)
            if is_behind(subscription):
                span = self.take(subscription, budget)
                if PyBytes_GET_SIZE(span) and is_behind(subscription):
                    chunks = [span]
                    self.take_more(subscription, budget - PyBytes_GET_SIZE(span), chunks)
                    self.transmit(writer, chunks)
                elif PyBytes_GET_SIZE(span):
                    self.transmit_one(writer, span)
            writer.turn = 1
            more = is_behind(subscription)
            return more and not writer.paused and not writer.closed
        if writer.replies is not None:
            chunks = writer.replies if len(writer.replies) == 1 else [b"".join(writer.replies)]
            budget -= writer.reply_bytes
            writer.replies = None
            writer.reply_bytes = 0
        else:
            chunks = []
        for i in range(count):
            # Start with another room after each write that was full, so that no busy room starves the rest.
            if writer.turn >= count:
                writer.turn = 0
            subscription = <Subscription>PyList_GET_ITEM(writer.subscriptions, writer.turn)
            if is_behind(subscription):
                # Were the first event to wait until it fits behind replies, it might wait for ever.
                if chunks and (budget <= 0 or (any_span and not self.fits(subscription, budget))):
                    more = True
                    break
                span = self.take(subscription, budget)
                if PyBytes_GET_SIZE(span):
                    any_span = True
                    chunks.append(span)
                budget -= PyBytes_GET_SIZE(span)
                if PyBytes_GET_SIZE(span) and is_behind(subscription):
                    budget = self.take_more(subscription, budget, chunks)
                if is_behind(subscription):
                    more = True
            writer.turn += 1
        if chunks:
            self.transmit(writer, chunks)
        if writer.blocking and not writer.closed and writer.has_room():
            writer.blocking = False
            writer.owner.on_writable()
        return more and not writer.paused and not writer.closed

    cdef Py_ssize_t take_more(self, Subscription subscription, Py_ssize_t budget_bytes, list chunks) except? -1:
        """Adds what follows a span, as far as the budget goes; returns what is left of it.

        A source gives block by block: who returns gets several, and then the ring's events, in one write.
        """
        cdef bytes span
        while is_behind(subscription) and self.fits(subscription, budget_bytes):
            span = self.take(subscription, budget_bytes)
            if PyBytes_GET_SIZE(span):
                chunks.append(span)
            budget_bytes -= PyBytes_GET_SIZE(span)
        return budget_bytes

    cdef bint fits(self, Subscription subscription, Py_ssize_t budget_bytes) except -1:
        """Whether the next event of a subscription that is behind stays within the budget."""
        cdef Channel channel = subscription.channel
        cdef Profile profile = subscription.writer.profile
        cdef Ring ring = channel.ring
        if subscription.seq == ring.head_seq:
            seq = max(subscription.ephemeral_seq + 1, channel.ephemeral.first_seq)
            return channel.ephemeral.framed_size_of(profile, seq) <= budget_bytes
        if subscription.seq + 1 < ring.first_seq and channel.source is not None:
            ring = self.fetch(subscription)
            if ring is None:
                return True  # nothing will be written
        if subscription.seq + 1 < ring.first_seq:
            return False  # a notice begins a write
        return ring.framed_size_of(profile, subscription.seq + 1) <= budget_bytes

    cdef bytes take(self, Subscription subscription, Py_ssize_t budget_bytes):
        """The next span of a subscription that is behind; moves its cursors past it."""
        cdef Channel channel = subscription.channel
        cdef bytes span
        if subscription.seq == channel.ring.head_seq:
            return self.take_ephemeral(subscription, budget_bytes)
        span = self.take_log(subscription, budget_bytes)
        if subscription.ephemeral_seq == channel.ephemeral.head_seq or subscription.seq != channel.ring.head_seq:
            return span
        budget_bytes -= PyBytes_GET_SIZE(span)
        if PyBytes_GET_SIZE(span) and not self.fits(subscription, budget_bytes):
            return span
        # Before the log's: who starts to type, or comes in, does so before saying something.
        return self.join(self.take_ephemeral(subscription, budget_bytes), span)

    cdef bytes join(self, bytes first, bytes second):
        """Both in one piece: the same one for all who get these two, until the tick ends."""
        if first is not self.joined_first or second is not self.joined_second:
            self.joined = first + second
            self.joined_first = first
            self.joined_second = second
        return self.joined

    cdef bytes take_ephemeral(self, Subscription subscription, Py_ssize_t budget_bytes):
        cdef Ring ring = subscription.channel.ephemeral
        cdef int64_t end = 0
        cdef int64_t after = max(subscription.ephemeral_seq, ring.first_seq - 1)
        cdef bytes span = self.span(
            subscription, ring, after, budget_bytes, subscription.ephemeral_hidden > after, &end
        )
        subscription.ephemeral_seq = end
        return span

    cdef bytes take_log(self, Subscription subscription, Py_ssize_t budget_bytes):
        cdef Channel channel = subscription.channel
        cdef Ring ring = channel.ring
        cdef bytes notice = b""
        cdef bytes span
        cdef int64_t end = 0
        if subscription.seq + 1 < ring.first_seq and channel.source is not None:
            ring = self.fetch(subscription)
            if ring is None:
                subscription.waiting = True
                channel.waiting.append(subscription)
                return b""
        if subscription.seq + 1 < ring.first_seq:
            notice = self.lag(subscription, ring.first_seq - 1)
            if subscription.seq == ring.head_seq:
                return notice  # nothing is held
            budget_bytes -= PyBytes_GET_SIZE(notice)
        span = self.span(
            subscription, ring, subscription.seq, budget_bytes, subscription.hidden > subscription.seq, &end
        )
        subscription.seq = end
        return notice + span if notice else span

    cdef Ring fetch(self, Subscription subscription):
        """Where the next event of a subscription is that the channel's ring has moved past; None: it has to wait."""
        cdef Channel channel = subscription.channel
        cdef tuple place = (channel, subscription.seq)
        cdef Ring ring = self.fetched.get(place)
        if ring is None:
            ring = channel.source.fetch(channel, subscription.seq)
            if ring is None:
                return None
            if not subscription.seq < ring.head_seq <= channel.ring.head_seq:
                raise ValueError(f"events behind {subscription.seq} end with {ring.head_seq} in {channel.name}")
            self.fetched[place] = ring
        # The channel's own may hold what the source has let go of.
        return ring if ring.first_seq <= channel.ring.first_seq else channel.ring

    cdef bytes span(
        self, Subscription subscription, Ring ring, int64_t after, Py_ssize_t budget_bytes, bint hides, int64_t* end
    ):
        """The ring's span behind ``after``; remembers to let go of what the ring keeps of it."""
        cdef Writer writer = subscription.writer
        cdef bint first_span = ring.spans_used == 0
        cdef bytes span = ring.span(writer.profile, after, budget_bytes, writer.id if hides else 0, end)
        if first_span and ring.spans_used:
            self.spanned.append(ring)
        self.deliveries += end[0] - after
        return span

    cdef bytes lag(self, Subscription subscription, int64_t last_missed):
        """Counts everything up to ``last_missed`` as missed; returns what tells the client."""
        cdef Channel channel = subscription.channel
        cdef int64_t first_missed = subscription.seq + 1
        subscription.seq = last_missed
        self.lags += 1
        self.missed += last_missed - first_missed + 1
        return subscription.writer.profile.encode(self.encode_lagged(channel.name, first_missed, last_missed))

    cdef transmit(self, Writer writer, list chunks):
        """One write. What a transport raises ends that transport and nothing else."""
        cdef Py_ssize_t size = 0
        cdef Py_ssize_t sent = -1
        cdef bytes chunk
        if PyList_GET_SIZE(chunks) == 1:
            self.transmit_one(writer, <bytes>PyList_GET_ITEM(chunks, 0))
            return
        for chunk in chunks:
            size += PyBytes_GET_SIZE(chunk)
        if writer.fd >= 0 and not writer.paused and PyList_GET_SIZE(chunks) <= PIECES_MAX:
            sent = send_pieces(writer.fd, chunks)
        if sent < size:
            try:
                if sent > 0:
                    writer.transport.write(memoryview(b"".join(chunks))[sent:])
                else:
                    writer.transport.writelines(chunks)
            except Exception:
                self.fail(writer)
                return
        self.count_write(size)

    cdef transmit_one(self, Writer writer, bytes data):
        """As ``transmit``, of one piece."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef Py_ssize_t sent = -1
        if writer.fd >= 0 and not writer.paused:
            sent = send(writer.fd, PyBytes_AS_STRING(data), <size_t>size, MSG_DONTWAIT | MSG_NOSIGNAL)
        self.transmit_rest(writer, data, sent)

    cdef transmit_rest(self, Writer writer, bytes data, Py_ssize_t sent):
        """What the socket has not taken (-1: nothing was tried, or it went wrong) is the transport's."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        if sent < size:
            try:
                writer.transport.write(memoryview(data)[sent:] if sent > 0 else data)
            except Exception:
                self.fail(writer)
                return
        self.count_write(size)

    cdef inline void count_write(self, Py_ssize_t size) noexcept:
        self.writes += 1
        self.bytes_written += size

    cdef fail(self, Writer writer):
        """Ends a writer that something has gone wrong with."""
        self.failures += 1
        transport = writer.transport
        writer.close()
        try:
            transport.abort()
        except Exception:
            self.failures += 1
