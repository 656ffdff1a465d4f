"""Commands that tell who one is and where: hello, join, leave. Pure: no sockets, clock or await."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from fastchat.auth.interface import Answer, Credentials
from fastchat.auth.names import name_key, normalize_name
from fastchat.hooks.interface import Kind
from fastchat.messages import PROTOCOL_VERSION, Code, Command, WireError
from fastchat.people import MEMBER, User
from fastchat.permissions import Action, no_such_room
from fastchat.room import Room
from fastchat.session.authorizing import permitted
from fastchat.session.conversation import Conversation
from fastchat.session.directing import other_of
from fastchat.session.gathering import arrive, keep_with_guests, returns, settle, tell_joined
from fastchat.session.interface import CLOSED, NEW, READY
from fastchat.store import Direct

Marks = Mapping[str, int]

Found = tuple[Room, int]
"""A room, and how far the user has read it."""

JOIN = Action.JOIN  # to look it up in an enumeration's class takes as long as a call


def hello(session: Conversation, command: Command, wall_ms: int) -> None:
    """Takes a name, or another one, and comes back to the rooms of ``resume``."""
    credentials = _credentials(session, command)
    if session.state is READY and credentials.user in (None, session.user) and not _proves(credentials):
        _welcome(session, command, wall_ms)
        session.go_on()
        return
    if session.state is READY and not session.person.guest:
        raise WireError(
            Code.FORBIDDEN, f"you are {session.user} here; open another connection to be somebody else"
        )
    come_in(session, command, wall_ms, partial(_authenticate, session, credentials))


def come_in(
    session: Conversation, command: Command, wall_ms: int, find_out: Callable[[Answer], None]
) -> None:
    """Lets in whoever ``find_out`` says the client is, or lets a guest go on as that one."""
    if session.state is NEW:
        find, welcome = partial(_let_in, session, find_out), _enter_server
    else:
        find, welcome = partial(_become, session, find_out, wall_ms), _welcome
    session.ask(command, find, partial(welcome, session, command, wall_ms))


def _credentials(session: Conversation, command: Command) -> Credentials:
    name, password, token = command.get("user"), command.get("password"), command.get("token")
    offered = session.peer.take_token()
    if token is None and password is None:
        token = offered
    if name is not None:
        name = normalize_name(name)
    elif password is not None:
        raise WireError(Code.BAD_FIELD, "password needs the user whose it is", field="password")
    return Credentials(name, password, token, session.peer.address)


def _proves(credentials: Credentials) -> bool:
    return credentials.password is not None or credentials.token is not None


def _authenticate(session: Conversation, credentials: Credentials, done: Answer) -> None:
    """Finds out who the client is.

    Who was let in while somebody was sent away is asked again: it may have been by what is not valid any
    more.
    """
    population, authenticator = session.hub.population, session.hub.authenticator
    endings = population.endings

    def on_answer(answer: User | WireError) -> None:
        if isinstance(answer, User) and not answer.guest and population.endings != endings:
            _authenticate(session, credentials, done)
        else:
            done(answer)

    if authenticator is not None:
        authenticator.authenticate(credentials, on_answer)
    elif _proves(credentials):
        done(WireError(Code.UNAUTHORIZED, "there are no accounts on this server; come as a guest"))
    else:
        done(User(credentials.user or ""))


def _let_in(
    session: Conversation,
    find_out: Callable[[Answer], None],
    done: Callable[[Sequence[Direct] | WireError], None],
) -> None:
    """Registers who the client is; an account's connection waits to hear what there is for it."""
    hub = session.hub

    def on_person(person: User | WireError) -> None:
        if isinstance(person, WireError):
            done(person)
        else:
            hub.claim_name(person, on_named)

    def on_named(person: User | WireError) -> None:
        if isinstance(person, WireError):
            done(person)
            return
        try:
            if session.state is not CLOSED:
                hub.population.enter(session, person)
        except WireError as error:
            hub.release_name(person)
            done(error)
            return
        if session.state is CLOSED:
            hub.release_name(person)
            done(())
            return
        arrive(session, on_directs)

    def on_directs(directs: Sequence[Direct] | WireError) -> None:
        if isinstance(directs, WireError) and session.state is NEW:
            session.hub.population.leave(session)
        done(directs)

    find_out(on_person)


def _enter_server(session: Conversation, command: Command, wall_ms: int, directs: Sequence[Direct]) -> None:
    session.state = READY
    if session.hub.hooks is not None:
        session.hub.hooks.tell(Kind.ON_CONNECT, session.person, session.peer.address)
    if session.hub.notices is not None:
        session.hub.notices.connected(session.person, session.id)
    _welcome(session, command, wall_ms, directs)


def _become(
    session: Conversation,
    find_out: Callable[[Answer], None],
    wall_ms: int,
    done: Callable[[Sequence[Direct] | WireError], None],
) -> None:
    """Lets a guest go on as another one, or as an account, who may have read the rooms that it is in."""
    hub = session.hub

    def on_person(person: User | WireError) -> None:
        if isinstance(person, WireError):
            done(person)
        elif name_key(person.name) == name_key(session.user):
            on_named(False, person)
        else:
            hub.claim_name(person, partial(on_named, True))

    def on_named(claimed: bool, person: User | WireError) -> None:
        if isinstance(person, WireError):
            done(person)
        else:
            hub.marks(person.name, session.rooms, partial(on_marks, claimed, person))

    def on_marks(claimed: bool, person: User, marks: Marks | WireError) -> None:
        error = marks if isinstance(marks, WireError) else None
        before = session.person
        if not isinstance(marks, WireError) and session.state is not CLOSED:
            try:
                rooms = [session.membership(room).room for room in session.rooms]
                hub.rename(rooms, session, person, marks)
            except WireError as refused:
                error = refused
        if error is not None or session.state is CLOSED:
            if claimed:
                hub.release_name(person)
            done(() if error is None else error)
            return
        if hub.notices is not None and (before.name, before.guest) != (person.name, person.guest):
            hub.notices.disconnected(before, session.id)
            hub.notices.connected(session.person, session.id)
        session.leave_forbidden(wall_ms, f"{session.user} may not be in this room")
        # It is somebody else already: if the store cannot tell of rooms of two, that is all that is missing.
        arrive(session, lambda directs: done(() if isinstance(directs, WireError) else directs))

    find_out(on_person)


def _welcome(
    session: Conversation, command: Command, wall_ms: int, directs: Sequence[Direct] | None = None
) -> None:
    """Says who the client is now. What it comes back to is next in turn: ``go_on`` MUST follow.

    ``directs`` where it has just become who it is.
    """
    person = session.person
    proved: dict[str, Any] = {}
    if directs is not None and not person.guest:
        proved["blocked"] = sorted(other_of(session, each.room) for each in directs if each.blocked)
    if person.operator:
        proved["operator"] = True
    if person.expires_at_ms is not None:
        proved["expires_at"] = person.expires_at_ms
    welcome = {
        "type": "welcome",
        "user": session.user,
        "guest": person.guest,
        **proved,
        "session": session.id,
        "server": session.server,
        "protocol": PROTOCOL_VERSION,
        "limits": session.limits.told,
    }
    session.answer(command, welcome)
    resume = command.get("resume", {})
    coming = returns(session, directs, resume) if directs else []
    if resume:
        coming.append(partial(_resume, session, command, wall_ms))
    if session.devices is not None:
        coming.append(partial(settle, session))
    if coming:
        session.keep_first(coming)


def _resume(session: Conversation, command: Command, wall_ms: int) -> None:
    """Joins many rooms, one after the other, as if each had been a command of its own."""
    resume, epochs, ref = command["resume"], command.get("epochs", {}), command.get("ref")

    def on_marks(marks: Marks | WireError) -> None:
        if isinstance(marks, WireError):
            for room in resume:
                session.refuse(marks, ref, room)
        elif session.state is READY:
            session.keep_first([partial(join_one, room, marks) for room in resume])
        session.go_on()

    def join_one(room: str, marks: Marks) -> None:
        one: Command = {"type": "join", "room": room, "after": resume[room]}
        if room in epochs:
            one["epoch"] = epochs[room]
        if ref is not None:
            one["ref"] = ref
        try:
            _enter(session, one, wall_ms, partial(_open, session, room, marks.get(room, 0)), resumed=True)
        except WireError as error:
            session.refuse(error, ref, room)

    session.wait()
    session.hub.marks(session.user, list(resume), on_marks)


def join(session: Conversation, command: Command, wall_ms: int) -> None:
    """Enters a room."""
    _enter(session, command, wall_ms, partial(_find, session, command["room"]))


def _find(session: Conversation, name: str, done: Callable[[Found | WireError], None]) -> None:
    """The room and how far the user has read it."""

    def on_marks(marks: Marks | WireError) -> None:
        if isinstance(marks, WireError):
            done(marks)
        else:
            _open(session, name, marks.get(name, 0), done)

    session.hub.marks(session.user, [name], on_marks)


def _open(session: Conversation, name: str, cursor: int, done: Callable[[Found | WireError], None]) -> None:
    """As ``_find``, where the cursor is known. MUST come last: the room is to be entered at once."""
    room = session.hub.rooms.get(name)
    if room is not None:
        done((room, cursor))
    else:
        session.hub.open(name, lambda room: done(room if isinstance(room, WireError) else (room, cursor)))


def _refreshed(
    session: Conversation,
    after: int,
    find: Callable[[Callable[[Found | WireError], None]], None],
    done: Callable[[Found | WireError], None],
) -> None:
    """What ``find`` finds, once it has what the client has seen: at another node, maybe, that is quicker."""

    def on_found(found: Found | WireError) -> None:
        if isinstance(found, WireError) or found[0].head >= after:
            done(found)
        else:
            _refresh(session, found, done)

    find(on_found)


def _refresh(session: Conversation, found: Found, done: Callable[[Found | WireError], None]) -> None:
    room, _ = found

    def on_refreshed(error: WireError | None) -> None:
        done(found if error is None else error)
        session.hub.release(room)

    session.hub.hold(room)
    room.log.refresh(on_refreshed)


def _enter(
    session: Conversation,
    command: Command,
    wall_ms: int,
    find: Callable[[Callable[[Found | WireError], None]], None],
    *,
    resumed: bool = False,
) -> None:
    """Enters the room that ``find`` finds, and says so. Raises WireError."""
    name = command["room"]
    if session.hub.membership(name, session.peer.writer) is not None:
        raise WireError(Code.ALREADY_JOINED, f"you are in room {name} already", field="room")
    _check_rooms(session, name)

    def enter(found: Found) -> None:
        room, cursor = found
        session.authorize(JOIN, room, wall_ms)
        if name.startswith("@"):
            if (not room.head and not room.members) or keep_with_guests(session.hub, room) is not None:
                raise no_such_room(name)
        elif room.is_new:
            session.check_opening(room)
        membership = session.enter_room(room, command.get("after"), command.get("epoch"), cursor)
        tell_joined(session, command, membership, **_told(session, room, wall_ms))

    if (hooks := session.hub.hooks) is not None and hooks.actions:
        find = permitted(session, "join", name, find)
    if (after := command.get("after")) is not None:
        find = partial(_refreshed, session, after, find)
    session.ask(command, find, enter, name if resumed else None)


def _told(session: Conversation, room: Room, wall_ms: int) -> dict[str, Any]:
    """What is not the usual: the room's topic and rules, and the user's role."""
    role = room.role(session.person, wall_ms)
    told: dict[str, Any] = {} if role is MEMBER else {"role": role.name.lower()}
    return told if room.rules is None else {**told, **room.rules.rules.settings}


def _check_rooms(session: Conversation, name: str) -> None:
    """Refuses a room too many; those of two have a limit of their own. Raises WireError."""
    limit, joined = session.limits.rooms_per_connection, session.rooms
    pairs = name.startswith("@")
    # Most are far from it: counted only where it may be.
    if limit and len(joined) >= limit and sum(room.startswith("@") == pairs for room in joined) >= limit:
        raise WireError(
            Code.TOO_MANY_ROOMS, f"a connection may be in {limit} rooms; leave one first", field="room"
        )
    limit, devices = (0 if pairs else session.limits.rooms_per_user), session.devices
    if not limit or devices is None:
        return
    rooms = devices.rooms()
    if len(rooms) >= limit and name not in rooms:
        raise WireError(
            Code.TOO_MANY_ROOMS,
            f"{session.user} may be in {limit} rooms on all connections; leave one first",
            field="room",
        )


def leave(session: Conversation, command: Command, wall_ms: int) -> None:
    """Leaves a room."""
    room = session.membership(command["room"]).room
    session.leave_room(room)
    session.reply(command, "left", room=command["room"])
