"""What every store promises, tried on each of them; and what only the one in memory does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastchat.messages import SEQ_MAX, Code, WireError
from fastchat.store import MemoryStore, Stored, open_store
from fastchat.store.found import WORDS_MAX
from fastchat.store.interface import PAGE_BYTES
from fastchat.store.memory import MemoryLog
from fastchat.store.states import REACTIONS_MAX
from tests.pump import OpenRoom, Pump, delete, edit, marks, message, react, search
from tests.stores import STORES, opened, other_room


@pytest.fixture(params=STORES)
def room(request: pytest.FixtureRequest) -> Iterator[OpenRoom]:
    with opened(request.param) as room:
        yield room


def test_a_log_counts_from_one_without_holes(room: OpenRoom) -> None:
    assert [room.say("hi").seq for _ in range(5)] == [1, 2, 3, 4, 5]
    assert room.log.head == 5


def test_many_at_once_are_answered_in_order(room: OpenRoom) -> None:
    answers = room.begin_all([message("hi", at_ms=at_ms) for at_ms in range(3000)])
    assert [(answer.seq, answer.at_ms) for answer in answers if isinstance(answer, Stored)] == [
        (at_ms + 1, at_ms) for at_ms in range(3000)
    ]


def test_what_is_stored_is_the_event(room: OpenRoom) -> None:
    stored = room.append(message("hi", at_ms=1234, id="id-1", a=[1]))
    assert stored.body is not None
    assert stored.at_ms == 1234
    assert orjson.loads(stored.body) == {
        "type": "message", "room": "lobby", "seq": 1, "id": "id-1", "from": "alice", "at": 1234, "text": "hi",
        "data": {"a": [1]},
    }  # fmt: skip
    assert room.messages() == [orjson.loads(stored.body)]


TEXTS = (
    "a\nb\r\n\nc",
    "\u2028\u2029\x85\x1c",
    "\0",
    "\ufeff",
    "😀" * 50,
    '"',
    "'; DROP TABLE events; --",
    " ",
)


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_comes_back_as_it_was(room: OpenRoom, text: str) -> None:
    bodies = [room.say(text, id=text[:64]).body for _ in range(2)]
    room.say("the end")
    assert bodies[1] is None
    assert [message["text"] for message in room.messages()] == [text, "the end"]
    assert [message["text"] for message in room.messages(newest=True, limit=2)] == [text, "the end"]


def test_rooms_count_by_themselves(room: OpenRoom) -> None:
    other = other_room(room)
    room.say("hi")
    assert other.say("hi").seq == 1
    assert other.log.epoch != room.log.epoch


# Once only


def test_the_same_author_and_id_is_the_first_message_again(room: OpenRoom) -> None:
    first = room.say("hi", id="x")
    room.say("something else")
    again = room.say("another text", id="x", at_ms=9999)
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
    assert other_room(room).say("hi", id="x").body is not None


def test_the_same_id_twice_at_once_is_one_message(room: OpenRoom) -> None:
    answers = room.begin_all(
        [message("hi", id="x", at_ms=1), message("other"), message("hi", id="x", at_ms=2)]
    )
    assert [
        (answer.seq, answer.at_ms, answer.body is None) for answer in answers if isinstance(answer, Stored)
    ] == [
        (1, 1, False),
        (2, 1000, False),
        (1, 1, True),
    ]
    assert room.read() == ([1, 2], False)


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


@pytest.mark.parametrize("store", STORES)
def test_page_by_page_is_everything_once(store: str) -> None:
    with opened(store) as room:
        names = iter(range(10**9))

        @given(st.integers(0, 30), st.integers(1, 7), st.integers(-1, 32), st.integers(0, 32), st.booleans())
        def check(events: int, limit: int, after: int, before: int, newest: bool) -> None:
            check_pages(other_room(room, f"room-{next(names)}"), events, limit, after, before, newest)

        check()


def check_pages(room: OpenRoom, events: int, limit: int, after: int, before: int, newest: bool) -> None:
    room.fill(events)
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


@pytest.mark.parametrize("newest", [False, True])
def test_limits_and_bounds_of_any_size(room: OpenRoom, newest: bool) -> None:
    room.fill(3)
    assert room.read(limit=SEQ_MAX, newest=newest) == ([1, 2, 3], False)
    assert room.read(after=SEQ_MAX - 1, before=SEQ_MAX, newest=newest) == ([], False)
    assert room.read(after=1 << 40, newest=newest) == ([], False)
    assert room.read(before=(1 << 40) + 2, newest=newest) == ([1, 2, 3], False)


@pytest.mark.parametrize("newest", [False, True])
def test_a_page_holds_as_many_small_messages_as_are_asked_for(room: OpenRoom, newest: bool) -> None:
    room.fill(400)
    seqs, more = room.read(limit=399, newest=newest)
    assert (len(seqs), more) == (399, True)
    seqs, more = room.read(limit=400, newest=newest)
    assert (len(seqs), more) == (400, False)


# Changes


def test_an_edited_message_is_shown_as_it_is_now(room: OpenRoom) -> None:
    room.append(message("helo", id="x", a=1))
    assert room.append(edit(1, "hello")).seq == 2
    room.say("next")
    changed, other = room.messages()
    assert changed == {
        "type": "message", "room": "lobby", "seq": 1, "id": "x", "from": "alice", "at": 1000, "text": "hello",
        "edited": 2000,
    }  # fmt: skip
    assert other["seq"] == 3


def test_a_deleted_message_keeps_nothing_of_its_content(room: OpenRoom) -> None:
    room.append(message("secret", a=1))
    room.append(edit(1, "secret, too"))
    room.append(react(1, "👍"))
    room.append(delete(1))
    assert room.messages() == [
        {"type": "message", "room": "lobby", "seq": 1, "from": "alice", "at": 1000, "deleted": 3000}
    ]


def test_reactions_come_and_go(room: OpenRoom) -> None:
    room.say("hi")
    for draft in (
        react(1, "👍"),
        react(1, "👍", "bob"),
        react(1, "👍"),
        react(1, "❤", "bob"),
        react(1, "❤", "bob", remove=True),
        react(1, "?", "bob", remove=True),
    ):
        room.append(draft)
    assert room.messages()[0]["reactions"] == {"👍": ["bob", "alice"]}
    room.append(react(1, "👍", remove=True))
    room.append(react(1, "👍", "bob", remove=True))
    assert "reactions" not in room.messages()[0]


def test_reactions_to_one_message_are_bounded(room: OpenRoom) -> None:
    room.say("hi")
    room.begin_all([react(1, str(number)) for number in range(REACTIONS_MAX)])
    assert room.refuse(react(1, "one more")).code is Code.BAD_FIELD
    assert room.append(react(1, "0", "bob")).seq == REACTIONS_MAX + 2


@pytest.mark.parametrize("change", [edit(1, "x", "bob"), delete(1, "bob")])
def test_only_the_author_may_change_a_message(room: OpenRoom, change: Any) -> None:
    room.say("hi")
    assert room.refuse(change).code is Code.FORBIDDEN
    assert room.say("next").seq == 2
    assert room.messages()[0]["text"] == "hi"


@pytest.mark.parametrize("of", [0, 2, 3, 4, 1 << 40 | 1, 2 << 40 | 1, 3 << 40 | 1, SEQ_MAX])
def test_what_is_no_message_cannot_be_changed(room: OpenRoom, of: int) -> None:
    # The second event is an edit; large numbers are other rooms' keys where rooms share a table.
    others = [other_room(room, name) for name in ("games", "kitchen")]
    for each in (room, *others):
        each.say("hi")
    room.append(edit(1, "hello"))
    room.append(delete(1))
    room.say("next")
    for draft in (edit(of, "x"), delete(of), react(of, "👍")):
        if of != 4:
            error = room.refuse(draft)
            assert (error.code, error.field) == (Code.NO_SUCH_MESSAGE, "seq")
    for draft in (edit(1, "x"), delete(1), react(1, "👍")):
        assert room.refuse(draft).code is Code.NO_SUCH_MESSAGE
    assert [message["text"] for other in others for message in other.messages()] == ["hi", "hi"]
    assert room.log.head == 4


def test_a_message_and_its_changes_at_once(room: OpenRoom) -> None:
    answers = room.begin_all(
        [
            message("a"),
            edit(1, "b"),
            react(1, "👍", "bob"),
            edit(2, "no message"),
            message("c"),
            delete(4),
            edit(4, "d"),
        ]
    )
    assert [answer.seq if isinstance(answer, Stored) else answer.code for answer in answers] == [
        1, 2, 3, Code.NO_SUCH_MESSAGE, 4, 5, Code.NO_SUCH_MESSAGE,
    ]  # fmt: skip
    first, second = room.messages()
    assert (first["text"], first["reactions"]) == ("b", {"👍": ["bob"]})
    assert "text" not in second


def test_a_change_with_the_same_id_again_is_the_first_one(room: OpenRoom) -> None:
    room.say("hi")
    for draft in (edit(1, "hello", id="e"), react(1, "👍", id="r"), delete(1, id="d")):
        first = room.append(draft)
        assert room.append(draft) == Stored(first.seq, first.at_ms, None)
    assert room.append(edit(1, "hello", id="e")).seq == 2


# Marks


def test_marks(room: OpenRoom) -> None:
    games = other_room(room)
    room.fill(5)
    games.fill(5)

    def ask(user: str) -> dict[str, int]:
        return marks(room.store, room.pump, user, ["lobby", "games", "nowhere"])

    assert ask("alice") == {}
    room.store.mark(
        {("alice", "lobby"): 3, ("alice", "games"): 4, ("bob", "lobby"): 5, ("bob", "nowhere"): 1}
    )
    assert ask("alice") == {"lobby": 3, "games": 4}
    assert ask("bob")["lobby"] == 5
    assert marks(room.store, room.pump, "alice", []) == {}


def test_marks_never_go_back(room: OpenRoom) -> None:
    room.fill(5)
    for seq in (3, 5, 4):
        room.store.mark({("alice", "lobby"): seq})
    assert marks(room.store, room.pump, "alice", ["lobby"]) == {"lobby": 5}


# Search


def found(room: OpenRoom, query: str, *rooms: str, **fields: Any) -> list[str]:
    messages, _ = search(room.store, room.pump, query, rooms or ("lobby",), **fields)
    return [message["text"] for message in messages]


def test_search_finds_messages_with_all_words_the_newest_first(room: OpenRoom) -> None:
    for at_ms, text in enumerate(("red apple", "green apple", "Red pear", "apple, RED!")):
        room.say(text, at_ms=at_ms)
    assert found(room, "red apple") == ["apple, RED!", "red apple"]
    assert found(room, "  apple\tred ") == ["apple, RED!", "red apple"]
    assert found(room, "plum") == []
    room.say("red apple again", at_ms=9)
    assert found(room, "red apple") == ["red apple again", "apple, RED!", "red apple"]


def test_search_looks_into_the_given_rooms(room: OpenRoom) -> None:
    games, kitchen = other_room(room), other_room(room, "kitchen")
    for at_ms, each in enumerate((room, games, kitchen, games, room)):
        each.say(f"apple in {each.name}", at_ms=at_ms)
    assert found(room, "apple", "lobby", "games") == [
        "apple in lobby", "apple in games", "apple in games", "apple in lobby",
    ]  # fmt: skip
    assert found(room, "apple", "kitchen") == ["apple in kitchen"]
    assert found(room, "apple", "games", "nowhere") == ["apple in games"] * 2
    assert search(room.store, room.pump, "apple", []) == ([], False)


def test_search_sees_messages_as_they_are(room: OpenRoom) -> None:
    room.say("apple one", at_ms=1)
    room.say("apple two", at_ms=2)
    assert len(found(room, "apple")) == 2
    room.append(edit(1, "pear one"))
    assert found(room, "apple") == ["apple two"]
    assert found(room, "pear") == ["pear one"]
    room.append(delete(2))
    room.begin_all([message("plum"), edit(5, "cherry"), message("cherry"), delete(7)])
    assert found(room, "apple") == found(room, "plum") == []
    assert found(room, "cherry") == ["cherry"]


def test_search_by_pages(room: OpenRoom) -> None:
    games = other_room(room)
    for at_ms in range(50):
        (room if at_ms % 3 else games).say(f"apple {at_ms}", at_ms=at_ms)
    for limit in (1, 7, 49, 50):
        texts: list[str] = []
        before, more = None, True
        while more:
            page, more = search(room.store, room.pump, "apple", ["lobby", "games"], before, limit)
            assert len(page) == limit or not more
            texts += [message["text"] for message in page]
            before = page[-1]["at"]
        assert texts == [f"apple {at_ms}" for at_ms in range(49, -1, -1)]


def test_a_page_of_search_ends_between_two_times(room: OpenRoom) -> None:
    for at_ms in (1, 2, 2, 2, 3, 4):
        room.say("apple", at_ms=at_ms)
    page, more = search(room.store, room.pump, "apple", limit=4)
    assert ([message["at"] for message in page], more) == ([4, 3], True)
    page, more = search(room.store, room.pump, "apple", before=3, limit=4)
    assert ([message["at"] for message in page], more) == ([2, 2, 2, 1], False)
    page, more = search(room.store, room.pump, "apple", before=3, limit=2)
    assert ([message["at"] for message in page], more) == ([2, 2], True)


def test_a_page_of_search_is_bounded_in_bytes(room: OpenRoom) -> None:
    for at_ms in range(20):
        room.say("apple " + "x" * 10_000, at_ms=at_ms)
    page, more = search(room.store, room.pump, "apple")
    assert (len(page), more) == (PAGE_BYTES // 10_000, True)


@pytest.mark.parametrize("query", ["", "  ", '"', '""  "', "\0"])
def test_a_query_has_words(room: OpenRoom, query: str) -> None:
    with pytest.raises(WireError) as caught:
        search(room.store, room.pump, query)
    assert (caught.value.code, caught.value.field) == (Code.BAD_FIELD, "query")


def test_a_query_has_not_too_many_words(room: OpenRoom) -> None:
    room.say("apple")
    assert found(room, "apple " * WORDS_MAX) == ["apple"]
    with pytest.raises(WireError, match="33 words; 32 are allowed"):
        search(room.store, room.pump, "apple " * (WORDS_MAX + 1))


@pytest.mark.parametrize(
    "query",
    ['apple" OR "pear', "text:pear", "pear*", "NEAR(pear apple)", "-pear", "apple\0", "^apple", "(",
     "{a} : b", "'; DROP TABLE texts; --", "\ud7ff", "😀", "!!!", "a" * 60_000, "NOT", "AND OR"],
)  # fmt: skip
def test_a_query_is_words_and_nothing_else(room: OpenRoom, query: str) -> None:
    room.say("pear")
    assert "pear" not in found(room, query + " apple")
    found(room, query)
    room.say("apple")
    assert found(room, "apple") == ["apple"]


# Choosing a store


def test_open_store() -> None:
    assert isinstance(open_store("memory:", deliver=Pump().deliver), MemoryStore)


def test_open_store_in_a_file(tmp_path: Path) -> None:
    pump, path = Pump(), tmp_path / "new" / "chat.db"
    store = open_store(
        f"sqlite://{path}", deliver=pump.deliver, in_memory=lambda name: name.startswith("tmp-")
    )
    rooms = [OpenRoom(store, pump, name) for name in ("lobby", "tmp-1")]
    assert [room.log.durable for room in rooms] == [True, False]
    assert store.problem is None
    store.close()
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


# Memory only: what the ring forgets is gone


@pytest.fixture
def small_room() -> OpenRoom:
    return OpenRoom(MemoryStore(), Pump(), ring_bytes=4096)


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
    store, pump = MemoryStore(), Pump()
    before = OpenRoom(store, pump)
    before.say("hi")
    epoch = before.log.epoch
    del before
    after = OpenRoom(store, pump)
    assert after.read() == ([], False)
    assert after.log.epoch != epoch
    store.close()


def test_a_probe_is_answered_each_time(room: OpenRoom) -> None:
    for _ in range(3):
        assert room.pump.answer(room.store.probe) is None
    assert room.say("hi").seq == 1
