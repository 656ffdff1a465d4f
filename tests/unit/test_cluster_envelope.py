"""What nodes send each other is read as it was written, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastchat.cluster import envelope
from fastchat.cluster.envelope import (
    EnvelopeError,
    OtherVersion,
    encode,
    encode_events,
    parse_envelope,
    parse_events,
    parse_number,
    subject_of,
)
from fastchat.cluster.interface import PAYLOAD_BYTES
from fastchat.messages import dumps
from fastchat.store.interface import SLOTS, Committed, slot_of

NODE = "0123abcd"

rooms = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
bodies = st.none() | st.builds(lambda text: dumps({"type": "message", "text": text}), texts)
commits = st.lists(st.builds(Committed, rooms, st.integers(0, 2**53 - 1), bodies), min_size=1, max_size=30)


@given(commits)
def test_events_come_as_they_were_committed(committed: list[Committed]) -> None:
    (payload,) = encode_events(NODE, committed)
    received = parse_envelope(payload)
    assert (received.node, received.kind) == (NODE, envelope.EVENTS)
    assert parse_events(received) == committed


def test_many_events_are_split_and_a_large_one_goes_alone() -> None:
    sizes = [10, PAYLOAD_BYTES // 2, PAYLOAD_BYTES // 2, 2 * PAYLOAD_BYTES, 10, 10]
    committed = [Committed("lobby", i, b"x" * size) for i, size in enumerate(sizes)]
    payloads = list(encode_events(NODE, committed))
    read = [parse_events(parse_envelope(payload)) for payload in payloads]
    assert [each for some in read for each in some] == committed
    assert [[each.seq for each in some] for some in read] == [[0, 1], [2], [3], [4, 5]]


def test_numbers_come_as_they_were_sent() -> None:
    received = parse_envelope(encode(NODE, envelope.BEAT, 42))
    assert (received.node, received.kind, parse_number(received)) == (NODE, envelope.BEAT, 42)


@given(st.binary(max_size=200))
def test_what_people_tell_is_carried_untouched(content: bytes) -> None:
    assert parse_envelope(encode(NODE, envelope.PEOPLE, content=content)).content == content


@given(st.binary(max_size=200))
def test_anything_else_is_refused_with_an_error_of_ours(payload: bytes) -> None:
    with pytest.raises(EnvelopeError):
        parse_envelope(payload)


@given(st.data())
def test_a_damaged_payload_is_read_or_refused(data: st.DataObject) -> None:
    (payload,) = encode_events(NODE, data.draw(commits))
    at = data.draw(st.integers(0, len(payload) - 1))
    damaged = payload[:at] + data.draw(st.binary(max_size=3)) + payload[at + 1 :]
    try:
        received = parse_envelope(damaged)
        if received.kind == envelope.EVENTS:
            parse_events(received)
    except EnvelopeError:
        pass  # which is all that may happen


def test_another_version_is_told_from_garbage() -> None:
    with pytest.raises(OtherVersion) as raised:
        parse_envelope(b"fastchat/2 0123abcd beat 4\n")
    assert raised.value.version == "fastchat/2"


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(EnvelopeError, match="beat without a number"):
        parse_number(parse_envelope(b"fastchat/1 0123abcd beat four\n"))


def test_rooms_of_two_go_to_every_node_and_others_to_their_slot() -> None:
    assert subject_of("chat", "@alice,bob") == "chat.nodes"
    assert subject_of("chat", "lobby") == f"chat.slot.{slot_of('lobby')}"
    assert 0 <= slot_of("lobby") < SLOTS
