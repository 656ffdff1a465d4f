"""What moderation makes true of a room: facts out of events."""

from typing import Any

import orjson
import pytest

from fastchat.store.facts import apply, audit_of, facts_of
from fastchat.store.interface import AuditEntry, Draft, Kind


def moderated(**fields: Any) -> Draft:
    return Draft(Kind.MODERATED, "Alice", 1000, fields)


@pytest.mark.parametrize(
    ("fields", "facts"),
    [
        ({"action": "create"}, {}),
        ({"action": "create", "access": "public", "role": "owner"}, {"access": None, "role alice": "owner"}),
        (
            {"action": "create", "access": "private", "topic": "x", "role": "owner"},
            {"access": "private", "topic": "x", "role alice": "owner"},
        ),
        ({"action": "topic", "topic": "tea"}, {"topic": "tea"}),
        ({"action": "topic", "topic": ""}, {"topic": None}),
        ({"action": "access", "access": "invite"}, {"access": "invite"}),
        ({"action": "access", "access": "public"}, {"access": None}),
        ({"action": "slow", "interval_s": 30}, {"slow_mode_s": 30}),
        ({"action": "slow", "interval_s": 0}, {"slow_mode_s": None}),
        ({"action": "role", "user": "Bob", "role": "moderator"}, {"role bob": "moderator"}),
        ({"action": "role", "user": "Bob", "role": "member"}, {"role bob": None, "invited bob": True}),
        ({"action": "invite", "user": "Bob"}, {"invited bob": True}),
        ({"action": "kick", "user": "Bob", "reason": "x"}, {"invited bob": None}),
        (
            {"action": "ban", "user": "Bob", "until": 5000},
            {"ban bob": 5000, "invited bob": None, "role bob": None},
        ),
        ({"action": "ban", "user": "BOB"}, {"ban bob": 0, "invited bob": None, "role bob": None}),
        ({"action": "unban", "user": "bob"}, {"ban bob": None}),
        ({"action": "mute", "user": "bob", "until": 7}, {"mute bob": 7}),
        ({"action": "mute", "user": "bob"}, {"mute bob": 0}),
        ({"action": "unmute", "user": "bob"}, {"mute bob": None}),
        ({"action": "what a later version does", "user": "bob"}, {}),
    ],
)
def test_facts_of_an_act(fields: dict[str, Any], facts: dict[str, Any]) -> None:
    assert facts_of(moderated(**fields)) == facts


def test_other_events_change_no_facts() -> None:
    assert facts_of(Draft(Kind.MESSAGE, "alice", 1, {"text": "hi", "action": "ban", "user": "bob"})) == {}
    assert facts_of(Draft(Kind.DELETED, "alice", 1, {"moderated": True, "user": "bob"}, None, 3)) == {}


def test_changes_are_applied_to_a_copy() -> None:
    before = {"topic": "tea", "ban bob": 0}
    assert apply(before, {"topic": None, "role carol": "owner", "mute dave": None}) == {
        "ban bob": 0, "role carol": "owner",
    }  # fmt: skip
    assert before == {"topic": "tea", "ban bob": 0}


def test_every_act_has_its_line_in_the_audit_log() -> None:
    entry = audit_of("lobby", moderated(action="ban", user="Bob", until=5000, reason="spam"))
    assert entry is not None
    assert orjson.loads(entry.detail) == {"until": 5000, "reason": "spam"}
    assert entry == AuditEntry(1000, "Alice", "ban", "lobby", "Bob", entry.detail)
    assert audit_of("lobby", moderated(action="kick", user="bob")) == AuditEntry(
        1000, "Alice", "kick", "lobby", "bob", ""
    )


def test_a_moderators_deletion_is_audited_and_an_authors_is_not() -> None:
    by_moderator = Draft(Kind.DELETED, "alice", 1, {"moderated": True, "user": "bob"}, None, 3)
    assert audit_of("lobby", by_moderator) == AuditEntry(1, "alice", "delete", "lobby", "bob", '{"of":3}')
    assert audit_of("lobby", Draft(Kind.DELETED, "alice", 1, {}, None, 3)) is None
    assert audit_of("lobby", Draft(Kind.MESSAGE, "alice", 1, {"text": "moderated"})) is None
