"""Several nodes of one chat in one process: hubs with sessions, on one clock, one store and one bus.

The bus delivers at once with the turns of the loop, unless it is ``held``: then the test says what becomes of
each payload. Nothing here is a stand-in for the people's part itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from fastchat.auth.authentication import Policy
from fastchat.cluster.names import ClaimedNames
from fastchat.cluster.people import NodePeople
from fastchat.room import RoomSettings
from fastchat.session import Limits
from fastchat.store.interface import Committed
from tests.fakes import FakeLoop
from tests.parties import Party, Program
from tests.shared_store import NodeStore, Truth

SECRET = "correct horse battery staple"

EVENTS, PEOPLE, BEAT = "events", "people", "beat"


@dataclass
class Payload:
    """Something on its way from one node to another."""

    source: str
    target: str
    kind: str
    content: bytes = b""
    number: int = 0
    committed: Sequence[Committed] = ()


@dataclass
class Bus:
    """Payloads between nodes, in order per pair as long as nobody meddles."""

    loop: FakeLoop
    nodes: dict[str, "Node"] = field(default_factory=dict)
    held: bool = False
    waiting: list[Payload] = field(default_factory=list)
    bytes_sent: int = 0

    def send(self, payload: Payload) -> None:
        self.bytes_sent += len(payload.content)
        if self.held:
            self.waiting.append(payload)
        else:
            self.loop.call_soon(partial(self.deliver, payload))

    def deliver(self, payload: Payload) -> None:
        if payload.target in self.nodes and payload.source in self.nodes:
            self.nodes[payload.target].receive(payload)

    def deliver_all(self) -> None:
        """Everything arrives in order, and what that brings about, too."""
        self.loop.advance(0)
        while self.waiting:
            waiting, self.waiting = self.waiting, []
            for payload in waiting:
                self.deliver(payload)
            self.loop.advance(0)

    def lose(self) -> int:
        """Everything on its way is lost; how much it was."""
        self.loop.advance(0)
        lost = len(self.waiting)
        self.waiting.clear()
        return lost


class Node(Party):
    """One of them; a party for those who are connected to it."""

    def __init__(
        self, nodes: "Nodes", name: str, *, limits: Limits | None = None, rooms: RoomSettings | None = None
    ) -> None:
        self.store = NodeStore(nodes.truth, name)
        if nodes.late:
            self.store.deliver = nodes.loop.call_soon
        super().__init__(
            store=self.store,
            loop=nodes.loop,
            limits=limits,
            rooms=rooms,
            policy=Policy(registrations_per_address=1000),
        )
        self.node = name
        self.bus = nodes.bus
        self.bus.nodes[name] = self
        self.people = NodePeople(self.hub, self, self.store.forget)
        self.hub.names = ClaimedNames(self.store, self.loop.call_soon, self.people.on_claimed)
        self.store.observe(self._on_commit)

    def _send(
        self, target: str, kind: str, content: bytes = b"", committed: Sequence[Committed] = ()
    ) -> None:
        self.bus.send(Payload(self.node, target, kind, content, self.people.number, committed))

    @property
    def _others(self) -> list[str]:
        return [name for name in self.bus.nodes if name != self.node]

    def tell_all(self, payload: bytes) -> None:
        for other in self._others:
            self._send(other, PEOPLE, payload)

    def tell(self, node: str, payload: bytes) -> None:
        self._send(node, PEOPLE, payload)

    def _on_commit(self, committed: Sequence[Committed]) -> None:
        for other in self._others:
            self._send(other, EVENTS, committed=committed)

    def beat(self) -> None:
        """Says that it is alive."""
        for other in self._others:
            self._send(other, BEAT)

    def receive(self, payload: Payload) -> None:
        if payload.kind == EVENTS:
            self.store.receive(payload.committed)
            for each in payload.committed:
                if each.room.startswith("@") and each.body is not None:
                    self.people.receive_direct(each.room, each.seq)
        elif payload.kind == PEOPLE:
            self.people.receive(payload.source, payload.content)
        else:
            self.people.receive_heartbeat(payload.source, payload.number)

    def register(self, *users: str) -> None:
        """Makes accounts; nobody of them is here."""
        for user in users:
            program = Program(self)
            assert program.ask("register", user=user, password=SECRET)["type"] == "welcome"
            program.leave_the_server()

    def log_in(self, user: str, *rooms: str) -> Program:
        """A connection of an account, in these rooms, which has heard about it."""
        program = Program(self)
        assert program.ask("hello", user=user, password=SECRET)["type"] == "welcome"
        for room in rooms:
            assert program.ask("join", room=room)["type"] == "joined"
        program.heard()
        return program

    def members(self, room: str = "lobby") -> dict[str, int]:
        """Those in the room with their connections, as this node knows them."""
        open_here = self.hub.rooms.get(room)
        return {} if open_here is None else dict(open_here.members)


class Nodes:
    """The chat that they are."""

    def __init__(
        self,
        count: int = 2,
        *,
        limits: Limits | None = None,
        rooms: RoomSettings | None = None,
        late: bool = False,
    ) -> None:
        """``late``: the store answers in a later turn of the loop."""
        self.loop = FakeLoop()
        self.late = late
        self.truth = Truth()
        self.bus = Bus(self.loop)
        self._started = 0
        self._limits = limits
        self._rooms = rooms
        self.alive = [self.start() for _ in range(count)]

    def start(self) -> Node:
        """Another node, of which nobody has heard yet."""
        self._started += 1
        return Node(self, f"node{self._started}", limits=self._limits, rooms=self._rooms)

    def crash(self, node: Node) -> None:
        """The node is gone from one moment to the next, and nobody has noticed yet."""
        del self.bus.nodes[node.node]
        self.alive = [each for each in self.alive if each is not node]

    def notice(self, node: Node) -> None:
        """It has been silent for too long."""
        self.truth.end(node.node)
        for each in self.alive:
            each.people.forget(node.node)
        self.loop.advance(0)

    def calm_down(self) -> None:
        """Heartbeats are exchanged and logs compared, until there is nothing left to tell."""
        for _ in range(4):
            for node in self.alive:
                node.beat()
            self.bus.deliver_all()
            for node in self.alive:
                node.store.compare()
            self.bus.deliver_all()
            self.loop.advance(1.5)
            self.bus.deliver_all()
        assert all(node.people.settled for node in self.alive)
