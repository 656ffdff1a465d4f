"""Coming back at the seam between store, ring and live, whatever Hypothesis comes up with.

Everything happens on two stages: the compiled fan-out and its twin, each fed by a ``Replay`` over a log that
answers late, out of order, or not for a while. What each client hears is checked against the promise itself:
every event behind its start exactly once and in order, or named in ``lagged`` if the log had been trimmed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import fastchat.replay
from fastchat.replay import BlockCache
from tests.twins import decode
from tests.twins.log import DurableRoom
from tests.twins.stage import COMPILED, COUNTERS, TWIN, Client, Stage

pytestmark = pytest.mark.compiled

HIGH_WATER_BYTES = 200
LARGEST_BYTES = 504
LAGGED_BYTES = 40
ROOMS = ("red", "blue")
SIZES = st.lists(st.sampled_from([0, 0, 20, 60, 99, 100, 198, 199, 200, 500]), min_size=1, max_size=12)
RING_BYTES = st.sampled_from([0, 0, 400, 1000, 3000])
CACHE_BYTES = st.sampled_from([0, 1500, 1 << 20])
CAPACITY = st.sampled_from([None, None, 0, 1, 50, 199, 200, 201, 1000])
ANY = st.integers(0, 50)
NAME = st.sampled_from(ROOMS)
BACK = st.integers(2, 12) | st.integers(0, 60)


@dataclass
class Member:
    """One client, once on each stage; ``expected`` is the next ``seq`` that it has to hear, by room."""

    clients: list[Client]
    subscriptions: dict[str, list[Any]] = field(default_factory=dict)
    expected: dict[str, int] = field(default_factory=dict)
    looked_at: int = 0
    closed: bool = False


class Seam(RuleBasedStateMachine):
    """Every event is committed before it is published; most of them long before somebody asks for it."""

    @initialize(
        block_events=st.sampled_from([2, 8, 20]),
        ring_bytes=RING_BYTES,
        cache_bytes=CACHE_BYTES,
        slice_s=st.sampled_from([0.004, 0.012, 1e9]),
        past=st.lists(st.sampled_from([0, 20, 99]), min_size=6, max_size=40),
    )
    def begin(
        self, block_events: int, ring_bytes: int, cache_bytes: int, slice_s: float, past: list[int]
    ) -> None:
        self.patch = patch.object(fastchat.replay, "BLOCK_EVENTS", block_events)
        self.patch.start()
        self.stages = [Stage(COMPILED, slice_s, 0.001), Stage(TWIN, slice_s, 0.001)]
        self.timers: list[list[Callable[[], None]]] = [[], []]
        self.caches = [BlockCache(cache_bytes), BlockCache(cache_bytes)]
        parts = list(zip(self.stages, self.caches, self.timers, strict=True))
        self.rooms = {
            name: [
                DurableRoom(stage, name, ring_bytes, cache, timers, block_events)
                for stage, cache, timers in parts
            ]
            for name in ROOMS
        }
        self.profiles = {
            framing: [stage.profile(framing, HIGH_WATER_BYTES) for stage in self.stages]
            for framing in ("lines", "websocket")
        }
        self.members: list[Member] = []
        for name in ROOMS:
            self.say(name, past, ahead=3)
        self.come(None, "lines", {"red": 40})

    # What happens

    @rule(
        capacity=CAPACITY,
        framing=st.sampled_from(["lines", "websocket"]),
        back=st.dictionaries(NAME, BACK, min_size=1),
    )
    def come(self, capacity: int | None, framing: str, back: dict[str, int]) -> None:
        """Somebody returns, to each room so many events behind its head."""
        if len(self.members) >= 12:
            return
        decoder = decode.text_messages if framing == "websocket" else decode.lines
        clients = [
            stage.client(profile=profile, room=capacity, decoder=decoder)
            for stage, profile in zip(self.stages, self.profiles[framing], strict=True)
        ]
        self.members.append(Member(clients))
        for name, events in back.items():
            self.join(-1, name, events)

    @rule(index=ANY, name=NAME, back=BACK)
    def join(self, index: int, name: str, back: int) -> None:
        member = self.members[index % len(self.members)]
        if member.closed or name in member.subscriptions:
            return
        rooms = self.rooms[name]
        after = max(0, rooms[0].channel.ring.head_seq - back)
        member.subscriptions[name] = [
            client.join(room.channel, after) for client, room in zip(member.clients, rooms, strict=True)
        ]
        member.expected[name] = after + 1

    @rule(index=ANY, name=NAME)
    def leave(self, index: int, name: str) -> None:
        for subscription in self.members[index % len(self.members)].subscriptions.pop(name, []):
            subscription.cancel()

    @rule(index=ANY)
    def close(self, index: int) -> None:
        member = self.members[index % len(self.members)]
        member.closed = True
        member.subscriptions.clear()
        for client in member.clients:
            client.writer.close()

    @rule(name=NAME, sizes=SIZES, ahead=st.sampled_from([0, 1, 5]))
    def say(self, name: str, sizes: list[int], ahead: int) -> None:
        """All is committed; what the store is ``ahead`` of the room is not published yet."""
        for room in self.rooms[name]:
            for size in sizes:
                room.commit(size)
        self.publish(name, ahead)

    @rule(name=NAME, ahead=st.sampled_from([0, 1, 5]))
    def publish(self, name: str, ahead: int) -> None:
        for room in self.rooms[name]:
            while room.unpublished > ahead:
                room.publish()

    @rule(name=NAME, size=st.sampled_from([0, 50, 190, 300]))
    def hint(self, name: str, size: int) -> None:
        for stage, room in zip(self.stages, self.rooms[name], strict=True):
            stage.hint(room.channel, size)

    @rule(index=ANY)
    def reply(self, index: int) -> None:
        for client in self.members[index % len(self.members)].clients:
            if not client.writer.would_block():
                client.writer.write(client.writer.profile.encode(b"reply"))
                client.writer.settle()

    @rule(index=ANY, capacity=CAPACITY)
    def drain(self, index: int, capacity: int | None) -> None:
        member = self.members[index % len(self.members)]
        for client in member.clients:
            if not member.closed or not client.transport.buffered:
                client.transport.drain(capacity)

    @rule(name=NAME, ring_bytes=RING_BYTES)
    def set_limit(self, name: str, ring_bytes: int) -> None:
        for room in self.rooms[name]:
            room.channel.ring.set_limit(ring_bytes)

    @rule(turns=st.integers(1, 3))
    def turn(self, turns: int) -> None:
        for _ in range(turns):
            assert self.same(stage.turn() for stage in self.stages) in (0, 1)

    @rule()
    def settle(self) -> None:
        """Becomes idle, whoever waits for the store."""
        self.same(stage.settle() for stage in self.stages)

    # What the store does

    @rule(name=NAME, index=ANY, what=st.sampled_from(["read", "answer", "fail"]))
    def work(self, name: str, index: int, what: str) -> None:
        self.settle()
        for room in self.rooms[name]:
            if room.log.requests:
                getattr(room.log, what)(index)

    @rule(name=NAME)
    def answer_at_once(self, name: str) -> None:
        """What is asked from now on is answered from within the question; or no longer."""
        for room in self.rooms[name]:
            room.log.at_once = not room.log.at_once

    @rule()
    def retry(self) -> None:
        for timers in self.timers:
            due = timers[:]
            timers.clear()
            for callback in due:
                callback()

    @rule(name=NAME, count=st.sampled_from([1, 2, 7]))
    def trim(self, name: str, count: int) -> None:
        for room in self.rooms[name]:
            room.trim(count)

    # What has to hold

    @staticmethod
    def same(values: Any) -> Any:
        first, second = values
        assert first == second, f"compiled and twin differ: {first!r} and {second!r}"
        return first

    @invariant()
    def both_are_the_same(self) -> None:
        for counter in (*COUNTERS, "sweep_time_s"):
            self.same(getattr(stage.fanout, counter) for stage in self.stages)
        for rooms in self.rooms.values():
            self.same((room.channel.ring.first_seq, room.channel.ring.head_seq) for room in rooms)
            self.same([request.after for request in room.log.requests] for room in rooms)
            self.same(room.log.asked for room in rooms)
        for member in self.members:
            self.same((client.writer.closed, client.writer.paused) for client in member.clients)
            self.same(client.transport.calls[member.looked_at :] for client in member.clients)
            for subscriptions in member.subscriptions.values():
                self.same((cursor.seq, cursor.ephemeral_seq) for cursor in subscriptions)

    @invariant()
    def nothing_is_asked_twice_at_a_time(self) -> None:
        for rooms in self.rooms.values():
            asked = [request.after for request in rooms[0].log.requests]
            assert len(set(asked)) == len(asked)

    @invariant()
    def the_cache_keeps_to_its_limit(self) -> None:
        for cache in self.caches:
            assert cache.size_bytes == sum(block.size_bytes for block in cache)
            assert cache.size_bytes <= cache.limit_bytes or len(cache) == 1

    @invariant()
    def everyone_hears_everything_in_order_once_or_that_it_was_trimmed(self) -> None:
        for member in self.members:
            client = member.clients[0]
            for pieces in client.transport.calls[member.looked_at :]:
                data = b"".join(pieces)
                # What cannot wait for less: one event alone, and a notice in front of it from each room.
                assert b"reply" in data or len(data) <= LARGEST_BYTES + 2 * LAGGED_BYTES
                for body in client.decode(data):
                    self.hear(member, *body.rstrip(b".").decode().split())
            member.looked_at = client.writes
            for name, subscriptions in member.subscriptions.items():
                assert member.expected[name] == subscriptions[0].seq + 1

    def hear(self, member: Member, what: str, *about: str) -> None:
        if what == "lagged":
            name, first, last = about[0], int(about[1]), int(about[2])
            room = self.rooms[name][0]
            assert member.expected[name] == first <= last
            assert last <= room.log.trimmed, "the store has it"
            assert last < room.channel.ring.first_seq, "the ring has it"
            member.expected[name] = last + 1
        elif what in ROOMS and not about[0].startswith("~"):
            assert member.expected[what] == int(about[0])
            member.expected[what] += 1

    def teardown(self) -> None:
        """When the store answers and everyone reads, everyone gets to the head, and nothing is left over."""
        if not hasattr(self, "patch"):
            return
        try:
            self.come_to_rest()
        finally:
            self.patch.stop()

    def come_to_rest(self) -> None:
        for name in ROOMS:
            self.publish(name, 0)
        for member in self.members:
            if not member.closed:
                for client in member.clients:
                    client.transport.drain()
        for _ in range(1000):
            self.settle()
            self.both_are_the_same()
            self.everyone_hears_everything_in_order_once_or_that_it_was_trimmed()
            if not any(room.log.requests for rooms in self.rooms.values() for room in rooms):
                if not any(self.timers):
                    break
                self.retry()
            for name in ROOMS:
                self.work(name, 0, "answer")
        for name, rooms in self.rooms.items():
            for room in rooms:
                assert not room.replay.asked
            for member in self.members:
                for subscription in member.subscriptions.get(name, []):
                    assert subscription.seq == rooms[0].channel.ring.head_seq


TestSeam = Seam.TestCase
TestSeam.settings = settings(stateful_step_count=60)
