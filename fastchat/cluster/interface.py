"""What the nodes of one chat need of each other, and of the hub. Pure: no sockets, clock or await.

A node is a process. ``Cluster`` is the way to the other ones; ``People`` keeps them informed of who is on
this node, and the hub of who is on theirs; ``Names`` sees to it that no two guests have the same one.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from fastchat.messages import WireError
from fastchat.people import User

PAYLOAD_BYTES = 256 * 1024
"""About the most that one payload on the bus carries; whoever has more to tell sends several."""


class Outside(Protocol):
    """The way to the other nodes, which may lose, repeat and reorder. MUST NOT block."""

    node: str
    """Names this process, as ``SharedStore.node``."""

    def tell_all(self, payload: bytes) -> None:
        """Every other node's ``People.receive`` gets this."""

    def tell(self, node: str, payload: bytes) -> None:
        """That node's ``People.receive`` alone gets this."""


class People(Protocol):
    """Who is on this node, told to the others, and who is on theirs, as they tell it.

    In the loop's thread. What its payloads look like is its own business: numbered changes, requests for a
    snapshot and parts of one. It asks a node for a snapshot when it sees a hole in that node's numbers, and
    when it hears of it first.
    """

    @property
    def number(self) -> int:
        """Of the newest change that the others were told; heartbeats carry it."""

    def receive(self, node: str, payload: bytes) -> None:
        """Another node's People has sent this. Raises ValueError where it makes no sense."""

    def receive_heartbeat(self, node: str, number: int) -> None:
        """That node is alive, and its changes have come to this number: a hole at the end is seen by it."""

    def on_connected(self) -> None:
        """The bus is there again, or for the first time: what nodes told in between is lost."""

    def on_claimed(self, name: str) -> None:
        """The store has given a guest's name to this node: a guest who had it elsewhere is gone from there.

        Called before the guest enters the population; who is called so here already stays.
        """

    def receive_direct(self, room: str, seq: int) -> None:
        """Another node has stored this event in a room of two, which need not be open here.

        Its People tells so, too; who hears it earlier from the bus may say so here.
        """

    def forget(self, node: str) -> None:
        """That node has stopped, or was silent for too long: its people are gone. May be called again."""


class Names(Protocol):
    """The names of guests, each for one of them on all nodes. The hub's ``names``; None on a single node.

    For everyone who claims a name ``release`` is called once, unless the answer was an error: also when the
    same node has claimed it for somebody else before.
    """

    def claim(self, name: str, done: Callable[[WireError | None], None]) -> None:
        """Takes the name for this node; ``name_taken`` where another one has it. MUST NOT block."""

    def release(self, name: str) -> None:
        """One who claimed it does not need it any more. MUST NOT block."""


class Openings(Protocol):
    """Who listens for what other nodes store. The hub's ``openings``; None on a single node."""

    def on_open(self, room: str) -> None:
        """The room's log is about to be opened. MUST NOT block."""

    def on_let_go(self, room: str) -> None:
        """The room is not in memory any more, or could not be opened."""


class Somebody(Protocol):
    """One of this node's sessions, as far as others are told of it; the same object until it is over."""

    user: str
    person: User


class Shown(Protocol):
    """A room's presence."""

    def begin(self, members: Mapping[str, int], cursors: Mapping[str, int]) -> None:
        """Those who are in the room on other nodes, and how far they have read."""


class Others(Protocol):
    """What this node tells the others, and what it knows of theirs.

    The hub's ``others`` and its population's; None on a single node. Told after it has happened. MUST NOT
    block.
    """

    def on_came(self, session: Somebody) -> None:
        """The session has entered, or is somebody else or may do other things than before."""

    def on_renamed(self, old: str) -> None:
        """A guest who was called so is called otherwise by now, or is an account: see ``on_came``."""

    def on_went(self, session: Somebody) -> None:
        """The session is over, and in no room any more. May be told again, and of who has never come."""

    def on_joined(self, session: Somebody, room: str) -> None:
        """The session is in the room; where it has more than one seat there, told for each."""

    def on_left(self, session: Somebody, room: str) -> None:
        """The session has left the room, with one seat."""

    def on_read(self, session: Somebody, room: str, seq: int) -> None:
        """The session's user has read the room up to ``seq``."""

    def on_typing(self, session: Somebody, room: str) -> None:
        """Somebody is writing."""

    def on_away(self, user: str, text: str | None) -> None:
        """The user, who is on this node, is away on all connections; or back where ``text`` is None."""

    def on_sent_away(self, name: str, code: int, reason: str) -> None:
        """Whoever is called so has to go: this node's sessions have."""

    def on_operator(self, name: str, operator: bool) -> None:
        """Whoever is called so is an operator from now on, or not any more."""

    def on_open(self, room: str, presence: Shown) -> None:
        """The room is open here from now on, and nobody has entered it yet."""

    def on_direct(self, room: str, seq: int) -> None:
        """This event is stored in a room of two."""

    def on_kept(self, room: str) -> None:
        """The room of two is kept here from now on, as long as its guests are there."""

    def on_forgotten(self, room: str) -> None:
        """A guest of this node has gone, and this room of two with it."""

    def members_of(self, room: str) -> int:
        """How many people are in the room on other nodes."""
