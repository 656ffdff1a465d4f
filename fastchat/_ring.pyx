"""The newest events of a room, bounded in bytes, and the spans cut from them. Pure: no sockets, clock or await.

A ring is addressed by *position*: 0, 1, 2 … for everything that was ever appended. Events of the log also
carry a ``seq`` without holes; ephemeral events (typing, presence) have a position but no ``seq`` of their
own: they carry that of the event before them, so that ``seq`` never falls along the ring.

Lagging
-------
The ring forgets its oldest events when it is over its limit. A reader whose position lies before ``first``
has missed something: what it missed of the log is ``seq`` … ``first_seq - 1``, exactly.

Spans
-----
A span is every event between a position and the head, framed for one profile, in one ``bytes`` object. It is
built once and handed to every reader that stands at that position: the copy is per span, not per reader.
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

    ``seq`` is its number in the log (for an ephemeral event, that of the log event before it), ``body`` the
    UTF-8 JSON without any framing, ``hidden_from`` the id of the one writer that must not get it (0: none).
    """

    def __init__(self, int64_t seq, bytes body not None, *, bint ephemeral=False, uint64_t hidden_from=0):
        self.seq = seq
        self.body = body
        self.ephemeral = ephemeral
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
    """The newest events of one room: at least the newest one, at most ``limit_bytes`` of them.

    Positions ``first`` … ``head - 1`` are held; ``first_seq`` is the lowest ``seq`` of the log that can still
    be read here (``head_seq + 1`` when there is none).
    """

    def __init__(self, Py_ssize_t limit_bytes, int64_t head_seq=0):
        self.limit_bytes = limit_bytes
        self.head_seq = head_seq
        self.first_seq = head_seq + 1
        self.slots = [None] * FIRST_SLOTS
        self.mask = FIRST_SLOTS - 1
        self.spans = []

    def __len__(self):
        return self.head - self.first

    cdef inline Event at(self, int64_t position):
        return <Event>PyList_GET_ITEM(self.slots, <Py_ssize_t>(position & self.mask))

    cpdef append(self, Event event):
        """Adds the newest event and forgets the oldest ones that are over the limit.

        Raises ValueError when ``seq`` would leave a hole: a log event carries ``head_seq + 1``, an ephemeral
        one ``head_seq``.
        """
        cdef int64_t expected = self.head_seq if event.ephemeral else self.head_seq + 1
        if event.seq != expected:
            raise ValueError(f"event has seq {event.seq}, the ring expects {expected}")
        if self.head - self.first > self.mask:
            self.grow()
        self.slots[<Py_ssize_t>(self.head & self.mask)] = event
        self.head += 1
        self.head_seq = event.seq
        self.size_bytes += PyBytes_GET_SIZE(event.body) + EVENT_OVERHEAD_BYTES
        if self.spans_used:
            self.forget_spans()
        if self.size_bytes > self.limit_bytes:
            self.evict()

    def grow(self):
        """Doubles the slots; a position's slot is its low bits, so every event moves."""
        cdef int64_t mask = 2 * self.mask + 1
        cdef int64_t position
        cdef list slots = [None] * (mask + 1)
        for position in range(self.first, self.head):
            slots[<Py_ssize_t>(position & mask)] = self.at(position)
        self.slots = slots
        self.mask = mask

    cdef evict(self):
        cdef Event event
        while self.size_bytes > self.limit_bytes and self.head - self.first > 1:
            event = self.at(self.first)
            self.slots[<Py_ssize_t>(self.first & self.mask)] = None
            self.first += 1
            self.size_bytes -= PyBytes_GET_SIZE(event.body) + EVENT_OVERHEAD_BYTES
            if not event.ephemeral:
                self.first_seq = event.seq + 1

    cpdef set_limit(self, Py_ssize_t limit_bytes):
        """Changes the limit in bytes; takes effect at once."""
        self.limit_bytes = limit_bytes
        self.evict()

    cpdef int64_t position_after(self, int64_t seq) except -1:
        """The position of the first held event with a higher ``seq``; the head when there is none."""
        cdef int64_t low = self.first
        cdef int64_t high = self.head
        cdef int64_t middle
        while low < high:
            middle = (low + high) // 2
            if self.at(middle).seq > seq:
                high = middle
            else:
                low = middle + 1
        return low

    def events(self, int64_t after, int64_t before, Py_ssize_t limit, Py_ssize_t limit_bytes, bint newest=False):
        """Log events with ``after < seq < before``, in order: at most ``limit`` and about ``limit_bytes`` of them.

        From the low end, or with ``newest`` from the high end. At least one where there is any.
        """
        cdef list found = []
        cdef int64_t position = self.position_after(before - 1) - 1 if newest else self.position_after(after)
        cdef int64_t step = -1 if newest else 1
        cdef Py_ssize_t size = 0
        cdef Event event
        while self.first <= position < self.head and len(found) < limit:
            event = self.at(position)
            position += step
            if event.ephemeral:
                continue
            if event.seq <= after or event.seq >= before:
                break
            size += PyBytes_GET_SIZE(event.body)
            if found and size > limit_bytes:
                break
            found.append(event)
        if newest:
            found.reverse()
        return found

    cdef Py_ssize_t framed_size_at(self, Profile profile, int64_t position) except -1:
        """How long the event is that stands there, framed."""
        if profile.framing == ENCODER:
            return PyBytes_GET_SIZE(profile.encode_event(self.at(position)))
        return framed_size(profile.framing, PyBytes_GET_SIZE(self.at(position).body))

    cdef int64_t end_of(self, Profile profile, int64_t start, Py_ssize_t budget_bytes) except -1:
        """Where a span from ``start`` ends that fits the budget; it holds one event at least."""
        cdef int64_t position = start
        cdef Py_ssize_t size = 0
        while position < self.head:
            size += self.framed_size_at(profile, position)
            if size > budget_bytes and position > start:
                break
            position += 1
        return position

    cdef bytes build(self, Profile profile, int64_t start, int64_t end, uint64_t reader):
        """The span, framed. Leaves out what is hidden from ``reader`` (0: leaves out nothing)."""
        cdef Py_ssize_t size = 0
        cdef int64_t position
        cdef Event event
        cdef bytes span
        cdef char* out
        if profile.framing == ENCODER or reader:
            return b"".join([
                profile.encode_event(event)
                for event in [self.at(position) for position in range(start, end)]
                if reader == 0 or event.hidden_from != reader
            ])
        for position in range(start, end):
            size += framed_size(profile.framing, PyBytes_GET_SIZE(self.at(position).body))
        span = PyBytes_FromStringAndSize(NULL, size)
        out = PyBytes_AS_STRING(span)
        for position in range(start, end):
            out = write_framed(profile.framing, out, self.at(position).body)
        return span

    cdef bytes span(self, Profile profile, int64_t start, Py_ssize_t budget_bytes, uint64_t reader, int64_t* end):
        """The span from ``start`` (MUST be held) as far as the budget goes; sets ``end`` to where it stops.

        It is shared with everyone who asks next and whose budget it fits; see ``forget_spans``.
        """
        cdef int i
        cdef bytes span
        if reader == 0:
            for i in range(self.spans_used):
                if self.span_start[i] == start and self.span_profile[i] == profile.serial:
                    span = <bytes>self.spans[i]
                    if PyBytes_GET_SIZE(span) <= budget_bytes or self.span_end[i] == start + 1:
                        end[0] = self.span_end[i]
                        return span
        end[0] = self.end_of(profile, start, budget_bytes)
        span = self.build(profile, start, end[0], reader)
        # One that a smaller budget has cut short would cut everyone short.
        if reader == 0 and (end[0] == self.head or budget_bytes == profile.high_water_bytes):
            # A few are enough for everyone near the head; a thousand stragglers must not keep one each.
            if self.spans_used == SPANS_KEPT:
                self.forget_spans()
            self.span_profile[self.spans_used] = profile.serial
            self.span_start[self.spans_used] = start
            self.span_end[self.spans_used] = end[0]
            self.spans.append(span)
            self.spans_used += 1
        return span

    def cut(self, Profile profile not None, int64_t start, budget_bytes=None, uint64_t hidden_from=0):
        """The span from ``start`` and the position where it ends: ``(bytes, position)``.

        ``budget_bytes`` defaults to the profile's high watermark; what is hidden from the writer with the id
        ``hidden_from`` is left out. Raises IndexError when ``start`` is not held.
        """
        cdef int64_t end = start
        cdef Py_ssize_t budget = profile.high_water_bytes if budget_bytes is None else budget_bytes
        if not self.first <= start < self.head:
            raise IndexError(f"position {start} is not in {self.first} … {self.head - 1}")
        span = self.span(profile, start, budget, hidden_from, &end)
        return span, end

    cpdef forget_spans(self):
        """Lets go of the spans that were kept for sharing; called at the end of each tick."""
        self.spans_used = 0
        self.spans.clear()
