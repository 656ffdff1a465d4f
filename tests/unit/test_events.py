"""Drafts and the JSON of events: to the byte what orjson makes of the same object."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastchat._events import Draft, Kind, Stored, encode_event, encode_sent
from tests.twins import events as twin

pytestmark = pytest.mark.compiled

MOST = 2**63 - 1
SEQS = st.integers(0, MOST)
TIMES = st.integers(-MOST - 1, MOST)
# Strings of nothing but what has to be escaped are as likely as others.
TEXTS = st.one_of(st.text(), st.text(st.sampled_from('"\\\n\x00\x1f\x7fm\u2028é😀')))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
FIELDS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries({"text": TEXTS}),
    st.fixed_dictionaries({"text": TEXTS, "data": st.dictionaries(TEXTS, VALUES, max_size=3)}),
    st.fixed_dictionaries({"reaction": TEXTS}, optional={"remove": st.just(True)}),
    st.just({}),
)


@given(st.sampled_from(Kind), TEXTS, SEQS, TEXTS, TIMES, FIELDS, st.none() | TEXTS, st.none() | SEQS)
def test_an_event_is_what_orjson_makes_of_it(
    kind: Kind,
    room: str,
    seq: int,
    author: str,
    at_ms: int,
    fields: dict[str, Any],
    event_id: str | None,
    of: int | None,
) -> None:
    body = twin.encode_event(kind, room, seq, author, at_ms, fields, event_id, of)
    assert encode_event(kind, room, seq, author, at_ms, fields, event_id, of) == body
    assert Draft(kind, author, at_ms, fields, event_id, of).encode(room, seq) == body


@given(
    TEXTS,
    SEQS,
    TIMES,
    st.none() | st.just(b"{}"),
    st.none() | TEXTS,
    st.none() | TEXTS | st.integers(-MOST, MOST),
)
def test_an_answer_is_what_orjson_makes_of_it(
    room: str, seq: int, at_ms: int, body: bytes | None, event_id: str | None, ref: str | int | None
) -> None:
    stored = Stored(seq, at_ms, body)
    assert encode_sent(room, stored, event_id, ref) == twin.encode_sent(room, stored, event_id, ref)


@pytest.mark.parametrize("before", range(17))
def test_every_character_is_escaped_wherever_it_stands(before: int) -> None:
    for code in [*range(0x300), 0x2028, 0x2029, 0xFEFF, 0xFFFF, 0x10FFFF]:
        text = "x" * before + chr(code) + "y" * 9
        encoded = encode_event(Kind.MESSAGE, "r", 1, "a", 2, {"text": text})
        assert encoded == twin.encode_event(Kind.MESSAGE, "r", 1, "a", 2, {"text": text}), hex(code)


@pytest.mark.parametrize("size", [*range(860, 960), *range(980, 1030), 4096, 65_536, 1_000_000])
@pytest.mark.parametrize("character", ["m", "\n", "\x01", "é"])
def test_an_event_of_any_size_is_whole(size: int, character: str) -> None:
    for fields in ({"text": character * size}, {"text": character * size, "data": {}}):
        encoded = encode_event(Kind.MESSAGE, "lobby", 1, "alice", 2, fields, "x")
        assert encoded == twin.encode_event(Kind.MESSAGE, "lobby", 1, "alice", 2, fields, "x")
    stored = Stored(1, 2, None)
    assert orjson.loads(encode_sent("lobby", stored, "x", character * size))["ref"] == character * size


@pytest.mark.parametrize("number", [0, 9, 10, 99, 100, 2**53 - 1, MOST, -1, -MOST, -MOST - 1])
def test_numbers_at_their_limits(number: int) -> None:
    assert orjson.loads(encode_event(Kind.MESSAGE, "r", number, "a", number, {}, of=number)) == {
        "type": "message", "room": "r", "seq": number, "of": number, "from": "a", "at": number,
    }  # fmt: skip


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        encode_event(Kind.MESSAGE, "r", 1, "a", 2, {"text": "\ud800"})
    with pytest.raises(UnicodeEncodeError):
        encode_sent("r", Stored(1, 2, None), "\udfff", None)


def test_what_is_not_a_string_or_a_number_is_refused() -> None:
    wrong: Any = 7
    with pytest.raises(TypeError):
        encode_event(wrong, "r", 1, "a", 2, {})
    with pytest.raises(TypeError):
        encode_event(Kind.MESSAGE, wrong, 1, "a", 2, {})
    with pytest.raises(TypeError):
        encode_sent("r", Stored(1, 2, None), None, [wrong])  # type: ignore[arg-type]
    with pytest.raises(OverflowError):
        encode_event(Kind.MESSAGE, "r", MOST + 1, "a", 2, {})


def test_a_draft_keeps_what_it_was_made_of() -> None:
    fields = {"text": "hi"}
    draft = Draft(Kind.EDITED, "alice", 5, fields, "x", 3)
    assert (draft.kind, draft.author, draft.at_ms, draft.id, draft.of) == (Kind.EDITED, "alice", 5, "x", 3)
    assert draft.kind is Kind.EDITED
    assert draft.fields is fields
    assert "alice" in repr(draft)
    with pytest.raises(AttributeError):
        draft.author = "bob"


def test_stored_events_are_equal_by_what_they_are() -> None:
    assert Stored(1, 2, b"x") == Stored(1, 2, b"x")
    assert Stored(1, 2, None) != Stored(1, 2, b"x")
    assert Stored(1, 2, None) != Stored(1, 3, None)
    assert Stored(1, 2, None) != Stored(2, 2, None)
    assert (Stored(1, 2, None) == 1) is False  # type: ignore[comparison-overlap]
    assert repr(Stored(1, 2, b"x")) == "Stored(1, 2, b'x')"
