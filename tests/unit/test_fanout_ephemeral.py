"""What is not in the log: who is at the head hears it, in the same write; compiled and twin do the same."""

from typing import Any

import pytest

from tests.twins import fanout
from tests.twins.ring import EVENT_OVERHEAD_BYTES
from tests.twins.stage import COMPILED, TWIN, Client, Stage

pytestmark = pytest.mark.compiled


@pytest.fixture(params=[COMPILED, TWIN], ids=["compiled", "twin"])
def stage(request: pytest.FixtureRequest) -> Stage:
    return Stage(request.param)


def sizes(client: Client) -> list[int]:
    return [sum(map(len, pieces)) for pieces in client.transport.calls]


def test_it_takes_no_seq_and_no_room_in_the_log(stage: Stage) -> None:
    room = stage.channel(ring_bytes=0)
    client = stage.client(room)
    said = stage.say(room)
    for _ in range(50):
        hint = stage.hint(room)
        stage.settle()
        assert hint in client.heard[-2:]
    assert (room.ring.first_seq, room.ring.head_seq, len(room.ring)) == (1, 1, 1)
    assert room.ephemeral.head_seq == 50
    assert client.heard[0] == b"room ~1", "in the same tick"
    assert client.heard[1] == said
    assert client.writes == 50
    assert stage.counters()["events"] == stage.counters()["deliveries"] == 51


def test_it_comes_before_what_is_said_in_one_write(stage: Stage) -> None:
    room = stage.channel()
    clients = [stage.client(room) for _ in range(3)]
    said = [stage.say(room), stage.say(room)]
    hints = [stage.hint(room), stage.hint(room)]
    stage.settle()
    for client in clients:
        assert client.heard == hints + said
        assert client.writes == 1


def test_what_is_joined_is_one_object_for_all() -> None:
    stage = Stage(COMPILED)
    room, other = stage.channel(), stage.channel("other")
    clients = [stage.client(room) for _ in range(3)] + [stage.client(other) for _ in range(3)]
    for _ in range(2):
        for channel in (room, other):
            stage.say(channel)
            stage.hint(channel)
        stage.settle()
        for alike in (clients[:3], clients[3:]):
            assert len({id(client.transport.calls[-1][0]) for client in alike}) == 1


def test_a_newcomer_hears_what_comes_next(stage: Stage) -> None:
    room = stage.channel()
    stage.say(room)
    stage.hint(room)
    newcomers = [stage.client() for _ in range(2)]
    newcomers[0].join(room)
    newcomers[1].join(room, after=0)
    next_hint = stage.hint(room)
    stage.settle()
    assert [newcomer.heard for newcomer in newcomers] == [[next_hint], [next_hint, b"room 1"]]


def test_it_is_hidden_from_one(stage: Stage) -> None:
    room = stage.channel()
    author, other = stage.client(), stage.client(room)
    own = author.join(room)
    hint = stage.hint(room, hidden_from=own)
    stage.settle()
    assert (author.heard, author.writes, other.heard) == ([], 0, [hint])
    hints = [stage.hint(room), stage.hint(room, hidden_from=own), stage.hint(room)]
    said = [stage.say(room, hidden_from=own), stage.say(room)]
    stage.settle()
    assert author.heard == [hints[0], hints[2], said[1]]
    assert other.heard == [hint, *hints, *said]
    hints = [stage.hint(room)]
    stage.settle()
    assert author.heard[-1:] == hints, "no longer"
    stage.say(room, hidden_from=own)
    stage.hint(room, hidden_from=own)
    stage.settle()
    assert author.writes == 2, "nothing but what is hidden: no write"


def test_who_comes_back_late_hears_the_latest_alone(stage: Stage) -> None:
    room = stage.channel()
    client = stage.client(room, room=0)
    said = [stage.say(room)]
    stage.settle()
    hints = [stage.hint(room, size=156) for _ in range(200)]
    said.append(stage.say(room))
    stage.settle()
    stage.lines.set_watermarks(1 << 20, 0)
    client.transport.drain()
    stage.settle()
    kept = fanout.EPHEMERAL_BYTES // (156 + EVENT_OVERHEAD_BYTES)
    assert client.heard == [said[0], *hints[-kept:], said[1]]
    assert "lags" not in stage.counters()


def test_one_larger_than_all_of_them_may_be(stage: Stage) -> None:
    room = stage.channel()
    client = stage.client(room)
    stage.hint(room)
    hint = stage.hint(room, size=3 * fanout.EPHEMERAL_BYTES)
    stage.settle()
    assert client.heard == [hint]
    assert len(room.ephemeral) == 1


def test_who_is_not_brought_to_the_head_hears_none(stage: Stage) -> None:
    """The high watermark is 1,000 bytes: three writes lead to the head."""
    room = stage.channel()
    client = stage.client(room, room=0)
    said = [stage.say(room)]
    stage.settle()
    said += [stage.say(room, 399) for _ in range(5)]
    hint = stage.hint(room)
    client.transport.drain()
    stage.settle()
    assert client.heard == [*said[:5], hint, said[5]]
    assert sizes(client) == [7, 800, 800, 400 + len(hint) + 1]


@pytest.mark.parametrize(("size", "together"), [(499, True), (500, False), (5000, False)])
def test_what_does_not_fit_behind_the_log_has_a_write_of_its_own(
    stage: Stage, size: int, together: bool
) -> None:
    room = stage.channel()
    client = stage.client(room)
    said, hint = stage.say(room, 499), stage.hint(room, size)
    stage.settle()
    assert client.heard == ([hint, said] if together else [said, hint])
    assert sizes(client) == ([1000] if together else [500, size + 1])


def test_several_go_as_far_as_they_fit(stage: Stage) -> None:
    room = stage.channel()
    client = stage.client(room)
    said = stage.say(room, 499)
    hints = [stage.hint(room, 199) for _ in range(9)]
    stage.settle()
    assert client.heard == [*hints[:2], said, *hints[2:]]
    assert sizes(client) == [900, 1000, 400]


def test_with_a_notice_and_a_reply_the_watermark_holds(stage: Stage) -> None:
    room = stage.channel(ring_bytes=2 * (399 + EVENT_OVERHEAD_BYTES))
    client = stage.client(room, room=0)
    stage.say(room)
    stage.settle()
    for _ in range(5):
        stage.say(room, 399)
    hint = stage.hint(room, 300)
    client.writer.write(b"reply\n")
    client.transport.drain()
    stage.settle()
    assert client.heard == [b"room 1", b"reply", b"lagged room 2 4", b"room 5", b"room 6", hint]
    assert sizes(client) == [7, 6 + 16 + 800, 301]


def test_two_rooms_in_one_write(stage: Stage) -> None:
    """What is ephemeral in the second room has to fit as well."""
    red, blue = stage.channel("red"), stage.channel("blue")
    client = stage.client(red, blue)
    said = stage.say(red, 599)
    fits, too_large = stage.hint(blue, 299), stage.hint(blue, 299)
    stage.settle()
    assert client.heard == [said, fits, too_large]
    assert sizes(client) == [900, 300]


def test_a_dialect_that_says_nothing_of_it(stage: Stage) -> None:
    room = stage.channel()
    silent = stage.profile(lambda body: b"" if b"~" in body else body + b"\n")
    client = stage.client(room, profile=silent)
    stage.hint(room)
    assert stage.settle() == 1
    assert client.writes == 0
    stage.hint(room)
    said = stage.say(room)
    stage.settle()
    assert client.heard == [said]


def test_a_reply_waits_for_the_tick_that_brings_it(stage: Stage) -> None:
    room = stage.channel()
    client = stage.client(room)
    hint = stage.hint(room)
    client.writer.write(b"reply\n")
    client.writer.settle()
    assert client.writes == 0
    stage.settle()
    assert client.heard == [b"reply", hint]
    assert client.writes == 1


def test_a_paused_reader_costs_nothing_more(stage: Stage) -> None:
    room: Any = stage.channel()
    client = stage.client(room, room=0)
    stage.hint(room)
    stage.settle()
    for _ in range(1000):
        stage.hint(room, 100)
        assert stage.settle() == 1
    assert client.writes == 1
    assert room.ephemeral.size_bytes <= fanout.EPHEMERAL_BYTES
