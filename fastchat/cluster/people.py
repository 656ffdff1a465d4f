"""The people of all nodes as one population. Pure: no sockets, clock or await.

Between the hub, which says what happens here (``Others``), and the other nodes (``People``). What other nodes
tell is applied a bounded piece in each turn of the loop, so that a node that comes or goes with everybody on
it holds nobody up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import orjson

from fastchat.cluster.absence import Absence
from fastchat.cluster.changes import ASK, AWAY, CHANGES, DIRECT, TYPING, Change, parse
from fastchat.cluster.hearing import Hearing
from fastchat.cluster.interface import Outside, Shown, Somebody
from fastchat.cluster.neighbour import Neighbour, Neighbourhood
from fastchat.cluster.remote import RemoteRooms, RemoteSession
from fastchat.cluster.telling import PIECE_COST, Telling, cost_of
from fastchat.messages import Code, WireError
from fastchat.people import LOCAL_USER
from fastchat.population import OnlineSession
from fastchat.rooms import Hub
from fastchat.session.gathering import gather_here, keep_here
from fastchat.store import Direct
from fastchat.store.pairs import part_of, parts_of

ASK_AGAIN_S = 1.0
"""How long a snapshot may bring nothing new before it is asked for again."""

UNSURE_AT_ONCE, UNSURE_PAUSE_S = 20, 0.1
"""How fast people's rooms of two are looked through when a node has died."""

LEFT_OFF_MAX = 1000
"""Nodes that were forgotten of which it is known how far they were heard."""


class NodePeople:
    """This node's, told to the others; theirs, in the hub. ``forget_room`` has the store forget a room."""

    def __init__(self, hub: Hub, outside: Outside, forget_room: Callable[[str], None]) -> None:
        self._hub = hub
        self._outside = outside
        self._forget_room = forget_room
        self._absence = Absence(outside.node)
        self._rooms = RemoteRooms(hub)
        self._telling = Telling(outside, hub.call_later, self._cursor, self._standing)
        self._hood = Neighbourhood(hub, self._rooms, self._absence, self)
        self._nodes: dict[str, Neighbour] = {}
        self._leaving: list[Neighbour] = []
        self._left_off: dict[str, tuple[int, int]] = {}  # up to which number and command nodes were heard
        self._unsure: list[str] = []  # who may have been written to by a node that has died since
        self._working = False
        hub.others = self
        hub.population.others = self

    # People: what other nodes tell

    @property
    def number(self) -> int:
        """Of the newest list of changes that the others were told."""
        return self._telling.number

    @property
    def settled(self) -> bool:
        """Whether everything that was told has been applied, and nothing is known to be missing."""
        return not self._working and all(each.hearing.complete for each in self._nodes.values())

    def receive(self, node: str, payload: bytes) -> None:
        """Another node's has sent this. Raises ValueError."""
        kind, *rest = parse(payload)
        if kind == CHANGES:
            number, changes = rest
            self._neighbour(node, number - 1).receive_changes(number, changes)
        elif kind == ASK:
            ask, since, number = rest
            self._neighbour(node, number).receive_number(number)
            self._telling.begin_snapshot(node, ask, since)
        elif node in self._nodes:
            self._nodes[node].hearing.receive_piece(*rest)
        self._work()

    def receive_heartbeat(self, node: str, number: int) -> None:
        """That node is alive, and has told so many lists of changes."""
        self._neighbour(node, number).receive_number(number)
        self._work()

    def on_connected(self) -> None:
        """Snapshots that were on their way are lost; heartbeats find out what else is."""
        for node in self._nodes.values():
            if not node.hearing.complete:
                node.hearing.request()

    def on_claimed(self, name: str) -> None:
        """A guest who had the name on another node is gone."""
        for session in self._hub.population.sessions(name):
            if isinstance(session, RemoteSession) and session.person.guest:
                self._hood.drop(session)

    def receive_direct(self, room: str, seq: int) -> None:
        """Another node has stored something in this room of two."""
        self.meet(room, seq)

    def forget(self, node: str) -> None:
        """That node is gone, and its people with it."""
        neighbour = self._nodes.pop(node, None)
        self._telling.end_snapshot(node)
        if neighbour is None:
            return
        while len(self._left_off) >= LEFT_OFF_MAX:
            del self._left_off[next(iter(self._left_off))]
        self._left_off[node] = (neighbour.hearing.heard, neighbour.serial)
        neighbour.go()
        self._leaving.append(neighbour)
        self._work()
        if not self._unsure:
            self._hub.call_later(0, self._look_for_directs)
        self._unsure = self._telling.accounts()

    def _look_for_directs(self) -> None:
        """Looks in the store for what a node that died has stored without having told of it.

        A few people at a time: it takes a question for each of them.
        """
        for _ in range(min(len(self._unsure), UNSURE_AT_ONCE)):
            user = self._unsure.pop()
            if self.is_here(user):
                self._hub.directs(user, self._on_directs)
        if self._unsure:
            self._hub.call_later(UNSURE_PAUSE_S, self._look_for_directs)

    def _on_directs(self, found: Sequence[Direct] | WireError) -> None:
        if isinstance(found, WireError):
            return  # they find it unread when they come back
        for each in found:
            if each.head > each.cursor:
                self.meet(each.room)

    def _neighbour(self, node: str, number: int) -> Hearing:
        """How that node is heard, which has told ``number`` lists of changes before what it says now."""
        neighbour = self._nodes.get(node)
        if neighbour is None:
            heard, serial = self._left_off.pop(node, (number, 0))
            hearing = Hearing(heard, partial(self._ask, node))
            neighbour = self._nodes[node] = Neighbour(node, hearing, serial)
            if number:  # or else there is nothing to know
                hearing.request()
        return neighbour.hearing

    def _ask(self, node: str, ask: int, since: int) -> None:
        self._outside.tell(node, orjson.dumps([ASK, ask, since, self.number]))
        self._hub.call_later(ASK_AGAIN_S, partial(self._look_after, node, ask))

    def _look_after(self, node: str, ask: int) -> None:
        """Asks again where an answer has not come, as long as the node is not given up."""
        neighbour = self._nodes.get(node)
        if neighbour is not None and neighbour.hearing.awaits(ask) and not neighbour.hearing.request_again():
            self._hub.call_later(ASK_AGAIN_S, partial(self._look_after, node, ask))

    # Applying it

    def _work(self) -> None:
        """Applies what has come, unless it waits for a later turn of the loop already."""
        if not self._working:
            self._working = True
            self._work_on()

    def _work_on(self) -> None:
        cost = 0
        try:
            for neighbour in [*self._nodes.values(), *self._leaving]:
                queue = neighbour.hearing.queue
                while queue and cost < PIECE_COST:
                    change = queue.popleft()
                    cost += cost_of(change)
                    self._hood.apply(neighbour, change)
        finally:
            self._leaving = [each for each in self._leaving if each.hearing.queue]
            self._working = bool(self._leaving) or any(each.hearing.queue for each in self._nodes.values())
            if self._working:
                self._hub.call_later(0, self._work_on)

    # Others: what happens here

    def on_came(self, session: Somebody) -> None:
        """Tells who it is by the end of this turn."""
        if session.user == LOCAL_USER:
            return  # every node has one
        self._telling.come(session)
        self._take_over_absence(session.user)

    def on_went(self, session: Somebody) -> None:
        """Tells that it is over."""
        self._telling.go(session)
        self.on_renamed(session.user)

    def on_renamed(self, old: str) -> None:
        """Forgets whether somebody was away who is not here any more."""
        if len(self._absence) and not self.is_here(old):
            self._absence.forget(self._outside.node, old)
            self._hood.show_absence(old)

    def on_joined(self, session: Somebody, room: str) -> None:
        """Tells where it is."""
        self._telling.join(session, room)

    def on_left(self, session: Somebody, room: str) -> None:
        """Tells where it is not any more."""
        self._telling.leave(session, room)

    def on_read(self, session: Somebody, room: str, seq: int) -> None:
        """Tells how far it has read."""
        self._telling.read(session, room, seq)

    def on_typing(self, session: Somebody, room: str) -> None:
        """Tells that it is writing."""
        if self._rooms.members(room):
            self._telling.tell_of(session, TYPING, room)

    def on_away(self, user: str, text: str | None) -> None:
        """Tells that somebody is away or back."""
        word = self._absence.say(user, text)
        self._telling.tell([AWAY, user, *word])

    def on_sent_away(self, name: str, code: int, reason: str) -> None:
        """Has the others send somebody away."""
        self._telling.send_away(name, code, reason)

    def on_operator(self, name: str, operator: bool) -> None:
        """Has the others know who is an operator."""
        self._telling.set_operator(name, operator)
        self.describe_again(name)

    def on_open(self, room: str, presence: Shown) -> None:
        """Shows who is in the room on other nodes."""
        presence.begin(self._rooms.members(room), self._rooms.cursors(room))

    def on_direct(self, room: str, seq: int) -> None:
        """Tells the nodes of the two whose sessions there are not in the room yet."""
        if any(self._absent(room)):
            self._telling.tell([DIRECT, room, seq])

    def on_kept(self, room: str) -> None:
        """Tells the nodes of its guests, which are to forget it with them."""
        if any(self._absent(room)):
            self._telling.tell([DIRECT, room, 0])

    def _absent(self, room: str) -> list[OnlineSession]:
        return [
            session
            for part in parts_of(room)
            for session in self._hub.population.sessions(part.removeprefix("~"))
            if isinstance(session, RemoteSession)
            and part_of(session.person) == part
            and room not in session.places
        ]

    def on_forgotten(self, room: str) -> None:
        """The store forgets it for all nodes."""
        self._forget_room(room)

    def members_of(self, room: str) -> int:
        """How many people are in the room on other nodes."""
        return len(self._rooms.members(room))

    # What both sides need

    def is_here(self, user: str) -> bool:
        """Whether the user is connected to this node."""
        return any(
            session.user == user and not isinstance(session, RemoteSession)
            for session in self._hub.population.sessions(user)
        )

    def describe_again(self, name: str) -> None:
        """What somebody may do has changed."""
        for session in self._hub.population.sessions(name):
            if not isinstance(session, RemoteSession):
                self._telling.come(session)

    def hear_absence(self, user: str) -> None:
        """Another node knows something of whether the user is away."""
        if self.is_here(user):
            self._take_over_absence(user)

    def _take_over_absence(self, user: str) -> None:
        if len(self._absence) and (word := self._absence.take_over(user)) is not None:
            self._telling.tell([AWAY, user, *word])

    def meet(self, room: str, seq: int = 0) -> None:
        """Brings this node's connections of the two into their room, as this event is stored there.

        Without ``seq`` something may be; then who has something to read.
        """
        gather_here(self._hub, room, seq, partial(self._on_met, room, seq))

    def _on_met(self, room: str, seq: int, error: WireError | None) -> None:
        if error is not None and error.code is Code.UNAVAILABLE:
            self._hub.call_later(ASK_AGAIN_S, partial(self.meet, room, seq))

    def keep(self, room: str) -> None:
        """Keeps a room of two that other nodes keep, as long as its guest is here."""
        if any(self.is_here(part.removeprefix("~")) for part in parts_of(room)):
            keep_here(self._hub, room)

    def _cursor(self, user: str, room: str) -> int:
        open_here = self._hub.rooms.get(room)
        return 0 if open_here is None else open_here.presence.cursor(user)

    def _standing(self) -> list[Change]:
        return [[AWAY, user, *word] for user, word in self._absence.own()]
