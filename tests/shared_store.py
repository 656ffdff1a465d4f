"""A store of several nodes, in memory: one truth, and a view of it for each node.

What one node commits the others are told by ``receive``, or find out by ``compare``, as the interface says.
An event is refused once where its node does not know the room's facts yet. With ``deliver`` a node's answers
come later, in the order in which they were asked for.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TypeVar
from weakref import WeakValueDictionary

from fastchat._ring import Event, Ring
from fastchat.messages import Code, WireError
from fastchat.store import Account, Block, Direct, Draft, Facts, MemoryStore, Page, RoomLog, Stored
from fastchat.store.interface import PAGE_BYTES, Committed, Follower, Standing
from fastchat.store.memory import MemoryLog

Deliver = Callable[[Callable[[], None]], None]

Answer = TypeVar("Answer")


def at_once(answer: Callable[[], None]) -> None:
    """Delivers an answer before the question has returned."""
    answer()


class Truth:
    """What is stored, whoever looks at it."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.rings: dict[str, Ring] = {}
        self.versions: dict[str, int] = {}
        """How often the facts of a room have changed."""
        self.claims: dict[str, str] = {}
        self.nodes: list[str] = []
        self._logs: dict[str, MemoryLog] = {}

    def log(self, room: str) -> MemoryLog:
        """The room's, with all that was ever said there."""
        if room not in self._logs:
            self.store.open(room, partial(self._keep, room))
        return self._logs[room]

    def _keep(self, room: str, log: RoomLog | WireError) -> None:
        assert isinstance(log, MemoryLog)
        self.rings[room] = Ring(1 << 30)
        log.attach(self.rings[room], _Nobody())
        self._logs[room] = log
        self.versions.setdefault(room, 0)

    def change(self, room: str, change: Callable[[MemoryLog], None]) -> None:
        """Has something stored; counts the facts' versions."""
        log = self.log(room)
        before = log.facts
        change(log)
        self.versions[room] += log.facts != before

    def forget(self, room: str) -> None:
        """Whoever opens the room next finds a new one."""
        self._logs.pop(room, None)
        self.rings.pop(room, None)

    def bodies(self, room: str) -> list[bytes]:
        """All that was stored there."""
        self.log(room)
        return [event.body for event in self.rings[room].events(0, 1 << 40, 1 << 20, 1 << 40)]

    def end(self, node: str) -> None:
        """The node's lease is over."""
        self.nodes.remove(node)
        self.claims = {key: holder for key, holder in self.claims.items() if holder != node}


class _Nobody:
    def on_foreign(self, stored: Stored) -> None:
        raise AssertionError("the truth has nothing from elsewhere")

    def on_lost(self) -> None:
        pass

    def on_facts(self, facts: Facts) -> None:
        raise AssertionError("the truth has nothing from elsewhere")


class NodeStore(MemoryStore):
    """One node's view: a `SharedStore`."""

    def __init__(self, truth: Truth, node: str, deliver: Deliver = at_once) -> None:
        super().__init__()
        vars(self).update(vars(truth.store))
        self.truth = truth
        self.node = node
        self.deliver = deliver
        self.facts_first = True
        """Whether the facts that an act of moderation has changed are told before the act."""
        self.deliver_directs: Deliver | None = None
        """Delivers what somebody finds on return, where that takes a time of its own."""
        self.forgotten: list[str] = []
        self._observers: list[Callable[[Sequence[Committed]], None]] = []
        self._open: WeakValueDictionary[str, NodeLog] = WeakValueDictionary()
        truth.nodes.append(node)

    def open(self, room: str, done: Callable[[RoomLog | WireError], None]) -> None:
        def answer() -> None:
            log = self._open[room] = NodeLog(self, room)
            done(log)

        self.deliver(answer)

    def account(self, key: str, done: Callable[[Account | WireError | None], None]) -> None:
        super().account(key, self._later(done))

    def directs(self, user: str, done: Callable[[Sequence[Direct] | WireError], None]) -> None:
        answers: list[Sequence[Direct] | WireError] = []
        super().directs(user, answers.append)
        (self.deliver_directs or self.deliver)(lambda: done(answers[0]))

    def marks(
        self, user: str, rooms: Sequence[str], done: Callable[[Mapping[str, int] | WireError], None]
    ) -> None:
        super().marks(user, rooms, self._later(done))

    def _later(self, done: Callable[[Answer], None]) -> Callable[[Answer], None]:
        return lambda answer: self.deliver(lambda: done(answer))

    def observe(self, on_commit: Callable[[Sequence[Committed]], None]) -> None:
        self._observers.append(on_commit)

    def commit(self, committed: Committed) -> None:
        for on_commit in self._observers:
            on_commit([committed])

    def receive(self, committed: Sequence[Committed]) -> None:
        for each in committed:
            log = self._open.get(each.room)
            if log is not None:
                log.catch_up(each.seq)

    def compare(self) -> None:
        for log in [*self._open.values()]:
            log.catch_up(log.newest)

    def beat(self, done: Callable[[Standing | WireError], None]) -> None:
        done(Standing([*self.truth.nodes], (), renewed=self.node in self.truth.nodes))

    def claim(self, keys: Sequence[str], done: Callable[[Collection[str] | WireError], None]) -> None:
        claims = self.truth.claims
        taken = [key for key in keys if claims.get(key, self.node) != self.node]
        claims.update((key, self.node) for key in keys if key not in taken)
        self.deliver(lambda: done(taken))

    def release(self, keys: Sequence[str]) -> None:
        for key in keys:
            if self.truth.claims.get(key) == self.node:
                del self.truth.claims[key]

    def forget(self, room: str) -> None:
        self.forgotten.append(room)
        self.truth.forget(room)


class NodeLog:
    """A room's log as one node knows it: ``head`` is what was told, ``newest`` what there is."""

    durable = True

    def __init__(self, store: NodeStore, room: str) -> None:
        self._store = store
        self._truth = store.truth
        self.room = room
        log = self._truth.log(room)
        self.epoch = log.epoch
        self.facts = log.facts
        self._version = self._truth.versions[room]
        self._told = log.head
        self._own: dict[int, tuple[Callable[[Stored | WireError], None], Stored]] = {}
        self._follower: Follower = _Nobody()

    @property
    def head(self) -> int:
        return self._told

    @property
    def newest(self) -> int:
        return self._truth.log(self.room).head

    @property
    def first(self) -> int:
        return self._truth.log(self.room).first

    def attach(self, ring: Ring, follower: Follower) -> None:
        self._follower = follower

    def refresh(self, done: Callable[[WireError | None], None]) -> None:
        def look() -> None:
            self.catch_up(self.newest)
            done(None)

        self._store.deliver(look)

    def append(self, draft: Draft, done: Callable[[Stored | WireError], None]) -> None:
        if self._version != self._truth.versions[self.room]:
            self._store.deliver(partial(self._refuse, done))
            return
        answers: list[Stored | WireError] = []
        self._truth.change(self.room, lambda log: log.append(draft, answers.append))
        (stored,) = answers
        if not isinstance(stored, Stored) or stored.body is None:
            self._store.deliver(lambda: done(stored))
            return
        self._version = self._truth.versions[self.room]
        self._truth.rings[self.room].append(Event(stored.seq, stored.body))
        self._own[stored.seq] = (done, stored)
        self._store.commit(Committed(self.room, stored.seq, stored.body))
        self._store.deliver(lambda: self.catch_up(stored.seq))

    def _refuse(self, done: Callable[[Stored | WireError], None]) -> None:
        self._look_at_facts()
        done(WireError(Code.UNAVAILABLE, "the rules have just changed; send it again", retry_after_ms=1))

    def set_facts(self, changes: Facts, done: Callable[[WireError | None], None]) -> None:
        known = self._version == self._truth.versions[self.room]
        self._truth.change(self.room, lambda log: log.set_facts(changes, lambda error: None))
        if known:
            self._version = self._truth.versions[self.room]
        self._store.commit(Committed(self.room, self.newest, None))
        self._store.deliver(lambda: done(None))

    def catch_up(self, seq: int) -> None:
        """Tells what there is up to ``seq``, and the facts if they are others."""
        if self._store.facts_first:
            self._look_at_facts()
        while self._told < seq:
            self._told += 1
            if self._told in self._own:
                done, stored = self._own.pop(self._told)
                done(stored)
            else:
                (event,) = self._truth.rings[self.room].events(self._told - 1, self._told + 1, 1, PAGE_BYTES)
                self._follower.on_foreign(Stored(event.seq, at_ms_of(event.body), event.body))
        self._look_at_facts()

    def _look_at_facts(self) -> None:
        version = self._truth.versions[self.room]
        if version != self._version:
            self._version = version
            self._follower.on_facts(self._truth.log(self.room).facts)

    def read(
        self, after: int, before: int, limit: int, newest: bool, done: Callable[[Page | WireError], None]
    ) -> None:
        log = self._truth.log(self.room)
        self._store.deliver(lambda: log.read(after, before, limit, newest, done))

    def replay(self, after: int, done: Callable[[Block | WireError], None]) -> None:
        events = self._truth.rings[self.room].events(after, after + 129, 128, PAGE_BYTES)
        block = Block(events[0].seq if events else after + 1, [event.body for event in events])
        self._store.deliver(lambda: done(block))


def at_ms_of(body: bytes) -> int:
    """When an event has happened."""
    return int(body.split(b'"at":', 1)[1].split(b",", 1)[0].rstrip(b"}"))
