"""What commands need of their session: who it is, where it is, and how it answers. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastchat.messages import Close, Code, Command, Reply, WireError, error_reply
from fastchat.people import MEMBER, OWNER, Role, User
from fastchat.permissions import INSIDE, LEAST, Action, Rules, no_such_room
from fastchat.population import NOBODY, Devices
from fastchat.room import Membership, Room
from fastchat.rooms import Hub
from fastchat.session.interface import CLOSED, NEW, Limits, Peer
from fastchat.session.turns import Turns


class Conversation(Turns):
    """One client: its name, its rooms, and the answers that it gets."""

    __slots__ = ("devices", "hub", "limits", "peer", "person", "server", "state", "user")

    def __init__(self, hub: Hub, peer: Peer, limits: Limits, server: str) -> None:
        super().__init__()
        self.hub = hub
        self.peer = peer
        self.limits = limits
        self.server = server
        self.state = NEW
        # Set by the population: who this is, by name, in full, and on which other connections.
        self.user = ""
        self.person: User = NOBODY
        self.devices: Devices | None = None

    def on_unblocked(self) -> None:
        """Has the client read from again."""
        if self.state is not CLOSED:
            self.peer.on_unblocked()

    def has_room(self) -> bool:
        """Whether the client takes more answers."""
        return not self.peer.writer.would_block()

    @property
    def id(self) -> str:
        """Names this session in logs."""
        return f"{(self.hub.sessions_from + self.peer.writer.id) % (1 << 64):016x}"

    @property
    def rooms(self) -> list[str]:
        """The names of the rooms that the client is in; its writer knows them, so there is no second list."""
        return self.peer.writer.channels

    def membership(self, name: str) -> Membership:
        """The room's, if the client is in it. Raises WireError."""
        membership = self.hub.membership(name, self.peer.writer)
        if membership is None:
            if name.startswith("@") and Rules(name, {}).role(self.person, 0) is Role.OUTSIDER:
                raise no_such_room(name)
            raise WireError(Code.NOT_JOINED, f"you are not in room {name}; join it first", field="room")
        return membership

    # What one may do

    def authorize(self, action: Action, room: Room, wall_ms: int) -> None:
        """Refuses what the user may not do in this room. Raises WireError."""
        person = self.person
        if room.rules is not None:
            room.rules.check(person, action, wall_ms)
        elif LEAST[action] > MEMBER or person.most is not OWNER or person.grants is not None:
            Rules(room.name, {}).check(person, action, wall_ms)

    def check_named(self, action: Action, room: Room, wall_ms: int) -> None:
        """As ``authorize``, of a room that the client has named. Raises WireError."""
        try:
            self.authorize(action, room, wall_ms)
        except WireError as error:
            hidden = error.code is Code.NO_SUCH_ROOM and action in INSIDE and not room.name.startswith("@")
            # What is done inside a room is "not joined" where there is none: so it is where one is hidden.
            if hidden and self.hub.membership(room.name, self.peer.writer) is None:
                return
            raise

    def find(self, command: Command, wall_ms: int, done: Callable[[Room | WireError], None]) -> None:
        """The command's room, where there is one in which its user may do what it asks for."""

        def on_found(room: Room | WireError) -> None:
            if isinstance(room, Room):
                try:
                    self.authorize(Action(command["type"]), room, wall_ms)
                except WireError as error:
                    room = error
            done(room)

        self.hub.find(command["room"], on_found)

    def may_see(self, room: Room, wall_ms: int) -> bool:
        """Whether the room is in the user's list of rooms."""
        if room.rules is not None:
            return room.rules.rules.may_see(self.person, wall_ms)
        return self.person.grants is None or room.role(self.person, wall_ms) is not Role.OUTSIDER

    def check_opening(self, room: Room) -> None:
        """Refuses to open a room that is not there, where the user may not. Raises WireError."""
        who = self.hub.settings.create
        allowed = who == "anyone" or self.person.operator or (who == "accounts" and not self.person.guest)
        if not allowed and room.name != self.hub.settings.lobby:
            raise no_such_room(room.name)

    def expel(self, room: str, by: str | None, reason: str | None) -> None:
        """Leaves the room, if the client is there, and tells it why."""
        membership = self.hub.membership(room, self.peer.writer)
        if membership is None:
            return
        self.leave_room(membership.room)
        told = {"by": by, "reason": reason}
        self.reply({}, "left", room=room, **{name: value for name, value in told.items() if value})

    def leave_room(self, room: Room) -> None:
        """Takes the client out of a room that it is in."""
        self.hub.leave(room, self.peer.writer, self.user)
        if self.hub.others is not None:
            self.hub.others.on_left(self, room.name)

    def enter_room(self, room: Room, after: int | None, epoch: str | None, read_up_to: int = 0) -> Membership:
        """Lets the client into a room. Raises WireError and has conditions as ``Hub.enter``."""
        membership = self.hub.enter(room, self.peer.writer, self.user, after, epoch, read_up_to)
        if self.hub.others is not None:
            self.hub.others.on_joined(self, room.name)
        return membership

    def leave_forbidden(self, wall_ms: int, reason: str) -> None:
        """Leaves the rooms where ``person`` may not be: MUST be called when it is another one, or less."""
        for name in self.rooms:
            if self.hub.rooms[name].role(self.person, wall_ms) is Role.OUTSIDER:
                self.expel(name, None, reason)

    def reply(self, command: Command, kind: str, **fields: Any) -> None:
        """Answers a command, unless the connection is over."""
        self.answer(command, {"type": kind, **fields})

    def answer(self, command: Command, reply: Reply) -> None:
        """As ``reply``, with what is to be sent; it gets the command's ``ref``."""
        if self.state is CLOSED:
            return
        if (ref := command.get("ref")) is not None:
            reply["ref"] = ref
        self.peer.reply(reply)

    def refuse(self, error: WireError, ref: str | int | None = None, room: str | None = None) -> None:
        """Answers with an ``error``, unless the connection is over.

        ``room`` tells which one it is about, where the command names several.
        """
        if self.state is not CLOSED:
            self.peer.reply(error_reply(error, ref, room))

    def end(self, code: Close, reason: str) -> None:
        """Has the connection end, for a reason that lies with the user."""
        self.peer.end(code, reason)

    def tell_expiry(self, expires_in_ms: int) -> None:
        """Tells the client that its token ends soon, so that it can ``refresh`` it."""
        self.peer.reply({"type": "token_expiring", "expires_in_ms": expires_in_ms})

    def ask(
        self,
        command: Command,
        question: Callable[[Callable[[Any], None]], None],
        answer: Callable[[Any], None],
        room: str | None = None,
    ) -> None:
        """Asks the store, and has ``answer`` do what follows; the next commands wait until then.

        ``answer`` is not called when the store has failed, or the connection is over by then. It may raise
        WireError; ``room`` is as for ``refuse``. ``question`` MUST call what it is given exactly once.
        """

        def on_result(result: Any) -> None:
            try:
                if isinstance(result, WireError):
                    self.refuse(result, command.get("ref"), room)
                elif self.state is not CLOSED:
                    answer(result)
            except WireError as error:
                self.refuse(error, command.get("ref"), room)
            finally:
                self.go_on()

        self.wait()
        question(on_result)
