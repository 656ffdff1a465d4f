"""CloudEvents: what a log's events and notices become, against the document that services are built to."""

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import ValidationError

from fastchat.cloudevents import (
    CONNECTED,
    DISCONNECTED,
    KINDS,
    TYPE_PREFIX,
    EventEncoder,
    NoticeEncoder,
    outgoing_of,
)
from fastchat.messages import encode_presence, encode_receipts
from fastchat.store.interface import Draft, Kind, slot_of
from fastchat.store.sending import UnsentEvents
from tests.events_document import EventsDocument
from tests.pump import delete, edit, message, moderate, react

DOCUMENT = EventsDocument()
ENCODER = EventEncoder("chat")


def unsent(*drafts: Draft, room: str = "lobby", first: int = 1) -> UnsentEvents:
    bodies = [draft.encode(room, seq) for seq, draft in enumerate(drafts, first)]
    return UnsentEvents(room, "e1", first, bodies)


def encoded(*drafts: Draft, room: str = "lobby", encoder: EventEncoder = ENCODER) -> list[dict[str, Any]]:
    events = []
    for _, outgoing in encoder.encode(unsent(*drafts, room=room)):
        event = DOCUMENT.check(outgoing.body)
        assert event["id"] == outgoing.id
        events.append({**event, "key": outgoing.key})
    return events


def test_a_message_is_carried_as_clients_get_it() -> None:
    draft = message("hi", id="a1", at_ms=1772366400250)
    (event,) = encoded(draft)
    assert event == {
        "specversion": "1.0",
        "id": "e1:lobby:1",
        "source": "/fastchat/chat",
        "type": "chat.fastchat.message",
        "subject": "lobby",
        "time": "2026-03-01T12:00:00.250Z",
        "datacontenttype": "application/json",
        "data": orjson.loads(draft.encode("lobby", 1)),
        "key": "message.lobby",
    }


EVERY_KIND = [
    (message("hi", mood="good"), "message", "message.lobby"),
    (edit(1, "ho"), "edited", "message.lobby"),
    (delete(1), "deleted", "message.lobby"),
    (delete(1, author="mod", moderated=True), "deleted", "message.lobby"),
    (react(1, "👍", remove=True), "reacted", "message.lobby"),
    (moderate("ban", user="bob", until=7, reason="spam"), "moderated", "moderation.lobby"),
    (moderate("create", access="private", role="owner"), "moderated", "moderation.lobby"),
]


@pytest.mark.parametrize(("draft", "name", "key"), EVERY_KIND)
def test_every_kind_has_its_type_and_key(draft: Draft, name: str, key: str) -> None:
    (event,) = encoded(draft)
    assert (event["type"], event["key"]) == (TYPE_PREFIX + name, key)


def test_all_kinds_of_events_are_there() -> None:
    assert {draft.kind for draft, _, _ in EVERY_KIND} == set(Kind)


def test_what_is_sent_again_has_the_same_id_and_bytes() -> None:
    drafts = [message(str(number)) for number in range(5)]
    once = dict(ENCODER.encode(unsent(*drafts)))
    again = dict(EventEncoder("chat").encode(unsent(*drafts[2:], first=3)))
    assert again == {seq: once[seq] for seq in (3, 4, 5)}


def test_ids_differ_between_rooms_epochs_and_events() -> None:
    ids = {
        outgoing.id
        for room in ("lobby", "games")
        for epoch in ("e1", "e2")
        for _, outgoing in ENCODER.encode(
            UnsentEvents(room, epoch, 1, [message("a").encode(room, 1), message("b").encode(room, 2)])
        )
    }
    assert len(ids) == 8


def test_what_is_not_wanted_is_left_out_and_numbers_stay() -> None:
    drafts = [message("a"), moderate("topic", topic="t"), message("b")]
    acts = EventEncoder("chat", ["moderation"]).encode(unsent(*drafts))
    assert [(seq, outgoing.key) for seq, outgoing in acts] == [(2, "moderation.lobby")]
    assert [seq for seq, _ in EventEncoder("chat", ["message"]).encode(unsent(*drafts))] == [1, 3]
    assert EventEncoder("chat", ["presence"]).encode(unsent(*drafts)) == []


def test_rooms_of_two_are_private() -> None:
    assert encoded(message("psst"), room="@alice,bob") == []
    (event,) = encoded(message("psst"), room="@alice,bob", encoder=EventEncoder("chat", directs=True))
    assert (event["key"], event["subject"]) == ("message.@alice,bob", "@alice,bob")


def test_names_in_every_script() -> None:
    room = "@анна,λουκάς"
    (event,) = encoded(
        message("γειά", author="λουκάς"), room=room, encoder=EventEncoder("chat", directs=True)
    )
    assert (event["subject"], event["id"]) == (room, f"e1:{room}:1")


@pytest.mark.parametrize(
    ("at_ms", "time"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (253402300800000, "9999-12-31T23:59:59.000Z"),
        (-(1 << 62), "0001-01-01T00:00:00.096Z"),
    ],
)
def test_times(at_ms: int, time: str) -> None:
    assert encoded(message("hi", at_ms=at_ms))[0]["time"] == time


@given(
    author=st.text(min_size=1, max_size=20),
    draft_id=st.none() | st.text(max_size=20),
    text=st.text(max_size=60),
    at_ms=st.integers(0, 1 << 45),
)
def test_whatever_strings_hold_the_time_is_found(
    author: str, draft_id: str | None, text: str, at_ms: int
) -> None:
    draft = message(text, author, at_ms=at_ms, id=draft_id)
    (event,) = encoded(draft)
    assert event["data"]["at"] == at_ms
    assert event["data"]["text"] == text
    assert event["time"] == encoded(message("", at_ms=at_ms))[0]["time"]


@pytest.mark.parametrize("trap", [',"at":7', '","at":7', '\\","at":7', ',"at":7,"', '"'])
def test_what_looks_like_a_time_is_none(trap: str) -> None:
    (event,) = encoded(message(trap, author=trap, id=trap, at_ms=1000))
    assert event["time"] == "1970-01-01T00:00:01.000Z"


def test_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="not an event"):
        ENCODER.encode(UnsentEvents("lobby", "e1", 1, [b'{"room":"lobby","type":"message"}']))


class TestNotices:
    def encoder(self, process: str = "p1") -> NoticeEncoder:
        return NoticeEncoder("chat", process, lambda: 1772366400250)

    def test_sessions(self) -> None:
        data = orjson.dumps({"user": "alice", "guest": False, "session": "00ff"})
        for event_type in CONNECTED, DISCONNECTED:
            notice = self.encoder().encode(event_type, "alice", data)
            event = DOCUMENT.check(notice.body)
            assert (event["type"], event["subject"]) == (f"chat.fastchat.{event_type}", "alice")
            assert event["time"] == "2026-03-01T12:00:00.250Z"
            assert outgoing_of(notice).key == event_type
            assert notice.slot == slot_of("alice")

    def test_presence_and_receipts(self) -> None:
        encoder = self.encoder()
        for event_type, data in (
            ("presence", encode_presence("lobby", ["alice"], [], 1, {"bob": "tea"}, ["carol"])),
            ("receipt", encode_receipts("lobby", {"alice": 7})),
        ):
            notice = encoder.encode(event_type, "lobby", data)
            event = DOCUMENT.check(notice.body)
            assert event["data"] == orjson.loads(data)
            outgoing = outgoing_of(notice)
            assert (outgoing.key, outgoing.id, outgoing.body) == (
                f"{event_type}.lobby", event["id"], notice.body,
            )  # fmt: skip
            assert notice.slot == slot_of("lobby")

    def test_each_has_an_id_of_its_own(self) -> None:
        data = encode_receipts("lobby", {"alice": 7})
        one, other = self.encoder(), self.encoder("p2")
        ids = {outgoing_of(e.encode("receipt", "lobby", data)).id for e in (one, one, other, other)}
        assert len(ids) == 4


class TestTheDocument:
    def test_it_has_every_type(self) -> None:
        named = {f"{TYPE_PREFIX}{name}" for name in (*Kind, "receipt", "presence", CONNECTED, DISCONNECTED)}
        assert DOCUMENT.types == named

    def test_the_page_has_every_type_and_kind(self) -> None:
        text = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
        table = text.partition("| `type` |")[2].partition("\n\n")[0]
        assert set(re.findall(r"`(chat\.fastchat\.[a-z.]+)`", table)) == DOCUMENT.types
        assert {key.partition(".")[0] for key in re.findall(r"\| `([a-z]+\.[A-Za-z]+)` \|", table)} == set(
            KINDS
        )

    def test_the_example_on_the_page_is_one(self) -> None:
        text = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
        (example,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
        shown = DOCUMENT.check(example.encode())
        data = orjson.dumps(shown["data"])
        ((_, made),) = ENCODER.encode(UnsentEvents("lobby", "9f2c0a41d6e7", 42, [data]))
        assert orjson.loads(made.body) == shown

    @pytest.mark.parametrize(
        "change",
        [
            {"type": "chat.fastchat.typing"},
            {"time": "2026-03-01 12:00:00"},
            {"data": {"type": "message", "room": "lobby"}},
            {"id": ""},
        ],
    )
    def test_it_refuses_something_else(self, change: dict[str, Any]) -> None:
        ((_, outgoing),) = ENCODER.encode(unsent(message("hi")))
        with pytest.raises(ValidationError):
            DOCUMENT.check(orjson.dumps(orjson.loads(outgoing.body) | change))
