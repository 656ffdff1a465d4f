"""Sweeps in slices, and those who come, go or fail meanwhile: compiled and twin do the same."""

from typing import Any

import pytest

from tests.twins.stage import COMPILED, TWIN, Client, Stage

pytestmark = pytest.mark.compiled

WRITE_S = 0.001
SLICE_S = 0.010


@pytest.fixture(params=[COMPILED, TWIN], ids=["compiled", "twin"])
def stage(request: pytest.FixtureRequest) -> Stage:
    """Each write takes 1 ms of a slice of 10 ms; the clock is looked at after every eighth."""
    return Stage(request.param, SLICE_S, WRITE_S)


def crowd(stage: Stage, channel: Any, count: int, **options: Any) -> list[Client]:
    return [stage.client(channel, **options) for _ in range(count)]


def served(clients: list[Client]) -> int:
    return sum(client.writes > 0 for client in clients)


# Slices


def test_a_sweep_is_cut_into_slices(stage: Stage) -> None:
    room = stage.channel()
    clients = crowd(stage, room, 100)
    stage.say(room)
    per_turn = []
    while stage.soon:
        before, started = served(clients), stage.now
        assert stage.turn() == 1
        per_turn.append(served(clients) - before)
        assert stage.now - started <= SLICE_S + 8 * WRITE_S
    assert per_turn == [16] * 6 + [4]
    assert all(client.heard == [b"room 1"] for client in clients)
    assert stage.counters()["sweeps"] == 1
    assert stage.fanout.sweep_time_s == pytest.approx(100 * WRITE_S)


def test_a_slice_of_another_length(stage: Stage) -> None:
    room = stage.channel()
    clients = crowd(stage, room, 100)
    stage.fanout.slice_s = 0.032
    stage.say(room)
    stage.turn()
    assert served(clients) == 32


def test_latecomers_of_a_sweep_get_larger_spans(stage: Stage) -> None:
    room = stage.channel()
    clients = crowd(stage, room, 50)
    said = [stage.say(room)]
    while served(clients) < 50:
        stage.turn()
        said.append(stage.say(room))
    stage.settle()
    first_writes = [client.transport.calls[0][0].count(b"\n") for client in clients]
    assert first_writes == sorted(first_writes)
    assert (first_writes[0], first_writes[-1]) == (1, 4)
    assert all(client.heard == said for client in clients)


def test_a_flood_goes_round(stage: Stage) -> None:
    """While more is said in each tick than one tick can deliver, everyone is served equally often."""
    room = stage.channel()
    clients = crowd(stage, room, 40)
    said = []
    for _ in range(50):
        said.append(stage.say(room))
        stage.turn()
    writes = [client.writes for client in clients]
    assert max(writes) - min(writes) <= 1
    stage.settle()
    assert all(client.heard == said for client in clients)


def test_a_small_room_is_served_between_slices_of_a_large_one(stage: Stage) -> None:
    large, small = stage.channel("large"), stage.channel("small")
    many, few = crowd(stage, large, 200), crowd(stage, small, 3)
    stage.say(large)
    stage.turn()
    stage.say(small)
    stage.turn()
    stage.turn()
    assert served(few) == 3
    assert served(many) < 50
    stage.settle()
    assert served(many) == 200


def test_many_small_rooms_keep_to_the_slice(stage: Stage) -> None:
    rooms = [stage.channel(f"room{index}") for index in range(100)]
    clients = [stage.client(room) for room in rooms]
    for room in rooms:
        stage.say(room)
    while stage.soon:
        started = stage.now
        stage.turn()
        assert stage.now - started <= SLICE_S + WRITE_S
    assert served(clients) == 100


def test_stragglers_get_half_of_a_slice(stage: Stage) -> None:
    """Eighty who come back with much to catch up on do not hold up those who keep pace."""
    history, live = stage.channel("history"), stage.channel("live")
    for _ in range(100):
        stage.say(history, 999)
    stage.settle()
    stragglers, others = [stage.client() for _ in range(80)], crowd(stage, live, 8)
    for straggler in stragglers:
        straggler.join(history, after=0)
    for _ in range(20):
        said = stage.say(live)
        before = sum(straggler.writes for straggler in stragglers)
        stage.turn()
        assert all(other.heard[-1] == said for other in others)
        assert sum(straggler.writes for straggler in stragglers) - before == 8
    stage.settle()
    assert all(straggler.heard == [b"history %d" % seq for seq in range(1, 101)] for straggler in stragglers)


def test_stragglers_take_turns(stage: Stage) -> None:
    room = stage.channel()
    for _ in range(10):
        stage.say(room, 999)
    stage.settle()
    stragglers = [stage.client() for _ in range(30)]
    for straggler in stragglers:
        straggler.join(room, after=0)
    while stage.soon:
        stage.turn()
        writes = [straggler.writes for straggler in stragglers]
        assert max(writes) - min(writes) <= 1


def test_replies_do_not_wait_for_a_large_room(stage: Stage) -> None:
    room = stage.channel()
    crowd(stage, room, 1000)
    stage.say(room)
    stage.turn()
    asking = stage.client()
    asking.writer.write(b"pong\n")
    stage.turn()
    assert asking.heard == [b"pong"]


# Who comes and goes during a sweep


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("swept_before", [False, True])
def test_who_joins_before_the_sweep_takes_nobodys_turn(stage: Stage, count: int, swept_before: bool) -> None:
    room = stage.channel()
    clients = crowd(stage, room, 3)
    said = []
    if swept_before:
        said.append(stage.say(room))
        stage.settle()
        clients += crowd(stage, room, 1)
    said.append(stage.say(room))
    newcomers = crowd(stage, room, count)
    stage.settle()
    assert [client.heard for client in clients[:3]] == [said] * 3
    assert [client.heard for client in clients[3:]] == [said[1:]] * (len(clients) - 3)
    assert [newcomer.heard for newcomer in newcomers] == [[]] * count


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_who_joins_during_a_sweep_takes_nobodys_turn(stage: Stage, turns: int) -> None:
    room = stage.channel()
    clients = crowd(stage, room, 50)
    said = [stage.say(room)]
    for _ in range(turns):
        stage.turn()
    newcomers = crowd(stage, room, 20)
    catching_up = stage.client()
    catching_up.join(room, after=0)
    stage.settle()
    said.append(stage.say(room))
    stage.settle()
    assert all(client.heard == said for client in [*clients, catching_up])
    assert all(newcomer.heard == said[1:] for newcomer in newcomers)


LEAVERS = {
    "first": [0],
    "last": [49],
    "already visited": [3, 9, 15],
    "the next": [16],
    "the last visited": [15],
    "not yet visited": [20, 40],
    "all visited": list(range(16)),
    "all but one": [index for index in range(50) if index != 30],
    "everyone": list(range(50)),
    "from the end": list(range(49, 10, -1)),
}


@pytest.mark.parametrize("leaving", LEAVERS.values(), ids=LEAVERS)
@pytest.mark.parametrize("close", [False, True], ids=["cancel", "close"])
def test_who_leaves_between_slices_takes_nobodys_turn(stage: Stage, leaving: list[int], close: bool) -> None:
    room = stage.channel()
    clients = [stage.client() for _ in range(50)]
    subscriptions = [client.join(room) for client in clients]
    said = [stage.say(room)]
    stage.turn()
    assert served(clients) == 16
    for index in leaving:
        if close:
            clients[index].writer.close()
        else:
            subscriptions[index].cancel()
    stage.settle()
    said.append(stage.say(room))
    stage.settle()
    for index, client in enumerate(clients):
        if index in leaving:
            assert client.heard == (said[:1] if index < 16 else [])
        else:
            assert client.heard == said
            assert client.writes == 2, "nobody is written to again"


@pytest.mark.parametrize("at", [0, 1, 7, 20, 29])
@pytest.mark.parametrize("leaving", [0, 1, 7, 20, 28, 29])
def test_who_leaves_within_somebodys_write_takes_nobodys_turn(stage: Stage, at: int, leaving: int) -> None:
    """As when a transport finds its connection gone and says so at once."""
    room, other = stage.channel("room"), stage.channel("other")
    clients = [stage.client(room, other) for _ in range(30)]
    clients[at].transport.on_write = clients[leaving].writer.close
    said = [stage.say(room), stage.say(other)]
    stage.settle()
    for index, client in enumerate(clients):
        if index == leaving:
            assert client.heard == (said if leaving <= at else [])
        else:
            assert client.heard == said
            assert client.writes == 1
    assert len(room) == len(other) == 29


def test_everyone_leaves_within_one_write(stage: Stage) -> None:
    room = stage.channel()
    clients = crowd(stage, room, 30)

    def close_all() -> None:
        for client in clients:
            client.writer.close()

    clients[5].transport.on_write = close_all
    stage.say(room)
    stage.settle()
    assert served(clients) == 6
    assert len(room) == 0


def test_somebody_publishes_within_a_write(stage: Stage) -> None:
    room = stage.channel()
    clients = crowd(stage, room, 20)
    said = [stage.say(room)]

    def answer() -> None:
        clients[7].transport.on_write = stage.spend_time
        said.append(stage.say(room))

    clients[7].transport.on_write = answer
    stage.settle()
    assert all(client.heard == said for client in clients)


def test_transports_that_fail_in_the_middle_of_a_sweep(stage: Stage) -> None:
    room = stage.channel()
    clients = crowd(stage, room, 60)

    def fail() -> None:
        raise ConnectionResetError

    failing = set(range(0, 60, 7)) | {59}
    for index in failing:
        clients[index].transport.on_write = fail
    stage.say(room)
    stage.settle()
    for index, client in enumerate(clients):
        assert client.transport.aborted == client.writer.closed == (index in failing)
        assert client.heard == ([] if index in failing else [b"room 1"])
    assert stage.counters()["failures"] == len(failing)
    assert len(room) == 60 - len(failing)


def test_a_sweep_ends_when_all_that_are_left_are_paused(stage: Stage) -> None:
    room = stage.channel()
    clients = crowd(stage, room, 40, room=0)
    stage.say(room)
    stage.settle()
    stage.say(room)
    assert stage.settle() == 1
    assert len(stage.fanout.stalled) == 40
    for client in clients:
        client.transport.drain()
    stage.settle()
    assert all(client.heard == [b"room 1", b"room 2"] for client in clients)
