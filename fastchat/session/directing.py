"""Commands between two people: direct, block, unblock. Pure: no sockets, clock or await."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from fastchat.auth.names import name_key, normalize_name
from fastchat.messages import Code, Command, WireError
from fastchat.people import Role, User
from fastchat.room import Room
from fastchat.session.conversation import Conversation
from fastchat.session.gathering import gather, names_of, no_such_user, reach
from fastchat.session.posting import post_message
from fastchat.store import Account, Direct
from fastchat.store.facts import blocking
from fastchat.store.pairs import pair_room, part_of


def direct(session: Conversation, command: Command, wall_ms: int) -> None:
    """Says something to one person, on all devices of both; who is away finds it unread on return."""

    def say(other: User) -> None:
        room = _room_with(session, other)
        posted = {**command, "room": room}
        gather(session, command, room, wall_ms, partial(post_message, session, posted, wall_ms))

    _with_other(session, command, "to", say)


def block(session: Conversation, command: Command, wall_ms: int) -> None:
    """Lets somebody write to one no more."""
    _with_other(session, command, "user", partial(_set_block, session, command, True))


def unblock(session: Conversation, command: Command, wall_ms: int) -> None:
    """Lets somebody write to one again."""
    _with_other(session, command, "user", partial(_set_block, session, command, False))


def _with_other(session: Conversation, command: Command, field: str, then: Callable[[User], None]) -> None:
    """Finds out who is meant. Raises WireError where it is oneself."""
    name = normalize_name(command[field])
    if name_key(name) == name_key(session.user):
        raise WireError(Code.BAD_FIELD, f"{field} is yourself", field=field)
    other = session.hub.population.find(name)
    if other is not None:
        then(other)
        return

    def find(done: Callable[[Account | WireError], None]) -> None:
        def on_account(account: Account | WireError | None) -> None:
            missing = account is None or (isinstance(account, Account) and account.disabled)
            done(_no_such(name, field) if missing or account is None else account)

        session.hub.store.account(name_key(name), on_account)

    def answer(account: Account) -> None:
        go_on = partial(then, User(account.name, guest=False))
        session.keep_first([partial(_go_on, session, command, go_on)])  # before what came behind the command

    session.ask(command, find, answer)


def _go_on(session: Conversation, command: Command, then: Callable[[], None]) -> None:
    try:
        then()
    except WireError as error:
        session.refuse(error, command.get("ref"))


def _no_such(name: str, field: str) -> WireError:
    error = no_such_user(name)
    error.field = field
    return error


def _room_with(session: Conversation, other: User) -> str:
    person = session.person
    room = pair_room(person, other)
    granted = person.granted(room)
    if granted is not None and granted < Role.MEMBER:
        raise WireError(Code.FORBIDDEN, "your token does not allow to write to people", field="to")
    return room


def _set_block(session: Conversation, command: Command, blocked: bool, other: User) -> None:
    hub = session.hub
    fact = {blocking(part_of(session.person)): True if blocked else None}
    name = pair_room(session.person, other)

    def keep(done: Callable[[WireError | None], None]) -> None:
        def on_reached(found: tuple[Room, object] | WireError) -> None:
            if isinstance(found, WireError):
                done(found)
            else:
                found[0].set_facts(fact, done)

        reach(hub, name, on_reached)

    def answer(nothing: None) -> None:
        session.reply(command, "blocked" if blocked else "unblocked", user=other.name)

    session.ask(command, keep, answer)


# What one has


def own_directs(session: Conversation, done: Callable[[Sequence[Direct] | WireError], None]) -> None:
    """The user's rooms of two, the newest first where the store keeps them."""
    if not session.person.guest:
        session.hub.directs(session.user, done)
        return
    rooms = session.hub.guest_rooms.of(part_of(session.person))
    done([_direct_of(session, room) for room in rooms])


def _direct_of(session: Conversation, room: Room) -> Direct:
    facts = room.rules.rules.facts if room.rules is not None else {}
    blocked = blocking(part_of(session.person)) in facts
    return Direct(room.name, room.head, room.presence.cursor(session.user), blocked)


def other_of(session: Conversation, room: str) -> str:
    """The name of the one with whom the user has this room of two."""
    own = name_key(session.user)
    return next(name for name in names_of(room) if name_key(name) != own)
