"""Commands that moderate a room: create, topic, role, kick, ban and the like. Pure: no I/O, clock or await.

Each is an event of the room's log, answered as ``send`` is. Who acts need not be in the room.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import partial
from typing import Any

import orjson

from fastchat.auth.names import name_key, normalize_name
from fastchat.messages import Code, Command, WireError
from fastchat.people import OPERATOR, User
from fastchat.permissions import Action, Rules
from fastchat.room import Room
from fastchat.session.conversation import Conversation
from fastchat.session.interface import CLOSED
from fastchat.store import Block, Draft, Kind, Page, Stored
from fastchat.store.interface import PAGE_BYTES

OF_ACCOUNTS = (Action.ROLE, Action.INVITE)
"""What can be given to accounts alone: a guest's name is anybody's."""

Found = tuple[Room, User | None]
"""The room, and whom the act concerns, if it concerns anybody."""


def clean(text: str) -> str:
    """Words that others are shown: without line breaks, controls and marks that turn the direction."""
    return " ".join("".join(" " if _is_unfit(each) else each for each in text).split())


def _is_unfit(character: str) -> bool:
    category = unicodedata.category(character)
    if category == "Cf":  # joiners make emoji and words; those that turn the direction forge sentences
        return character not in "\u200c\u200d" and not "\U000e0020" <= character <= "\U000e007f"
    return category in ("Cc", "Zl", "Zp", "Cs", "Co", "Cn")


# Acts in a room that is there


def moderate(session: Conversation, command: Command, wall_ms: int) -> None:
    """Has an act stored as an event of the room, if the one whose it is may do it."""
    session.ask(command, partial(_find, session, command, wall_ms), partial(_act, session, command, wall_ms))


def _find(
    session: Conversation, command: Command, wall_ms: int, done: Callable[[Found | WireError], None]
) -> None:
    """The room comes last: it is there for this moment only."""

    def on_target(target: User | WireError | None) -> None:
        if isinstance(target, WireError):
            done(target)
            return
        session.find(
            command, wall_ms, lambda room: done(room if isinstance(room, WireError) else (room, target))
        )

    if "user" in command:
        find_target(session, normalize_name(command["user"]), on_target)
    else:
        on_target(None)


def find_target(session: Conversation, name: str, done: Callable[[User | WireError | None], None]) -> None:
    """Who is called so: somebody who is online, or an account. None where it is neither."""
    present = session.hub.population.find(name)
    if present is not None:
        done(present)
        return

    def on_account(account: Any) -> None:
        if account is None or isinstance(account, WireError):
            done(account)
        else:
            done(User(account.name, guest=False, operator=account.operator))

    session.hub.store.account(name_key(name), on_account)


def _act(session: Conversation, command: Command, wall_ms: int, found: Found) -> None:
    room, target = found
    action = Action(command["type"])
    fields: dict[str, Any] = {"action": action.value}
    if "user" in command:
        fields["user"] = _check_target(session, room, action, command, target, wall_ms)
    fields |= _details(command, wall_ms)
    store_act(session, command, room, Draft(Kind.MODERATED, session.user, wall_ms, fields, command.get("id")))


def _check_target(
    session: Conversation, room: Room, action: Action, command: Command, target: User | None, wall_ms: int
) -> str:
    """The name of whom the act concerns, as it is spelled. Raises WireError where it may not."""
    name = normalize_name(command["user"])
    if action in OF_ACCOUNTS and (target is None or target.guest):
        raise WireError(
            Code.NO_SUCH_USER,
            f"there is no account {name}; guests have no roles and invitations",
            field="user",
        )
    if target is None:
        # Not here and no account: a guest, who may come.
        target = User(name)
    rules = _rules(room)
    rules.check_target(session.person, action, target)
    if action is Action.ROLE:
        rules.check_appointment(session.person, target, command["role"], wall_ms)
    return target.name


def _details(command: Command, wall_ms: int) -> dict[str, Any]:
    """The other fields of the event."""
    fields: dict[str, Any] = {}
    for name in "role", "access", "interval_s":
        if name in command:
            fields[name] = command[name]
    if "for_s" in command:
        fields["until"] = wall_ms + command["for_s"] * 1000
    if "topic" in command:
        fields["topic"] = clean(command["topic"])
    if reason := clean(command.get("reason", "")):
        fields["reason"] = reason
    return fields


def store_act(session: Conversation, command: Command, room: Room, draft: Draft) -> None:
    """Has the event stored; it is answered when the store has answered. Raises WireError."""

    def on_stored(stored: Stored | WireError) -> None:
        if isinstance(stored, WireError):
            session.refuse(stored, command.get("ref"))
        elif session.state is not CLOSED:
            session.peer.reply_sent(room.name, stored, draft.id, command.get("ref"))
        session.end_storing()

    session.begin_storing()
    try:
        room.moderate(draft, on_stored)
    except WireError:
        session.end_storing()
        raise


# Rooms that are made


def create(session: Conversation, command: Command, wall_ms: int) -> None:
    """Opens a room, which is one's own then."""
    fields = {"action": "create", **_details(command, wall_ms)}
    if not fields.get("topic", True):
        del fields["topic"]
    if session.person is OPERATOR:
        pass  # who owns every room needs no role, and is no account that could have one
    elif not session.person.guest:
        fields["role"] = "owner"
    elif fields.get("access", "public") != "public":
        raise WireError(
            Code.FORBIDDEN, "a guest cannot own a room, so it has to be public; or sign in", field="access"
        )
    draft = Draft(Kind.MODERATED, session.user, wall_ms, fields, command.get("id"))

    def answer(found: tuple[Room, bytes | None]) -> None:
        room, first = found
        if room.is_new:
            session.check_opening(room)
            store_act(session, command, room, draft)
        else:
            _answer_repeated(session, command, draft, first)

    Rules(command["room"], {}).check(session.person, Action.CREATE, wall_ms)
    session.ask(command, partial(_open, session, command["room"]), answer)


def _open(
    session: Conversation, name: str, done: Callable[[tuple[Room, bytes | None] | WireError], None]
) -> None:
    """The room, and with what it began, unless it is a new one or that is not kept any more."""

    def on_room(room: Room | WireError) -> None:
        if isinstance(room, WireError):
            done(room)
        elif room.is_new:
            done((room, None))
        elif found := room.channel.ring.events(0, 2, 1, PAGE_BYTES):
            done((room, found[0].body))
        else:
            room.log.replay(0, partial(on_block, room))

    def on_block(room: Room, block: Block | WireError) -> None:
        if isinstance(block, WireError):
            done(block)
        else:
            done((room, block.bodies[0] if block.first == 1 and block.bodies else None))

    session.hub.open(name, on_room)


def _answer_repeated(session: Conversation, command: Command, draft: Draft, first: bytes | None) -> None:
    """Who has made the room with the same id is told so again; for all others its name is taken."""
    event: dict[str, Any] = {} if first is None else orjson.loads(first)
    made = draft.id is not None and event.get("action") == "create"
    if not made or (event.get("from"), event.get("id")) != (draft.author, draft.id):
        name = command["room"]
        raise WireError(Code.NAME_TAKEN, f"there is a room {name} already; choose another name", field="room")
    session.peer.reply_sent(command["room"], Stored(1, event["at"], None), draft.id, command.get("ref"))


# Deletion


def may_delete_others(session: Conversation, room: Room, wall_ms: int) -> bool:
    """Whether what others have said is in the user's hands here."""
    try:
        session.authorize(Action.DELETE_OTHERS, room, wall_ms)
    except WireError:
        return False
    return True


def delete(
    session: Conversation,
    command: Command,
    wall_ms: int,
    room: Room,
    post: Callable[[dict[str, Any]], None],
) -> None:
    """Has a moderator delete a message, maybe an own one; ``post`` stores the event with these fields."""

    def find_author(done: Callable[[User | WireError], None]) -> None:
        def on_page(page: Page | WireError) -> None:
            if isinstance(page, WireError):
                done(page)
                return
            # What is not there is the store's to refuse, or has not been stored yet: then it is one's own.
            author = orjson.loads(page.bodies[0])["from"] if page.bodies else session.user
            find_target(session, author, partial(on_author, author))

        def on_author(author: str, found: User | WireError | None) -> None:
            done(User(author) if found is None else found)

        seq = command["seq"]
        room.log.read(seq - 1, seq + 1, 1, False, on_page)

    def answer(author: User) -> None:
        if author.name == session.user:
            post({})
            return
        session.authorize(Action.DELETE_OTHERS, room, wall_ms)
        _rules(room).check_target(session.person, Action.DELETE_OTHERS, author)
        post({"moderated": True, "user": author.name})

    session.ask(command, find_author, answer)


def _rules(room: Room) -> Rules:
    return room.rules.rules if room.rules is not None else Rules(room.name, {})
