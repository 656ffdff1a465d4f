"""Who may do what in a room: the table of action and role, and the rules that facts make."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastchat.messages import Code, WireError
from fastchat.people import Grant, Role, User
from fastchat.permissions import LEAST, ROLES, Action, Rules
from fastchat.store.facts import facts_of
from fastchat.store.interface import Draft, Facts, Kind
from tests import role_matrix

NOW = 1_000_000
ALICE = User("alice", guest=False)
BOB = User("bob", guest=False)
GUEST = User("gast")
READ_ONLY = User("gast", most=Role.READER)
OPERATOR = User("root", guest=False, operator=True)


def room(**facts: Any) -> Rules:
    return Rules("garden", {name.replace("_of_", " "): value for name, value in facts.items()})


def refusal(rules: Rules, user: User, action: Action, now_ms: int = NOW) -> WireError | None:
    try:
        rules.check(user, action, now_ms)
    except WireError as error:
        return error
    return None


def comes_of(act: Callable[[], None]) -> str:
    """``yes``, or the code of the refusal."""
    try:
        act()
    except WireError as error:
        return error.code.value
    return "yes"


def outcome(rules: Rules, user: User, action: Action, now_ms: int = NOW) -> str:
    return comes_of(lambda: rules.check(user, action, now_ms))


STANDING: dict[str, Facts] = {
    "banned": {"ban alice": 0},
    "reader": {"role alice": "reader"},
    "muted": {"mute alice": 0},
    "member": {},
    "moderator": {"role alice": "moderator"},
    "owner": {"role alice": "owner"},
}


class TestTheTable:
    def test_it_has_every_action_once(self) -> None:
        assert list(role_matrix.rows()) == [action.value for action in Action]
        assert set(LEAST) == set(Action)

    @pytest.mark.parametrize(("action", "column", "cell"), role_matrix.cells())
    def test_every_cell_written_by_hand(self, action: str, column: str, cell: str) -> None:
        assert outcome(Rules("garden", STANDING[column]), ALICE, Action(action)) == cell

    @pytest.mark.parametrize("action", Action)
    @pytest.mark.parametrize("role", Role)
    def test_every_cell_of_the_servers_own(self, action: Action, role: Role) -> None:
        """By way of a token's grants, which give any role, that of an outsider, too."""
        user = User("alice", guest=False, grants=[Grant("gar*", role)])
        expected = "yes" if role >= LEAST[action] else "forbidden" if role else "no_such_room"
        assert outcome(room(), user, action) == expected

    @pytest.mark.parametrize("action", Action)
    def test_operators_may_do_everything_everywhere_but_between_two(self, action: Action) -> None:
        assert outcome(room(access="private", ban_of_root=0, mute_of_root=0), OPERATOR, action) == "yes"
        pair = Rules("@alice,bob", {})
        assert outcome(pair, OPERATOR, action) == ("yes" if action is Action.LEAVE else "no_such_room")


class TestAccess:
    @pytest.mark.parametrize("user", [ALICE, GUEST])
    @pytest.mark.parametrize(
        ("access", "outsider", "listed"),
        [("public", "yes", True), ("invite", "forbidden", True), ("private", "no_such_room", False)],
    )
    def test_who_comes_in(self, user: User, access: str, outsider: str, listed: bool) -> None:
        rules = room() if access == "public" else room(access=access)
        assert outcome(rules, user, Action.JOIN) == outsider
        assert rules.may_see(user, NOW) is listed

    @pytest.mark.parametrize("access", ["invite", "private"])
    def test_who_is_invited_is_a_member(self, access: str) -> None:
        rules = room(access=access, invited_of_alice=True)
        assert rules.role(ALICE, NOW) is Role.MEMBER
        assert rules.may_see(ALICE, NOW)
        assert rules.role(BOB, NOW) is Role.OUTSIDER

    def test_what_a_guests_name_was_given_does_not_count(self) -> None:
        rules = room(access="private", invited_of_gast=True, role_of_gast="owner")
        assert rules.role(GUEST, NOW) is Role.OUTSIDER
        assert rules.role(User("gast", guest=False), NOW) is Role.OWNER

    def test_nobody_learns_of_a_private_room_by_what_is_answered(self) -> None:
        hidden = refusal(room(access="private"), ALICE, Action.HISTORY)
        assert hidden is not None
        assert (hidden.code, hidden.field, hidden.retry_after_ms) == (Code.NO_SUCH_ROOM, "room", None)
        assert hidden.message == "there is no room garden; rooms lists those there are"

    def test_a_read_only_guest_reads(self) -> None:
        assert outcome(room(), READ_ONLY, Action.JOIN) == "yes"
        error = refusal(room(), READ_ONLY, Action.SEND)
        assert error is not None
        assert error.code is Code.FORBIDDEN
        assert "sign in" in error.message

    def test_a_token_decides_alone_where_it_names_rooms(self) -> None:
        user = User("alice", guest=False, grants=[Grant("garden", Role.READER)])
        assert room(access="private", role_of_alice="owner").role(user, NOW) is Role.READER
        assert Rules("kitchen", {"role alice": "owner"}).role(user, NOW) is Role.OUTSIDER
        assert not Rules("kitchen", {}).may_see(user, NOW)

    def test_a_ban_holds_against_a_token(self) -> None:
        user = User("alice", guest=False, grants=[Grant("*", Role.OWNER)])
        assert outcome(room(ban_of_alice=0), user, Action.JOIN) == "banned"
        assert room(mute_of_alice=0).role(user, NOW) is Role.READER


class TestBansAndMutes:
    @pytest.mark.parametrize(
        ("fact", "action", "code"),
        [("ban alice", Action.JOIN, Code.BANNED), ("mute alice", Action.SEND, Code.MUTED)],
    )
    def test_they_end_by_themselves(self, fact: str, action: Action, code: Code) -> None:
        rules = Rules("garden", {fact: NOW + 90_000})
        error = refusal(rules, ALICE, action)
        assert error is not None
        assert (error.code, error.retry_after_ms) == (code, 90_000)
        assert error.message.endswith("for 90 seconds more")
        assert outcome(rules, ALICE, action, NOW + 89_999) == code
        assert outcome(rules, ALICE, action, NOW + 90_000) == "yes"

    @pytest.mark.parametrize(
        ("left_ms", "words"), [(1, "1 second"), (7_200_000, "2 hours"), (10**9, "11 days")]
    )
    def test_they_say_how_long(self, left_ms: int, words: str) -> None:
        error = refusal(room(ban_of_alice=NOW + left_ms), ALICE, Action.JOIN)
        assert error is not None
        assert error.message.endswith(f"for {words} more")

    def test_one_for_ever_has_no_end(self) -> None:
        error = refusal(room(ban_of_alice=0), ALICE, Action.JOIN)
        assert error is not None
        assert error.retry_after_ms is None

    @pytest.mark.parametrize("name", ["alice", "Alice", "ALICE"])
    def test_the_case_of_the_name_does_not_help(self, name: str) -> None:
        assert outcome(room(ban_of_alice=0), User(name), Action.JOIN) == "banned"

    def test_others_are_not_meant(self) -> None:
        assert outcome(room(ban_of_alice=0, mute_of_alice=0), BOB, Action.SEND) == "yes"

    def test_those_that_are_over_can_be_forgotten(self) -> None:
        rules = room(ban_of_a=NOW, mute_of_b=1, ban_of_c=0, mute_of_d=NOW + 1, topic="x")
        assert rules.expired(NOW) == {"ban a": None, "mute b": None}


ACTS_ON_OTHERS = [Action.KICK, Action.BAN, Action.MUTE, Action.DELETE_OTHERS]
PEOPLE = {name: User(name, guest=False) for name in ("reader", "member", "moderator", "owner")}
PEOPLE |= {"operator": OPERATOR, "guest": GUEST, "other_moderator": User("other_moderator", guest=False)}
FULL = room(
    role_of_reader="reader",
    role_of_moderator="moderator",
    role_of_other_moderator="moderator",
    role_of_owner="owner",
    role_of_other_owner="owner",
)

# Who may act on whom, written down by hand.
BELOW = """
actor      guest  reader  member  other_moderator  owner      operator
moderator  yes    yes     yes     forbidden        forbidden  forbidden
owner      yes    yes     yes     yes              bad_field  forbidden
operator   yes    yes     yes     yes              yes        bad_field
"""


class TestActsOnPeople:
    @pytest.mark.parametrize("action", ACTS_ON_OTHERS)
    @pytest.mark.parametrize(
        ("actor", "target", "cell"),
        [(a, t, cell) for a, row in role_matrix.rows(BELOW).items() for t, cell in row.items()],
    )
    def test_only_on_those_below(self, action: Action, actor: str, target: str, cell: str) -> None:
        assert comes_of(lambda: FULL.check_target(PEOPLE[actor], action, PEOPLE[target])) == cell

    def test_a_muted_owner_is_still_above_a_moderator(self) -> None:
        rules = FULL.changed({"mute owner": 0})
        with pytest.raises(WireError, match="not below you"):
            rules.check_target(PEOPLE["moderator"], Action.BAN, PEOPLE["owner"])

    @pytest.mark.parametrize("action", [Action.UNBAN, Action.UNMUTE, Action.INVITE])
    def test_what_helps_may_be_done_for_everyone(self, action: Action) -> None:
        FULL.check_target(PEOPLE["moderator"], action, PEOPLE["owner"])


# Who may give whom which role: who gives it to whom, and what comes of each role.
APPOINTMENTS = """
actor,target               reader     member     moderator  owner
moderator,member           yes        yes        forbidden  forbidden
moderator,reader           yes        yes        forbidden  forbidden
moderator,other_moderator  forbidden  forbidden  forbidden  forbidden
moderator,owner            forbidden  forbidden  forbidden  forbidden
moderator,moderator        yes        yes        forbidden  forbidden
owner,member               yes        yes        yes        yes
owner,moderator            yes        yes        yes        yes
owner,other_owner          forbidden  forbidden  forbidden  forbidden
owner,owner                yes        yes        yes        yes
operator,owner             yes        yes        yes        yes
operator,member            yes        yes        yes        yes
member,reader              forbidden  forbidden  forbidden  forbidden
"""


class TestAppointments:
    @pytest.mark.parametrize(
        ("pair", "role", "cell"),
        [
            (pair, role, cell)
            for pair, row in role_matrix.rows(APPOINTMENTS).items()
            for role, cell in row.items()
        ],
    )
    def test_every_cell(self, pair: str, role: str, cell: str) -> None:
        people = {**PEOPLE, "other_owner": User("other_owner", guest=False)}
        actor, target = (people[name] for name in pair.split(","))

        def give() -> None:
            FULL.check(actor, Action.ROLE, NOW)
            FULL.check_appointment(actor, target, role, NOW)

        assert comes_of(give) == cell

    @pytest.mark.parametrize("role", ["reader", "member", "moderator"])
    def test_the_last_owner_cannot_step_down(self, role: str) -> None:
        rules = room(role_of_alice="owner")
        with pytest.raises(WireError, match="last owner"):
            rules.check_appointment(ALICE, ALICE, role, NOW)
        rules.check_appointment(ALICE, ALICE, "owner", NOW)
        rules.changed({"role bob": "owner"}).check_appointment(ALICE, ALICE, role, NOW)

    def test_an_operator_may_take_the_last_owners_role(self) -> None:
        room(role_of_alice="owner").check_appointment(OPERATOR, ALICE, "member", NOW)


class TestRoomsOfTwo:
    PAIR = Rules("@alice,bob", {})

    def test_both_are_members_and_nobody_else_learns_of_it(self) -> None:
        assert self.PAIR.role(ALICE, NOW) is Role.MEMBER
        assert self.PAIR.role(User("Bob", guest=False), NOW) is Role.MEMBER
        for other in (User("carol", guest=False), User("alice"), User("bob"), OPERATOR):
            assert outcome(self.PAIR, other, Action.HISTORY) == "no_such_room"
            assert not self.PAIR.may_see(other, NOW)

    def test_a_guest_has_a_sign_before_the_name(self) -> None:
        pair = Rules("@alice,~gast", {})
        assert pair.role(GUEST, NOW) is Role.MEMBER
        assert pair.role(User("gast", guest=False), NOW) is Role.OUTSIDER

    def test_nobody_moderates(self) -> None:
        assert outcome(self.PAIR, ALICE, Action.KICK) == "forbidden"

    def test_who_is_blocked_may_read_and_not_write(self) -> None:
        pair = self.PAIR.changed({"blocked alice": True})
        assert outcome(pair, BOB, Action.HISTORY) == "yes"
        assert [outcome(pair, BOB, action) for action in (Action.SEND, Action.REACT, Action.TYPING)] == [
            "refused"
        ] * 3
        assert outcome(pair, ALICE, Action.SEND) == "yes"


NAMES = st.sampled_from(["alice", "Bob", "CAROL", "dave"])
UNTIL = st.one_of(st.none(), st.integers(1, 2 * NOW))


@st.composite
def acts(draw: st.DrawFn) -> Draft:
    """Any act of moderation, as the session makes them."""
    of_people = ["role", "invite", "kick", "ban", "unban", "mute", "unmute"]
    action = draw(st.sampled_from(["create", "topic", "access", "slow", *of_people]))
    fields: dict[str, Any] = {"action": action}
    if action in of_people:
        fields["user"] = draw(NAMES)
    if action in ("ban", "mute") and (until := draw(UNTIL)) is not None:
        fields["until"] = until
    if action == "role":
        fields["role"] = draw(st.sampled_from(sorted(ROLES)))
    if action in ("topic", "create"):
        fields["topic"] = draw(st.sampled_from(["", "tea", "toast"]))
    if action in ("access", "create"):
        fields["access"] = draw(st.sampled_from(["public", "invite", "private"]))
    if action == "create" and draw(st.booleans()):
        fields["role"] = "owner"
    if action == "slow":
        fields["interval_s"] = draw(st.integers(0, 60))
    return Draft(Kind.MODERATED, draw(NAMES), NOW, fields)


class Told:
    """What a room's history says of it, read without facts: the last word on each matter counts."""

    def __init__(self, drafts: Sequence[Draft]) -> None:
        self.access, self.topic, self.slow = "public", "", 0
        self.roles: dict[str, str] = {}
        self.invited: set[str] = set()
        self.banned: dict[str, int] = {}
        self.muted: dict[str, int] = {}
        for draft in drafts:
            self._tell(draft)

    def _tell(self, draft: Draft) -> None:
        fields = draft.fields
        who = fields.get("user", "").lower()
        match fields["action"]:
            case "create":
                self.access, self.topic = fields["access"], fields["topic"]
                if "role" in fields:
                    self.roles[draft.author.lower()] = "owner"
            case "topic":
                self.topic = fields["topic"]
            case "access":
                self.access = fields["access"]
            case "slow":
                self.slow = fields["interval_s"]
            case "role":
                self.roles.pop(who, None)
                if fields["role"] == "member":
                    self.invited.add(who)
                else:
                    self.roles[who] = fields["role"]
            case "invite":
                self.invited.add(who)
            case "kick":
                self.invited.discard(who)
            case "ban":
                self.invited.discard(who)
                self.roles.pop(who, None)
                self.banned[who] = fields.get("until", 0)
            case "mute":
                self.muted[who] = fields.get("until", 0)
            case "unban":
                self.banned.pop(who, None)
            case "unmute":
                self.muted.pop(who, None)

    def role(self, who: str) -> Role:
        until = self.banned.get(who)
        if until is not None and (not until or until > NOW):
            return Role.OUTSIDER
        if who in self.roles:
            role = Role[self.roles[who].upper()]
        else:
            role = Role.MEMBER if self.access == "public" or who in self.invited else Role.OUTSIDER
        until = self.muted.get(who)
        return min(role, Role.READER) if until is not None and (not until or until > NOW) else role


@given(st.lists(acts(), max_size=30))
def test_rules_are_a_fold_over_the_events(drafts: list[Draft]) -> None:
    rules = Rules("garden", {})
    kept: dict[str, Any] = {}  # as a store's table would have them
    for draft in drafts:
        rules = rules.changed(facts_of(draft))
        for name, value in facts_of(draft).items():
            if value is None:
                kept.pop(name, None)
            else:
                kept[name] = value
    told = Told(drafts)
    for found in (rules, Rules("garden", kept)):
        assert (found.access, found.topic or "", found.slow_mode_s) == (told.access, told.topic, told.slow)
        for name in ("alice", "bob", "carol", "dave"):
            assert found.role(User(name, guest=False), NOW) is told.role(name)
    assert rules.facts == kept
