"""Who is counted, who is refused, and how each listener is written to."""

import pytest

from fastchat._fanout import Fanout, Writer
from fastchat.chat import Census, Profiles
from fastchat.messages import encode_lagged
from tests.fakes import FakeLoop, FakeTransport

HOME, AWAY = "192.0.2.1", "2001:db8::1"


class Somebody:
    """A member of the census that does nothing."""

    greeted = False
    rooms: tuple[str, ...] = ()
    ended: tuple[int, str] | None = None

    def __init__(self) -> None:
        loop = FakeLoop()
        fanout = Fanout(loop.call_soon, loop.time, encode_lagged)
        self.writer = Writer(fanout, Profiles((2, 1), (2, 1)).line, FakeTransport(loop))

    def end(self, code: int, reason: str, reconnect_after_ms: int | None = None) -> None:
        self.ended = (code, reason)

    def abort(self) -> None:
        self.ended = (1006, "")


# Census


def test_without_limits_everybody_is_welcome() -> None:
    census = Census(0, 0)
    for _ in range(1000):
        assert census.refusal(HOME) is None
        census.add(Somebody(), HOME, 0.0)
    assert len(census.members) == 1000


def test_who_does_not_say_hello_is_found_and_others_are_not_looked_at_again() -> None:
    census = Census(0, 0)
    early, late, polite, gone = (Somebody() for _ in range(4))
    census.add(early, HOME, 10.0)
    census.add(polite, HOME, 10.0)
    census.add(gone, HOME, 10.0)
    census.add(late, HOME, 12.0)
    polite.greeted = True
    census.discard(gone, HOME)
    assert census.silent(since=11.0) == [early]
    polite.greeted = False
    assert census.silent(since=13.0) == [early, late]
    assert len(census.members) == 3


def test_a_full_server_refuses_in_words_until_somebody_leaves() -> None:
    census = Census(2, 0)
    somebody = Somebody()
    census.add(somebody, HOME, 0.0)
    census.add(Somebody(), AWAY, 0.0)
    assert "2 connections" in (census.refusal("203.0.113.5") or "")
    census.discard(somebody, HOME)
    assert census.refusal("203.0.113.5") is None


def test_an_address_with_too_many_is_named_and_others_are_welcome() -> None:
    census = Census(0, 2)
    somebody = Somebody()
    census.add(somebody, HOME, 0.0)
    census.add(Somebody(), HOME, 0.0)
    assert f"2 connections from {HOME}" in (census.refusal(HOME) or "")
    assert census.refusal(AWAY) is None
    census.discard(somebody, HOME)
    assert census.refusal(HOME) is None


def test_asking_counts_nobody() -> None:
    census = Census(1, 1)
    assert [census.refusal(HOME) for _ in range(3)] == [None] * 3


def test_who_is_not_counted_is_not_discounted() -> None:
    census = Census(0, 1)
    somebody = Somebody()
    census.add(somebody, HOME, 0.0)
    census.discard(Somebody(), HOME)
    assert census.refusal(HOME) is not None
    census.discard(somebody, HOME)
    census.discard(somebody, HOME)
    census.add(Somebody(), HOME, 0.0)
    assert census.refusal(HOME) is not None


def test_addresses_of_nobody_are_forgotten() -> None:
    census = Census(0, 1)
    for i in range(100):
        somebody = Somebody()
        census.add(somebody, f"192.0.2.{i}", 0.0)
        census.discard(somebody, f"192.0.2.{i}")
    assert not census._by_address


def test_the_last_to_leave_is_told_of_once() -> None:
    told = []
    census = Census(0, 0)
    first, last = Somebody(), Somebody()
    for somebody in (first, last):
        census.add(somebody, HOME, 0.0)
    census.on_empty = lambda: told.append("empty")
    census.discard(first, HOME)
    assert told == []
    census.discard(last, HOME)
    census.discard(last, HOME)
    assert told == ["empty"]


# Profiles


def test_each_listener_has_its_watermarks() -> None:
    profiles = Profiles((200, 100), (20, 10))
    marks = [
        (p.high_water_bytes, p.low_water_bytes) for p in (profiles.websocket, profiles.line, profiles.text)
    ]
    assert marks == [(200, 100), (20, 10), (20, 10)]


def test_watermarks_change_for_those_who_are_there() -> None:
    profiles = Profiles((200, 100), (20, 10))
    before = (profiles.websocket, profiles.line, profiles.text)
    profiles.set_watermarks((2000, 1000), (400, 300))
    assert [(p.high_water_bytes, p.low_water_bytes) for p in before] == [(2000, 1000), (400, 300), (400, 300)]
    assert (profiles.websocket, profiles.line, profiles.text) == before


@pytest.mark.parametrize("marks", [(0, 0), (10, 10), (10, 11), (10, -1)])
def test_watermarks_that_make_no_sense_are_refused(marks: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="watermarks"):
        Profiles(marks, (2, 1))


def test_each_profile_frames_an_event_its_way() -> None:
    profiles = Profiles((200, 100), (20, 10))
    body = b'{"type":"message","room":"lobby","seq":1,"from":"alice","at":0,"text":"hi"}'
    assert profiles.websocket.encode(body) == b"\x81\x4b" + body
    assert profiles.line.encode(body) == body + b"\n"
    assert profiles.text.encode(body) == b"[lobby] alice: hi\n"
