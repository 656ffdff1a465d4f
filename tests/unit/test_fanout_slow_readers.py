"""Readers that pause, lag or come back: the compiled fan-out and its twin have to do the same."""

import gc
import tracemalloc
from typing import Any

import pytest

from tests.twins import decode
from tests.twins.ring import EVENT_OVERHEAD_BYTES
from tests.twins.stage import COMPILED, TWIN, Stage

pytestmark = pytest.mark.compiled


@pytest.fixture(params=[COMPILED, TWIN], ids=["compiled", "twin"])
def stage(request: pytest.FixtureRequest) -> Stage:
    return Stage(request.param)


# Slow readers


def test_a_paused_writer_is_skipped(stage: Stage) -> None:
    room = stage.channel()
    slow, quick = stage.client(room, room=3), stage.client(room)
    stage.now = 50.0
    said = [stage.say(room)]
    stage.settle()
    assert slow.writer.paused
    assert slow.writer.paused_at == 50.0
    assert stage.fanout.stalled == {slow.writer}
    for _ in range(3):
        said.append(stage.say(room))
        assert stage.settle() == 1
    assert slow.writes == 1
    assert quick.heard == said
    slow.transport.drain()
    assert not slow.writer.paused
    assert stage.fanout.stalled == set()
    stage.settle()
    assert slow.heard == said
    assert slow.writes == 2
    assert stage.counters()["pauses"] == 1


def test_a_paused_writer_comes_back_in_pieces(stage: Stage) -> None:
    room = stage.channel()
    client = stage.client(room, room=0)
    said = [stage.say(room, 299)]
    stage.settle()
    for _ in range(9):
        said.append(stage.say(room, 299))
        stage.settle()
    client.transport.drain()
    stage.settle()
    assert client.heard == said
    assert [sum(map(len, pieces)) for pieces in client.transport.calls] == [300, 900, 900, 900]


def test_the_transport_never_holds_more_than_one_write(stage: Stage) -> None:
    red, blue = stage.channel("red"), stage.channel("blue")
    client = stage.client(red, blue, room=0)
    for size in (600, 1, 700, 300, 1500, 1, 2, 999, 998):
        stage.say(red, size)
        stage.say(blue, size // 2)
    held = []
    for _ in range(50):
        client.writer.write(b"reply\n")
        stage.settle()
        held.append(len(client.transport.buffered))
        client.transport.drain(0)
        client.transport.drain(held[-1])
    reply = len(b"reply\n")
    assert max(held) == reply + 1501
    assert sorted(held)[-2] <= reply + 1000
    heard = [body for body in client.heard if body != b"reply"]
    assert [body for body in heard if body.startswith(b"red")] == [b"red %d" % seq for seq in range(1, 10)]
    assert [body for body in heard if body.startswith(b"blue")] == [b"blue %d" % seq for seq in range(1, 10)]


def test_a_busy_room_does_not_starve_the_others_of_one_connection(stage: Stage) -> None:
    busy, calm = stage.channel("busy"), stage.channel("calm")
    client = stage.client(busy, calm, room=0)
    for _ in range(20):
        stage.say(busy, 900)
    stage.say(calm)
    stage.settle()
    client.transport.drain(client.transport.get_write_buffer_size())
    stage.settle()
    assert b"calm 1" in client.heard
    assert client.writes == 2


@pytest.mark.parametrize("high", [10, 300, 5000])
def test_watermarks_that_change_while_running(stage: Stage, high: int) -> None:
    room = stage.channel()
    client = stage.client(room, room=0)
    said = [stage.say(room, 99) for _ in range(100)]
    stage.settle()
    stage.lines.set_watermarks(high, 0)
    client.transport.drain()
    stage.settle()
    assert client.heard == said
    first, *others = [sum(map(len, pieces)) for pieces in client.transport.calls]
    assert first == 1000
    assert others[0] == max(100, high // 100 * 100)


def test_a_paused_writer_costs_no_queue() -> None:
    stage = Stage(COMPILED)
    room = stage.channel("room", 20_000)
    clients = [stage.client(room, room=0) for _ in range(200)]
    stage.say(room, 500)
    stage.settle()
    for _ in range(100):
        stage.say(room, 500)
    stage.settle()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(2000):
            stage.say(room, 500)
            stage.settle()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000 + 10_000, "a megabyte was said; the ring's limit is all that may stay"
    assert all(client.writes == 1 for client in clients)


def test_spans_for_stragglers_do_not_stay() -> None:
    stage = Stage(COMPILED)
    room = stage.channel()
    client = stage.client(room, room=0)
    profile = client.writer.profile
    stage.say(room)
    stage.settle()
    stage.say(room)
    stage.settle()
    client.transport.drain()
    stage.settle()
    kept = client.transport.calls[-1][0]
    assert room.ring.cut(profile, 1)[0] == kept
    client.transport.calls.clear()
    client.join(room, after=1)
    room.ring.forget_spans()
    stage.settle()
    assert gc.get_referrers(kept) == []


def test_overdue(stage: Stage) -> None:
    room = stage.channel()
    first, second, _ = stage.client(room, room=0), stage.client(room, room=8), stage.client(room)
    stage.now = 100.0
    stage.say(room)
    stage.settle()
    stage.now = 110.0
    stage.say(room)
    stage.settle()
    assert [client.writer.paused_at for client in (first, second)] == [100.0, 110.0]
    assert stage.fanout.overdue(10) == []
    stage.now = 110.5
    assert stage.fanout.overdue(10) == [first.writer]
    stage.now = 130.0
    assert set(stage.fanout.overdue(10)) == {first.writer, second.writer}
    first.transport.drain()
    second.writer.close()
    assert stage.fanout.overdue(10) == []


def test_a_transport_that_holds_something_already(stage: Stage) -> None:
    room = stage.channel()
    client = stage.client(room, room=0)
    stage.say(room)
    stage.settle()
    client.writer.close()
    client.writer = stage.implementation.fanout.Writer(stage.fanout, stage.lines, client.transport, client)
    client.transport.protocol = client.writer
    assert client.writer.paused
    client.join(room)
    stage.say(room)
    stage.settle()
    assert client.writes == 1
    client.transport.drain()
    stage.settle()
    assert client.heard == [b"room 1", b"room 2"]


# Lagging


def stuck_while(stage: Stage, room: Any, *sizes: int) -> Any:
    """A client that has got the first event and was stuck while those of ``sizes`` were said."""
    client = stage.client(room, room=0)
    stage.say(room)
    stage.settle()
    for size in sizes:
        stage.say(room, size)
    stage.settle()
    return client


def test_lagged_says_what_is_missing_once(stage: Stage) -> None:
    room = stage.channel(ring_bytes=2 * (100 + EVENT_OVERHEAD_BYTES))
    client = stuck_while(stage, room, *[100] * 9)
    client.transport.drain()
    stage.settle()
    assert client.heard == [b"room 1", b"lagged room 2 8", b"room 9", b"room 10"]
    assert (stage.counters()["lags"], stage.counters()["missed"]) == (1, 7)
    stage.say(room)
    stage.settle()
    assert client.heard[-1] == b"room 11"
    assert stage.counters()["lags"] == 1


def test_lagging_twice(stage: Stage) -> None:
    room = stage.channel(ring_bytes=0)
    client = stuck_while(stage, room, 9, 9)
    client.transport.drain(0)
    client.transport.drain(len(b"room 1\n"))
    stage.settle()
    stage.say(room)
    stage.say(room)
    client.transport.drain()
    stage.settle()
    assert client.heard == [b"room 1", b"lagged room 2 2", b"room 3", b"lagged room 4 4", b"room 5"]


def test_lagged_in_the_writers_own_framing(stage: Stage) -> None:
    room = stage.channel(ring_bytes=0)
    profile = stage.profile("websocket")
    client = stage.client(profile=profile, decoder=decode.text_messages)
    stage.say(room)
    stage.say(room)
    client.join(room, after=0)
    stage.settle()
    assert client.heard == [b"lagged room 1 1", b"room 2"]


# Coming back


@pytest.mark.parametrize("after", range(7))
def test_subscribing_behind_an_event(stage: Stage, after: int) -> None:
    room = stage.channel()
    said = [stage.say(room, 400) for _ in range(6)]
    stage.settle()
    client = stage.client()
    subscription = client.join(room, after)
    assert subscription.seq == after
    live = stage.say(room)
    stage.settle()
    assert client.heard == [*said[after:], live]
    assert subscription.seq == 7


def test_subscribing_behind_what_is_gone(stage: Stage) -> None:
    room = stage.channel(ring_bytes=0)
    for _ in range(6):
        stage.say(room)
    clients = {after: stage.client() for after in (0, 3, 4, 5, 6)}
    for after, client in clients.items():
        client.join(room, after)
    stage.settle()
    assert {after: client.heard for after, client in clients.items()} == {
        0: [b"lagged room 1 5", b"room 6"],
        3: [b"lagged room 4 5", b"room 6"],
        4: [b"lagged room 5 5", b"room 6"],
        5: [b"room 6"],
        6: [],
    }


def test_subscribing_to_a_log_of_which_the_ring_has_nothing(stage: Stage) -> None:
    room = stage.channel(head_seq=9)
    client = stage.client()
    subscription = client.join(room, after=4)
    stage.settle()
    assert client.heard == [b"lagged room 5 9"]
    assert subscription.seq == 9
    stage.say(room)
    stage.settle()
    assert client.heard == [b"lagged room 5 9", b"room 10"]


@pytest.mark.parametrize("after", [-1, 4])
def test_subscribing_where_there_is_nothing(stage: Stage, after: int) -> None:
    room = stage.channel(head_seq=2)
    stage.say(room)
    client = stage.client()
    with pytest.raises(ValueError, match="after"):
        client.join(room, after)
    assert len(room) == 0
    stage.settle()
    assert client.heard == []


def test_subscribing_while_paused(stage: Stage) -> None:
    room = stage.channel()
    said = [stage.say(room) for _ in range(3)]
    client = stage.client(room=0)
    client.writer.write(b"reply\n")
    stage.settle()
    client.join(room, after=1)
    stage.settle()
    assert client.writes == 1
    client.transport.drain()
    stage.settle()
    assert client.heard == [b"reply", *said[1:]]
