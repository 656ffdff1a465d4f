"""Commands that tell who one is and where: hello, join, leave. Pure: no sockets, clock or await."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from fastchat.auth.names import normalize_name
from fastchat.messages import PROTOCOL_VERSION, Code, Command, WireError
from fastchat.rooms import Room
from fastchat.session.conversation import Conversation
from fastchat.session.interface import State

Marks = Mapping[str, int]


def hello(session: Conversation, command: Command, wall_ms: int) -> None:
    """Takes a name, or another one, and comes back to the rooms of ``resume``."""
    name = command.get("user")
    if name is not None:
        name = normalize_name(name)
    if session.state is State.NEW:
        session.user = session.hub.claim_name(name)
        session.state = State.READY
    elif name is not None and name != session.user:
        # The new name may have read something here before.
        read_marks = partial(session.hub.marks, name, session.rooms)
        session.ask(command, read_marks, partial(_rename, session, command, name))
        return
    _welcome(session, command)


def _rename(session: Conversation, command: Command, name: str, marks: Marks) -> None:
    rooms = [session.membership(room).room for room in session.rooms]
    session.hub.rename(rooms, session.user, name, marks)
    session.user = name
    _welcome(session, command)


def _welcome(session: Conversation, command: Command) -> None:
    limits = session.limits
    session.reply(
        command,
        "welcome",
        user=session.user,
        session=session.id,
        server=session.server,
        protocol=PROTOCOL_VERSION,
        limits={
            "messages_per_s": limits.messages_per_s,
            "burst": limits.burst,
            "text_bytes": limits.text_bytes,
            "command_bytes": limits.command_bytes,
            "rooms_per_connection": limits.rooms_per_connection,
            "history_page": limits.history_page,
        },
    )
    if command.get("resume"):
        session.keep_first([partial(_resume, session, command)])
        session.go_on()


def _resume(session: Conversation, command: Command) -> None:
    """Joins many rooms, one after the other, as if each had been a command of its own."""
    resume, epochs, ref = command["resume"], command.get("epochs", {}), command.get("ref")

    def on_marks(marks: Marks | WireError) -> None:
        if isinstance(marks, WireError):
            for room in resume:
                session.refuse(marks, ref, room)
        elif session.state is State.READY:
            session.keep_first([partial(join_one, room, marks) for room in resume])
        session.go_on()

    def join_one(room: str, marks: Marks) -> None:
        one: Command = {"type": "join", "room": room, "after": resume[room]}
        if room in epochs:
            one["epoch"] = epochs[room]
        if ref is not None:
            one["ref"] = ref
        try:
            _enter(session, one, partial(_open, session, room, marks.get(room, 0)), resumed=True)
        except WireError as error:
            session.refuse(error, ref, room)

    session.wait()
    session.hub.marks(session.user, list(resume), on_marks)


def join(session: Conversation, command: Command, wall_ms: int) -> None:
    """Enters a room."""
    name = command["room"]

    def find(done: Callable[[tuple[Room, int] | WireError], None]) -> None:
        def on_marks(marks: Marks | WireError) -> None:
            if isinstance(marks, WireError):
                done(marks)
            else:
                _open(session, name, marks.get(name, 0), done)

        session.hub.marks(session.user, [name], on_marks)

    _enter(session, command, find)


def _open(
    session: Conversation, name: str, cursor: int, done: Callable[[tuple[Room, int] | WireError], None]
) -> None:
    """The room and how far the user has read it. MUST come last: it is to be entered at once."""
    session.hub.open(name, lambda room: done(room if isinstance(room, WireError) else (room, cursor)))


def _enter(
    session: Conversation,
    command: Command,
    find: Callable[[Callable[[tuple[Room, int] | WireError], None]], None],
    *,
    resumed: bool = False,
) -> None:
    """Enters the room that ``find`` finds, and says so. Raises WireError."""
    name, limit = command["room"], session.limits.rooms_per_connection
    if session.hub.membership(name, session.peer.writer) is not None:
        raise WireError(Code.ALREADY_JOINED, f"you are in room {name} already", field="room")
    if limit and len(session.rooms) >= limit:
        raise WireError(
            Code.TOO_MANY_ROOMS, f"a connection may be in {limit} rooms; leave one first", field="room"
        )

    def enter(found: tuple[Room, int]) -> None:
        room, cursor = found
        membership = session.hub.enter(
            room, session.peer.writer, session.user, command.get("after"), command.get("epoch"), cursor
        )
        cursor = room.presence.cursor(session.user)
        session.reply(
            command,
            "joined",
            room=name,
            head=room.head,
            epoch=room.log.epoch,
            members=len(room.members),
            reset=membership.reset,
            cursor=cursor,
            unread=room.head - cursor,
        )

    session.ask(command, find, enter, name if resumed else None)


def leave(session: Conversation, command: Command, wall_ms: int) -> None:
    """Leaves a room."""
    room = session.membership(command["room"]).room
    session.hub.leave(room, session.peer.writer, session.user)
    session.reply(command, "left", room=command["room"])
