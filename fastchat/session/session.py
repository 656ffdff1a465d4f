"""A session: which commands are carried out, and what they cost. Pure: no sockets, clock or await."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from fastchat.hooks.interface import Kind
from fastchat.messages import Code, Command, WireError, check_command
from fastchat.people import OPERATOR, OWNER
from fastchat.permissions import Action, Rules
from fastchat.rate import take
from fastchat.rate import wait_s as rate_wait_s
from fastchat.rooms import Hub
from fastchat.session import attending, directing, entering, moderating, operating, posting, reading, signing
from fastchat.session.authorizing import ASKED_ABOUT, ask_first
from fastchat.session.conversation import Conversation
from fastchat.session.interface import CLOSED, NEW, READY, Limits, Peer, State

Handler = Callable[[Conversation, Command, int], None]

ANY_TIME = (NEW, READY)
ONCE_WELCOME = (READY,)

COMMAND_TABLE: dict[str, tuple[tuple[State, ...], bool, Action | None, Handler]] = {
    # type: (states in which it is allowed, whether it counts towards the rate limit, what its user has to be
    # allowed in the room that it names, what carries it out)
    "hello": (ANY_TIME, True, None, entering.hello),
    "join": (ONCE_WELCOME, True, Action.JOIN, entering.join),
    "leave": (ONCE_WELCOME, True, Action.LEAVE, entering.leave),
    "send": (ONCE_WELCOME, True, Action.SEND, posting.send),
    "edit": (ONCE_WELCOME, True, Action.EDIT, posting.edit),
    "delete": (ONCE_WELCOME, True, Action.DELETE, posting.delete),
    "react": (ONCE_WELCOME, True, Action.REACT, posting.react),
    "ack": (ONCE_WELCOME, True, Action.ACK, posting.ack),
    "search": (ONCE_WELCOME, True, Action.SEARCH, reading.search),
    "members": (ONCE_WELCOME, True, Action.MEMBERS, attending.members),
    "whois": (ONCE_WELCOME, True, None, attending.whois),
    "away": (ONCE_WELCOME, True, None, attending.away),
    "rooms": (ONCE_WELCOME, True, None, reading.rooms),
    "room": (ONCE_WELCOME, True, Action.ROOM, reading.room),
    "history": (ONCE_WELCOME, True, Action.HISTORY, reading.history),
    "typing": (ONCE_WELCOME, True, Action.TYPING, posting.typing),
    "create": (ONCE_WELCOME, True, None, moderating.create),  # there is no room yet in which to be allowed
    **{
        action.value: (ONCE_WELCOME, True, action, moderating.moderate)
        for action in (
            Action.TOPIC,
            Action.ACCESS,
            Action.SLOW,
            Action.ROLE,
            Action.INVITE,
            Action.KICK,
            Action.BAN,
            Action.UNBAN,
            Action.MUTE,
            Action.UNMUTE,
        )
    },
    "direct": (ONCE_WELCOME, True, None, directing.direct),
    "block": (ONCE_WELCOME, True, None, directing.block),
    "unblock": (ONCE_WELCOME, True, None, directing.unblock),
    "register": (ANY_TIME, True, None, signing.register),
    "password": (ONCE_WELCOME, True, None, signing.password),
    "refresh": (ONCE_WELCOME, True, None, signing.refresh),
    "sign_out": (ONCE_WELCOME, True, None, signing.sign_out),
    "ping": (ANY_TIME, False, None, reading.ping),
    **{kind: (ONCE_WELCOME, True, None, handler) for kind, handler in operating.COMMANDS.items()},
}

BESIDE_STORING = ("send", "direct", "edit", "delete", "react", "typing", "ping")
"""Commands that need not wait until the store has answered for what the connection sent before."""


class Session(Conversation):
    """Carries out one client's commands.

    ``now`` is in seconds of a monotonic clock, ``wall_ms`` in milliseconds since 1970.
    """

    __slots__ = ("_full_at",)

    def __init__(self, hub: Hub, peer: Peer, limits: Limits, server: str) -> None:
        super().__init__(hub, peer, limits, server)
        self._full_at = 0.0  # when the client may send a whole burst again

    def serve_operator(self) -> None:
        """The client is the operator of the server, on a way of its own, and has no limits."""
        self.person = OPERATOR
        self.user = OPERATOR.name
        self.limits = replace(self.limits, messages_per_s=0, rooms_per_connection=0, rooms_per_user=0)
        self.state = READY

    def receive(self, command: Command, now: float, wall_ms: int) -> None:
        """Carries out one command and answers it; whatever is wrong with it becomes an ``error`` reply."""
        if self.state is CLOSED:
            return
        if (self._unstored or self._busy or self._kept) and self.must_wait(
            beside_storing=command.get("type") in BESIDE_STORING
        ):
            self.keep(partial(self.receive, command, now, wall_ms))
            return
        try:
            handler = self._admit(command, now, wall_ms)
            if (hooks := self.hub.hooks) is not None and hooks.actions and command["type"] in ASKED_ABOUT:
                ask_first(self, command, partial(handler, self, command, wall_ms))
            else:
                handler(self, command, wall_ms)
        except WireError as error:
            self.refuse(error, command.get("ref"))

    def reject(self, error: WireError, now: float) -> None:
        """Answers what could not be read as a command; it costs as much as one."""
        try:
            self._charge(now)
        except WireError as limited:
            error = limited
        self.refuse(error)

    def spend(self, now: float) -> None:
        """What was answered without a command, or needed no answer, costs as much as one."""
        self._take(now)

    def _admit(self, command: Command, now: float, wall_ms: int) -> Handler:
        """What carries out the command. Raises WireError where it is wrong, not welcome or too early."""
        try:
            check_command(command)
            kind = command["type"]
            states, costs, action, handler = COMMAND_TABLE[kind]
            if self.state not in states:
                raise WireError(
                    Code.NOT_WELCOME, f'say hello before {kind}, like {{"type":"hello","user":"alice"}}'
                )
        except WireError:
            self._charge(now)
            raise
        if costs:
            self._charge(now)
        if action is not None:
            name: str = command.get("room", "")
            room = self.hub.rooms.get(name)
            # Nothing is asked of rooms and people like all others; acts of moderation come to ``find``.
            if room is not None:
                if room.rules is not None or self.person.most is not OWNER or self.person.grants is not None:
                    self.check_named(action, room, wall_ms)
            elif name.startswith("@"):
                Rules(name, {}).check(self.person, action, wall_ms)
        return handler

    def _charge(self, now: float) -> None:
        if (wait_s := self._take(now)) > 0:
            limits = self.limits
            own_s = rate_wait_s(self._full_at, now, limits.messages_per_s, limits.burst)
            most = (
                f"{limits.messages_per_s:g} commands a second"
                if own_s >= wait_s
                else f"{limits.messages_per_s_per_user:g} commands a second on all connections of {self.user}"
            )
            raise WireError(
                Code.RATE_LIMITED,
                f"more than {most}; wait and send it again",
                retry_after_ms=int(wait_s * 1000) + 1,
            )

    def _take(self, now: float) -> float:
        """Takes one token and returns 0, or takes none and returns the seconds until there is one."""
        # Whose own bucket is full has a token, and most come only now and then.
        if (now < self._full_at or self.devices is not None) and (wait_s := self.wait_s(now)) > 0:
            return wait_s
        self._full_at = take(self._full_at, now, self.limits.messages_per_s)
        if self.devices is not None:
            self.devices.take(now, self.limits.messages_per_s_per_user)
        return 0.0

    def wait_s(self, now: float, commands: int = 1) -> float:
        """The seconds after which so many commands will not be refused for coming too fast."""
        limits = self.limits
        own_s = rate_wait_s(self._full_at, now, limits.messages_per_s, limits.burst, commands)
        if self.devices is None:
            return own_s
        return max(own_s, self.devices.wait_s(now, limits.messages_per_s_per_user, limits.burst, commands))

    def cursors(self) -> dict[str, int]:
        """By room, the ``seq`` up to which this connection was served: the ``after`` to return with."""
        return {each.channel.name: each.seq for each in self.peer.writer.subscriptions}

    def close(self) -> None:
        """Leaves everything; for the others it is as if the user had left. May be called again.

        What the store was given is stored all the same; nobody is answered any more.
        """
        if self.state is READY:
            for name in self.rooms:
                self.hub.leave(self.hub.rooms[name], self.peer.writer, self.user)
            if self.hub.hooks is not None:
                self.hub.hooks.tell(Kind.ON_DISCONNECT, self.person, self.peer.address)
            if self.hub.notices is not None and self.person is not OPERATOR:
                self.hub.notices.disconnected(self.person, self.id)
        self.hub.depart(self)
        self.forget_kept()
        self.state = CLOSED
