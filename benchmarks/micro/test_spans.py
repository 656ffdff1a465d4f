"""Cutting a span: all events behind a cursor, framed, in one piece; once for all who stand there."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import pytest
from websockets.protocol import Protocol, Side, State

from benchmarks.micro.measure import Measure
from benchmarks.micro.transports import make_event, make_payload
from fastchat._websocket import TEXT, encode_frame
from tests.twins.decode import text_messages
from tests.twins.stage import COMPILED, TWIN, Implementation

EVENTS = (1, 10, 100, 1000)
PAYLOADS_BYTES = (16, 256, 1024, 4096, 16_384, 65_536)
SPAN_EVENTS = 64
TWIN_MOST_EVENTS = 100  # it adds up all sizes for each event
NO_LIMIT = 1 << 30


def cut_ring(implementation: Implementation, bodies: Sequence[bytes]) -> Callable[[], bytes]:
    ring = implementation.ring.Ring(NO_LIMIT)
    for seq, body in enumerate(bodies, 1):
        ring.append(implementation.ring.Event(seq, body))
    profile = implementation.ring.Profile("ws", "websocket", NO_LIMIT, 0)

    def cut() -> bytes:
        ring.forget_spans()
        span, _ = ring.cut(profile, 0)
        assert isinstance(span, bytes)
        return span

    return cut


def join_frames(bodies: Sequence[bytes]) -> Callable[[], bytes]:
    return lambda: b"".join([encode_frame(TEXT, body) for body in bodies])


def send_with_websockets(bodies: Sequence[bytes]) -> Callable[[], bytes]:
    protocol = Protocol(Side.SERVER, state=State.OPEN)

    def send() -> bytes:
        for body in bodies:
            protocol.send_text(body)
        return b"".join(protocol.data_to_send())

    return send


CUTTERS: dict[str, Callable[[Sequence[bytes]], Callable[[], bytes]]] = {
    "fastchat": lambda bodies: cut_ring(COMPILED, bodies),
    "its twin": lambda bodies: cut_ring(TWIN, bodies),
    "join of encode_frame": join_frames,
    "websockets": send_with_websockets,
}


@pytest.mark.parametrize(
    ("events", "name"),
    [
        (events, name)
        for events, name in itertools.product(EVENTS, CUTTERS)
        if name != "its twin" or events <= TWIN_MOST_EVENTS
    ],
)
def test_by_events(measure: Measure, name: str, events: int) -> None:
    bodies = [make_event()] * events
    cut = CUTTERS[name](bodies)
    assert text_messages(cut()) == bodies
    measure("span-events", name, events, cut, units=events)


@pytest.mark.parametrize("payload_bytes", PAYLOADS_BYTES)
@pytest.mark.parametrize("name", CUTTERS)
def test_by_payload(measure: Measure, name: str, payload_bytes: int) -> None:
    bodies = [make_payload(payload_bytes)] * SPAN_EVENTS
    cut = CUTTERS[name](bodies)
    assert text_messages(cut()) == bodies
    measure("span-payload", name, payload_bytes, cut, units=SPAN_EVENTS)
