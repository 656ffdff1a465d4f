"""A room's rules while they change."""

from typing import Any

import pytest

from fastchat.messages import Code, WireError
from fastchat.moderation import PACED_MAX, Moderation, rules_of
from fastchat.people import User
from fastchat.permissions import Action, Rules
from fastchat.store.interface import Draft, Kind

NOW = 1_000_000
ALICE = User("alice", guest=False)


def act(action: str, user: str = "alice", **fields: Any) -> Draft:
    return Draft(Kind.MODERATED, "root", NOW, {"action": action, "user": user, **fields})


def moderation(**facts: Any) -> Moderation:
    return Moderation(Rules("garden", facts))


def may(room: Moderation, action: Action) -> bool:
    try:
        room.check(ALICE, action, NOW)
    except WireError:
        return False
    return True


def test_rooms_like_all_others_have_none() -> None:
    assert rules_of("garden", {}) is None
    assert rules_of("garden", {"topic": "tea"}) is not None
    assert rules_of("@alice,bob", {}) is not None, "between two there is always somebody to keep out"


class TestWhileTheStoreTakesItsTime:
    def test_what_an_act_forbids_holds_at_once(self) -> None:
        room, ban = moderation(), act("ban")
        room.propose(ban)
        assert not may(room, Action.SEND)
        room.settle(ban, stored=True)
        assert not may(room, Action.SEND)

    def test_it_was_nothing_when_the_store_fails(self) -> None:
        room, ban = moderation(), act("ban")
        room.propose(ban)
        room.settle(ban, stored=False)
        assert may(room, Action.SEND)
        assert room.is_needless

    def test_what_an_act_allows_holds_once_it_is_stored(self) -> None:
        room = moderation()
        role = act("role", role="moderator")
        room.propose(role)
        assert not may(room, Action.KICK)
        room.settle(role, stored=True)
        assert may(room, Action.KICK)

    def test_a_ban_that_is_lifted_before_it_is_stored_holds_until_the_end_of_both(self) -> None:
        room, ban, unban = moderation(), act("ban"), act("unban")
        room.propose(ban)
        room.propose(unban)
        assert may(room, Action.SEND), "neither has happened, and both together change nothing"
        room.settle(ban, stored=True)
        assert not may(room, Action.SEND)
        room.settle(unban, stored=True)
        assert may(room, Action.SEND)
        assert room.is_needless

    def test_the_second_one_counts_when_the_first_one_fails(self) -> None:
        room, mute, ban = moderation(), act("mute"), act("ban")
        room.propose(mute)
        room.propose(ban)
        room.settle(mute, stored=False)
        assert not may(room, Action.JOIN)
        room.settle(ban, stored=True)
        assert "mute alice" not in room.rules.facts

    def test_other_events_settle_nothing(self) -> None:
        room = moderation()
        room.settle(Draft(Kind.MESSAGE, "alice", NOW, {"text": "hi"}), stored=True)
        assert room.is_needless

    def test_facts_that_no_event_tells_of_come_between(self) -> None:
        room, ban = moderation(), act("ban")
        room.propose(ban)
        room.change({"topic": "tea"})
        assert not may(room, Action.SEND)
        room.settle(ban, stored=True)
        assert room.rules.facts == {"topic": "tea", "ban alice": 0}


class TestSlowMode:
    def wait_ms(self, room: Moderation, now_ms: int, user: User = ALICE) -> int:
        try:
            room.pace(user, now_ms)
        except WireError as error:
            return error.retry_after_ms or -1
        return 0

    def test_one_message_per_interval(self) -> None:
        room = moderation(slow_mode_s=10)
        waits = [self.wait_ms(room, NOW + at) for at in (0, 1, 9_999, 10_000, 10_001)]
        assert waits == [0, 9_999, 1, 0, 9_999]

    def test_the_refusal_says_what_to_do(self) -> None:
        room = moderation(slow_mode_s=10)
        room.pace(ALICE, NOW)
        with pytest.raises(WireError, match="one message every 10 seconds in room garden") as refused:
            room.pace(ALICE, NOW)
        assert refused.value.code is Code.RATE_LIMITED

    def test_it_is_by_person(self) -> None:
        room = moderation(slow_mode_s=10)
        assert self.wait_ms(room, NOW) == 0
        assert self.wait_ms(room, NOW, User("bob")) == 0
        assert self.wait_ms(room, NOW, User("ALICE")) > 0

    def test_moderators_need_not_wait(self) -> None:
        room = Moderation(Rules("garden", {"slow_mode_s": 10, "role alice": "moderator"}))
        assert [self.wait_ms(room, NOW) for _ in range(3)] == [0, 0, 0]

    def test_rooms_without_it_remember_nobody(self) -> None:
        room = moderation(topic="tea")
        assert [self.wait_ms(room, NOW) for _ in range(3)] == [0, 0, 0]

    def test_a_clock_that_is_set_back_holds_nobody_up(self) -> None:
        room = moderation(slow_mode_s=10)
        room.pace(ALICE, NOW)
        assert self.wait_ms(room, NOW - 3_600_000) == 0

    def test_those_who_have_to_wait_are_remembered_however_many(self) -> None:
        room = moderation(slow_mode_s=10)
        for number in range(3 * PACED_MAX):
            room.pace(User(f"user-{number}"), NOW + number)
        assert self.wait_ms(room, NOW + 9_000, User("user-0")) == 1_000

    def test_those_who_need_not_wait_are_forgotten(self) -> None:
        room = moderation(slow_mode_s=10)
        for number in range(PACED_MAX):
            room.pace(User(f"user-{number}"), NOW)
        room.pace(ALICE, NOW + 10_000)
        assert len(room._said_at) == 1


class TestHowManyFacts:
    def test_what_would_be_too_many(self) -> None:
        room = Moderation(Rules("garden", {"ban bob": 0, "ban carol": 0}))
        assert room.room_for(act("ban"), 3, NOW) == {}
        assert room.room_for(act("ban"), 2, NOW) is None
        assert room.room_for(act("ban"), 0, NOW) == {}

    @pytest.mark.parametrize("changing", [act("unban", "bob"), act("ban", "bob", until=7), act("kick")])
    def test_what_adds_none_is_never_too_many(self, changing: Draft) -> None:
        assert Moderation(Rules("garden", {"ban bob": 0, "ban carol": 0})).room_for(changing, 1, NOW) == {}

    def test_those_on_their_way_count(self) -> None:
        room = moderation()
        room.propose(act("ban", "bob"))
        assert room.room_for(act("ban"), 1, NOW) is None

    def test_what_is_over_makes_place(self) -> None:
        room = Moderation(Rules("garden", {"ban bob": NOW, "ban carol": 0}))
        assert room.room_for(act("ban"), 2, NOW) == {"ban bob": None}
        assert room.room_for(act("ban"), 1, NOW) is None
