"""What all connections of one server share, and who they are. Pure: no sockets, clock or await."""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Protocol

from fastchat._fanout import Writer
from fastchat._ring import Profile
from fastchat.auth.interface import Accounts, Authenticator
from fastchat.dialects import JsonDialect, encode_event
from fastchat.presence import CallLater
from fastchat.rooms import Hub
from fastchat.session import Limits

HOLD_S = 0.05
"""How long an answer waits for the next one at most. A read of the marks of thousands takes less."""


class Member(Protocol):
    """A connection, as the server sees it."""

    writer: Writer

    @property
    def greeted(self) -> bool:
        """Whether the client has said hello."""

    @property
    def rooms(self) -> Collection[str]:
        """The names of the rooms that the client is in."""

    def end(self, code: int, reason: str, reconnect_after_ms: int | None = None) -> None:
        """Says good-bye and closes once the transport has taken it."""

    def abort(self) -> None:
        """Closes at once."""


class Profiles:
    """How each listener's connections are written to."""

    websocket: Profile
    line: Profile
    text: Profile
    json_websocket: JsonDialect
    json_line: JsonDialect

    def __init__(self, websocket: tuple[int, int], line: tuple[int, int]) -> None:
        """Profiles with these (high, low) watermarks in bytes."""
        self.websocket = Profile("websocket", "websocket", *websocket)
        self.line = Profile("line", "lines", *line)
        self.text = Profile("text", encode_event, *line)
        self.json_websocket = JsonDialect(self.websocket)
        self.json_line = JsonDialect(self.line)

    def set_watermarks(self, websocket: tuple[int, int], line: tuple[int, int]) -> None:
        """Changes the (high, low) watermarks in bytes of every connection there is."""
        self.websocket.set_watermarks(*websocket)
        self.line.set_watermarks(*line)
        self.text.set_watermarks(*line)


class Census:
    """Counts the connections, and says who may not come in. 0 means no limit."""

    def __init__(self, connections: int, per_address: int) -> None:
        self._limit = connections
        self._limit_per_address = per_address
        self._by_address: Counter[str] = Counter()
        self.members: set[Member] = set()
        # When those came of whom it is not known yet that they have said hello.
        self._newcomers: dict[Member, float] = {}
        self.on_empty: Callable[[], None] | None = None

    def refusal(self, address: str) -> str | None:
        """Why one more connection from this address is too many; None when it is welcome."""
        if self._limit and len(self.members) >= self._limit:
            return f"the server has {self._limit} connections, as many as it may; come back later"
        if self._limit_per_address and self._by_address[address] >= self._limit_per_address:
            return f"there are {self._limit_per_address} connections from {address}; close one first"
        return None

    def add(self, connection: Member, address: str, now: float) -> None:
        """Counts a connection that is open since ``now``, in seconds."""
        self.members.add(connection)
        self._newcomers[connection] = now
        self._by_address[address] += 1

    def silent(self, since: float) -> list[Member]:
        """Those who came before ``since`` and have not said hello."""
        # A new dict, as the old one would keep room for the most that it ever held.
        self._newcomers = {
            member: opened_at for member, opened_at in self._newcomers.items() if not member.greeted
        }
        return [member for member, opened_at in self._newcomers.items() if opened_at < since]

    def discard(self, connection: Member, address: str) -> None:
        """Forgets a connection; does nothing when it is not counted."""
        if connection not in self.members:
            return
        self.members.discard(connection)
        self._newcomers.pop(connection, None)
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
        if not self.members and self.on_empty is not None:
            self.on_empty()


@dataclass(slots=True)
class Chat:
    """The parts that a connection needs of its server; ``clock`` in seconds, ``wall_ms`` since 1970."""

    hub: Hub
    authenticator: Authenticator
    accounts: Accounts | None
    profiles: Profiles
    limits: Limits
    census: Census
    lobby: str
    server: str
    banner_after_s: float
    clock: Callable[[], float]
    wall_ms: Callable[[], int]
    call_later: CallLater
    offered_tokens: dict[Member, str] = field(default_factory=dict, init=False)
    """What came with the handshakes of those who have not said hello yet."""
    _held: list[Writer] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        # Sessions know the hub alone.
        self.hub.authenticator = self.authenticator
        self.hub.accounts = self.accounts

    def hold(self, writer: Writer) -> None:
        """Holds what is answered for the next answer, yet not for one that is long in coming.

        All who are held meanwhile share a timer, so some wait for less than ``HOLD_S``.
        """
        writer.hold()
        if not self._held:
            self.call_later(HOLD_S, self._release_held)
        self._held.append(writer)

    def _release_held(self) -> None:
        held, self._held = self._held, []
        for writer in held:
            writer.release()
