"""What of a batch was confirmed."""

from hypothesis import given
from hypothesis import strategies as st

from fastchat.cloudevents import EventEncoder, NoticeEncoder
from fastchat.messages import encode_receipts
from fastchat.outbox.batch import Batch
from fastchat.store.sending import Notice, Unsent, UnsentEvents
from tests.pump import message, moderate

NOTICE = NoticeEncoder("chat", "p", lambda: 0).encode(
    "receipt", "lobby", encode_receipts("lobby", {"bob": 1})
)


def events(room: str, wanted: str, first: int = 1) -> UnsentEvents:
    """For each ``y`` a message, which is wanted; for each ``n`` an act of moderation, which is not."""
    drafts = [message("hi") if each == "y" else moderate("topic", topic="t") for each in wanted]
    return UnsentEvents(
        room, "e", first, [draft.encode(room, seq) for seq, draft in enumerate(drafts, first)]
    )


def notices(*numbers: int) -> list[Notice]:
    return [Notice(number, NOTICE.slot, NOTICE.body) for number in numbers]


def batch(*rooms: UnsentEvents, numbers: tuple[int, ...] = ()) -> Batch:
    encoder = EventEncoder("chat", ["message", "receipt"])
    return Batch(encoder, Unsent(rooms, notices(*numbers), more=False))


def test_all_of_it() -> None:
    sent = batch(events("a", "yny", first=5), events("b", "yy"), numbers=(7, 9))
    assert [each.key for each in sent.outgoing] == [
        *["message.a"] * 2, *["message.b"] * 2, *["receipt.lobby"] * 2,
    ]  # fmt: skip
    assert sent.taken == 7
    assert sent.confirmed(6) == ({"a": 7, "b": 2}, [7, 9])


def test_nothing_of_it() -> None:
    assert batch(events("a", "y"), numbers=(1,)).confirmed(0) == ({}, [])


def test_what_is_not_wanted_goes_with_what_was_before() -> None:
    sent = batch(events("a", "nnynyn"))
    assert [sent.confirmed(count)[0] for count in range(3)] == [{"a": 2}, {"a": 4}, {"a": 6}]


def test_where_nothing_is_wanted_there_is_nothing_to_send() -> None:
    sent = batch(events("a", "nn"), events("b", "n"))
    assert (sent.outgoing, sent.confirmed(0)) == ([], ({"a": 2, "b": 1}, []))


@given(
    rooms=st.lists(st.text("yn", min_size=1, max_size=6), max_size=4),
    numbers=st.integers(0, 3),
    data=st.data(),
)
def test_whatever_was_confirmed_the_rest_is_what_was_not(
    rooms: list[str], numbers: int, data: st.DataObject
) -> None:
    parts = [events(f"room{index}", wanted, first=3) for index, wanted in enumerate(rooms)]
    sent = batch(*parts, numbers=tuple(range(1, numbers + 1)))
    count = data.draw(st.integers(0, len(sent.outgoing)))
    heads, gone = sent.confirmed(count)
    left = [
        UnsentEvents(part.room, part.epoch, head + 1, part.bodies[head + 1 - part.first :])
        for part in parts
        if (head := heads.get(part.room, part.first - 1)) < part.first + len(part.bodies) - 1
    ]
    rest = batch(*left, numbers=tuple(number for number in range(1, numbers + 1) if number not in gone))
    assert [each.id for each in rest.outgoing] == [each.id for each in sent.outgoing[count:]]
