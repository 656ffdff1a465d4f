"""What a session needs to know: its limits, its connection, its states. Pure: no sockets, clock or await."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from fastchat._fanout import Writer
from fastchat.messages import Reply
from fastchat.store import Stored


@dataclass(slots=True)
class Limits:
    """What one connection may do, and all of one account; 0 means no limit for rates, rooms and text."""

    messages_per_s: float = 10.0
    burst: int = 100
    rooms_per_connection: int = 100
    messages_per_s_per_user: float = 20.0
    rooms_per_user: int = 200
    text_bytes: int = 4096
    command_bytes: int = 65536
    history_page: int = 100
    told: Mapping[str, float] = field(init=False, repr=False, compare=False)
    """What a client is told of them: made once, as thousands may be welcomed at once."""

    def __post_init__(self) -> None:
        self.told = {
            "messages_per_s": self.messages_per_s,
            "burst": self.burst,
            "text_bytes": self.text_bytes,
            "command_bytes": self.command_bytes,
            "rooms_per_connection": self.rooms_per_connection,
            "history_page": self.history_page,
        }


class Peer(Protocol):
    """The connection, as its session sees it.

    It MUST call ``Turns.go_on_with_kept`` after its writer's ``on_writable``, in a later turn of the loop.
    """

    writer: Writer

    @property
    def echo(self) -> bool:
        """Whether the client wants its own messages back as events."""

    @property
    def address(self) -> str:
        """Where the client comes from."""

    def take_token(self) -> str | None:
        """The token that came with the handshake; None if there was none, and from the second time on."""

    def reply(self, reply: Reply) -> None:
        """Sends a reply or an event to this client alone."""

    def reply_sent(self, room: str, stored: Stored, event_id: str | None, ref: str | int | None) -> None:
        """Sends the reply ``sent`` to the command with this ``id`` and ``ref``."""

    def end(self, code: int, reason: str) -> None:
        """Says good-bye and closes; closes the session before it returns, unless it is closed already."""

    def on_unblocked(self) -> None:
        """The session takes commands again (see ``Turns.blocked``), or has nothing left to answer."""


class State(Enum):
    """Where a session is: before its ``hello``, chatting, or over."""

    NEW = "new"
    READY = "ready"
    CLOSED = "closed"


# By names of their own: to look one up in an enumeration's class takes as long as a call.
NEW, READY, CLOSED = State.NEW, State.READY, State.CLOSED
