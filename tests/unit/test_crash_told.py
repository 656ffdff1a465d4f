"""What the cluster's crash test makes of what a broker was told: each fault that there may be is found."""

import pytest

from tests.clients import Document
from tests.crash.told import compare

LOG = {"lobby": {seq: {"type": "message", "room": "lobby", "seq": seq, "text": "hi"} for seq in (1, 2, 3)}}


def event(seq: int, **other: object) -> Document:
    return {"type": "chat.fastchat.message", "id": f"e:lobby:{seq}", "data": LOG["lobby"][seq], **other}


def test_all_events_in_order_are_well() -> None:
    assert compare([event(1), event(2), event(3)], LOG) == []


def test_what_is_told_again_is_well() -> None:
    assert compare([event(1), event(2), event(1), event(2), event(3)], LOG) == []


def test_what_is_no_event_of_the_log_is_not_looked_at() -> None:
    assert compare([{"type": "chat.fastchat.session.connected"}, event(1), event(2), event(3)], LOG) == []


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ([event(1), event(2)], "lobby: 1 of 3 were never told, from 3 on"),
        ([event(1), event(3), event(2)], "lobby 3 was told behind 1"),
        ([event(1), event(2), event(3), event(3, id="other")], "lobby 3 was told as e:lobby:3 and as other"),
        ([event(1), event(2, id="e:lobby:1"), event(3)], "two events have one id"),
    ],
)
def test_a_fault_is_found(told: list[Document], wrong: str) -> None:
    assert wrong in compare(told, LOG)


def test_an_event_with_another_content_is_found() -> None:
    (wrong,) = compare([event(1), event(2, data=LOG["lobby"][2] | {"text": "ha"}), event(3)], LOG)
    assert wrong.startswith("lobby 2 was told as")
