"""Gates on performance: ratios of two times within one process, never a time. `make bench` measures the same.

Each margin is a fraction of what is measured, so that a busy machine does not fail it, and far from what is
left when the property in question is lost. ``is_less(ours, theirs, k)``: ours takes at most a k-th.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.micro.broadcasters import (
    JoinedWriteLoop,
    WebsocketsBroadcast,
    WriteLoop,
    open_room,
    open_twin,
)
from benchmarks.micro.connections import TcpConnections
from benchmarks.micro.returning import FromRing, FromSqlite, QueryEach
from benchmarks.micro.test_append import Drafts
from benchmarks.micro.test_commands import PARSERS as COMMAND_PARSERS
from benchmarks.micro.test_commands import OneMember, Reads, encode_send
from benchmarks.micro.test_frames import PARSERS, make_reads
from benchmarks.micro.test_spans import CUTTERS
from benchmarks.micro.transports import NullTransport, make_event
from fastchat.store.sqlite import SqliteStore
from tests.benchmarks.stopwatch import Run, is_less
from tests.parties import Party
from tests.pump import OpenRoom, Pump
from tests.twins.stage import COMPILED

EVENT = make_event()
SPAN = 64  # messages of one tick


def null_transports(count: int) -> Sequence[NullTransport]:
    return [NullTransport() for _ in range(count)]


# Fan-out


def test_the_compiled_sweep_beats_its_twin() -> None:
    """Measured: 60. Lost when the sweep does a Python call or looks at every event for each subscriber."""
    ours, twin = open_room(null_transports(100), EVENT), open_twin(null_transports(100), EVENT)
    assert is_less(Run(lambda: ours.deliver(1)), Run(lambda: twin.deliver(1)), 15)


async def test_one_message_beats_a_broadcast() -> None:
    """Measured: 15. Lost when each subscriber has a frame of its own, or much more work."""
    ours = open_room(null_transports(1000), EVENT)
    theirs = WebsocketsBroadcast(null_transports(1000), EVENT)
    assert is_less(Run(lambda: ours.deliver(1)), Run(lambda: theirs.deliver(1)), 4)


async def test_many_messages_beat_a_broadcast_of_each() -> None:
    """Measured: 500. Without spans it is some 15, without spans that are shared some 100."""
    ours = open_room(null_transports(100), EVENT)
    theirs = WebsocketsBroadcast(null_transports(100), EVENT)
    assert is_less(Run(lambda: ours.deliver(SPAN)), Run(lambda: theirs.deliver(SPAN)), 150)


def test_many_messages_beat_a_write_of_each() -> None:
    """Measured: 20. At most 1 when messages are written one by one."""
    ours, theirs = open_room(null_transports(1000), EVENT), WriteLoop(null_transports(1000), EVENT)
    assert is_less(Run(lambda: ours.deliver(SPAN)), Run(lambda: theirs.deliver(SPAN)), 4)


def test_a_cursor_is_cheap() -> None:
    """Measured: ours is 3 of theirs, which has no cursors, no bounds and nothing compiled either."""
    ours, theirs = open_room(null_transports(1000), EVENT), JoinedWriteLoop(null_transports(1000), EVENT)
    assert is_less(Run(lambda: ours.deliver(1)), Run(lambda: theirs.deliver(1)), 1 / 8)


def test_a_delivery_costs_the_same_in_a_large_room() -> None:
    """Measured: 0.9 of it. Lost when something is done for each subscriber that grows with their number."""
    small, large = open_room(null_transports(100), EVENT), open_room(null_transports(10_000), EVENT)
    large_run, small_run = Run(lambda: large.deliver(1), 10_000), Run(lambda: small.deliver(1), 100)
    assert is_less(large_run, small_run, 1 / 3)


def test_a_span_costs_hardly_more_than_one_message() -> None:
    """Measured: 2 single deliveries for 64 messages. 64 of them when spans are lost."""
    room = open_room(null_transports(1000), EVENT)
    assert is_less(Run(lambda: room.deliver(SPAN)), Run(lambda: room.deliver(1)), 1 / 8)


async def test_over_tcp_too() -> None:
    """Measured: a span of 64 is 1.5 single sends, and one `websockets.broadcast` is 2.5 of ours."""
    connections, clients = TcpConnections(), 50
    await connections.grow(clients)
    framed_bytes = 2 + len(EVENT) + 2 * (len(EVENT) > 125)
    due_bytes = 0

    def drain(messages: int) -> None:
        nonlocal due_bytes
        connections.clients.drain(clients, due_bytes)
        due_bytes = messages * clients * framed_bytes

    ours = open_room(connections.transports, EVENT)
    one = Run(lambda: ours.deliver(1), prepare=lambda: drain(1))
    span = Run(lambda: ours.deliver(SPAN), prepare=lambda: drain(SPAN))
    assert is_less(span, one, 1 / 8)
    theirs = WebsocketsBroadcast(connections.transports, EVENT)
    assert is_less(one, Run(lambda: theirs.deliver(1), prepare=lambda: drain(1)), 1.3)
    drain(0)
    connections.take_back()
    await connections.close()


# Frames and spans


@pytest.mark.parametrize(("name", "payload_bytes", "times"), [("wsproto", 256, 15), ("websockets", 256, 5)])
def test_small_frames_are_parsed_fast(name: str, payload_bytes: int, times: float) -> None:
    """Measured: 80 and 25. Lost when a frame takes Python calls or copies of all that has arrived."""
    reads = make_reads(payload_bytes)
    assert is_less(Run(lambda: PARSERS["fastchat"](reads)), Run(lambda: PARSERS[name](reads)), times)


@pytest.mark.parametrize(("name", "times"), [("wsproto", 6), ("websockets", 1.5)])
def test_large_frames_are_parsed_fast(name: str, times: float) -> None:
    """Measured: 23 and 4.5. Lost when bytes are unmasked, or their UTF-8 is checked, one by one."""
    reads = make_reads(16_384)
    assert is_less(Run(lambda: PARSERS["fastchat"](reads)), Run(lambda: PARSERS[name](reads)), times)


def test_a_span_is_cut_faster_than_its_frames_are_joined() -> None:
    """Measured: 5. Lost when a frame is an object of its own before it is joined."""
    bodies = [EVENT] * 1000
    ours, theirs = CUTTERS["fastchat"](bodies), CUTTERS["join of encode_frame"](bodies)
    assert is_less(Run(ours), Run(theirs), 1.5)


def test_a_span_costs_in_proportion_to_its_events() -> None:
    """Measured: 1.0. Lost when sizes are added up, or bytes are copied, for each event again."""
    long, short = CUTTERS["fastchat"]([EVENT] * 4000), CUTTERS["fastchat"]([EVENT] * 100)
    assert is_less(Run(long, 4000), Run(short, 100), 1 / 4)


# Commands


def test_a_command_is_parsed_faster_than_with_the_standard_library() -> None:
    """Measured: 2.5, with the same checks. Lost when each command is looked through for double keys."""
    line = encode_send("x" * 64, "a1")
    ours, theirs = COMMAND_PARSERS["fastchat"], COMMAND_PARSERS["json, the same checks"]
    several = range(100)
    assert is_less(
        Run(lambda: [ours(line) for _ in several]), Run(lambda: [theirs(line) for _ in several]), 1.3
    )


def test_a_send_costs_the_same_in_a_room_with_a_past() -> None:
    """Measured: 1.0. Lost when ids, states or the ring are looked through for each message."""
    new, old = OneMember(Party.websocket), OneMember(Party.websocket)
    reads = Reads(lambda new_id: encode_send("x" * 64, new_id))
    for _ in range(200):
        reads.prepare()
        old.receive(reads.payloads)

    def measure_in(member: OneMember) -> Run:
        return Run(lambda: member.receive(reads.payloads), prepare=reads.prepare)

    assert is_less(measure_in(old), measure_in(new), 1 / 3)


# The store


def test_messages_that_arrive_together_share_a_commit(tmp_path: Path) -> None:
    """Measured: 64 of them take as long as 6 to 9 that come one by one. As 64 without a shared commit."""
    pump = Pump()
    store = SqliteStore(tmp_path / "chat.db", deliver=pump.deliver)
    room = OpenRoom(store, pump)
    numbers = itertools.count()

    def append(count: int) -> Run:
        drafts = Drafts(count, f"{next(numbers)}-")
        return Run(lambda: room.begin_all(drafts.all), prepare=drafts.prepare)

    assert is_less(append(64), append(1), 1 / 32)
    store.close()


# Coming back


def test_catching_up_costs_in_proportion_to_what_was_missed() -> None:
    """Measured: 1.0. Lost when an event is looked for, or a span is built, from the beginning again."""
    little, much = FromRing(COMPILED, 1000), FromRing(COMPILED, 20_000)
    assert is_less(Run(lambda: much.catch_up(1), 20_000), Run(lambda: little.catch_up(1), 1000), 1 / 4)


async def test_catching_up_from_memory_beats_a_query() -> None:
    """Measured: 60 and more. Lost when what the ring holds is read, or framed, for each client."""
    ours, theirs = FromRing(COMPILED, 1000), QueryEach(Path(":memory:"), 1000)
    assert is_less(Run(lambda: ours.catch_up(1)), Run(lambda: theirs.catch_up(1)), 15)
    theirs.close()


def test_clients_that_return_together_share_what_is_read(tmp_path: Path) -> None:
    """Measured: for each of a hundred, a twentieth of what it is for one. Lost when each has blocks read."""
    room = FromSqlite(tmp_path / "chat.db", 128)
    assert is_less(Run(lambda: room.catch_up(100), 100), Run(lambda: room.catch_up(1), 1), 4)
    room.close()
