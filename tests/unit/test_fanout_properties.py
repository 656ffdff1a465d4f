"""The compiled fan-out and its twin, driven side by side by whatever Hypothesis comes up with.

Beside the comparison, what each client hears is checked against the promise itself, without either's code:
everything from where it came in, in order and once, or named in ``lagged``.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.twins import decode
from tests.twins.stage import COMPILED, COUNTERS, TWIN, Client, Stage

pytestmark = pytest.mark.compiled

HIGH_WATER_BYTES = 200
ROOMS = ("red", "blue")
# Beside small ones: around the high watermark, framed or not, and far over it.
SIZES = st.sampled_from([0, 1, 20, 60, 98, 99, 100, 124, 125, 126, 127, 196, 197, 198, 199, 200, 201, 500])
RING_BYTES = st.sampled_from([0, 400, 1000, 3000, 1 << 20])
# How much a socket takes before it is full; most do not fill up.
CAPACITY = st.sampled_from([None, None, 0, 1, 50, 199, 200, 201, 1000])
# Or it is a real one, which takes everything: the compiled fan-out sends on it by itself.
PASSED = -1
SLICES = st.sampled_from([0.0, 0.004, 0.012, 0.1, 1e9])
LAGGED_BYTES = 40
FRAMING_BYTES = 4
MOST_MEMBERS = 24


@dataclass
class Member:
    """One client, once on each stage, and what it has to hear of each room."""

    clients: list[Client]
    encoding: str
    subscriptions: dict[str, list[Any]] = field(default_factory=dict)
    expected: dict[str, int] = field(default_factory=dict)
    """The next ``seq`` that it has to hear, by room."""
    looked_at: int = 0
    """How many of its writes have been looked at."""
    closed: bool = False
    passed: bool = False


def new_writes(member: Member, client: Client) -> list[bytes]:
    """What has been written since the last look, by write; each one ends where a frame does."""
    return [b"".join(pieces) for pieces in client.transport.calls[member.looked_at :]]


def framed_text(body: bytes) -> bytes:
    """A dialect that says the same in other words, at another length, and nothing of ephemeral events."""
    return b"" if b"~" in body else b"* " + body + b"\n"


class SideBySide(RuleBasedStateMachine):
    """Everything is done on both stages."""

    @initialize(slice_s=SLICES, count=st.integers(1, 12))
    def begin(self, slice_s: float, count: int) -> None:
        self.stages = [Stage(COMPILED, slice_s, 0.001), Stage(TWIN, slice_s, 0.001)]
        self.profiles = {
            "lines": [stage.profile("lines", HIGH_WATER_BYTES) for stage in self.stages],
            "websocket": [stage.profile("websocket", HIGH_WATER_BYTES) for stage in self.stages],
            "text": [stage.profile(framed_text, HIGH_WATER_BYTES) for stage in self.stages],
        }
        self.rooms = {name: [stage.channel(name, 1000) for stage in self.stages] for name in ROOMS}
        self.members: list[Member] = []
        self.largest = dict.fromkeys(ROOMS, 0)
        self.highest_water = HIGH_WATER_BYTES
        self.hidden: dict[tuple[int, str], set[int]] = {}
        self.come_in(count, "lines", PASSED, {"red"})

    # What happens

    def member(self, index: int) -> Member:
        return self.members[index % len(self.members)]

    @rule(
        count=st.integers(1, 12),
        encoding=st.sampled_from(["lines", "websocket", "text"]),
        capacity=CAPACITY | st.just(PASSED),
        rooms=st.sets(st.sampled_from(ROOMS)),
    )
    def come_in(self, count: int, encoding: str, capacity: int | None, rooms: set[str]) -> None:
        """Several at once, or no slice would ever be over."""
        for _ in range(min(count, MOST_MEMBERS - len(self.members))):
            self.connect(encoding, capacity)
            for name in sorted(rooms):
                self.join(-1, name, None)

    def connect(self, encoding: str, capacity: int | None) -> None:
        decoder = decode.text_messages if encoding == "websocket" else decode.lines
        profiles = self.profiles[encoding]
        clients = [
            stage.client(
                profile=profile,
                room=None if capacity == PASSED else capacity,
                decoder=decoder,
                passed=capacity == PASSED,
            )
            for stage, profile in zip(self.stages, profiles, strict=True)
        ]
        self.members.append(Member(clients, encoding, passed=capacity == PASSED))

    @rule(index=st.integers(0, 50), name=st.sampled_from(ROOMS), back=st.none() | st.integers(0, 12))
    def join(self, index: int, name: str, back: int | None) -> None:
        """``back``: how many events behind the head; None: at the head."""
        member = self.member(index)
        if member.closed or name in member.subscriptions:
            return
        head_seq = self.rooms[name][0].ring.head_seq
        after = None if back is None else max(0, head_seq - back)
        member.subscriptions[name] = [
            client.join(room, after) for client, room in zip(member.clients, self.rooms[name], strict=True)
        ]
        member.expected[name] = 1 + (head_seq if after is None else after)

    @rule(index=st.integers(0, 50), name=st.sampled_from(ROOMS))
    def leave(self, index: int, name: str) -> None:
        member = self.member(index)
        for subscription in member.subscriptions.pop(name, []):
            subscription.cancel()

    @rule(index=st.integers(0, 50))
    def close(self, index: int) -> None:
        member = self.member(index)
        member.closed = True
        member.subscriptions.clear()
        for client in member.clients:
            client.writer.close()

    @rule(
        name=st.sampled_from(ROOMS),
        sizes=st.lists(SIZES, min_size=1, max_size=8),
        ephemeral=st.booleans(),
        author=st.none() | st.integers(0, 50),
    )
    def publish(self, name: str, sizes: list[int], ephemeral: bool, author: int | None) -> None:
        index = None if author is None else author % len(self.members)
        hidden_from = None if index is None else self.members[index].subscriptions.get(name)
        for size in sizes:
            for number, stage in enumerate(self.stages):
                say = stage.hint if ephemeral else stage.say
                say(self.rooms[name][number], size, None if hidden_from is None else hidden_from[number])
            if hidden_from is not None and index is not None and not ephemeral:
                seq = self.rooms[name][0].ring.head_seq
                self.hidden.setdefault((index, name), set()).add(seq)
            self.largest[name] = max(self.largest[name], size, 20)

    @rule(index=st.integers(0, 50), size=st.sampled_from([0, 100, 199, 200, 300]))
    def reply(self, index: int, size: int) -> None:
        """A reply of this size or a bit more; a client is asked for no more when it would block."""
        member = self.member(index)
        assert self.same(client.writer.would_block() for client in member.clients) in (True, False)
        if not member.clients[0].writer.would_block():
            profiles = self.profiles[member.encoding]
            for client, profile in zip(member.clients, profiles, strict=True):
                client.writer.write(profile.encode(b"reply".ljust(size, b".")))

    @rule(index=st.integers(0, 50), capacity=CAPACITY)
    def drain(self, index: int, capacity: int | None) -> None:
        member = self.member(index)
        for client in member.clients:
            if not member.passed and (not member.closed or not client.transport.buffered):
                client.transport.drain(capacity)

    @rule(index=st.integers(0, 50), at_once=st.booleans())
    def flush(self, index: int, at_once: bool) -> None:
        for client in self.member(index).clients:
            if at_once:
                client.writer.flush()
            else:
                client.writer.settle()

    @rule(name=st.sampled_from(ROOMS), ring_bytes=RING_BYTES)
    def set_limit(self, name: str, ring_bytes: int) -> None:
        for room in self.rooms[name]:
            room.ring.set_limit(ring_bytes)

    @rule(
        encoding=st.sampled_from(["lines", "websocket", "text"]),
        high=st.sampled_from([50, 100, 200, 201, 450]),
    )
    def set_watermarks(self, encoding: str, high: int) -> None:
        self.highest_water = max(self.highest_water, high)
        for profile in self.profiles[encoding]:
            profile.set_watermarks(high, 0)

    @rule(slice_s=SLICES)
    def set_slice(self, slice_s: float) -> None:
        for stage in self.stages:
            stage.fanout.slice_s = slice_s

    @rule(turns=st.integers(1, 3))
    def turn(self, turns: int) -> None:
        for _ in range(turns):
            assert self.same(stage.turn() for stage in self.stages) in (0, 1), "one tick in an iteration"

    @rule()
    def settle(self) -> None:
        assert self.same(stage.settle() for stage in self.stages) >= 0
        for member in self.members:
            self.check_at_head(member)

    # What has to hold

    @staticmethod
    def same(values: Any) -> Any:
        """What both stages agree on."""
        first, second = values
        assert first == second, f"compiled and twin differ: {first!r} and {second!r}"
        return first

    def catch_up(self) -> None:
        for stage in self.stages:
            stage.catch_up()

    @invariant()
    def both_are_the_same(self) -> None:
        self.catch_up()
        for counter in (*COUNTERS, "sweep_time_s"):
            self.same(getattr(stage.fanout, counter) for stage in self.stages)
        for rooms in self.rooms.values():
            for attribute in ("first_seq", "head_seq", "size_bytes", "limit_bytes"):
                self.same(getattr(room.ring, attribute) for room in rooms)
                self.same(getattr(room.ephemeral, attribute) for room in rooms)
            self.same(len(room) for room in rooms)
        for member in self.members:
            for attribute in ("closed", "paused", "paused_at"):
                self.same(getattr(client.writer, attribute) for client in member.clients)
            self.same(client.writes for client in member.clients)
            self.same(new_writes(member, client) for client in member.clients)
            self.same((len(client.transport.sent), client.transport.buffered) for client in member.clients)
            self.same(client.writable for client in member.clients)
            for subscriptions in member.subscriptions.values():
                self.same((cursor.seq, cursor.ephemeral_seq) for cursor in subscriptions)

    def check_sizes(self, client: Client, writes: list[bytes]) -> None:
        """The transport is never given a second write, and none is larger than it has to be."""
        event = max(self.largest.values()) + FRAMING_BYTES
        for data in writes:
            if b"reply" in data:
                # Up to the high watermark and the one reply beyond, and then an event that cannot wait.
                assert len(data) <= self.highest_water + 300 + FRAMING_BYTES + event + 2 * LAGGED_BYTES
            else:
                assert len(data) <= max(self.highest_water, event) + 2 * LAGGED_BYTES
        if client.transport.buffered:
            assert b"".join(client.transport.calls[-1]).endswith(client.transport.buffered)

    @invariant()
    def everyone_hears_everything_in_order_once_or_that_it_was_missed(self) -> None:
        self.catch_up()
        for index, member in enumerate(self.members):
            writes = new_writes(member, member.clients[0])
            self.check_sizes(member.clients[0], writes)
            for said in member.clients[0].decode(b"".join(writes)):
                what, *about = said.removeprefix(b"* ").rstrip(b".").decode().split()
                if what == "lagged":
                    name, first, last = about[0], int(about[1]), int(about[2])
                    assert first <= last
                    self.hear(index, name, first, last)
                elif what in ROOMS and not about[0].startswith("~"):
                    self.hear(index, what, int(about[0]), int(about[0]))
            member.looked_at = member.clients[0].writes
            for name, subscriptions in member.subscriptions.items():
                self.skip_hidden(index, name, subscriptions[0].seq + 1)
                assert member.expected[name] == subscriptions[0].seq + 1

    def hear(self, index: int, name: str, first: int, last: int) -> None:
        """The member has been given these events, or been told that they are gone."""
        self.skip_hidden(index, name, first)
        assert self.members[index].expected[name] == first
        self.members[index].expected[name] = last + 1

    def skip_hidden(self, index: int, name: str, target: int) -> None:
        """Does not expect any more what is hidden from this member, up to ``target``."""
        expected = self.members[index].expected
        while expected[name] < target and expected[name] in self.hidden.get((index, name), ()):
            expected[name] += 1

    def check_at_head(self, member: Member) -> None:
        """An idle fan-out has brought everyone to the head who is not paused."""
        if member.clients[0].writer.paused:
            return
        for name, subscriptions in member.subscriptions.items():
            room = self.rooms[name][0]
            assert subscriptions[0].seq == room.ring.head_seq
            assert subscriptions[0].ephemeral_seq == room.ephemeral.head_seq

    def teardown(self) -> None:
        """When everyone reads again, everyone gets to the head."""
        if not hasattr(self, "stages"):
            return
        try:
            self.end()
        finally:
            for stage in self.stages:
                stage.close()

    def end(self) -> None:
        for member in self.members:
            if not member.closed:
                for client in member.clients:
                    client.transport.drain()
        self.settle()
        for member in self.members:
            assert member.closed or not member.clients[0].writer.paused
        self.both_are_the_same()
        self.everyone_hears_everything_in_order_once_or_that_it_was_missed()


TestSideBySide = SideBySide.TestCase
TestSideBySide.settings = settings(stateful_step_count=60)
