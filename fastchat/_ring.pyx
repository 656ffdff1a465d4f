"""The newest events of a room, bounded in bytes, and the spans cut from them. Pure: no sockets, clock or await.

A ring holds the events ``first_seq`` … ``head_seq`` of a sequence without holes. A reader is a cursor: the
``seq`` of the last event that it was given.

Lagging
-------
The ring forgets its oldest events when it is over its limit. A reader whose cursor is before ``first_seq - 1``
has missed exactly what lies between.

Spans
-----
A span is every event behind a cursor, framed for one profile, in one ``bytes`` object. It is built once and
handed to every reader with the same cursor: the copy is per span, not per reader.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

# What an event costs beside its body: the Event, the header of its bytes object, its slot in the ring.
cdef enum:
    EVENT_OVERHEAD_BYTES = 144
    FIRST_SLOTS = 8

cdef enum:
    LINES = 0
    WEBSOCKET = 1
    ENCODER = 2

cdef int64_t _profiles = 0

_FRAMINGS = {"lines": LINES, "websocket": WEBSOCKET}


@cython.no_gc
@cython.freelist(256)
@cython.final
cdef class Event:
    """One thing that happened in a room, as the JSON that every client gets.

    ``seq`` is its number in its ring, ``body`` the UTF-8 JSON without any framing, ``hidden_from`` the id of the
    one writer that must not get it (0: none).
    """

    def __init__(self, int64_t seq, bytes body not None, *, uint64_t hidden_from=0):
        self.seq = seq
        self.body = body
        self.hidden_from = hidden_from

    def __repr__(self):
        return f"Event({self.seq}, {self.body!r})"


@cython.final
cdef class Profile:
    """How the connections of one listener are written to: their framing and their watermarks.

    ``framing`` is ``"lines"`` (JSON and a newline), ``"websocket"`` (one text frame per event) or a callable
    ``encode(body: bytes) -> bytes`` (a dialect of its own; it may return nothing to say nothing).
    ``high_water_bytes`` is the most that is handed to a connection before its transport has drained;
    ``low_water_bytes`` is how much of it the kernel may hold unsent before it takes more.
    """

    def __init__(self, str name not None, framing, Py_ssize_t high_water_bytes, Py_ssize_t low_water_bytes):
        self.name = name
        if callable(framing):
            self.framing = ENCODER
            self.encoder = framing
        else:
            self.framing = _FRAMINGS[framing]
        self.set_watermarks(high_water_bytes, low_water_bytes)

    def set_watermarks(self, Py_ssize_t high_water_bytes, Py_ssize_t low_water_bytes):
        """Takes effect with the next write of every connection. Raises ValueError unless 0 <= low < high."""
        global _profiles
        if not 0 <= low_water_bytes < high_water_bytes:
            raise ValueError(f"watermarks must be 0 <= low < high, got {low_water_bytes} and {high_water_bytes}")
        # Spans are kept under this number: those of the old watermarks fit no longer.
        _profiles += 1
        self.serial = _profiles
        self.high_water_bytes = high_water_bytes
        self.low_water_bytes = low_water_bytes

    cpdef bytes encode(self, bytes body):
        """``body`` (UTF-8 JSON) framed for this profile's connections."""
        cdef Py_ssize_t length
        cdef bytes framed
        if self.framing == ENCODER:
            return self.encoder(body)
        length = framed_size(self.framing, PyBytes_GET_SIZE(body))
        framed = PyBytes_FromStringAndSize(NULL, length)
        write_framed(self.framing, PyBytes_AS_STRING(framed), body)
        return framed

    cdef bytes encode_event(self, Event event):
        """As ``encode``, but what a dialect's encoder made of an event is kept with the event."""
        cdef bytes encoded
        if self.framing != ENCODER:
            return self.encode(event.body)
        if event.encoded is None:
            event.encoded = {}
        encoded = event.encoded.get(self)
        if encoded is None:
            encoded = self.encoder(event.body)
            event.encoded[self] = encoded
        return encoded


cdef inline Py_ssize_t framed_size(int framing, Py_ssize_t length) noexcept:
    if framing == LINES:
        return length + 1
    if length < 126:
        return length + 2
    return length + 4 if length < 65536 else length + 10


cdef inline char* write_framed(int framing, char* out, bytes body) noexcept:
    """Writes the framed body at ``out``, which has room for ``framed_size`` bytes; returns the end of it."""
    cdef Py_ssize_t length = PyBytes_GET_SIZE(body)
    cdef int shift
    if framing == WEBSOCKET:  # RFC 6455 section 5.2: FIN and opcode 1, the length, no mask from a server
        out[0] = <char>0x81
        if length < 126:
            out[1] = <char>length
            out += 2
        elif length < 65536:
            out[1] = 126
            out[2] = <char>(length >> 8)
            out[3] = <char>(length & 0xFF)
            out += 4
        else:
            out[1] = 127
            for shift in range(8):
                out[2 + shift] = <char>((length >> (56 - 8 * shift)) & 0xFF)
            out += 10
    memcpy(out, PyBytes_AS_STRING(body), <size_t>length)
    out += length
    if framing == LINES:
        out[0] = b"\n"
        out += 1
    return out


@cython.final
cdef class Ring:
    """The newest events of one sequence: at least the newest one, at most ``limit_bytes`` of them.

    Events ``first_seq`` … ``head_seq`` are held; ``first_seq`` is ``head_seq + 1`` when there is none.
    """

    def __init__(self, Py_ssize_t limit_bytes, int64_t head_seq=0):
        self.limit_bytes = limit_bytes
        self.head_seq = head_seq
        self.first_seq = head_seq + 1
        self.slots = [None] * FIRST_SLOTS
        self.mask = FIRST_SLOTS - 1
        self.spans = []

    def __len__(self):
        return self.head_seq - self.first_seq + 1

    cdef inline Event at(self, int64_t seq):
        return <Event>PyList_GET_ITEM(self.slots, <Py_ssize_t>(seq & self.mask))

    cpdef append(self, Event event):
        """Adds the newest event and forgets the oldest ones that are over the limit.

        Raises ValueError unless its ``seq`` is ``head_seq + 1``: there are no holes.
        """
        if event.seq != self.head_seq + 1:
            raise ValueError(f"event has seq {event.seq}, the ring expects {self.head_seq + 1}")
        if event.seq - self.first_seq > self.mask:
            self.grow()
        self.slots[<Py_ssize_t>(event.seq & self.mask)] = event
        self.head_seq = event.seq
        self.size_bytes += PyBytes_GET_SIZE(event.body) + EVENT_OVERHEAD_BYTES
        if self.spans_used:
            self.forget_spans()
        if self.size_bytes > self.limit_bytes:
            self.evict()

    def grow(self):
        """Doubles the slots; an event's slot is the low bits of its seq, so every event moves."""
        cdef int64_t mask = 2 * self.mask + 1
        cdef int64_t seq
        cdef list slots = [None] * (mask + 1)
        for seq in range(self.first_seq, self.head_seq + 1):
            slots[<Py_ssize_t>(seq & mask)] = self.at(seq)
        self.slots = slots
        self.mask = mask

    cdef evict(self):
        cdef Event event
        while self.size_bytes > self.limit_bytes and self.first_seq < self.head_seq:
            event = self.at(self.first_seq)
            self.slots[<Py_ssize_t>(self.first_seq & self.mask)] = None
            self.first_seq += 1
            self.size_bytes -= PyBytes_GET_SIZE(event.body) + EVENT_OVERHEAD_BYTES

    cpdef set_limit(self, Py_ssize_t limit_bytes):
        """Changes the limit in bytes; takes effect at once."""
        self.limit_bytes = limit_bytes
        self.evict()

    def events(self, int64_t after, int64_t before, Py_ssize_t limit, Py_ssize_t limit_bytes, bint newest=False):
        """Held events with ``after < seq < before``, in order: at most ``limit`` and about ``limit_bytes`` of them.

        From the low end, or with ``newest`` from the high end. At least one where there is any.
        """
        cdef list found = []
        cdef int64_t low = max(after + 1, self.first_seq)
        cdef int64_t high = min(before - 1, self.head_seq)
        cdef int64_t seq = high if newest else low
        cdef Py_ssize_t size = 0
        cdef Event event
        while low <= seq <= high and len(found) < limit:
            event = self.at(seq)
            size += PyBytes_GET_SIZE(event.body)
            if found and size > limit_bytes:
                break
            found.append(event)
            seq += -1 if newest else 1
        if newest:
            found.reverse()
        return found

    cdef Py_ssize_t framed_size_of(self, Profile profile, int64_t seq) except -1:
        """How long the event is, framed."""
        if profile.framing == ENCODER:
            return PyBytes_GET_SIZE(profile.encode_event(self.at(seq)))
        return framed_size(profile.framing, PyBytes_GET_SIZE(self.at(seq).body))

    cdef int64_t end_of(self, Profile profile, int64_t after, Py_ssize_t budget_bytes) except -1:
        """The last event of a span behind ``after`` that fits the budget; it holds one event at least."""
        cdef int64_t seq = after
        cdef Py_ssize_t size = 0
        while seq < self.head_seq:
            size += self.framed_size_of(profile, seq + 1)
            if size > budget_bytes and seq > after:
                break
            seq += 1
        return seq

    cdef bytes build(self, Profile profile, int64_t after, int64_t end, uint64_t reader):
        """The events ``after + 1`` … ``end``, framed. Leaves out what is hidden from ``reader`` (0: nothing)."""
        cdef Py_ssize_t size = 0
        cdef int64_t seq
        cdef Event event
        cdef bytes span
        cdef char* out
        if profile.framing == ENCODER or reader:
            return b"".join([
                profile.encode_event(event)
                for event in [self.at(seq) for seq in range(after + 1, end + 1)]
                if reader == 0 or event.hidden_from != reader
            ])
        for seq in range(after + 1, end + 1):
            size += framed_size(profile.framing, PyBytes_GET_SIZE(self.at(seq).body))
        span = PyBytes_FromStringAndSize(NULL, size)
        out = PyBytes_AS_STRING(span)
        for seq in range(after + 1, end + 1):
            out = write_framed(profile.framing, out, self.at(seq).body)
        return span

    cdef inline int kept(self, int64_t serial, int64_t after) noexcept:
        """Which of ``spans`` is the one behind ``after`` for the profile with this serial; -1: none is kept."""
        cdef int i
        for i in range(self.spans_used):
            if self.span_after[i] == after and self.span_profile[i] == serial:
                return i
        return -1

    cdef int kept_to_head(self, int64_t serial, int64_t after) noexcept:
        """As ``kept``, if it says something, leads to the head, and all of it is still held."""
        cdef int i = self.kept(serial, after)
        if i < 0 or self.span_end[i] != self.head_seq or after + 1 < self.first_seq:
            return -1
        return i if PyBytes_GET_SIZE(<bytes>PyList_GET_ITEM(self.spans, i)) else -1

    cdef bytes span(self, Profile profile, int64_t after, Py_ssize_t budget_bytes, uint64_t reader, int64_t* end):
        """The span behind ``after`` (the next event MUST be held) as far as the budget goes.

        Sets ``end`` to its last event. It is shared with everyone who asks next and whose budget it fits; see
        ``forget_spans``.
        """
        cdef int i
        cdef bytes span
        if reader == 0:
            i = self.kept(profile.serial, after)
            if i >= 0:
                span = <bytes>self.spans[i]
                if PyBytes_GET_SIZE(span) <= budget_bytes or self.span_end[i] == after + 1:
                    end[0] = self.span_end[i]
                    return span
        end[0] = self.end_of(profile, after, budget_bytes)
        span = self.build(profile, after, end[0], reader)
        # One that a smaller budget has cut short would cut everyone short.
        if reader == 0 and (end[0] == self.head_seq or budget_bytes == profile.high_water_bytes):
            # A few are enough for everyone near the head; a thousand stragglers must not keep one each.
            if self.spans_used == SPANS_KEPT:
                self.forget_spans()
            self.span_profile[self.spans_used] = profile.serial
            self.span_after[self.spans_used] = after
            self.span_end[self.spans_used] = end[0]
            self.spans.append(span)
            self.spans_used += 1
        return span

    def cut(self, Profile profile not None, int64_t after, budget_bytes=None, uint64_t hidden_from=0):
        """The span behind ``after`` and the ``seq`` of its last event: ``(bytes, seq)``.

        ``budget_bytes`` defaults to the profile's high watermark; what is hidden from the writer with the id
        ``hidden_from`` is left out. Raises IndexError when the event behind ``after`` is not held.
        """
        cdef int64_t end = after
        cdef Py_ssize_t budget = profile.high_water_bytes if budget_bytes is None else budget_bytes
        if not self.first_seq <= after + 1 <= self.head_seq:
            raise IndexError(f"event {after + 1} is not in {self.first_seq} … {self.head_seq}")
        span = self.span(profile, after, budget, hidden_from, &end)
        return span, end

    cpdef forget_spans(self):
        """Lets go of the spans that were kept for sharing; called at the end of each tick."""
        self.spans_used = 0
        self.spans.clear()
