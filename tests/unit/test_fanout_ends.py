"""How subscriptions and writers end, and what they leave behind: nothing."""

import gc
import tracemalloc
import weakref

import pytest

import fastchat._fanout
from tests.living import living
from tests.twins.stage import COMPILED, TWIN, Stage

pytestmark = pytest.mark.compiled


@pytest.fixture(params=[COMPILED, TWIN], ids=["compiled", "twin"])
def stage(request: pytest.FixtureRequest) -> Stage:
    return Stage(request.param)


# Ends


def test_cancel(stage: Stage) -> None:
    red, blue = stage.channel("red"), stage.channel("blue")
    client = stage.client(blue)
    subscription = client.join(red)
    stage.say(red)
    stage.say(blue)
    subscription.cancel()
    subscription.cancel()
    assert (len(red), len(blue)) == (0, 1)
    stage.settle()
    assert client.heard == [b"blue 1"]


def test_close(stage: Stage) -> None:
    rooms = [stage.channel("red"), stage.channel("blue")]
    client, other = stage.client(*rooms), stage.client(*rooms)
    stage.say(rooms[0])
    client.writer.write(b"reply\n")
    client.writer.close()
    client.writer.close()
    assert client.writer.closed
    assert (client.writer.owner, client.writer.transport) == (None, None)
    assert [len(room) for room in rooms] == [1, 1]
    client.writer.write(b"x")
    client.writer.flush()
    client.writer.finish()
    client.writer.pause()
    client.writer.resume()
    assert not client.writer.would_block()
    assert stage.fanout.stalled == set()
    stage.settle()
    assert client.writes == 0
    assert other.heard == [b"red 1"]
    assert not client.transport.aborted, "the transport is the caller's"


def test_close_while_paused(stage: Stage) -> None:
    room = stage.channel()
    client = stage.client(room, room=0)
    stage.say(room)
    stage.settle()
    client.writer.close()
    assert stage.fanout.stalled == set()
    client.transport.drain()
    stage.settle()
    assert client.writes == 1


class BrokenPipe:
    def __call__(self) -> None:
        raise BrokenPipeError("peer is gone")


@pytest.mark.parametrize("broken", [0, 3, 6])
def test_a_transport_that_raises_ends_alone(stage: Stage, broken: int) -> None:
    red, blue = stage.channel("red"), stage.channel("blue")
    clients = [stage.client(red, blue) for _ in range(7)]
    clients[broken].transport.on_write = BrokenPipe()
    stage.say(red)
    stage.settle()
    stage.say(blue)
    stage.settle()
    for index, client in enumerate(clients):
        if index == broken:
            assert client.writer.closed
            assert client.transport.aborted
            assert client.heard == []
        else:
            assert client.heard == [b"red 1", b"blue 1"]
    assert (len(red), len(blue)) == (6, 6)
    assert (stage.counters()["failures"], stage.counters()["writes"]) == (1, 12)


@pytest.mark.parametrize("replies", [1, 2])
def test_a_transport_that_raises_at_a_reply(stage: Stage, replies: int) -> None:
    room = stage.channel()
    client = stage.client(room)
    client.transport.on_write = BrokenPipe()
    client.transport.abort = BrokenPipe()  # type: ignore[method-assign]
    for _ in range(replies):
        client.writer.write(b"x\n")
    client.writer.finish()
    assert client.writer.closed
    assert stage.counters() == {"failures": 2}
    stage.settle()


def broken_encoder(body: bytes) -> bytes:
    raise LookupError("a mistake in a dialect")


def test_an_encoder_that_raises_ends_its_writer_and_is_reported(stage: Stage) -> None:
    room = stage.channel()
    before, after = stage.client(room), None
    broken = stage.client(room, profile=stage.profile(broken_encoder))
    after = stage.client(room)
    stage.say(room)
    with pytest.raises(LookupError, match="a mistake"):
        stage.turn()
    stage.say(room)
    stage.settle()
    assert before.heard == after.heard == [b"room 1", b"room 2"]
    assert broken.writer.closed
    assert broken.transport.aborted
    assert stage.counters()["failures"] == 1


def test_an_owner_that_raises_ends_its_writer_and_is_reported(stage: Stage) -> None:
    client = stage.client()
    client.on_writable = BrokenPipe()  # type: ignore[method-assign]
    client.writer.write(b"x" * 1000)
    assert client.writer.would_block()
    client.writer.flush()
    with pytest.raises(BrokenPipeError):
        stage.turn()
    assert client.writer.closed
    stage.settle()


def test_an_owner_that_closes_when_there_is_room(stage: Stage) -> None:
    room = stage.channel()
    client = stage.client(room)
    client.on_writable = client.writer.close  # type: ignore[method-assign]
    client.writer.write(b"x" * 1000)
    assert client.writer.would_block()
    stage.settle()
    assert client.writer.closed
    assert len(room) == 0


# Nothing is left behind


def test_what_is_closed_is_freed_without_the_collector() -> None:
    module = fastchat._fanout
    kinds = (module.Subscription, module.Writer, module.Channel)
    stage = Stage(COMPILED)
    gc.collect()
    before = living(*kinds)
    gc.disable()
    try:
        for round_number in range(20):
            rooms = [stage.channel(f"room{index}") for index in range(10)]
            clients = [stage.client(*rooms, room=round_number) for _ in range(50)]
            for room in rooms:
                stage.say(room)
            stage.settle()
            for client in clients:
                client.transport.drain()
            stage.settle()
            assert living(*kinds) == before + 10 + 50 + 500
            for client in clients:
                client.writer.write(b"never sent\n")
                client.writer.close()
                client.transport.protocol = None
            stage.settle()
            del rooms, room, clients, client
            assert living(*kinds) == before
    finally:
        gc.enable()
    assert gc.collect() == 0, "what was left could only be freed by the collector"


def test_events_and_spans_are_freed() -> None:
    stage = Stage(COMPILED)
    room = stage.channel("room", 0)
    clients = [stage.client(room) for _ in range(10)]
    for _ in range(20):
        stage.say(room, 100)
        stage.settle()
    for client in clients:
        client.transport.calls.clear()
    tracemalloc.start()
    try:
        stage.say(room, 100_000)
        stage.settle()
        for client in clients:
            client.transport.calls.clear()
            client.transport.sent = bytearray()
        with_event, _ = tracemalloc.get_traced_memory()
        stage.say(room)
        stage.settle()
        without, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert with_event - without > 90_000, "the ring let it go, so everything did"


def test_what_is_shared_outside_of_a_tick_is_let_go_with_the_next() -> None:
    stage = Stage(COMPILED)
    room = stage.channel()
    client = stage.client()
    stage.say(room)
    stage.settle()
    client.join(room, after=0)
    stage.hint(room)
    stage.turn()
    client.join(room, after=0)
    client.writer.flush()
    span = client.transport.calls[-1][0]
    client.transport.calls.clear()
    assert stage.settle() == 1
    assert gc.get_referrers(span) == []


def test_a_fanout_is_freed_with_its_owner() -> None:
    class Owner:
        """Weakly referable, which the compiled classes are not."""

        def on_writable(self) -> None:
            pass

    stage = Stage(COMPILED)
    client = stage.client(stage.channel())
    owner = Owner()
    writer = stage.implementation.fanout.Writer(stage.fanout, stage.lines, client.transport, owner)
    alive = weakref.ref(owner)
    del owner
    assert alive() is not None
    writer.close()
    assert alive() is None
