"""The ring and its spans: the compiled one and its twin have to do the same."""

from types import ModuleType
from typing import Any

import pytest

import fastchat._ring
from tests.twins import decode
from tests.twins import ring as twin

pytestmark = pytest.mark.compiled

OVERHEAD = twin.EVENT_OVERHEAD_BYTES


@pytest.fixture(params=[fastchat._ring, twin], ids=["compiled", "twin"])
def implementation(request: pytest.FixtureRequest) -> Any:
    return request.param


def filled(implementation: ModuleType, *bodies: bytes, limit_bytes: int = 1 << 30, head_seq: int = 0) -> Any:
    """A ring with these bodies."""
    ring = implementation.Ring(limit_bytes, head_seq)
    for body in bodies:
        ring.append(implementation.Event(ring.head_seq + 1, body))
    return ring


def bodies(events: list[Any]) -> list[bytes]:
    return [event.body for event in events]


def lines(implementation: ModuleType, high: int = 1000) -> Any:
    return implementation.Profile("lines", "lines", high, 0)


# Events


def test_an_event_keeps_what_it_was_made_of(implementation: ModuleType) -> None:
    event = implementation.Event(7, b"body", hidden_from=3)
    assert (event.seq, event.body, event.hidden_from) == (7, b"body", 3)
    assert implementation.Event(1, b"").hidden_from == 0


def test_a_new_ring_is_empty(implementation: ModuleType) -> None:
    ring = implementation.Ring(1000)
    assert (len(ring), ring.first_seq, ring.head_seq) == (0, 1, 0)
    assert (ring.size_bytes, ring.limit_bytes) == (0, 1000)
    assert ring.events(-1, 100, 10, 1000) == []


def test_a_ring_goes_on_behind_a_log(implementation: ModuleType) -> None:
    ring = implementation.Ring(1000, 41)
    assert (len(ring), ring.first_seq, ring.head_seq) == (0, 42, 41)
    ring.append(implementation.Event(42, b"x"))
    assert (len(ring), ring.first_seq, ring.head_seq) == (1, 42, 42)


@pytest.mark.parametrize("head_seq", [0, 6, 7, 127, 128, 1000, (1 << 40) - 3, (1 << 62) - 50])
def test_a_ring_grows_wherever_it_begins(implementation: ModuleType, head_seq: int) -> None:
    ring = filled(implementation, *[b"%d" % number for number in range(40)], head_seq=head_seq)
    assert [event.seq for event in ring.events(0, 1 << 62, 100, 1000)] == [
        *range(head_seq + 1, head_seq + 41)
    ]
    assert bodies(ring.events(0, 1 << 62, 100, 1000)) == [b"%d" % number for number in range(40)]


@pytest.mark.parametrize("seq", [-1, 0, 1, 3])
def test_a_hole_is_refused(implementation: ModuleType, seq: int) -> None:
    ring = filled(implementation, b"one")
    event = implementation.Event(seq, b"x")
    with pytest.raises(ValueError, match=r"expects|hole"):
        ring.append(event)
    assert (len(ring), ring.head_seq) == (1, 1)


# The limit


def test_the_oldest_go_when_the_limit_is_passed(implementation: ModuleType) -> None:
    limit_bytes = 3 * (OVERHEAD + 10)
    ring = filled(implementation, *[b"x" * 10] * 3, limit_bytes=limit_bytes)
    assert ring.first_seq == 1
    ring.append(implementation.Event(4, b"x"))
    assert (ring.first_seq, len(ring)) == (2, 3)
    assert ring.size_bytes <= limit_bytes


@pytest.mark.parametrize("limit_bytes", [0, 1, OVERHEAD])
def test_the_newest_is_kept_whatever_its_size(implementation: ModuleType, limit_bytes: int) -> None:
    ring = filled(implementation, b"one", b"x" * 5000, limit_bytes=limit_bytes)
    assert (len(ring), ring.first_seq, ring.head_seq) == (1, 2, 2)
    assert bodies(ring.events(0, 100, 10, 1)) == [b"x" * 5000]


def test_a_new_limit_takes_effect_at_once(implementation: ModuleType) -> None:
    ring = filled(implementation, *[b"x"] * 10)
    ring.set_limit(2 * (OVERHEAD + 1))
    assert (ring.first_seq, len(ring)) == (9, 2)
    assert ring.limit_bytes == 2 * (OVERHEAD + 1)
    ring.set_limit(1 << 20)
    ring.append(implementation.Event(11, b"x"))
    assert (ring.first_seq, len(ring)) == (9, 3)


def test_ten_thousand_events_through_a_small_ring(implementation: ModuleType) -> None:
    ring = implementation.Ring(20 * (OVERHEAD + 8))
    profile = lines(implementation)
    for seq in range(1, 10_001):
        ring.append(implementation.Event(seq, b"%08d" % seq))
    assert (ring.head_seq, ring.first_seq) == (10_000, 9_981)
    assert ring.cut(profile, 9_980) == (b"".join(b"%08d\n" % seq for seq in range(9_981, 10_001)), 10_000)


# Looking things up


def test_events_between(implementation: ModuleType) -> None:
    ring = filled(implementation, b"1", b"2", b"3", b"4", b"5")
    assert bodies(ring.events(0, 6, 10, 1000)) == [b"1", b"2", b"3", b"4", b"5"]
    assert bodies(ring.events(1, 5, 10, 1000)) == [b"2", b"3", b"4"]
    assert bodies(ring.events(1, 5, 10, 1000, newest=True)) == [b"2", b"3", b"4"]
    assert bodies(ring.events(-9, 99, 2, 1000)) == [b"1", b"2"]
    assert bodies(ring.events(-9, 99, 2, 1000, newest=True)) == [b"4", b"5"]
    assert bodies(ring.events(3, 4, 10, 1000)) == []
    assert bodies(ring.events(5, 99, 10, 1000)) == []
    assert bodies(ring.events(0, 1, 10, 1000, newest=True)) == []
    assert bodies(ring.events(0, 99, 0, 1000)) == []


@pytest.mark.parametrize(
    ("limit_bytes", "count"), [(0, 1), (9, 1), (10, 1), (19, 1), (20, 2), (29, 2), (30, 3)]
)
@pytest.mark.parametrize("newest", [False, True])
def test_events_by_bytes(implementation: ModuleType, limit_bytes: int, count: int, newest: bool) -> None:
    ring = filled(implementation, *[b"%010d" % seq for seq in range(1, 4)])
    found = [event.seq for event in ring.events(0, 4, 10, limit_bytes, newest)]
    assert found == ([1, 2, 3][-count:] if newest else [1, 2, 3][:count])


# Profiles


@pytest.mark.parametrize(("high", "low"), [(10, 10), (10, 11), (10, -1), (0, 0), (-1, -2)])
def test_watermarks_that_make_no_sense(implementation: ModuleType, high: int, low: int) -> None:
    with pytest.raises(ValueError, match="watermarks"):
        implementation.Profile("p", "lines", high, low)
    profile = implementation.Profile("p", "lines", 100, 50)
    with pytest.raises(ValueError, match="watermarks"):
        profile.set_watermarks(high, low)
    assert (profile.name, profile.high_water_bytes, profile.low_water_bytes) == ("p", 100, 50)


def test_a_framing_that_does_not_exist(implementation: ModuleType) -> None:
    with pytest.raises(KeyError):
        implementation.Profile("p", "pigeons", 100, 50)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 255, 256, 65535, 65536, 65537, 200_000])
def test_framings(implementation: ModuleType, size: int) -> None:
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    websocket = implementation.Profile("w", "websocket", 1 << 20, 0)
    encoder = implementation.Profile("e", lambda body: b"<" + body + b">", 1 << 20, 0)
    assert decode.text_messages(websocket.encode(body)) == [body]
    assert decode.lines(lines(implementation).encode(body)) == [body]
    assert encoder.encode(body) == b"<" + body + b">"
    ring = filled(implementation, body, b"between", body)
    assert decode.text_messages(ring.cut(websocket, 0)[0]) == [body, b"between", body]
    assert decode.lines(ring.cut(lines(implementation, 1 << 20), 0)[0]) == [body, b"between", body]
    assert ring.cut(encoder, 0)[0] == b"<" + body + b"><between><" + body + b">"


# Spans


def test_a_span_reaches_from_its_start_to_the_head(implementation: ModuleType) -> None:
    ring = filled(implementation, b"one", b"two", b"three", head_seq=6)
    profile = lines(implementation)
    assert [ring.cut(profile, after) for after in (6, 7, 8)] == [
        (b"one\ntwo\nthree\n", 9),
        (b"two\nthree\n", 9),
        (b"three\n", 9),
    ]


@pytest.mark.parametrize("after", [-2, -1, 0, 2, 3])
def test_a_span_must_start_where_something_is_held(implementation: ModuleType, after: int) -> None:
    ring = filled(implementation, b"one", b"two", limit_bytes=0)
    with pytest.raises(IndexError):
        ring.cut(lines(implementation), after)


@pytest.mark.parametrize(
    ("framing", "framed_size"), [("lines", 100), ("websocket", 101), (lambda body: body * 3, 297)]
)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_span_fits_its_budget_to_the_byte(
    implementation: ModuleType, framing: Any, framed_size: int, count: int
) -> None:
    ring = filled(implementation, *[b"x" * 99] * 3)
    profile = implementation.Profile("p", framing, 1 << 20, 0)
    for budget_bytes in (count * framed_size, (count + 1) * framed_size - 1):
        span, end = ring.cut(profile, 0, budget_bytes)
        assert (len(span), end) == (count * framed_size, count)


@pytest.mark.parametrize("budget_bytes", [-5, 0, 1, 50])
def test_an_event_over_the_budget_goes_alone(implementation: ModuleType, budget_bytes: int) -> None:
    ring = filled(implementation, b"x" * 99, b"y")
    assert ring.cut(lines(implementation), 0, budget_bytes) == (b"x" * 99 + b"\n", 1)


def test_the_budget_is_the_high_watermark(implementation: ModuleType) -> None:
    ring = filled(implementation, *[b"x" * 9] * 10)
    profile = lines(implementation, 50)
    assert ring.cut(profile, 2) == (b"x" * 9 + 4 * (b"\n" + b"x" * 9) + b"\n", 7)
    profile.set_watermarks(30, 0)
    assert ring.cut(profile, 2)[1] == 5
    profile.set_watermarks(1000, 0)
    assert ring.cut(profile, 2)[1] == 10


def test_what_is_hidden_is_left_out_for_one(implementation: ModuleType) -> None:
    ring = implementation.Ring(1000)
    for seq, hidden_from in ((1, 0), (2, 7), (3, 8), (4, 7)):
        ring.append(implementation.Event(seq, b"%d" % seq, hidden_from=hidden_from))
    profile = lines(implementation)
    assert ring.cut(profile, 0) == (b"1\n2\n3\n4\n", 4)
    assert ring.cut(profile, 0, hidden_from=7) == (b"1\n3\n", 4)
    assert ring.cut(profile, 0, hidden_from=8) == (b"1\n2\n4\n", 4)
    assert ring.cut(profile, 3, hidden_from=7) == (b"", 4)
    assert ring.cut(profile, 0) == (b"1\n2\n3\n4\n", 4)


def test_an_encoder_may_say_nothing(implementation: ModuleType) -> None:
    ring = filled(implementation, b"one", b"~two", b"three", b"~four")
    profile = implementation.Profile("p", lambda body: b"" if body[:1] == b"~" else body, 1000, 0)
    assert ring.cut(profile, 0) == (b"onethree", 4)
    assert ring.cut(profile, 3) == (b"", 4)


def test_an_encoder_is_asked_once_for_each_event() -> None:
    asked = []

    def encode(body: bytes) -> bytes:
        asked.append(body)
        return body

    profile = fastchat._ring.Profile("p", encode, 1000, 0)
    ring = filled(fastchat._ring, b"one", b"two")
    for after in (0, 1, 0, 1):
        ring.cut(profile, after, hidden_from=1)
    assert asked == [b"one", b"two"]


def test_an_encoder_that_raises(implementation: ModuleType) -> None:
    ring = filled(implementation, b"one", b"1")
    profile = implementation.Profile("p", lambda body: b"%d" % (6 // int(body)), 1000, 0)
    with pytest.raises(ValueError, match="one"):
        ring.cut(profile, 0)
    assert ring.cut(profile, 1) == (b"6", 2)


# Sharing


def test_a_span_is_shared_by_all_who_stand_there(implementation: ModuleType) -> None:
    ring = filled(implementation, b"one", b"two")
    profile = lines(implementation)
    span, _ = ring.cut(profile, 0)
    assert ring.cut(profile, 0)[0] is span
    assert ring.cut(profile, 0, 10)[0] is span, "a smaller budget that it fits"
    assert ring.cut(profile, 1)[0] is not span
    assert ring.cut(lines(implementation), 0)[0] is not span, "another profile"
    assert ring.cut(profile, 0, 4) == (b"one\n", 1)
    assert ring.cut(profile, 0, hidden_from=1)[0] is not span
    assert ring.cut(profile, 0)[0] is span


def test_a_span_that_was_cut_short_is_not_shared(implementation: ModuleType) -> None:
    ring = filled(implementation, b"one", b"two")
    profile = lines(implementation)
    assert ring.cut(profile, 0, 4) == (b"one\n", 1)
    assert ring.cut(profile, 0) == (b"one\ntwo\n", 2)


def test_a_lower_watermark_does_not_get_a_larger_span(implementation: ModuleType) -> None:
    ring = filled(implementation, b"one", b"two")
    profile = lines(implementation)
    ring.cut(profile, 0)
    profile.set_watermarks(7, 0)
    assert ring.cut(profile, 0) == (b"one\n", 1)


@pytest.mark.parametrize("change", ["append", "forget_spans"])
def test_spans_are_let_go(implementation: ModuleType, change: str) -> None:
    ring = filled(implementation, b"one", b"two")
    profile = lines(implementation)
    span, _ = ring.cut(profile, 0)
    if change == "append":
        ring.append(implementation.Event(3, b"three"))
        assert ring.cut(profile, 0) == (b"one\ntwo\nthree\n", 3)
    else:
        ring.forget_spans()
        again, _ = ring.cut(profile, 0)
        assert again == span
        assert again is not span


def test_eight_spans_are_kept_at_most(implementation: ModuleType) -> None:
    ring = filled(implementation, *[b"x"] * 20)
    profile = lines(implementation)
    spans = [ring.cut(profile, after)[0] for after in range(8)]
    assert all(ring.cut(profile, after)[0] is span for after, span in enumerate(spans))
    ninth, _ = ring.cut(profile, 8)
    assert ring.cut(profile, 8)[0] is ninth
    assert ring.cut(profile, 0)[0] is not spans[0]
