"""Delivery and replies: the compiled fan-out and its twin have to do the same."""

import pytest

from tests.twins import decode
from tests.twins.stage import COMPILED, TWIN, Stage

pytestmark = pytest.mark.compiled


@pytest.fixture(params=[COMPILED, TWIN], ids=["compiled", "twin"])
def stage(request: pytest.FixtureRequest) -> Stage:
    return Stage(request.param)


# Delivery


def test_one_write_for_several_messages(stage: Stage) -> None:
    room = stage.channel()
    clients = [stage.client(room) for _ in range(3)]
    said = [stage.say(room) for _ in range(5)]
    assert len(stage.soon) == 1, "one tick for all of them"
    assert stage.settle() == 1
    for client in clients:
        assert client.heard == said
        assert client.writes == 1
    assert clients[0].transport.calls[0][0] is not None
    size = len(clients[0].given)
    assert stage.counters() == {
        "events": 5,
        "deliveries": 15,
        "writes": 3,
        "bytes_written": 3 * size,
        "sweeps": 1,
    }


def test_a_span_is_one_object_for_all() -> None:
    stage = Stage(COMPILED)
    rooms = [stage.channel("red"), stage.channel("blue")]
    clients = [stage.client(*rooms) for _ in range(3)]
    assert [stage.say(room) for room in rooms] == [b"red 1", b"blue 1"]
    stage.settle()
    for client in clients:
        assert len(client.transport.calls) == 1
    for span in (0, 1):
        assert len({id(client.transport.calls[0][span]) for client in clients}) == 1


def test_rooms_are_apart(stage: Stage) -> None:
    red, blue = stage.channel("red"), stage.channel("blue")
    in_red, in_blue, in_both, in_none = (stage.client(*c) for c in ([red], [blue], [red, blue], []))
    stage.say(red)
    stage.say(blue)
    stage.settle()
    assert (in_red.heard, in_blue.heard, in_none.heard) == ([b"red 1"], [b"blue 1"], [])
    assert in_both.heard == [b"red 1", b"blue 1"]
    assert [len(pieces) for pieces in in_both.transport.calls] == [2], "one writelines for both rooms"


def test_a_channel_and_its_subscriptions(stage: Stage) -> None:
    room = stage.channel("room", 5000, 41)
    assert (room.name, len(room), room.fanout, room.ring.limit_bytes) == ("room", 0, stage.fanout, 5000)
    client = stage.client()
    subscription = client.join(room)
    assert len(room) == 1
    assert (subscription.channel, subscription.writer) == (room, client.writer)
    assert (subscription.seq, subscription.ephemeral_seq) == (41, 0)
    stage.say(room)
    assert (subscription.seq, subscription.ephemeral_seq) == (41, 0)
    stage.settle()
    assert (subscription.seq, subscription.ephemeral_seq) == (42, 0)
    assert client.heard == [b"room 42"]


def test_writers_have_ids_of_their_own(stage: Stage) -> None:
    ids = [stage.client().writer.id for _ in range(10)]
    assert len(set(ids)) == 10
    assert 0 not in ids


def test_a_transport_reports_at_once_and_when_all_is_gone(stage: Stage) -> None:
    assert stage.client().transport.limits == (0, 0)


def test_nobody_is_there(stage: Stage) -> None:
    stage.say(stage.channel())
    assert stage.settle() == 1
    assert stage.counters() == {"events": 1, "sweeps": 1}


def test_a_hole_reaches_nobody(stage: Stage) -> None:
    room = stage.channel()
    client = stage.client(room)
    with pytest.raises(ValueError, match=r"expects|hole"):
        room.publish(stage.implementation.ring.Event(2, b"x"))
    stage.settle()
    assert client.heard == []
    assert stage.counters() == {}


def test_several_profiles_in_one_room(stage: Stage) -> None:
    room = stage.channel()
    websocket = stage.client(room, profile=stage.profile("websocket"), decoder=decode.text_messages)
    line = stage.client(room)
    loud = stage.client(room, profile=stage.profile(lambda body: body.upper() + b"\n"))
    silent = stage.client(room, profile=stage.profile(lambda body: b""))
    said = [stage.say(room), stage.say(room)]
    stage.settle()
    assert websocket.heard == line.heard == said
    assert loud.heard == [body.upper() for body in said]
    assert silent.writes == 0, "nothing to say needs no write"


def test_what_is_hidden_reaches_everyone_else(stage: Stage) -> None:
    room = stage.channel()
    author, other = stage.client(), stage.client(room)
    own = author.join(room)
    said = [stage.say(room), stage.say(room, hidden_from=own), stage.say(room)]
    stage.settle()
    assert author.heard == [said[0], said[2]]
    assert other.heard == said
    stage.say(room, hidden_from=own)
    stage.settle()
    assert author.writes == 1, "nothing but what is hidden: no write"
    assert own.seq == 4
    own.cancel()
    author.join(room, after=0)
    stage.settle()
    assert author.heard == [said[0], said[2]] * 2, "hidden from the next subscription, too"


# Replies


def test_replies_come_before_events(stage: Stage) -> None:
    room = stage.channel()
    client = stage.client(room)
    said = stage.say(room)
    client.writer.write(b"first reply\n")
    client.writer.write(b"second reply\n")
    stage.settle()
    assert client.heard == [b"first reply", b"second reply", said]
    assert client.writes == 1
    assert stage.counters()["deliveries"] == 1


def test_an_event_of_an_earlier_tick_comes_before_a_reply(stage: Stage) -> None:
    room = stage.channel()
    client = stage.client(room)
    stage.say(room)
    client.writer.flush()
    client.writer.write(b"reply\n")
    stage.settle()
    assert client.heard == [b"room 1", b"reply"]


def test_flush_writes_at_once(stage: Stage) -> None:
    room = stage.channel()
    client = stage.client(room)
    said = stage.say(room)
    client.writer.write(b"reply\n")
    client.writer.flush()
    assert client.heard == [b"reply", said]
    stage.settle()
    assert client.writes == 1
    client.writer.flush()
    assert client.writes == 1


def test_a_write_waits_for_what_was_read_before(stage: Stage) -> None:
    client = stage.client(room=0)
    client.writer.write(b"one\n")
    stage.settle()
    assert client.writer.paused
    client.writer.write(b"two\n")
    stage.settle()
    assert client.writes == 1
    client.transport.drain()
    stage.settle()
    assert client.heard == [b"one", b"two"]


def test_the_owner_is_told_once_when_there_is_room_again(stage: Stage) -> None:
    client = stage.client(room=10)
    assert not client.writer.would_block()
    client.writer.write(b"x" * 999 + b"\n")
    assert client.writer.would_block(), "as much as one write may carry is waiting"
    assert client.writer.would_block()
    stage.settle()
    assert client.writer.paused
    assert client.writable == 0
    assert client.writer.would_block()
    client.transport.drain()
    assert client.writable == 0, "not from within the transport's callback"
    stage.settle()
    assert client.writable == 1
    assert not client.writer.would_block()
    client.writer.write(b"y\n")
    stage.settle()
    assert client.writable == 1


def test_a_tick_makes_room(stage: Stage) -> None:
    client = stage.client()
    client.writer.write(b"x" * 2000 + b"\n")
    assert client.writer.would_block()
    stage.settle()
    assert client.writable == 1
    assert client.writes == 1


def test_no_room_for_one_who_is_behind_as_well(stage: Stage) -> None:
    room = stage.channel()
    client = stage.client(room, room=0)
    stage.say(room, 900)
    stage.settle()
    assert client.writer.would_block()
    stage.say(room, 900)
    stage.say(room, 900)
    client.transport.drain(901)
    stage.settle()
    assert client.writable == 0, "what came meanwhile has filled it again"
    client.transport.drain()
    stage.settle()
    assert client.writable == 1
    assert client.heard == [b"room 1", b"room 2", b"room 3"]


def test_settle_answers_before_the_tick(stage: Stage) -> None:
    room = stage.channel()
    client = stage.client(room)
    client.writer.settle()
    assert client.writes == 0
    client.writer.write(b"reply\n")
    client.writer.settle()
    assert client.heard == [b"reply"]
    stage.settle()
    assert client.writes == 1


def test_settle_leaves_a_reply_to_the_tick_that_brings_events(stage: Stage) -> None:
    room = stage.channel()
    client = stage.client(room)
    client.writer.write(b"reply\n")
    said = stage.say(room)
    client.writer.settle()
    assert client.writes == 0
    stage.settle()
    assert client.heard == [b"reply", said]
    assert client.writes == 1


def test_finish_hands_over_the_replies_of_a_paused_writer(stage: Stage) -> None:
    room = stage.channel()
    client = stage.client(room, room=0)
    stage.say(room)
    stage.settle()
    stage.say(room)
    client.writer.write(b"one\n")
    client.writer.write(b"bye\n")
    client.writer.finish()
    assert client.heard == [b"room 1", b"one", b"bye"]
    client.writer.finish()
    assert client.writes == 2
    stage.client().writer.finish()
