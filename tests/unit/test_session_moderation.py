"""Moderating a room: who may, what it does to those who are there, and what is told of it."""

from typing import Any

import pytest

from fastchat.messages import COMMANDS
from fastchat.people import Grant, Role, User
from fastchat.permissions import LEAST, Action
from fastchat.room import RoomSettings
from fastchat.store import Account, AuditEntry
from tests import role_matrix
from tests.answers import refusal, shortest
from tests.parties import STARTED_AT_MS, Document, Party, Program
from tests.people import Doorkeeper
from tests.slow_store import SlowStore

ACCOUNTS = ("olga", "mona", "max", "rita", "bob", "carl", "root")


class Club(Party):
    """A party of accounts in the room ``club``: olga owns it, mona moderates, rita reads, bob is a member."""

    def __init__(self, opened_by: str = "olga", **settings: Any) -> None:
        super().__init__(**settings)
        self.door = Doorkeeper(dict.fromkeys(ACCOUNTS, "secret"), operators={"root"})
        self.hub.authenticator = self.door
        for name in ACCOUNTS:
            account = Account(name, name, operator=name == "root")
            self.hub.store.add_account(account, lambda error: None)
        opener = self.account(opened_by)
        assert opener.ask("create", room="club")["type"] == "sent"
        if opened_by != "olga":
            opener.ask("role", room="club", user="olga", role="owner")
        self.olga = self.account("olga")
        for name, role in (("mona", "moderator"), ("max", "moderator"), ("rita", "reader")):
            assert self.olga.ask("role", room="club", user=name, role=role)["type"] == "sent"
        self.olga.ask("join", room="club")
        self.mona = self.account("mona", "club")
        self.rita = self.account("rita", "club")
        self.bob = self.account("bob", "club")
        for one in (self.olga, self.mona, self.rita, self.bob):
            one.heard()

    def account(self, user: str, *rooms: str) -> Program:
        """Somebody who has logged in and joined the rooms."""
        program = Program(self)
        assert program.ask("hello", user=user, password="secret")["type"] == "welcome"
        for room in rooms:
            answer = program.ask("join", room=room)
            assert answer["type"] == "joined", answer
        self.settle()
        program.heard()
        return program

    def audit(self) -> list[AuditEntry]:
        """What the audit log has, the oldest entry first."""
        found: list[Any] = []
        self.hub.store.audit(0, 100, found.append)
        return [entry for _, entry in reversed(found[0])]


@pytest.fixture
def club() -> Club:
    return Club()


def kinds(heard: list[Document]) -> list[Any]:
    return [one.get("action", one["type"]) for one in heard if one["type"] not in ("presence", "receipt")]


# The table of action and role, over whole sessions

COMMAND_OF: dict[str, Document] = {
    **{
        kind: {**shortest(kind), "room": "club"}
        for kind in ("create", "join", "leave", "history", "members", "room")
    },
    **{kind: {**shortest(kind), "room": "club"} for kind in ("send", "typing", "topic", "slow", "access")},
    "search": {"query": "hello", "room": "club"},
    "list": {},
    "ack": {"room": "club", "seq": 0},
    "edit": {"room": "club", "seq": "own", "text": "hi"},
    "delete": {"room": "club", "seq": "own"},
    "react": {"room": "club", "seq": "other's", "reaction": "+1"},
    "delete_others": {"room": "club", "seq": "other's"},
    "role": {"room": "club", "user": "bob", "role": "reader"},
    "appoint": {"room": "club", "user": "bob", "role": "moderator"},
    **{
        kind: {"room": "club", "user": "bob"} for kind in ("invite", "kick", "ban", "unban", "mute", "unmute")
    },
}
SEEN_OTHERWISE = {
    ("leave", "banned"): "not_joined",  # the ban has taken him out
    ("list", "banned"): "yes",  # the list is answered, without the room in it
    ("delete_others", "muted"): "muted",  # as his own messages are
    **{("create", column): "name_taken" for column in role_matrix.rows()["create"]},
}
"""Where a session has more to say of a cell: of ``create`` that the room is there."""

TYPE_OF = {"list": "rooms", "delete_others": "delete", "appoint": "role"}


def put_in(club: Club, column: str) -> Program:
    """Carl, in the club, made what the column says."""
    carl = club.account("carl", "club")
    acts: dict[str, Document] = {
        "banned": {"type": "ban"},
        "muted": {"type": "mute"},
        "reader": {"type": "role", "role": "reader"},
        "moderator": {"type": "role", "role": "moderator"},
        "owner": {"type": "role", "role": "owner"},
    }
    if column in acts:
        assert club.olga.ask(**acts[column], room="club", user="carl")["type"] == "sent"
    return carl


def run_cell(club: Club, action: str, program: Program, own: int) -> str:
    """``yes``, or the code of the refusal."""
    fields = dict(COMMAND_OF[action])
    if "seq" in fields:
        other = club.bob.ask("send", room="club", text="other's")["seq"]
        fields["seq"] = {"own": own, "other's": other}.get(fields["seq"], 0)
    if action == "join":
        program.say("leave", room="club")
    program.heard()
    program.say(TYPE_OF.get(action, action), **fields)
    club.settle()
    errors = [one["code"] for one in program.heard("error")]
    assert len(errors) <= 1
    return errors[0] if errors else "yes"


@pytest.mark.parametrize(("action", "column", "cell"), role_matrix.cells())
def test_every_cell_over_a_session(club: Club, action: str, column: str, cell: str) -> None:
    before = club.account("carl", "club")
    own = before.ask("send", room="club", text="hello")["seq"]
    before.leave_the_server()
    program = put_in(club, column)
    assert run_cell(club, action, program, own) == SEEN_OTHERWISE.get((action, column), cell)


@pytest.mark.parametrize("action", [action for action in Action if action is not Action.CREATE])
@pytest.mark.parametrize("role", [role for role in Role if role is not Role.OUTSIDER])
def test_every_cell_of_the_servers_own_table_over_a_session(club: Club, action: Action, role: Role) -> None:
    """By way of a token that gives the role."""
    club.door.tokens["t"] = User("carl", guest=False, grants=[Grant("club", role)])
    before = club.account("carl", "club")
    own = before.ask("send", room="club", text="hello")["seq"]
    before.leave_the_server()
    carl = Program(club)
    carl.ask("hello", token="t")
    assert carl.ask("join", room="club").get("role", "member") == role.name.lower()
    assert run_cell(club, action.value, carl, own) == ("yes" if role >= LEAST[action] else "forbidden")


@pytest.mark.parametrize("kind", sorted(COMMANDS))
def test_every_command_that_names_a_room_is_nothing_to_outsiders(club: Club, kind: str) -> None:
    """Whether a private room is there or not, the answer is the same."""
    if "room" not in COMMANDS[kind].required or kind in ("join", "create"):
        return  # these two open rooms: see below
    club.olga.ask("access", room="club", access="private")
    carl = club.account("carl")
    fields = shortest(kind) | {"ref": 1}
    answers = []
    for room in ("club", "nowhere"):
        carl.say(kind, **(fields | {"room": room}))
        (answer,) = carl.heard("error")
        answers.append({name: str(value).replace(room, "ROOM") for name, value in answer.items()})
    assert answers[0] == answers[1]
    assert answers[0]["code"] in ("no_such_room", "not_joined")


def test_a_private_room_is_like_one_that_nobody_may_open() -> None:
    club = Club(rooms=RoomSettings(create="operators"), opened_by="root")
    club.olga.ask("access", room="club", access="private")
    carl = club.account("carl")
    here, nowhere = (carl.ask("join", room=room) for room in ("club", "nowhere"))
    assert here == refusal("no_such_room", "room")
    assert here["message"].replace("club", "nowhere") == nowhere["message"]
    assert [room["room"] for room in carl.ask("rooms")["rooms"]] == []


# What is told


def test_an_act_is_an_event_that_everybody_gets(club: Club) -> None:
    sent = club.mona.ask("ban", room="club", user="bob", for_s=60, reason="spam", id="m-1")
    at = STARTED_AT_MS
    assert sent == {"type": "sent", "room": "club", "seq": 5, "at": at, "id": "m-1"}
    assert club.rita.heard("moderated") == [
        {
            "type": "moderated", "room": "club", "seq": 5, "id": "m-1", "from": "mona", "at": at,
            "action": "ban", "user": "bob", "until": at + 60_000, "reason": "spam",
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "fields"),
    [
        ({"type": "topic", "topic": "tea"}, {"topic": "tea"}),
        ({"type": "topic", "topic": ""}, {"topic": ""}),
        ({"type": "access", "access": "invite"}, {"access": "invite"}),
        ({"type": "slow", "interval_s": 7}, {"interval_s": 7}),
        ({"type": "role", "user": "BOB", "role": "reader"}, {"user": "bob", "role": "reader"}),
        ({"type": "invite", "user": "Carl"}, {"user": "carl"}),
        ({"type": "kick", "user": "bob", "reason": "x"}, {"user": "bob", "reason": "x"}),
        ({"type": "mute", "user": "bob"}, {"user": "bob"}),
        ({"type": "unmute", "user": "bob"}, {"user": "bob"}),
        ({"type": "unban", "user": "nobody"}, {"user": "nobody"}),
    ],
)
def test_each_act_and_its_fields(club: Club, command: Document, fields: Document) -> None:
    assert club.olga.ask(**command, room="club")["type"] == "sent"
    (event,) = club.rita.heard("moderated")
    told = {name: value for name, value in event.items() if name not in ("type", "room", "seq", "from", "at")}
    assert told == {"action": command["type"], **fields}
    entry = club.audit()[-1]
    assert (entry.actor, entry.action, entry.room) == ("olga", command["type"], "club")
    assert entry.target == fields.get("user", "")


def test_the_audit_log_has_every_act(club: Club) -> None:
    seq = club.bob.ask("send", room="club", text="rude")["seq"]
    club.mona.ask("delete", room="club", seq=seq)
    club.mona.ask("kick", room="club", user="bob", reason="rude")
    assert [(one.actor, one.action, one.target) for one in club.audit()] == [
        ("olga", "create", ""),
        ("olga", "role", "mona"),
        ("olga", "role", "max"),
        ("olga", "role", "rita"),
        ("mona", "delete", "bob"),
        ("mona", "kick", "bob"),
    ]
    assert club.audit()[-1].detail == '{"reason":"rude"}'


def test_an_act_that_is_sent_again_happens_once(club: Club) -> None:
    first = club.mona.ask("kick", room="club", user="bob", id="k")
    club.bob.ask("join", room="club")
    again = club.mona.ask("kick", room="club", user="bob", id="k")
    assert again == {**first, "repeated": True}
    assert club.bob.ask("send", room="club", text="still here")["type"] == "sent"
    assert len(club.audit()) == 5


def test_words_for_others_are_cleaned(club: Club) -> None:
    reason = "bad\x1b[31m  words\n\u202eevil\u200b \U0001f468\u200d\U0001f469"
    club.mona.ask("kick", room="club", user="bob", reason=reason)
    (event,) = club.rita.heard("moderated")
    assert event["reason"] == "bad [31m words evil \U0001f468\u200d\U0001f469"
    club.mona.ask("mute", room="club", user="bob", reason="\n\t")
    (event,) = club.rita.heard("moderated")
    assert "reason" not in event


def test_joined_and_rooms_tell_what_is_not_the_usual(club: Club) -> None:
    club.olga.ask("topic", room="club", topic="tea")
    club.olga.ask("access", room="club", access="invite")
    club.olga.ask("slow", room="club", interval_s=5)
    rules = {"topic": "tea", "access": "invite", "interval_s": 5}
    club.mona.ask("leave", room="club")
    joined = club.mona.ask("join", room="club")
    assert joined.items() >= {**rules, "role": "moderator"}.items()
    (entry,) = club.account("carl").ask("rooms")["rooms"]
    assert entry == {"room": "club", "members": 3, "head": 7, "joined": False, **rules}


# What it does to those who are there


@pytest.mark.parametrize("act", ["kick", "ban"])
def test_who_is_sent_away_is_out_at_once_on_all_devices(club: Club, act: str) -> None:
    club.bob.ask("join", room="other")
    phone = club.account("bob", "club")
    club.mona.ask(act, room="club", user="bob", reason="enough")
    club.olga.ask("send", room="club", text="peace")
    for device in (club.bob, phone):
        heard = device.heard()
        assert [one for one in heard if one["type"] == "left"] == [
            {"type": "left", "room": "club", "by": "mona", "reason": "enough"}
        ]
        assert kinds(heard)[-1] == "left", "nothing of the room comes behind it"
    assert club.bob.session.rooms == ["other"]
    assert "bob" not in club.rita.ask("members", room="club")["members"]
    came_back = phone.ask("join", room="club")
    assert came_back["type"] == "joined" if act == "kick" else came_back == refusal("banned", "room")


def test_a_ban_ends_by_itself(club: Club) -> None:
    club.mona.ask("ban", room="club", user="bob", for_s=60)
    club.pass_time(59)
    refused = club.bob.ask("join", room="club")
    assert (refused["code"], refused["retry_after_ms"]) == ("banned", 1000)
    club.pass_time(1)
    assert club.bob.ask("join", room="club")["type"] == "joined"


def test_a_mute_ends_by_itself(club: Club) -> None:
    club.mona.ask("mute", room="club", user="bob", for_s=60)
    refused = club.bob.ask("send", room="club", text="hm")
    assert (refused["code"], refused["retry_after_ms"]) == ("muted", 60_000)
    assert club.bob.ask("history", room="club")["type"] == "history"
    club.pass_time(60)
    assert club.bob.ask("send", room="club", text="ah")["type"] == "sent"


def test_unban_and_unmute_take_it_back(club: Club) -> None:
    club.mona.ask("mute", room="club", user="bob")
    club.mona.ask("unmute", room="club", user="BOB")
    assert club.bob.ask("send", room="club", text="ah")["type"] == "sent"
    club.mona.ask("ban", room="club", user="bob")
    club.mona.ask("unban", room="club", user="bob")
    assert club.bob.ask("join", room="club")["type"] == "joined"


@pytest.mark.parametrize("access", ["private", "invite"])
def test_outsiders_are_taken_out_when_the_door_is_closed(club: Club, access: str) -> None:
    club.olga.ask("invite", room="club", user="carl")
    carl = club.account("carl", "club")
    guest = club.program("gast", "club")
    club.olga.ask("access", room="club", access=access)
    for outsider in (club.bob, guest):
        assert outsider.heard("left") == [{"type": "left", "room": "club", "by": "olga"}]
    for insider in (club.olga, club.mona, club.rita, carl):
        assert insider.heard("left") == []
    assert club.olga.ask("members", room="club")["members"] == ["carl", "mona", "olga", "rita"]


def test_a_role_that_is_taken_is_gone_at_once(club: Club) -> None:
    club.olga.ask("role", room="club", user="mona", role="member")
    assert club.mona.ask("kick", room="club", user="bob") == refusal("forbidden", "room")
    club.olga.ask("role", room="club", user="mona", role="reader")
    assert club.mona.ask("send", room="club", text="hm") == refusal("forbidden", "room")


def test_who_was_a_moderator_may_stay_in_a_private_room(club: Club) -> None:
    club.olga.ask("access", room="club", access="private")
    club.olga.ask("role", room="club", user="mona", role="member")
    assert club.mona.heard("left") == []
    assert club.mona.ask("send", room="club", text="hm")["type"] == "sent"
    club.olga.ask("kick", room="club", user="mona")
    assert club.mona.ask("join", room="club") == refusal("no_such_room", "room"), (
        "the invitation is gone, too"
    )


def test_a_token_that_allows_less_takes_its_user_out(club: Club) -> None:
    carl = club.account("carl", "club", "other")
    session = carl.session
    session.person = User("carl", guest=False, grants=[Grant("club", Role.READER)])
    session.leave_forbidden(club.wall_ms(), "the token does not allow it")
    assert session.rooms == ["club"]
    assert carl.heard("left") == [{"type": "left", "room": "other", "reason": "the token does not allow it"}]


def test_two_names_that_look_alike_are_two_people(club: Club) -> None:
    club.program("b0b", "club")
    club.mona.ask("ban", room="club", user="b0b")
    assert club.bob.session.rooms == ["club"]


# Guests


def test_a_guests_ban_is_of_the_name(club: Club) -> None:
    guest = club.program("Gast", "club")
    assert club.mona.ask("ban", room="club", user="gast")["type"] == "sent"
    assert guest.ask("join", room="club") == refusal("banned", "room")
    assert guest.ask("hello", user="gast")["type"] == "welcome"
    assert guest.ask("join", room="club") == refusal("banned", "room")


def test_who_takes_the_name_of_somebody_banned_is_out(club: Club) -> None:
    club.mona.ask("ban", room="club", user="troll")
    guest = club.program("gast", "club")
    guest.ask("hello", user="troll")
    assert guest.session.rooms == []


@pytest.mark.parametrize(
    "command", [{"type": "role", "role": "moderator"}, {"type": "role", "role": "reader"}, {"type": "invite"}]
)
@pytest.mark.parametrize("name", ["gast", "nobody"])
def test_guests_get_no_roles_and_invitations(club: Club, command: Document, name: str) -> None:
    club.program("gast", "club")
    assert club.olga.ask(**command, room="club", user=name) == refusal("no_such_user", "user")


def test_a_guest_makes_public_rooms_and_owns_none(club: Club) -> None:
    guest = club.program("gast")
    assert guest.ask("create", room="den", access="private") == refusal("forbidden", "access")
    assert guest.ask("create", room="den", topic="tea")["type"] == "sent"
    assert "role" not in guest.ask("join", room="den")
    assert guest.ask("topic", room="den", topic="toast") == refusal("forbidden", "room")


# Acts on each other


def test_moderators_cannot_touch_each_other_and_owners_can(club: Club) -> None:
    for act in ("kick", "ban", "mute"):
        assert club.mona.ask(act, room="club", user="max") == refusal("forbidden", "user")
        assert club.mona.ask(act, room="club", user="olga") == refusal("forbidden", "user")
        assert club.mona.ask(act, room="club", user="root") == refusal("forbidden", "user")
        assert club.mona.ask(act, room="club", user="mona") == refusal("bad_field", "user")
    assert club.olga.ask("ban", room="club", user="max")["type"] == "sent"


def test_the_last_owner_stays(club: Club) -> None:
    assert club.olga.ask("role", room="club", user="olga", role="member") == refusal("forbidden", "user")
    club.olga.ask("role", room="club", user="mona", role="owner")
    assert club.olga.ask("role", room="club", user="olga", role="member")["type"] == "sent"
    assert club.mona.ask("role", room="club", user="olga", role="reader")["type"] == "sent"


def test_an_operator_is_owner_everywhere(club: Club) -> None:
    root = club.account("root")
    club.bob.ask("join", room="lobby")
    assert root.ask("ban", room="lobby", user="bob")["type"] == "sent"
    assert root.ask("ban", room="club", user="olga")["type"] == "sent"
    assert club.olga.session.rooms == []
    assert root.ask("role", room="club", user="mona", role="owner")["type"] == "sent"


def test_who_acts_need_not_be_in_the_room(club: Club) -> None:
    club.mona.ask("leave", room="club")
    assert club.mona.ask("kick", room="club", user="bob")["type"] == "sent"


# Deletion


def test_a_moderator_deletes_what_others_said(club: Club) -> None:
    seq = club.bob.ask("send", room="club", text="rude")["seq"]
    club.rita.heard()
    sent = club.mona.ask("delete", room="club", seq=seq, id="d")
    (event,) = club.rita.heard("deleted")
    assert event == {
        "type": "deleted", "room": "club", "seq": sent["seq"], "of": seq, "id": "d", "from": "mona",
        "at": sent["at"], "moderated": True, "user": "bob",
    }  # fmt: skip
    (state,) = club.rita.ask("history", room="club")["messages"]
    assert "text" not in state
    assert club.mona.ask("delete", room="club", seq=seq, id="d") == {**sent, "repeated": True}


def test_a_moderators_own_message_is_deleted_as_everybodys(club: Club) -> None:
    seq = club.mona.ask("send", room="club", text="oops")["seq"]
    club.rita.heard()
    club.mona.ask("delete", room="club", seq=seq)
    assert "moderated" not in club.rita.heard("deleted")[0]
    assert [one.action for one in club.audit() if one.action == "delete"] == []


def test_what_stands_above_a_moderator_is_not_deleted(club: Club) -> None:
    seq = club.olga.ask("send", room="club", text="rules")["seq"]
    assert club.mona.ask("delete", room="club", seq=seq) == refusal("forbidden", "user")
    assert club.bob.ask("delete", room="club", seq=seq) == refusal("forbidden", "seq")


def test_what_a_guest_said_who_is_gone_can_be_deleted(club: Club) -> None:
    guest = club.program("gast", "club")
    seq = guest.ask("send", room="club", text="rude")["seq"]
    guest.leave_the_server()
    assert club.mona.ask("delete", room="club", seq=seq)["type"] == "sent"
    assert club.mona.ask("delete", room="club", seq=999) == refusal("no_such_message", "seq")


# Slow mode


def test_slow_mode(club: Club) -> None:
    club.mona.ask("slow", room="club", interval_s=30)
    assert club.bob.ask("send", room="club", text="1")["type"] == "sent"
    club.pass_time(10)
    refused = club.bob.ask("send", room="club", text="2")
    assert (refused["code"], refused["retry_after_ms"]) == ("rate_limited", 20_000)
    assert [club.mona.ask("send", room="club", text="m")["type"] for _ in range(2)] == ["sent", "sent"]
    phone = club.account("bob", "club")
    assert phone.ask("send", room="club", text="2")["code"] == "rate_limited"
    club.pass_time(20)
    assert phone.ask("send", room="club", text="2")["type"] == "sent"
    club.mona.ask("slow", room="club", interval_s=0)
    assert phone.ask("send", room="club", text="3")["type"] == "sent"


# Rooms that are made


def test_who_makes_a_room_owns_it(club: Club) -> None:
    sent = club.bob.ask("create", room="den", access="private", topic="tea", id="c-1")
    assert sent == {"type": "sent", "room": "den", "seq": 1, "at": STARTED_AT_MS, "id": "c-1"}
    joined = club.bob.ask("join", room="den")
    assert joined.items() >= {"role": "owner", "access": "private", "topic": "tea"}.items()
    assert club.rita.ask("join", room="den") == refusal("no_such_room", "room")
    assert club.bob.ask("create", room="den", id="c-1") == {**sent, "repeated": True}
    for other, fields in ((club.bob, {"id": "c-2"}), (club.bob, {}), (club.rita, {"id": "c-1"})):
        assert other.ask("create", room="den", **fields) == refusal("name_taken", "room")
    assert club.rita.ask("create", room="club") == refusal("name_taken", "room")


@pytest.mark.parametrize(
    ("create", "who", "may"),
    [
        ("anyone", "gast", True),
        ("accounts", "gast", False),
        ("accounts", "bob", True),
        ("operators", "bob", False),
        ("operators", "root", True),
    ],
)
def test_who_opens_rooms(create: Any, who: str, may: bool) -> None:
    club = Club(rooms=RoomSettings(create=create, lobby="hall"), opened_by="root")
    program = club.program(who) if who == "gast" else club.account(who)
    expected = "yes" if may else "no_such_room"
    assert program.ask("create", room="den").get("code", "yes") == expected
    assert program.ask("join", room="den2").get("code", "yes") == expected
    assert program.ask("join", room="hall")["type"] == "joined", "the lobby is always there"
    assert program.ask("join", room="club")["type"] == "joined", "and so is what somebody has opened"
    assert set(club.hub.rooms) == {"club", "hall", *(["den", "den2"] if may else [])}


def test_a_room_has_so_many_facts_and_no_more(club: Club) -> None:
    club.hub.settings.rules_max = 5
    assert club.mona.ask("ban", room="club", user="x1", for_s=60)["type"] == "sent"
    refused = club.mona.ask("ban", room="club", user="x2")
    assert refused == refusal("forbidden", "room")
    assert "rooms.rules_max" in refused["message"]
    assert club.mona.ask("unban", room="club", user="x1")["type"] == "sent"
    assert club.mona.ask("ban", room="club", user="x2", for_s=60)["type"] == "sent"
    club.pass_time(60)
    assert club.mona.ask("ban", room="club", user="x3")["type"] == "sent", "one that is over makes place"
    rules = club.hub.rooms["club"].rules
    assert rules is not None
    assert "ban x2" not in rules.rules.facts
    assert club.hub.rooms["club"].log.facts == rules.rules.facts


# What is under way


class TestUnderWay:
    """The store has the act and has not answered yet."""

    @pytest.fixture
    def store(self) -> SlowStore:
        return SlowStore(hold=False)

    @pytest.fixture
    def club(self, store: SlowStore) -> Club:
        club = Club(store=store)
        club.account("carl", "club")
        store.hold = True
        return club

    def test_what_was_said_before_a_ban_is_kept_and_nothing_after_it(
        self, club: Club, store: SlowStore
    ) -> None:
        club.bob.say("send", room="club", text="before")
        club.mona.say("ban", room="club", user="bob")
        store_until(store, club, "append", 2)
        assert club.bob.ask("send", room="club", text="after") == refusal("banned", "room")
        store.answer()
        club.settle()
        assert [one.get("text", one.get("action")) for one in club.rita.heard("message", "moderated")] == [
            "before",
            "ban",
        ]
        assert club.bob.heard("left") == [{"type": "left", "room": "club", "by": "mona"}]

    def test_what_he_sent_before_and_what_is_stored_behind_the_ban_is_one_order(
        self, club: Club, store: SlowStore
    ) -> None:
        club.mona.say("ban", room="club", user="bob")
        store_until(store, club, "append", 1)
        for kind in ("send", "edit", "react", "typing", "ack"):
            assert club.bob.session.rooms == ["club"], "he is still there"
            club.bob.say(kind, **shortest(kind) | {"room": "club"})
        assert [one["code"] for one in club.bob.heard("error")] == ["banned"] * 5
        assert store.waiting == ["append"]

    def test_nothing_has_been_when_the_store_fails(self, club: Club, store: SlowStore) -> None:
        club.mona.say("ban", room="club", user="bob")
        store_until(store, club, "append", 1)
        store.fail()
        store.hold = False
        assert club.mona.heard("error") == [refusal("unavailable")]
        assert club.bob.session.rooms == ["club"]
        assert club.bob.ask("send", room="club", text="hi")["type"] == "sent"

    def test_a_right_counts_once_it_is_stored(self, club: Club, store: SlowStore) -> None:
        club.olga.say("role", room="club", user="bob", role="moderator")
        store_until(store, club, "append", 1)
        assert club.bob.ask("slow", room="club", interval_s=5) == refusal("forbidden", "room")
        store.answer()
        club.bob.say("slow", room="club", interval_s=5)
        store_until(store, club, "append", 1)
        store.answer()
        assert kinds(club.rita.heard()) == ["role", "slow"]

    def test_who_comes_in_while_the_ban_is_on_its_way_does_not(self, club: Club, store: SlowStore) -> None:
        club.bob.say("leave", room="club")
        club.bob.say("join", room="club")
        assert store.waiting == ["marks"]
        club.mona.say("ban", room="club", user="bob")
        store.answer(1)
        club.settle()
        store.answer()
        club.settle()
        assert club.bob.session.rooms == [] or club.bob.heard("left")
        assert "bob" not in club.hub.rooms["club"].members

    def test_a_room_that_is_being_made_private_lets_nobody_in(self, club: Club, store: SlowStore) -> None:
        club.bob.say("create", room="den", access="private")
        store_until(store, club, "append", 1)
        club.rita.say("join", room="den")
        store.answer()
        club.settle()
        assert club.rita.heard("joined", "error") == [refusal("no_such_room", "room")]

    def test_a_room_whose_making_fails_is_gone(self, club: Club, store: SlowStore) -> None:
        club.bob.say("create", room="den", access="private")
        store_until(store, club, "append", 1)
        store.fail()
        club.settle()
        assert "den" not in club.hub.rooms
        assert club.bob.heard("error") == [refusal("unavailable")]


def store_until(store: SlowStore, club: Club, kind: str, count: int) -> None:
    """Has the store answer everything but ``count`` questions of this kind."""
    for _ in range(20):
        club.settle()
        if store.waiting == [kind] * count:
            return
        others = [index for index, each in enumerate(store.waiting) if each != kind]
        assert others, store.waiting
        store.answer_one(others[0])
    raise AssertionError(store.waiting)
