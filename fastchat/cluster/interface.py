"""What the nodes of one chat need of each other, and of the hub. Pure: no sockets, clock or await.

A node is a process. ``Cluster`` is the way to the other ones; ``People`` keeps them informed of who is on
this node, and the hub of who is on theirs; ``Names`` sees to it that no two guests have the same one.
"""

from collections.abc import Callable
from typing import Protocol

from fastchat.messages import WireError

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
