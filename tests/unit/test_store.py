"""What every store promises, tried on each of them; and what only the one in memory does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastchat._ring import Event, Ring
from fastchat.messages import SEQ_MAX, WireError
from fastchat.store import Draft, MemoryStore, Page, Store, Stored, open_store
from fastchat.store.interface import PAGE_BYTES
from fastchat.store.memory import MemoryLog

STORES: Mapping[str, Callable[[], Store]] = {"memory": MemoryStore}

RING_BYTES = 1 << 20


@dataclass
class OpenRoom:
    """A room's log with its ring, kept in step as a room does it."""

    store: Store
    name: str = "lobby"
    ring_bytes: int = RING_BYTES

    def __post_init__(self) -> None:
        self.ring = Ring(self.ring_bytes)
        self.log = self.store.open(self.name, self.ring)

    def append(self, draft: Draft) -> Stored:
        answers: list[Stored | WireError] = []

        def on_stored(stored: Stored | WireError) -> None:
            if isinstance(stored, Stored) and stored.body is not None:
                self.ring.append(Event(stored.seq, stored.body))
            answers.append(stored)

        self.log.append(draft, on_stored)
        (answer,) = answers
        assert isinstance(answer, Stored)
        return answer

    def say(self, text: str, author: str = "alice", **fields: Any) -> Stored:
        return self.append(Draft(author, 1000, text, **fields))

    def read(
        self, after: int = -1, before: int = SEQ_MAX, limit: int = 100, newest: bool = False
    ) -> tuple[list[int], bool]:
        pages: list[Page | WireError] = []
        self.log.read(after, before, limit, newest, pages.append)
        (page,) = pages
        assert isinstance(page, Page)
        return [orjson.loads(body)["seq"] for body in page.bodies], page.more


@pytest.fixture(params=STORES)
def room(request: pytest.FixtureRequest) -> OpenRoom:
    return OpenRoom(STORES[request.param]())


def test_a_log_counts_from_one_without_holes(room: OpenRoom) -> None:
    assert [room.say("hi").seq for _ in range(5)] == [1, 2, 3, 4, 5]


def test_what_is_stored_is_the_event(room: OpenRoom) -> None:
    stored = room.append(Draft("alice", 1234, "hi", "id-1", {"a": [1]}))
    assert stored.body is not None
    assert stored.at_ms == 1234
    assert orjson.loads(stored.body) == {
        "type": "message", "room": "lobby", "seq": 1, "id": "id-1", "from": "alice", "at": 1234, "text": "hi",
        "data": {"a": [1]},
    }  # fmt: skip


def test_rooms_count_by_themselves(room: OpenRoom) -> None:
    other = OpenRoom(room.store, "games")
    room.say("hi")
    assert other.say("hi").seq == 1
    assert other.log.epoch != room.log.epoch


# Once only


def test_the_same_author_and_id_is_the_first_message_again(room: OpenRoom) -> None:
    first = room.append(Draft("alice", 1000, "hi", "x"))
    room.say("something else")
    again = room.append(Draft("alice", 9999, "another text", "x"))
    assert again == Stored(first.seq, 1000, None)
    assert room.read() == ([1, 2], False)
    assert room.say("next").seq == 3


def test_the_same_id_of_another_author_is_a_new_message(room: OpenRoom) -> None:
    assert [room.say("hi", author, id="x").seq for author in ("alice", "bob", "Alice")] == [1, 2, 3]


def test_author_and_id_are_not_mixed_up(room: OpenRoom) -> None:
    assert room.say("hi", "a", id="bc").seq == 1
    assert room.say("hi", "ab", id="c").seq == 2


def test_the_same_id_in_another_room_is_a_new_message(room: OpenRoom) -> None:
    room.say("hi", id="x")
    assert OpenRoom(room.store, "games").say("hi", id="x").body is not None


def test_messages_without_id_are_never_the_same(room: OpenRoom) -> None:
    assert [room.say("hi").seq for _ in range(2)] == [1, 2]


# Reading


def test_an_empty_log_has_empty_pages(room: OpenRoom) -> None:
    assert room.read() == room.read(newest=True) == room.read(after=0, before=0) == ([], False)


@pytest.mark.parametrize(
    ("fields", "seqs", "more"),
    [
        ({}, [1, 2, 3, 4, 5], False),
        ({"newest": True}, [1, 2, 3, 4, 5], False),
        ({"limit": 5}, [1, 2, 3, 4, 5], False),
        ({"limit": 4}, [1, 2, 3, 4], True),
        ({"limit": 4, "newest": True}, [2, 3, 4, 5], True),
        ({"limit": 5, "newest": True}, [1, 2, 3, 4, 5], False),
        ({"after": 0, "limit": 1}, [1], True),
        ({"after": 3}, [4, 5], False),
        ({"after": 3, "limit": 1}, [4], True),
        ({"after": 4, "limit": 1}, [5], False),
        ({"after": 5}, [], False),
        ({"after": SEQ_MAX}, [], False),
        ({"before": 3, "newest": True}, [1, 2], False),
        ({"before": 3, "newest": True, "limit": 1}, [2], True),
        ({"before": 2, "newest": True, "limit": 1}, [1], False),
        ({"before": 1, "newest": True}, [], False),
        ({"before": 0, "newest": True}, [], False),
        ({"before": 6, "newest": True, "limit": 2}, [4, 5], True),
        ({"before": SEQ_MAX, "newest": True, "limit": 1}, [5], True),
        ({"after": 1, "before": 5}, [2, 3, 4], False),
        ({"after": 1, "before": 5, "limit": 2}, [2, 3], True),
        ({"after": 1, "before": 5, "limit": 2, "newest": True}, [3, 4], True),
        ({"after": 1, "before": 5, "limit": 3, "newest": True}, [2, 3, 4], False),
        ({"after": 2, "before": 3}, [], False),
    ],
)
def test_pages(room: OpenRoom, fields: dict[str, Any], seqs: list[int], more: bool) -> None:
    for _ in range(5):
        room.say("hi")
    assert room.read(**fields) == (seqs, more)


@pytest.mark.parametrize("newest", [False, True])
def test_a_page_is_bounded_in_bytes(room: OpenRoom, newest: bool) -> None:
    for _ in range(20):
        room.say("x" * 10_000)
    seqs, more = room.read(newest=newest)
    assert more
    assert len(seqs) == PAGE_BYTES // 10_000
    assert seqs[-1 if newest else 0] == (20 if newest else 1)


@pytest.mark.parametrize("newest", [False, True])
def test_a_page_has_one_event_however_large(room: OpenRoom, newest: bool) -> None:
    for _ in range(2):
        room.say("x" * 2 * PAGE_BYTES)
    assert room.read(newest=newest) == ([2 if newest else 1], True)


@given(st.integers(0, 30), st.integers(1, 7), st.integers(-1, 32), st.integers(0, 32), st.booleans())
@pytest.mark.parametrize("store", STORES)
def test_page_by_page_is_everything_once(
    store: str, events: int, limit: int, after: int, before: int, newest: bool
) -> None:
    room = OpenRoom(STORES[store]())
    for _ in range(events):
        room.say("hi")
    wanted = [seq for seq in range(1, events + 1) if after < seq < before]
    found: list[int] = []
    low, high, more = after, before, True
    while more:
        seqs, more = room.read(low, high, limit, newest)
        assert len(seqs) == limit or not more
        found = seqs + found if newest else found + seqs
        if seqs and newest:
            high = seqs[0]
        elif seqs:
            low = seqs[-1]
    assert found == wanted


# Choosing a store


def test_open_store() -> None:
    assert isinstance(open_store("memory:"), MemoryStore)


@pytest.mark.parametrize("url", ["", "memory", "mysql://x", "memory:x"])
def test_another_store_is_refused_with_those_there_are(url: str) -> None:
    with pytest.raises(ValueError, match="memory:"):
        open_store(url)


# Memory only: what the ring forgets is gone


@pytest.fixture
def small_room() -> OpenRoom:
    return OpenRoom(MemoryStore(), ring_bytes=4096)


def test_what_the_ring_forgot_is_neither_read_nor_promised(small_room: OpenRoom) -> None:
    for _ in range(100):
        small_room.say("hi")
    first = small_room.ring.first_seq
    assert first > 1
    held = list(range(first, 101))
    assert small_room.read() == (held, False)
    assert small_room.read(newest=True) == (held, False)
    assert small_room.read(newest=True, limit=len(held) - 1) == (held[1:], True)
    assert small_room.read(newest=True, before=first) == ([], False)


def test_an_id_is_forgotten_with_its_message(small_room: OpenRoom) -> None:
    small_room.say("hi", id="x")
    while small_room.ring.first_seq == 1:
        assert small_room.say("hi", id="x").seq == 1
        small_room.say("filler")
    again = small_room.say("hi", id="x")
    assert again.seq == small_room.ring.head_seq
    assert again.body is not None
    assert small_room.say("hi", id="x") == Stored(again.seq, again.at_ms, None)


def test_ids_are_remembered_for_about_as_many_messages_as_are_held(small_room: OpenRoom) -> None:
    log = small_room.log
    assert isinstance(log, MemoryLog)
    for i in range(5000):
        small_room.say("hi", id=f"id-{i}")
        assert len(log._sent) <= 2 * len(small_room.ring) + 64 + 1
    held = range(small_room.ring.first_seq, 5001)
    assert len(log._sent) < 5 * len(held) + 64
    for seq in held:
        assert small_room.say("hi", id=f"id-{seq - 1}").seq == seq


def test_a_log_that_is_opened_again_begins_anew() -> None:
    store = MemoryStore()
    before = OpenRoom(store)
    before.say("hi")
    after = OpenRoom(store)
    assert after.read() == ([], False)
    assert after.log.epoch != before.log.epoch
    store.close()
