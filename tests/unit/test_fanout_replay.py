"""Readers that are fed from a source until they are in the ring again: compiled and twin do the same."""

import gc
from collections.abc import Callable
from typing import Any

import pytest

from tests.twins import decode
from tests.twins.ring import EVENT_OVERHEAD_BYTES
from tests.twins.stage import COMPILED, TWIN, Client, Stage

pytestmark = pytest.mark.compiled

BLOCK_EVENTS = 4


@pytest.fixture(params=[COMPILED, TWIN], ids=["compiled", "twin"])
def stage(request: pytest.FixtureRequest) -> Stage:
    return Stage(request.param)


class Source:
    """Gives blocks of four, each one the test has let it ``read`` before."""

    def __init__(self, stage: Stage, size: int = 0) -> None:
        self.stage = stage
        self.size = size
        self.blocks: dict[int, Any] = {}
        self.asked: list[int] = []
        self.trimmed = 0

    def fetch(self, channel: Any, after: int) -> Any:
        self.asked.append(after)
        return self.blocks.get(max(after, self.trimmed) // BLOCK_EVENTS)

    def read(self, channel: Any, *indexes: int) -> None:
        for index in indexes:
            first = max(index * BLOCK_EVENTS, self.trimmed) + 1
            last = min((index + 1) * BLOCK_EVENTS, channel.ring.head_seq)
            self.blocks[index] = self.stage.block(channel, first, last, self.size)

    def read_all(self, channel: Any) -> None:
        self.read(channel, *range(self.trimmed // BLOCK_EVENTS, -(-channel.ring.head_seq // BLOCK_EVENTS)))


def long_room(stage: Stage, events: int = 20, held: int = 2, size: int = 0) -> tuple[Any, Source]:
    """A room of which the ring holds a few events, and a source that has read nothing yet."""
    room = stage.channel(ring_bytes=held * (EVENT_OVERHEAD_BYTES + max(size, 7)))
    for _ in range(events):
        stage.say(room, max(size, 7))
    stage.settle()
    room.source = source = Source(stage, max(size, 7))
    return room, source


def said(first: int, last: int) -> list[bytes]:
    return [b"room %d" % seq for seq in range(first, last + 1)]


def sizes(client: Client) -> list[int]:
    return [sum(map(len, pieces)) for pieces in client.transport.calls]


def test_block_by_block_into_the_ring(stage: Stage) -> None:
    room, source = long_room(stage)
    source.read_all(room)
    client = stage.client()
    subscription = client.join(room, after=6)
    stage.settle()
    assert client.heard == said(7, 20)
    assert source.asked == [6, 8, 12, 16]
    (in_one_write,) = client.transport.calls
    assert [data.count(b"\n") for data in in_one_write] == [2, 4, 4, 4]
    assert subscription.seq == 20
    live = stage.say(room)
    stage.settle()
    assert client.heard == [*said(7, 20), live]
    assert "lags" not in stage.counters()


@pytest.mark.parametrize("after", range(13))
def test_no_gap_and_no_repeat_wherever_it_enters_the_ring(stage: Stage, after: int) -> None:
    for held in range(1, 9):
        room, source = long_room(stage, 12, held)
        source.read_all(room)
        client = stage.client()
        client.join(room, after)
        stage.settle()
        assert client.heard == said(after + 1, 12)
        assert all(asked + 1 < room.ring.first_seq for asked in source.asked)


def test_who_waits_costs_nothing(stage: Stage) -> None:
    """No tick is scheduled while the source is asked, and it is asked once."""
    room, source = long_room(stage)
    client, quick = stage.client(), stage.client(room)
    client.join(room, after=0)
    assert stage.settle() == 1
    assert source.asked == [0]
    assert not stage.soon
    for _ in range(3):
        stage.say(room)
        stage.hint(room)
        assert stage.settle() == 1
    assert source.asked == [0]
    assert client.writes == 0
    assert quick.heard[-1] == b"room 23"
    room.wake()
    assert stage.settle() == 1
    assert source.asked == [0, 0], "woken for nothing: asked again, and waits again"
    source.read_all(room)
    room.wake()
    stage.settle()
    assert client.heard == [*said(1, 20), b"room ~1", b"room ~2", b"room ~3", *said(21, 23)]


def test_a_wake_nobody_waits_for(stage: Stage) -> None:
    room, _ = long_room(stage)
    stage.client(room)
    room.wake()
    assert not stage.soon


def test_those_are_woken_who_wait_for_it(stage: Stage) -> None:
    room, source = long_room(stage)
    clients = {after: stage.client() for after in (0, 3, 4, 5, 7, 8)}
    for after, client in clients.items():
        client.join(room, after)
    stage.settle()
    source.asked.clear()
    room.wake(4, 8)
    stage.settle()
    assert source.asked == [4, 5, 7]
    source.asked.clear()
    room.wake(4)
    stage.settle()
    assert source.asked == [8, 4, 5, 7]
    source.read_all(room)
    room.wake()
    stage.settle()
    for after, client in clients.items():
        assert client.heard == said(after + 1, 20)


def test_replies_pass_who_waits(stage: Stage) -> None:
    room, source = long_room(stage)
    client = stage.client()
    client.join(room, after=0)
    client.writer.write(b"joined\n")
    stage.settle()
    assert client.heard == [b"joined"], "though the room has more to say"
    client.writer.write(b"pong\n")
    client.writer.settle()
    assert client.heard == [b"joined", b"pong"]
    source.read_all(room)
    room.wake()
    client.writer.write(b"again\n")
    client.writer.settle()
    assert client.writes == 2, "with the events, in one write"
    stage.settle()
    assert client.heard == [b"joined", b"pong", b"again", *said(1, 20)]
    assert len(client.transport.calls[2]) == 1 + 5, "and in one write with all blocks"


def test_other_rooms_pass_who_waits(stage: Stage) -> None:
    room, source = long_room(stage)
    other = stage.channel("other")
    client = stage.client()
    client.join(room, after=0)
    client.join(other)
    heard = []
    for _ in range(3):
        heard.append(stage.say(other))
        stage.settle()
    assert client.heard == heard
    source.read_all(room)
    room.wake()
    stage.settle()
    assert client.heard == heard + said(1, 20)


def test_many_rooms_wait_and_arrive_in_any_order(stage: Stage) -> None:
    rooms = []
    client = stage.client()
    for _ in range(10):
        rooms.append(long_room(stage))
        client.join(rooms[-1][0], after=0)
    stage.settle()
    for room, source in rooms[::-1]:
        source.read_all(room)
        room.wake()
        heard = len(client.heard)
        stage.settle()
        assert client.heard[heard:] == said(1, 20)


def test_many_rooms_share_a_write(stage: Stage) -> None:
    """As many blocks as fit below the watermark of 1,000 bytes, and those that wait are passed over."""
    rooms = [long_room(stage, size=119) for _ in range(12)]
    client = stage.client()
    for number, (room, source) in enumerate(rooms):
        client.join(room, after=16)
        if number % 4:
            source.read_all(room)
    stage.settle()
    assert len(client.heard) == 9 * 4
    assert sizes(client) == [960] * 4 + [480]
    for room, source in rooms[::4]:
        source.read_all(room)
        room.wake()
    stage.settle()
    assert len(client.heard) == 12 * 4
    assert sizes(client)[5:] == [960, 480]


def test_a_block_that_does_not_fit_behind_another_rooms_waits_its_turn(stage: Stage) -> None:
    rooms = [long_room(stage, size=599) for _ in range(3)]
    client = stage.client()
    for room, source in rooms:
        client.join(room, after=17)
        source.read_all(room)
    stage.settle()
    assert sorted(client.heard) == sorted(said(18, 20) * 3)
    assert sizes(client) == [600] * 9


def test_a_notice_begins_a_write(stage: Stage) -> None:
    rooms = [long_room(stage), long_room(stage)]
    client = stage.client()
    for room, source in rooms:
        source.trimmed = 16
        source.read_all(room)
        client.join(room, after=3)
    stage.settle()
    assert client.heard == [b"lagged room 4 16", *said(17, 20)] * 2
    assert client.writes == 2


# Who leaves meanwhile


@pytest.mark.parametrize("leave", ["cancel", "close"])
def test_who_has_left_is_not_woken(stage: Stage, leave: str) -> None:
    room, source = long_room(stage)
    client, other = stage.client(), stage.client()
    subscription = client.join(room, after=0)
    other.join(room, after=0)
    stage.settle()
    if leave == "cancel":
        subscription.cancel()
    else:
        client.writer.close()
    source.read_all(room)
    room.wake()
    stage.settle()
    assert client.heard == []
    assert other.heard == said(1, 20)
    assert source.asked.count(0) == 3


def test_who_leaves_and_comes_back_while_the_source_is_asked(stage: Stage) -> None:
    room, source = long_room(stage)
    client = stage.client()
    client.join(room, after=0).cancel()
    subscription = client.join(room, after=4)
    stage.settle()
    subscription.cancel()
    client.join(room, after=8)
    stage.settle()
    source.read_all(room)
    room.wake()
    stage.settle()
    assert client.heard == said(9, 20)


def test_a_paused_reader_that_waited(stage: Stage) -> None:
    room, source = long_room(stage)
    client = stage.client(room=0)
    client.join(room, after=0)
    client.writer.write(b"reply\n")
    stage.settle()
    assert client.writer.paused
    source.read_all(room)
    room.wake()
    assert stage.settle() == 0
    client.transport.drain()
    stage.settle()
    assert client.heard == [b"reply", *said(1, 20)]


# What goes wrong


def wrong(first: int, last: int) -> Callable[[Stage, Any], Any]:
    return lambda stage, room: stage.block(room, first, last)


@pytest.mark.parametrize(
    "block", [wrong(1, 0), wrong(1, 2), wrong(1, 21), wrong(4, 30)], ids=["empty", "before", "beyond", "far"]
)
def test_a_source_that_gives_what_nobody_can_use(stage: Stage, block: Callable[[Stage, Any], Any]) -> None:
    """It would send the reader round for ever, or past the head, where what is published next is a repeat."""
    room, source = long_room(stage)
    source.blocks[0] = block(stage, room)
    client, healthy = stage.client(), stage.client(room)
    client.join(room, after=2)
    with pytest.raises(ValueError, match=r"events behind|source"):
        stage.turn()
    assert client.writer.closed
    assert client.transport.aborted
    live = stage.say(room)
    stage.settle()
    assert (client.heard, healthy.heard) == ([], [live])


def test_a_source_that_raises_ends_the_reader_and_is_reported(stage: Stage) -> None:
    room, source = long_room(stage)
    readers, healthy = [stage.client() for _ in range(3)], stage.client(room)
    for reader in readers:
        reader.join(room, after=0)

    def fetch(channel: Any, after: int) -> Any:
        raise OSError("a mistake in a store")

    source.fetch = fetch  # type: ignore[method-assign]
    with pytest.raises(OSError, match="a mistake"):
        stage.turn()
    live = stage.say(room)
    stage.settle()
    assert all(reader.writer.closed and reader.transport.aborted for reader in readers)
    assert healthy.heard == [live]
    assert stage.counters()["failures"] == 3
    assert len(room) == 1


# What the source has forgotten


@pytest.mark.parametrize("after", range(7, 20))
@pytest.mark.parametrize("trimmed", [8, 9, 11, 12, 13])
def test_lagged_says_exactly_what_the_source_has_not(stage: Stage, trimmed: int, after: int) -> None:
    room, source = long_room(stage)
    source.trimmed = trimmed
    source.read_all(room)
    client = stage.client()
    client.join(room, after)
    stage.settle()
    if after < trimmed:
        lost = b"lagged room %d %d" % (after + 1, trimmed)
        assert client.heard == [lost, *said(trimmed + 1, 20)]
        assert (stage.counters()["lags"], stage.counters()["missed"]) == (1, trimmed - after)
    else:
        assert client.heard == said(after + 1, 20)
        assert "lags" not in stage.counters()


@pytest.mark.parametrize("trimmed", [13, 14, 15, 16, 19])
def test_what_the_ring_still_holds_is_not_lost(stage: Stage, trimmed: int) -> None:
    """The source may keep less than the ring does."""
    room, source = long_room(stage, held=6)
    assert room.ring.first_seq == 15
    source.trimmed = trimmed
    source.read_all(room)
    client = stage.client()
    client.join(room, after=3)
    stage.settle()
    oldest = min(trimmed, 14)
    assert client.heard == [b"lagged room 4 %d" % oldest, *said(oldest + 1, 20)]


def test_a_notice_counts_against_the_watermark(stage: Stage) -> None:
    room, source = long_room(stage, size=299)
    source.trimmed = 8
    source.read_all(room)
    client = stage.client()
    client.join(room, after=0)
    stage.settle()
    notice = b"lagged room 1 8"
    assert client.heard == [notice, *said(9, 20)]
    assert sizes(client)[0] == len(notice) + 1 + 900
    assert max(sizes(client)) <= 1000


def test_a_log_of_which_nothing_is_in_the_ring(stage: Stage) -> None:
    """A room that was just opened, and goes on while its past is read."""
    room = stage.channel(head_seq=10)
    room.source = source = Source(stage)
    clients = {after: stage.client() for after in (0, 5, 9, 10)}
    for after, client in clients.items():
        client.join(room, after)
    stage.settle()
    assert source.asked == [0, 5, 9]
    stage.say(room)
    stage.settle()
    source.read_all(room)
    stage.say(room)
    room.wake()
    stage.settle()
    for after, client in clients.items():
        assert client.heard == said(after + 1, 12)


# Spans and watermarks


def test_a_block_over_the_watermark_goes_out_in_pieces(stage: Stage) -> None:
    room, source = long_room(stage, size=399)
    source.read_all(room)
    client = stage.client(room=0)
    client.join(room, after=0)
    for _ in range(30):
        stage.settle()
        assert len(client.transport.buffered) <= 1000
        client.transport.drain(0)
        client.transport.drain(len(client.transport.buffered))
    assert client.heard == said(1, 20)
    assert sizes(client) == [800] * 10


def test_events_over_the_watermark_go_alone(stage: Stage) -> None:
    room, source = long_room(stage, 8, size=1500)
    source.read_all(room)
    client = stage.client()
    client.join(room, after=1)
    stage.settle()
    assert client.heard == said(2, 8)
    assert sizes(client) == [1501] * 7


def test_spans_of_a_block_are_shared_and_let_go() -> None:
    stage = Stage(COMPILED)
    room, source = long_room(stage)
    source.read_all(room)
    clients = [stage.client() for _ in range(5)]
    for client in clients:
        client.join(room, after=4)
    stage.settle()
    for block in range(4):
        assert len({id(client.transport.calls[0][block]) for client in clients}) == 1
    assert source.asked == [4, 8, 12, 16], "once for all"
    kept = clients[0].transport.calls[0][0]
    for client in clients:
        client.transport.calls.clear()
    assert gc.get_referrers(kept) == []


def test_framings_apart(stage: Stage) -> None:
    room, source = long_room(stage)
    source.read_all(room)
    websocket = stage.client(profile=stage.profile("websocket"), decoder=decode.text_messages)
    loud = stage.client(profile=stage.profile(lambda body: body.upper() + b"\n"))
    for client in (websocket, loud):
        client.join(room, after=0)
    stage.settle()
    assert websocket.heard == said(1, 20)
    assert loud.heard == [body.upper() for body in said(1, 20)]


# While the room goes on


def test_the_ring_moves_on_while_a_reader_is_fed(stage: Stage) -> None:
    """It reads a block a turn, and four events are said a turn, so it stays as far behind until they stop."""
    room, source = long_room(stage)
    client = stage.client()
    client.join(room, after=0)
    for _ in range(10):
        source.read_all(room)
        for _ in range(4):
            stage.say(room)
        stage.turn()
        room.wake()
    for _ in range(20):
        source.read_all(room)
        room.wake()
        stage.settle()
    assert client.heard == said(1, 60)
    assert "lags" not in stage.counters()


def test_it_falls_out_of_the_ring_again(stage: Stage) -> None:
    room, source = long_room(stage, size=99)
    source.read_all(room)
    client = stage.client(room=50)
    client.join(room, after=14)
    last = 20
    for _ in range(5):
        stage.settle()
        for _ in range(9):
            stage.say(room, 99)
        last += 9
        source.read_all(room)
        client.transport.drain(250)
    client.transport.drain()
    stage.settle()
    assert client.heard == said(15, last)
    assert "lags" not in stage.counters()


def test_own_events_are_hidden_in_the_ring_alone(stage: Stage) -> None:
    """A log does not tell whom an event was hidden from."""
    room, source = long_room(stage, 7)
    author = stage.client(room=0)
    own = author.join(room)
    stage.say(room, 7)
    stage.settle()
    for _ in range(6):
        stage.say(room, 7, hidden_from=own)
    stage.settle()
    source.read_all(room)
    author.transport.drain()
    stage.settle()
    assert room.ring.first_seq == 13
    assert author.heard == said(8, 12)


def test_a_sweep_leaves_out_who_waits(stage: Stage) -> None:
    room, source = long_room(stage)
    crowd = [stage.client() for _ in range(40)]
    for index, client in enumerate(crowd):
        client.join(room, after=0 if index % 2 else None)
    stage.settle()
    asked = len(source.asked)
    live = stage.say(room)
    assert stage.settle() == 1
    assert len(source.asked) == asked == 20
    assert [client.heard for client in crowd] == [[live], []] * 20
