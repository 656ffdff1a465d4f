"""Several nodes, whatever people do and the bus does to what is told: in the end all nodes agree.

Sessions are real ones, on hubs that share a store. The bus loses, repeats and reorders. When things have
calmed down, every node knows the same members, connections and absences, and every client was shown exactly
that; nobody has got an event twice or missed one; who is banned is nowhere.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from fastchat.session.interface import State
from tests.nodes import SECRET, Node, Nodes
from tests.parties import Document, Program
from tests.shared_store import Deliver

ROOMS = ("lobby", "club")
ACCOUNTS = ("ann", "bob", "cid")
GUESTS = ("gus", "hal")
ANY = st.integers(0, 1000)
ROOM = st.sampled_from(ROOMS)
LATENESS = st.sampled_from([0, 0, 0.3, 1])


class Client:
    """One connection, and what its user would see on a screen."""

    def __init__(self, node: Node, user: str) -> None:
        self.node = node
        self.program = Program(node)
        secret: dict[str, Any] = {"password": SECRET} if user in ACCOUNTS else {}
        self.program.say("hello", user=user, **secret)
        self.seq: dict[str, int] = {}
        """Of the newest event, by room that it is in."""
        self.heard: set[tuple[str, int]] = set()
        self.members: dict[str, set[str]] = {}
        self.away: dict[str, dict[str, str]] = {}
        self.receipts: dict[tuple[str, str], int] = {}

    @property
    def is_here(self) -> bool:
        return self.program.session.state is State.READY

    @property
    def user(self) -> str:
        return self.program.session.user

    def look(self) -> None:
        """Sees what has come."""
        for document in self.program.heard():
            self._see(document)

    def _see(self, document: Document) -> None:
        kind, room = document["type"], document.get("room", "")
        if kind == "joined":
            assert room not in self.seq, "joined twice"
            self.seq[room] = document["cursor"] if room.startswith("@") else document["head"]
            if not room.startswith("@"):
                self.program.say("members", room=room)
        elif kind == "left":
            for seen in (self.seq, self.members, self.away):
                seen.pop(room, None)
        elif kind in ("message", "moderated"):
            assert document["seq"] == self.seq[room] + 1, f"{self.user} in {room}: {document}"
            self.seq[room] += 1
            self.heard.add((room, document["seq"]))
        elif kind == "members":
            self.members[room] = set(document["members"])
            self.away[room] = dict(document.get("away", {}))
        elif kind == "presence" and room in self.members:
            self._see_presence(document)
        elif kind == "receipt":
            for user, seq in document["receipts"].items():
                assert seq > self.receipts.get((room, user), 0) or user not in ACCOUNTS
                self.receipts[room, user] = seq

    def _see_presence(self, document: Document) -> None:
        members, away = self.members[document["room"]], self.away[document["room"]]
        for user in document["left"]:
            members.discard(user)
            away.pop(user, None)
        for user in document["joined"]:
            members.add(user)
            away.pop(user, None)
        for user in document.get("back", ()):
            away.pop(user, None)
        away.update(document.get("away", {}))


class SeveralNodes(RuleBasedStateMachine):
    @initialize(count=st.integers(2, 3), late=st.booleans(), facts_first=st.booleans())
    def begin(self, count: int, late: bool, facts_first: bool) -> None:
        self.nodes = Nodes(count, late=late)
        for node in self.nodes.alive:
            node.store.facts_first = facts_first
        self.clients: list[Client] = []
        self.crashed: list[Node] = []
        self.direct: list[tuple[str, int, list[Client]]] = []
        """What was said to whom in rooms of two: the connections that should hear of it."""
        self.banned: dict[str, int] = {}
        first = self.nodes.alive[0]
        first.register(*ACCOUNTS, "owner")
        owner = first.log_in("owner")
        owner.ask("create", room="club")
        owner.leave_the_server()
        self.nodes.calm_down()
        self.nodes.bus.held = True

    def node(self, index: int) -> Node:
        return self.nodes.alive[index % len(self.nodes.alive)]

    def here(self) -> list[Client]:
        return [client for client in self.clients if client.is_here]

    def client(self, index: int) -> Client | None:
        here = self.here()
        return here[index % len(here)] if here else None

    def look(self) -> None:
        for client in self.clients:
            client.look()
        self.clients = [client for client in self.clients if client.program.session.state is not State.CLOSED]

    def _deliver_after(self, seconds: float) -> Deliver:
        def deliver(answer: Callable[[], None]) -> None:
            self.nodes.loop.call_later(seconds, answer)

        return deliver

    # What people do

    @rule(node=ANY, user=st.sampled_from(ACCOUNTS + GUESTS), room=ROOM, directs_after_s=LATENESS)
    def come(self, node: int, user: str, room: str, directs_after_s: float) -> None:
        if len(self.clients) < 8:
            store = self.node(node).store
            store.deliver_directs = self._deliver_after(directs_after_s)
            client = Client(self.node(node), user)
            self.clients.append(client)
            client.program.say("join", room=room)
            client.node.settle()
            store.deliver_directs = None
            self.look()

    @rule(index=ANY, room=ROOM)
    def join(self, index: int, room: str) -> None:
        if (client := self.client(index)) is not None and room not in client.seq:
            client.program.say("join", room=room)
            self.look()

    @rule(index=ANY, room=ROOM)
    def leave(self, index: int, room: str) -> None:
        if (client := self.client(index)) is not None and room in client.seq:
            client.program.say("leave", room=room)
            self.look()

    @rule(index=ANY)
    def go(self, index: int) -> None:
        if (client := self.client(index)) is not None:
            client.look()
            client.program.leave_the_server()
            self.look()

    @rule(index=ANY, room=ROOM)
    def say(self, index: int, room: str) -> None:
        if (client := self.client(index)) is not None:
            client.program.say("send", room=room, text="hi")
            self.look()

    @rule(index=ANY, other=st.sampled_from(ACCOUNTS + GUESTS))
    def say_to(self, index: int, other: str) -> None:
        client = self.client(index)
        if client is None or client.user == other:
            return
        answer = client.program.ask("direct", to=other, text="psst")
        if answer["type"] == "sent":
            there = [each for each in self.clients if each.user == other]
            self.direct.append((answer["room"], answer["seq"], there))
        self.look()

    @rule(index=ANY, room=ROOM, back=st.integers(0, 2))
    def read(self, index: int, room: str, back: int) -> None:
        client = self.client(index)
        if client is not None and client.seq.get(room, 0) > back:
            client.program.say("ack", room=room, seq=client.seq[room] - back)

    @rule(index=ANY, text=st.sampled_from([None, "", "tea", "lunch"]))
    def go_away(self, index: int, text: str | None) -> None:
        if (client := self.client(index)) is not None:
            client.program.say("away", away=text is not None, text=text or "")

    @rule(index=ANY, name=st.sampled_from(GUESTS))
    def rename(self, index: int, name: str) -> None:
        client = self.client(index)
        if client is not None and client.user in GUESTS:
            client.program.say("hello", user=name)
            self.look()

    @rule(index=ANY)
    def sign_out(self, index: int) -> None:
        if (client := self.client(index)) is not None and client.user in ACCOUNTS:
            client.program.say("sign_out")
            self.look()

    @rule(node=ANY, user=st.sampled_from(ACCOUNTS), act=st.sampled_from(["kick", "ban", "unban"]))
    def moderate(self, node: int, user: str, act: str) -> None:
        owner = Program(self.node(node))
        owner.say("hello", user="owner", password=SECRET)
        answer = owner.ask(act, room="club", user=user)
        if answer["type"] == "sent" and act != "kick":
            self.banned.pop(user, None)
            if act == "ban":
                self.banned[user] = answer["seq"]
        owner.leave_the_server()
        self.look()

    # What becomes of nodes and the bus

    @rule()
    def start(self) -> None:
        if len(self.nodes.alive) < 4:
            self.nodes.alive.append(self.nodes.start())

    @rule(index=ANY)
    def crash(self, index: int) -> None:
        if len(self.nodes.alive) > 1:
            node = self.node(index)
            self.nodes.crash(node)
            self.crashed.append(node)
            self.clients = [client for client in self.clients if client.node is not node]

    @rule()
    def notice(self) -> None:
        for node in self.crashed:
            self.nodes.notice(node)
        self.crashed.clear()

    @rule(index=ANY, other=ANY)
    def give_up(self, index: int, other: int) -> None:
        """A node that is well is taken for dead by another one."""
        node, silent = self.node(index), self.node(other)
        if node is not silent:
            node.people.forget(silent.node)

    @rule(index=ANY)
    def beat(self, index: int) -> None:
        self.node(index).beat()

    @rule(index=ANY, how=st.sampled_from(["deliver", "deliver", "deliver", "lose", "repeat"]))
    def meddle(self, index: int, how: str) -> None:
        self.nodes.loop.advance(0)
        bus = self.nodes.bus
        if not bus.waiting:
            return
        payload = bus.waiting[index % len(bus.waiting)]
        if how != "repeat":
            bus.waiting.remove(payload)
        if how != "lose":
            bus.deliver(payload)

    @rule()
    def deliver_all(self) -> None:
        self.nodes.bus.deliver_all()
        self.look()

    @rule()
    def lose_all(self) -> None:
        self.nodes.bus.lose()

    @rule(seconds=st.sampled_from([0.5, 1.5, 5.0]))
    def pass_time(self, seconds: float) -> None:
        self.nodes.loop.advance(seconds)
        self.look()

    # In the end

    @rule()
    def calm_down(self) -> None:
        self.notice()
        for _ in range(2):  # what clients ask for when they hear of it has to calm down, too
            self.nodes.calm_down()
            self.look()
        self.nodes.loop.advance(5)
        self.look()
        self.check_members()
        self.check_screens()
        self.check_events()
        for user in self.banned:
            assert all(user not in node.members("club") for node in self.nodes.alive)

    def check_members(self) -> None:
        here = self.here()
        away = [node.hub.away for node in self.nodes.alive]
        assert all(each == away[0] for each in away), away
        assert away[0].keys() <= {client.user for client in here}
        rooms = {room for client in here for room in client.program.session.rooms} | {*ROOMS}
        for room in rooms:
            expected = Counter(client.user for client in here if room in client.program.session.rooms)
            for node in self.nodes.alive:
                assert node.hub.members_of(room) == len(expected)
                if room in node.hub.rooms:
                    assert node.members(room) == expected, (room, node.node)
        for user in ACCOUNTS + GUESTS:
            sessions = sum(client.user == user for client in here)
            for node in self.nodes.alive:
                assert len(node.hub.population.sessions(user)) == sessions, (user, node.node)

    def check_screens(self) -> None:
        away = self.nodes.alive[0].hub.away
        for client in self.here():
            for room, members in client.members.items():
                assert members == {*client.node.members(room)}, (client.user, room)
                shown = {user: text for user, text in away.items() if user in members}
                assert client.away[room] == shown, (client.user, client.node.node, room)

    def check_events(self) -> None:
        for client in self.here():
            assert {*client.seq} == {*client.program.session.rooms}
            for room, seq in client.seq.items():
                assert seq == self.nodes.truth.log(room).head, (client.user, room)
        for room, seq, clients in self.direct:
            for client in clients:
                if client.is_here and client.node in self.nodes.alive and room in client.seq:
                    assert (room, seq) in client.heard, (client.user, room, seq)
                elif client.is_here and client.node in self.nodes.alive:
                    # A guest of the room has gone, and it was forgotten.
                    assert "~" in room, (client.user, room, seq)

    def teardown(self) -> None:
        if hasattr(self, "nodes"):
            self.calm_down()


TestSeveralNodes = SeveralNodes.TestCase
TestSeveralNodes.settings = settings(stateful_step_count=40)
