"""From the log to the reader: each block is read once for all, kept within a limit, and asked for again."""

import gc
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from fastchat._ring import Event, Ring
from fastchat.replay import BlockCache, Replay
from fastchat.store import BLOCK_EVENTS, Block
from tests.twins.log import DurableRoom
from tests.twins.stage import COMPILED, Client, Stage

pytestmark = pytest.mark.compiled


@pytest.fixture
def stage() -> Stage:
    return Stage(COMPILED)


class Place:
    """A stage with one durable room on it."""

    def __init__(self, stage: Stage, ring_bytes: int = 1000, cache_bytes: int = 1 << 20) -> None:
        self.stage = stage
        self.timers: list[Callable[[], None]] = []
        self.cache = BlockCache(cache_bytes)
        self.room = self.open("room", ring_bytes)

    def open(self, name: str, ring_bytes: int = 1000) -> DurableRoom:
        return DurableRoom(self.stage, name, ring_bytes, self.cache, self.timers)

    def say(self, count: int, size: int = 0) -> None:
        for _ in range(count):
            self.room.say(size)
        self.stage.settle()

    def return_after(self, *places: int) -> list[Client]:
        clients = [self.stage.client() for _ in places]
        for client, after in zip(clients, places, strict=True):
            client.join(self.room.channel, after)
        return clients

    def retry(self) -> None:
        due, self.timers[:] = list(self.timers), []
        for callback in due:
            callback()

    def serve(self) -> int:
        """Answers until nobody asks; returns how many blocks were read."""
        reads = 0
        self.stage.settle()
        while self.room.log.requests:
            self.room.log.answer()
            self.stage.settle()
            reads += 1
        return reads


@pytest.fixture
def place(stage: Stage) -> Place:
    return Place(stage)


def said(first: int, last: int) -> list[bytes]:
    return [b"room %d" % seq for seq in range(first, last + 1)]


# Blocks


def block(first: int, count: int, size: int) -> Ring:
    ring = Ring(1 << 40, first - 1)
    for seq in range(first, first + count):
        ring.append(Event(seq, b"x" * size))
    return ring


def test_the_cache_is_bounded_in_bytes() -> None:
    log: Any = object()
    cache = BlockCache(10 * block(1, 8, 100).size_bytes)
    for index in range(100):
        cache.put(log, index, block(index * 8 + 1, 8, 100))
        assert cache.size_bytes == sum(kept.size_bytes for kept in cache) <= cache.limit_bytes
    assert [index for index in range(100) if cache.get(log, index)] == list(range(90, 100))
    cache.put(log, 100, block(801, 8, 100_000))
    assert len(cache) == 1, "one has to fit, whatever its size"
    cache.put(log, 101, block(809, 8, 100))
    assert (len(cache), cache.get(log, 100)) == (1, None)


def test_the_cache_forgets_what_was_not_used_for_longest() -> None:
    log: Any = object()
    cache = BlockCache(3 * block(1, 8, 100).size_bytes)
    for index in range(3):
        cache.put(log, index, block(index * 8 + 1, 8, 100))
    cache.get(log, 0)
    cache.put(log, 3, block(25, 8, 100))
    assert [index for index in range(4) if cache.get(log, index)] == [0, 2, 3]


def test_a_block_that_has_grown_replaces_the_shorter_one() -> None:
    log: Any = object()
    cache = BlockCache(1 << 20)
    cache.put(log, 0, block(1, 3, 100))
    cache.put(log, 0, longer := block(1, 5, 100))
    assert cache.get(log, 0) is longer
    assert (len(cache), cache.size_bytes) == (1, longer.size_bytes)


def test_rooms_do_not_share_blocks(stage: Stage) -> None:
    place = Place(stage)
    other = place.open("other")
    for _ in range(20):
        place.room.say()
        other.say()
    stage.settle()
    clients = [stage.client(), stage.client()]
    for client, room in zip(clients, (place.room, other), strict=True):
        client.join(room.channel, after=0)
    stage.settle()
    other.log.answer()
    place.room.log.answer()
    stage.settle()
    assert clients[0].heard == said(1, 20)
    assert clients[1].heard == [b"other %d" % seq for seq in range(1, 21)]


# One read for all


def test_ten_thousand_readers_ask_once(place: Place) -> None:
    """Each of them 100 behind, over the border of two blocks."""
    place.say(2 * BLOCK_EVENTS + 50)
    head = place.room.channel.ring.head_seq
    readers = place.return_after(*[head - 100] * 10_000)
    place.stage.settle()
    assert place.room.log.asked == 1
    assert place.serve() == 2
    assert place.room.log.asked == 2
    expected = said(head - 99, head)
    assert all(reader.heard == expected for reader in readers)
    assert place.stage.counters()["writes"] <= 3 * 10_000


def test_readers_all_over_a_block_share_it(place: Place) -> None:
    place.say(5 * BLOCK_EVENTS)
    readers = place.return_after(*range(0, 3 * BLOCK_EVENTS, 7))
    assert place.serve() == place.room.log.asked == 5
    for after, reader in zip(range(0, 3 * BLOCK_EVENTS, 7), readers, strict=True):
        assert reader.heard == said(after + 1, 5 * BLOCK_EVENTS)


def test_a_thousand_rooms_at_once(stage: Stage) -> None:
    place = Place(stage)
    rooms = [place.open(f"room{number}") for number in range(1000)]
    for room in rooms:
        for _ in range(30):
            room.say()
    stage.settle()
    client = stage.client()
    for room in rooms:
        client.join(room.channel, after=10)
    stage.settle()
    for room in reversed(rooms):
        room.log.answer()
        stage.turn()
    stage.settle()
    assert place.cache.size_bytes <= place.cache.limit_bytes
    assert [room.log.asked for room in rooms] == [1] * 1000
    assert len(client.heard) == 20_000
    heard: dict[bytes, list[int]] = {}
    for name, seq in (body.split() for body in client.heard):
        heard.setdefault(name, []).append(int(seq))
    assert all(seqs == list(range(11, 31)) for seqs in heard.values())
    assert len(heard) == 1000


# The newest block


def test_what_the_store_is_ahead_is_not_given_out(place: Place) -> None:
    """It would come again when it is published."""
    place.say(20)
    place.room.commit()
    place.room.commit()
    [reader] = place.return_after(0)
    assert place.serve() == 1
    assert reader.heard == said(1, 20)
    place.room.publish()
    place.stage.settle()
    assert reader.heard == said(1, 21)
    place.room.publish()
    place.stage.settle()
    assert reader.heard == said(1, 22)


def test_a_store_far_ahead_of_a_room_that_was_just_opened(stage: Stage) -> None:
    """The next block begins beyond the head; nothing of it is asked for."""
    place = Place(stage, ring_bytes=0)
    place.say(BLOCK_EVENTS)
    for _ in range(5):
        place.room.commit()
    [reader] = place.return_after(3)
    assert place.serve() == 1
    assert reader.heard == said(4, BLOCK_EVENTS)
    for _ in range(5):
        place.room.publish()
    place.serve()
    assert reader.heard == said(4, BLOCK_EVENTS + 5)


def test_the_newest_block_is_read_again_when_it_has_grown(place: Place) -> None:
    place.say(20)
    place.return_after(0)
    place.serve()
    place.say(40)
    early, late = place.return_after(0, 30)
    place.serve()
    assert place.room.log.asked == 2
    assert early.heard == said(1, 60)
    assert late.heard == said(31, 60)


def test_a_block_that_was_read_too_early_for_a_later_reader(place: Place) -> None:
    """It came when the block was being read, at a place that had not been committed by then."""
    place.say(20)
    [first] = place.return_after(0)
    place.stage.settle()
    place.room.log.read(0)
    place.say(40)
    [second] = place.return_after(30)
    assert place.serve() == 2
    assert first.heard == said(1, 60)
    assert second.heard == said(31, 60)


# Trimming


def test_readers_of_what_was_trimmed_read_the_oldest_block_once(place: Place) -> None:
    place.say(40 * BLOCK_EVENTS)
    place.room.trim(30 * BLOCK_EVENTS + 5)
    places = range(0, 30 * BLOCK_EVENTS, BLOCK_EVENTS)
    readers = place.return_after(*places)
    place.stage.settle()
    assert len(place.room.log.requests) == 30, "who could know"
    place.serve()
    [late] = place.return_after(5 * BLOCK_EVENTS + 1)
    place.serve()
    assert place.room.log.asked == 30 + 9
    assert len(place.cache) == 10
    oldest = 30 * BLOCK_EVENTS + 6
    for after, reader in [*zip(places, readers, strict=True), (5 * BLOCK_EVENTS + 1, late)]:
        assert reader.heard[0] == b"lagged room %d %d" % (after + 1, oldest - 1)
        assert reader.heard[1:] == said(oldest, 40 * BLOCK_EVENTS)


def test_a_reader_before_the_oldest_block_waits_for_it_through_a_failure(stage: Stage) -> None:
    place = Place(stage, cache_bytes=0)
    place.say(4 * BLOCK_EVENTS)
    place.room.trim(2 * BLOCK_EVENTS)
    place.return_after(0)
    place.serve()
    [reader] = place.return_after(5)
    stage.settle()
    place.room.log.fail()
    stage.settle()
    assert reader.heard == []
    place.retry()
    place.serve()
    assert reader.heard[1:] == said(2 * BLOCK_EVENTS + 1, 4 * BLOCK_EVENTS)


def test_an_event_without_rows_is_waited_for(place: Place) -> None:
    """Trimmed, while the numbers of the room still say otherwise."""
    place.say(20)
    [reader] = place.return_after(0)
    place.stage.settle()
    bodies, place.room.log.bodies = place.room.log.bodies, []
    place.room.log.answer()
    place.room.log.bodies = bodies
    assert place.stage.settle() == 0
    place.retry()
    place.serve()
    assert reader.heard == said(1, 20)


# Failures


def test_a_store_that_fails_is_asked_again(place: Place) -> None:
    place.say(2 * BLOCK_EVENTS)
    readers = place.return_after(0, 5, BLOCK_EVENTS + 3)
    place.stage.settle()
    for attempt in range(1, 4):
        assert place.room.log.asked == 2 * attempt
        place.room.log.fail()
        place.room.log.fail()
        assert place.stage.settle() == 0, "nobody is served, and nobody asks, before it is time"
        [newcomer] = place.return_after(7)
        place.stage.settle()
        readers.append(newcomer)
        assert not place.room.log.requests
        place.retry()
        place.stage.settle()
    place.serve()
    for after, reader in zip((0, 5, BLOCK_EVENTS + 3, 7, 7, 7), readers, strict=True):
        assert reader.heard == said(after + 1, 2 * BLOCK_EVENTS)
    assert not place.room.replay.asked


def test_nobody_waits_any_more_when_it_is_time_to_ask_again(place: Place) -> None:
    place.say(20)
    [reader] = place.return_after(0)
    place.stage.settle()
    place.room.log.fail()
    reader.writer.close()
    place.retry()
    assert place.stage.settle() == 0
    assert (place.room.log.requests, place.timers, place.room.replay.asked) == ([], [], set())


def test_a_store_that_answers_at_once(place: Place) -> None:
    """Nobody waits then, and nobody has to be woken."""
    place.room.log.at_once = True
    place.say(3 * BLOCK_EVENTS)
    readers = place.return_after(0, 1, BLOCK_EVENTS)
    place.stage.settle()
    assert [len(reader.heard) for reader in readers] == [384, 383, 256]
    assert not place.room.replay.asked


def test_a_store_that_answers_at_once_that_it_has_trimmed(place: Place) -> None:
    place.room.log.at_once = True
    place.say(3 * BLOCK_EVENTS)
    place.room.trim(2 * BLOCK_EVENTS + 9)
    [reader] = place.return_after(3)
    place.stage.settle()
    assert reader.heard[0] == b"lagged room 4 265"
    assert reader.heard[1:] == said(266, 384)


# What stays


def test_nothing_is_kept_for_those_who_left(stage: Stage) -> None:
    place = Place(stage)
    place.say(10 * BLOCK_EVENTS)
    readers = place.return_after(*range(0, 9 * BLOCK_EVENTS, BLOCK_EVENTS))
    stage.settle()
    for reader in readers:
        reader.writer.close()
    assert place.serve() == 9, "what was asked is answered"
    assert not place.room.replay.asked
    assert not stage.soon


class Log:
    """As little of a log as replay needs, weakly referable."""

    def __init__(self) -> None:
        self.done: Any = None

    def replay(self, after: int, done: Any) -> None:
        self.done = done


@pytest.mark.parametrize("asked", [False, True])
def test_a_room_that_is_let_go_of_is_freed_at_once(stage: Stage, asked: bool, no_collector: None) -> None:
    """At the latest with the answer to what was asked for it; without the help of the collector."""
    log: Any = Log()
    alive = weakref.ref(log)
    channel = stage.channel("room", head_seq=5)
    replay = Replay(log, BlockCache(1000), lambda delay_s, callback: None)
    freed = weakref.ref(replay)
    channel.source = replay
    client = stage.client()
    if asked:
        client.join(channel, after=0)
        stage.settle()
        client.writer.close()
    done = log.done
    assert (done is not None) == asked
    del log, channel, replay
    if asked:
        assert freed() is not None
        done(Block(1, [b"1", b"2"]))
        log = alive()
        log.done = done = None
        del log
    stage.settle()
    assert freed() is None
    assert alive() is None


def test_stuck_readers_at_a_thousand_places_keep_one_write_each(stage: Stage) -> None:
    """Neither spans nor blocks pile up, however far apart they stand; the cache keeps to its limit."""
    cache_bytes, high_water_bytes = 200_000, 4000
    place = Place(stage, ring_bytes=10_000, cache_bytes=cache_bytes)
    place.say(1000 * 10, 200)
    stage.lines.set_watermarks(high_water_bytes, 0)
    readers = [stage.client(room=0) for _ in range(1000)]
    stage.settle()
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number, reader in enumerate(readers):
            reader.join(place.room.channel, after=10 * number)
            stage.settle()
            if place.room.log.requests:
                place.room.log.answer()
                stage.settle()
        for _ in range(3):
            for _ in range(50):
                place.room.say(200)
            stage.settle()
        for reader in readers:
            reader.transport.calls.clear()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert all(reader.writer.paused for reader in readers)
    written = sum(len(reader.transport.buffered) for reader in readers)
    assert written <= 1000 * high_water_bytes
    # The fake transport holds a copy of its own, in a buffer that grows by an eighth more than it needs.
    slack = cache_bytes + 150 * 400 + 1000 * 500
    assert after - before <= written * 9 / 8 + slack
    assert place.cache.size_bytes <= cache_bytes


def test_a_thousand_readers_at_a_thousand_places_all_arrive(stage: Stage) -> None:
    """With a cache that holds two blocks, while the room goes on."""
    place = Place(stage, cache_bytes=2 * BLOCK_EVENTS * 160)
    place.say(30 * BLOCK_EVENTS)
    places = range(0, 3000, 3)
    readers = place.return_after(*places)
    stage.settle()
    turns = 0
    while place.room.log.requests:
        place.room.log.answer(turns * 7)
        if turns % 4 == 0:
            place.room.say()
        stage.settle()
        turns += 1
        assert turns < 2000
    head = place.room.channel.ring.head_seq
    for after, reader in zip(places, readers, strict=True):
        assert reader.heard == said(after + 1, head)
    assert "lags" not in stage.counters()
