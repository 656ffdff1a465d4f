"""The twin of ``fastchat._fanout``: the same duties in plain Python, and the same order of visits.

The order is part of what is compared: where a slice ends, it decides who has heard what.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from tests.twins.ring import Event, Profile, Ring

VISITS_PER_LOOK = 8
EPHEMERAL_BYTES = 16384


class Subscription:
    def __init__(self, channel: "Channel", writer: "Writer", after: int | None) -> None:
        if after is not None and not 0 <= after <= channel.ring.head_seq:
            raise ValueError("after is out of range")
        self.channel = channel
        self.writer = writer
        self.seq = channel.ring.head_seq if after is None else after
        self.ephemeral_seq = channel.ephemeral.head_seq

    @property
    def behind(self) -> bool:
        if self.seq != self.channel.ring.head_seq:
            return self not in self.channel.waiting
        return self.ephemeral_seq != self.channel.ephemeral.head_seq

    def cancel(self) -> None:
        if self in self.channel.subscriptions:
            self.writer.subscriptions.remove(self)
            self.channel.remove(self)


class Channel:
    def __init__(self, name: str, fanout: "Fanout", ring: Ring, ephemeral: Ring) -> None:
        self.name = name
        self.fanout = fanout
        self.ring = ring
        self.ephemeral = ephemeral
        self.source: Any = None
        self.waiting: list[Subscription] = []
        self.subscriptions: list[Subscription] = []
        self.next_index = 0
        self.unvisited = 0

    def __len__(self) -> int:
        return len(self.subscriptions)

    def publish(self, event: Event, hidden_from: Subscription | None = None) -> None:
        self.deliver(self.ring, event)

    def announce(self, body: bytes, hidden_from: Subscription | None = None) -> None:
        writer_id = 0 if hidden_from is None else hidden_from.writer.id
        self.deliver(self.ephemeral, Event(self.ephemeral.head_seq + 1, body, hidden_from=writer_id))

    def deliver(self, ring: Ring, event: Event) -> None:
        ring.append(event)
        self.fanout.events += 1
        self.unvisited = len(self.subscriptions)
        self.fanout.queue_channel(self)

    def wake(self, after: int = 0, before: int = 1 << 63) -> None:
        woken = [waiting for waiting in self.waiting if after <= waiting.seq < before]
        self.waiting = [waiting for waiting in self.waiting if waiting not in woken]
        for subscription in woken:
            self.fanout.queue_writer(subscription.writer)

    def remove(self, subscription: Subscription) -> None:
        """The last one takes the free place, so everyone is looked at again."""
        if subscription in self.waiting:
            self.waiting.remove(subscription)
        last = self.subscriptions.pop()
        if last is not subscription:
            self.subscriptions[self.subscriptions.index(subscription)] = last
            self.unvisited = len(self.subscriptions)


class Writer:
    def __init__(self, fanout: "Fanout", profile: Profile, transport: Any, owner: Any = None) -> None:
        fanout.writers += 1
        self.id = fanout.writers
        self.fanout = fanout
        self.profile = profile
        self.transport = transport
        self.owner = owner
        self.paused = False
        self.paused_at = 0.0
        self.closed = False
        self.blocking = False
        self.replies: list[bytes] = []
        self.subscriptions: list[Subscription] = []
        self.left: list[str] = []
        self.turn = 0
        self.held = False
        transport.set_write_buffer_limits(high=0, low=0)
        if transport.get_write_buffer_size():
            self.pause()

    def write(self, data: bytes) -> None:
        if not self.closed:
            self.replies.append(data)
            self.held = self.held and self.has_room
            self.fanout.queue_writer(self)

    @property
    def has_room(self) -> bool:
        return not self.paused and sum(map(len, self.replies)) < self.profile.high_water_bytes

    def would_block(self) -> bool:
        if self.closed or self.has_room:
            return False
        self.blocking = True
        return True

    def pause(self) -> None:
        if not self.paused and not self.closed:
            self.paused = True
            self.paused_at = self.fanout.clock()
            self.fanout.pauses += 1
            self.fanout.stalled.add(self)

    def resume(self) -> None:
        if self.paused:
            self.paused = False
            self.fanout.stalled.discard(self)
            self.fanout.queue_writer(self)

    def subscribe(self, channel: Channel, after: int | None = None) -> Subscription:
        subscription = Subscription(channel, self, after)
        channel.subscriptions.append(subscription)
        channel.unvisited += 1
        self.subscriptions.append(subscription)
        self.held = False
        if subscription.seq != channel.ring.head_seq or self.replies:
            self.fanout.queue_writer(self)
        return subscription

    @property
    def channels(self) -> list[str]:
        return self.left + [each.channel.name for each in self.subscriptions]

    def subscription(self, channel: Channel) -> Subscription | None:
        return next((each for each in self.subscriptions if each.channel is channel), None)

    def flush(self) -> None:
        self.fanout.serve(self)
        if self.fanout.rings or self.fanout.fetched:
            self.fanout.schedule()

    def settle(self) -> None:
        if self.replies and not any(subscription.behind for subscription in self.subscriptions):
            self.fanout.serve(self)

    def hold(self) -> None:
        self.held = not self.subscriptions and self.has_room

    def release(self) -> None:
        if self.held:
            self.held = False
            if self.replies:
                self.fanout.queue_writer(self)

    def finish(self) -> None:
        if self.replies:
            replies, self.replies = self.replies, []
            self.fanout.transmit(self, replies)

    def close(self) -> None:
        if self.closed:
            return
        self.left = self.channels
        self.closed = True
        for subscription in list(self.subscriptions):
            subscription.cancel()
        self.replies = []
        self.owner = self.transport = None
        self.fanout.stalled.discard(self)


class Fanout:
    def __init__(
        self,
        call_soon: Callable[[Callable[[], object]], object],
        clock: Callable[[], float],
        encode_lagged: Callable[[str, int, int], bytes],
        slice_s: float = 0.005,
    ) -> None:
        self.call_soon = call_soon
        self.clock = clock
        self.encode_lagged = encode_lagged
        self.slice_s = slice_s
        self.events = self.deliveries = self.writes = self.bytes_written = self.pauses = 0
        self.lags = self.missed = self.sweeps = self.failures = self.writers = 0
        self.sweep_time_s = 0.0
        self.stalled: set[Writer] = set()
        self.behind: deque[Writer] = deque()
        self.busy: deque[Channel] = deque()
        self.rings: set[Ring] = set()
        self.fetched: dict[tuple[Channel, int], Ring] = {}
        """Those that may keep spans."""
        self.scheduled = False
        self.error: Exception | None = None

    def channel(self, name: str, ring_bytes: int, head_seq: int = 0) -> Channel:
        return Channel(name, self, Ring(ring_bytes, head_seq), Ring(EPHEMERAL_BYTES))

    def overdue(self, limit_s: float) -> list[Writer]:
        return [writer for writer in self.stalled if writer.paused_at < self.clock() - limit_s]

    def schedule(self) -> None:
        if not self.scheduled:
            self.scheduled = True
            self.call_soon(self.tick)

    def queue_writer(self, writer: Writer) -> None:
        if writer not in self.behind and not (writer.paused or writer.closed or writer.held):
            self.behind.append(writer)
            self.schedule()

    def queue_channel(self, channel: Channel) -> None:
        if channel not in self.busy:
            self.busy.append(channel)
            self.schedule()

    def tick(self) -> None:
        start = self.clock()
        self.scheduled = False
        self.serve_behind(start + self.slice_s / 2)
        for channel in self.in_turn(start + self.slice_s):
            if self.sweep(channel, start + self.slice_s):
                self.busy.remove(channel)
                self.sweeps += 1
            else:
                self.busy.rotate(-1)
        for ring in self.rings:
            ring.forget_spans()
        self.rings.clear()
        self.fetched.clear()
        self.sweep_time_s += self.clock() - start
        if self.behind or self.busy:
            self.schedule()
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    def in_turn(self, deadline: float) -> Iterator[Channel]:
        while self.busy:
            yield self.busy[0]
            if self.clock() >= deadline:
                return

    def serve_behind(self, deadline: float) -> None:
        for visit in range(1, len(self.behind) + 1):
            self.serve(self.behind.popleft())
            if visit % VISITS_PER_LOOK == 0 and self.clock() >= deadline:
                return

    def sweep(self, channel: Channel, deadline: float) -> bool:
        visit = 0
        while channel.unvisited > 0:
            if channel.next_index >= len(channel.subscriptions):
                channel.next_index = 0
            if not channel.subscriptions:
                channel.unvisited = 0
                break
            subscription = channel.subscriptions[channel.next_index]
            channel.next_index += 1
            channel.unvisited -= 1
            if not subscription.behind or subscription.writer.paused:
                continue
            self.serve(subscription.writer)
            visit += 1
            if visit % VISITS_PER_LOOK == 0 and self.clock() >= deadline:
                return channel.unvisited == 0
        return True

    def serve(self, writer: Writer) -> None:
        try:
            if self.flush(writer):
                self.queue_writer(writer)
        except Exception as error:
            self.fail(writer)
            self.error = error
            self.schedule()

    def flush(self, writer: Writer) -> bool:
        if writer.closed or writer.paused or writer.held:
            return False
        chunks = [b"".join(writer.replies)] if writer.replies else []
        writer.replies = []
        any_span = False
        for _ in list(writer.subscriptions):
            writer.turn %= len(writer.subscriptions)
            subscription = writer.subscriptions[writer.turn]
            if subscription.behind:
                budget = writer.profile.high_water_bytes - sum(map(len, chunks))
                if chunks and (budget <= 0 or (any_span and not self.fits(subscription, budget))):
                    break
                if span := self.take(subscription, budget):
                    any_span = True
                    chunks.append(span)
                    self.take_more(subscription, budget - len(span), chunks)
            writer.turn += 1
        if chunks:
            self.transmit(writer, chunks)
        if writer.blocking and not writer.closed and writer.has_room:
            writer.blocking = False
            writer.owner.on_writable()
        return any(subscription.behind for subscription in writer.subscriptions) and not writer.paused

    def take_more(self, subscription: Subscription, budget_bytes: int, chunks: list[bytes]) -> None:
        while subscription.behind and self.fits(subscription, budget_bytes):
            if span := self.take(subscription, budget_bytes):
                chunks.append(span)
                budget_bytes -= len(span)

    def fits(self, subscription: Subscription, budget_bytes: int) -> bool:
        channel, encode = subscription.channel, subscription.writer.profile.encode
        if subscription.seq != channel.ring.head_seq:
            ring = self.ring_of(subscription)
            if ring is None:
                return True
            following = ring.between(subscription.seq, subscription.seq + 2)
        else:
            following = channel.ephemeral.between(subscription.ephemeral_seq, 1 << 63)
        return bool(following) and len(encode(following[0].body)) <= budget_bytes

    def take(self, subscription: Subscription, budget_bytes: int) -> bytes:
        """The log's events, and in front of them what is ephemeral, if they lead to the head."""
        channel = subscription.channel
        span = self.take_log(subscription, budget_bytes) if subscription.seq != channel.ring.head_seq else b""
        budget_bytes -= len(span)
        if subscription.seq != channel.ring.head_seq or not subscription.behind:
            return span
        if span and not self.fits(subscription, budget_bytes):
            return span
        after = max(subscription.ephemeral_seq, channel.ephemeral.first_seq - 1)
        ephemeral, subscription.ephemeral_seq = self.cut(subscription, channel.ephemeral, after, budget_bytes)
        return ephemeral + span

    def ring_of(self, subscription: Subscription) -> Ring | None:
        """The ring with the subscription's next event, or what is left behind it; None: it has to wait."""
        channel = subscription.channel
        if subscription.seq + 1 >= channel.ring.first_seq or channel.source is None:
            return channel.ring
        ring: Ring | None = self.fetched.get((channel, subscription.seq))
        if ring is None:
            ring = channel.source.fetch(channel, subscription.seq)
            if ring is None:
                return None
            if not subscription.seq < ring.head_seq <= channel.ring.head_seq:
                raise ValueError("the source is wrong")
            self.fetched[channel, subscription.seq] = ring
        return min(ring, channel.ring, key=lambda either: either.first_seq)

    def take_log(self, subscription: Subscription, budget_bytes: int) -> bytes:
        channel = subscription.channel
        ring, notice = self.ring_of(subscription), b""
        if ring is None:
            channel.waiting.append(subscription)
            return b""
        if subscription.seq + 1 < ring.first_seq:
            notice = self.lag(subscription, ring.first_seq - 1)
            if subscription.seq == ring.head_seq:
                return notice
        span, subscription.seq = self.cut(subscription, ring, subscription.seq, budget_bytes - len(notice))
        return notice + span

    def cut(self, subscription: Subscription, ring: Ring, after: int, budget_bytes: int) -> tuple[bytes, int]:
        writer = subscription.writer
        hides = any(event.hidden_from == writer.id for event in ring.between(after, 1 << 63))
        span, end = ring.cut(writer.profile, after, budget_bytes, writer.id if hides else 0)
        self.rings.add(ring)
        self.deliveries += end - after
        return span, end

    def lag(self, subscription: Subscription, last_missed: int) -> bytes:
        channel, first_missed = subscription.channel, subscription.seq + 1
        subscription.seq = last_missed
        self.lags += 1
        self.missed += last_missed - first_missed + 1
        return subscription.writer.profile.encode(self.encode_lagged(channel.name, first_missed, last_missed))

    def transmit(self, writer: Writer, chunks: list[bytes]) -> None:
        try:
            if len(chunks) == 1:
                writer.transport.write(chunks[0])
            else:
                writer.transport.writelines(chunks)
        except Exception:
            self.fail(writer)
            return
        self.writes += 1
        self.bytes_written += sum(map(len, chunks))

    def fail(self, writer: Writer) -> None:
        self.failures += 1
        transport = writer.transport
        writer.close()
        try:
            transport.abort()
        except Exception:
            self.failures += 1
