"""A store that is the ring: what the ring forgets is gone. Pure: no sockets, clock or await."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from secrets import token_hex
from weakref import WeakValueDictionary

import orjson

from fastchat._ring import Event, Ring
from fastchat.messages import WireError
from fastchat.store.directory import MemoryDirectory
from fastchat.store.facts import apply, audit_of, blocking, facts_of
from fastchat.store.found import cut_page, parse_query
from fastchat.store.interface import (
    BLOCK_EVENTS,
    NO_FACTS,
    PAGE_BYTES,
    AuditEntry,
    Block,
    Direct,
    Draft,
    Facts,
    Follower,
    Kind,
    Page,
    RoomLog,
    RoomSummary,
    Stored,
)
from fastchat.store.outbox import MemoryOutbox
from fastchat.store.pairs import has_guest, users_of
from fastchat.store.sending import Backlog, Notice, Unsent
from fastchat.store.states import State, change, check_change


class MemoryLog:
    """The log of a room that lives as long as the room does.

    ``note`` gets what the audit log is to have, ``keep_facts`` what no event tells of.
    """

    __slots__ = (
        "__weakref__",
        "_keep_facts",
        "_note",
        "_ring",
        "_sent",
        "_states",
        "at_ms",
        "epoch",
        "facts",
        "marks",
        "outbox",
        "room",
    )

    durable = False

    def __init__(
        self,
        room: str,
        note: Callable[[AuditEntry], None],
        keep_facts: Callable[[str, Facts], None],
    ) -> None:
        self.room = room
        self.epoch = token_hex(6)
        self.facts: Facts = NO_FACTS
        self.at_ms = 0  # when the newest event came in
        self._note = note
        self._keep_facts = keep_facts
        self._ring = Ring(1)  # empty, until the room attaches its own
        self._sent: dict[tuple[str, str], tuple[int, int]] = {}
        self._states: dict[int, State] = {}  # of changed messages alone, by seq
        self.marks: dict[str, int] = {}
        self.outbox: MemoryOutbox | None = None

    @property
    def head(self) -> int:
        """The ``seq`` of the newest event."""
        return self._ring.head_seq

    @property
    def first(self) -> int:
        """The ``seq`` of the oldest event that the ring holds."""
        return self._ring.first_seq

    @property
    def size_bytes(self) -> int:
        """Of the events that the ring holds."""
        return self._ring.size_bytes

    def attach(self, ring: Ring, follower: Follower) -> None:
        """The ring is all there is of this log."""
        self._ring = ring

    def refresh(self, done: Callable[[WireError | None], None]) -> None:
        """Nobody else stores anything here."""
        done(None)

    def append(self, draft: Draft, done: Callable[[Stored | WireError], None]) -> None:
        """Numbers the event and answers at once."""
        key = (draft.author, draft.id) if draft.id is not None else None
        if key is not None and (first := self._sent.get(key)) and first[0] >= self._ring.first_seq:
            done(Stored(*first, None))
            return
        if draft.of is not None:
            message = self._state(draft.of)
            try:
                check_change(draft, message)
            except WireError as error:
                done(error)
                return
            assert message is not None
            self._states[draft.of] = change(message, draft)
        seq = self._ring.head_seq + 1
        body = draft.encode(self.room, seq)
        self.at_ms = draft.at_ms
        if self.outbox is not None:
            self.outbox.note(self.room, self.epoch, self._ring, draft.at_ms)
        if draft.kind is not _KIND_MESSAGE:
            self._bring_about(draft)
        if key is not None:
            self._sent[key] = (seq, draft.at_ms)
        if len(self._sent) + len(self._states) > 2 * len(self._ring) + 64:
            self._forget_old()
        done(Stored(seq, draft.at_ms, body))

    def _bring_about(self, draft: Draft) -> None:
        if changes := facts_of(draft):
            self.facts = apply(self.facts, changes)
        if (entry := audit_of(self.room, draft)) is not None:
            self._note(entry)

    def set_facts(self, changes: Facts, done: Callable[[WireError | None], None]) -> None:
        """Answers at once."""
        self.facts = apply(self.facts, changes)
        self._keep_facts(self.room, self.facts)
        done(None)

    def _state(self, seq: int) -> State | None:
        """The current state of a message; None where there is none."""
        if seq < self._ring.first_seq:
            return None
        if seq in self._states:
            return self._states[seq]
        found = self._ring.events(seq - 1, seq + 1, 1, PAGE_BYTES)
        if not found:
            return None
        event: State = orjson.loads(found[0].body)
        return event if event["type"] == Kind.MESSAGE else None

    def _forget_old(self) -> None:
        """Ids and states are kept as long as their events; looked at rarely, so that it costs little."""
        oldest = self._ring.first_seq
        self._sent = {key: first for key, first in self._sent.items() if first[0] >= oldest}
        self._states = {seq: state for seq, state in self._states.items() if seq >= oldest}

    def read(
        self, after: int, before: int, limit: int, newest: bool, done: Callable[[Page | WireError], None]
    ) -> None:
        """Reads from the ring and answers at once."""
        bodies: list[bytes] = []
        size = 0
        for event in self._messages(after, before, newest=newest):
            state = self._states.get(event.seq)
            body = event.body if state is None else orjson.dumps(state)
            size += len(body)
            if bodies and (len(bodies) == limit or size > PAGE_BYTES):
                done(Page(bodies[::-1] if newest else bodies, more=True))
                return
            bodies.append(body)
        done(Page(bodies[::-1] if newest else bodies, more=False))

    def _messages(self, after: int, before: int, *, newest: bool) -> Iterator[Event]:
        """The messages among the events with ``after < seq < before``, from either end."""
        while found := self._ring.events(after, before, BLOCK_EVENTS, PAGE_BYTES, newest):
            yield from (
                event for event in (found[::-1] if newest else found) if event.body.startswith(_MESSAGE)
            )
            after, before = (after, found[0].seq) if newest else (found[-1].seq, before)

    def states(self) -> Iterator[State]:
        """Every message that is held, as it is now."""
        for event in self._messages(-1, self.head + 1, newest=False):
            state = self._states.get(event.seq)
            yield orjson.loads(event.body) if state is None else state

    def replay(self, after: int, done: Callable[[Block | WireError], None]) -> None:
        """Nothing is older than the ring."""
        done(Block(self._ring.first_seq, ()))


_MESSAGE = b'{"type":"message"'
_KIND_MESSAGE = Kind.MESSAGE  # a member of a class is slow to find


PAIRS_LOOK = 1000  # rooms of two that are opened between two looks for those that are forgotten, at least


class MemoryStore(MemoryDirectory):
    """Rooms whose history is what their rings hold: for trying out, and for rooms that need none.

    ``note`` gets what the audit log is to have of its rooms, where that is another store's.
    """

    problem: str | None = None

    def __init__(self, note: Callable[[AuditEntry], None] | None = None) -> None:
        super().__init__()
        self._logs: WeakValueDictionary[str, MemoryLog] = WeakValueDictionary()
        self._pairs: dict[str, set[str]] = {}  # rooms of two by user; some are forgotten already
        self._pairs_until_look = PAIRS_LOOK
        self._note_act = note or self.note
        self._outbox = MemoryOutbox()
        self._sending = False
        self._facts: dict[str, Facts] = {}  # of rooms of two, whether they are open or not

    def open(self, room: str, done: Callable[[RoomLog | WireError], None]) -> None:
        """A new log, unless it is open; rooms that were closed are forgotten, so its epoch is new then."""
        log = self._logs.get(room)
        if log is None:
            log = self._logs[room] = MemoryLog(room, self._note_act, self._keep_facts)
            log.outbox = self._outbox if self._sending else None
            if room.startswith("@"):
                log.facts = self._facts.get(room, NO_FACTS)
                self._remember_pair(room)
        done(log)

    def _keep_facts(self, room: str, facts: Facts) -> None:
        """Who has blocked whom outlives what they have said, but not a guest."""
        if not room.startswith("@") or has_guest(room):
            return
        if facts:
            self._facts[room] = facts
        else:
            self._facts.pop(room, None)

    def _remember_pair(self, room: str) -> None:
        for user in users_of(room):
            self._pairs.setdefault(user, set()).add(room)
        self._pairs_until_look -= 1
        if self._pairs_until_look:
            return
        held = ((user, {room for room in rooms if room in self._logs}) for user, rooms in self._pairs.items())
        self._pairs = {user: rooms for user, rooms in held if rooms}
        self._pairs_until_look = len(self._pairs) + PAIRS_LOOK

    def probe(self, done: Callable[[WireError | None], None]) -> None:
        """Answers at once: there is nothing that could fail."""
        done(None)

    def rooms(
        self, after: str, limit: int, done: Callable[[Sequence[RoomSummary] | WireError], None]
    ) -> None:
        """Answers at once."""
        names = sorted(name for name in self._logs if name > after and not name.startswith("@"))
        logs = [log for name in names[:limit] if (log := self._logs.get(name)) is not None]
        done([RoomSummary(log.room, log.first, log.head, log.size_bytes) for log in logs])

    def directs(self, user: str, done: Callable[[Sequence[Direct] | WireError], None]) -> None:
        """Answers at once."""
        logs = [log for room in self._pairs.get(user, ()) if (log := self._logs.get(room)) is not None]
        fact = blocking(user)
        logs = sorted(
            (log for log in logs if log.head or fact in log.facts), key=lambda log: log.at_ms, reverse=True
        )
        done([Direct(log.room, log.head, log.marks.get(user, 0), fact in log.facts) for log in logs])

    def mark(self, marks: Mapping[tuple[str, str], int]) -> None:
        """Remembered as long as the room is."""
        for (user, room), seq in marks.items():
            if (log := self._logs.get(room)) is not None:
                log.marks[user] = max(seq, log.marks.get(user, 0))

    def marks(
        self, user: str, rooms: Sequence[str], done: Callable[[Mapping[str, int] | WireError], None]
    ) -> None:
        """Answers at once."""
        logs = [log for room in rooms if (log := self._logs.get(room)) is not None]
        done({log.room: log.marks[user] for log in logs if user in log.marks})

    def search(
        self,
        rooms: Sequence[str],
        query: str,
        before_ms: int | None,
        limit: int,
        done: Callable[[Page | WireError], None],
    ) -> None:
        """Looks through the rings."""
        try:
            words = parse_query(query.casefold())
        except WireError as error:
            done(error)
            return
        found = [
            (int(message["at"]), orjson.dumps(message))
            for room in rooms
            if (log := self._logs.get(room)) is not None
            for message in log.states()
            if all(word in message.get("text", "").casefold() for word in words)
            and (before_ms is None or message["at"] < before_ms)
        ]
        found.sort(key=lambda one: one[0], reverse=True)
        done(cut_page(found, limit))

    # What waits for a broker

    def watch(self, on_waiting: Callable[[], None]) -> None:
        """Called when a room or a notice begins to wait."""
        self._outbox.on_waiting = on_waiting

    def begin_sending(self, done: Callable[[WireError | None], None]) -> None:
        """Answers at once."""
        self._sending = True
        for log in self._logs.values():
            log.outbox = self._outbox
        done(None)

    def notify(self, notices: Sequence[Notice]) -> None:
        """Keeps some of the newest."""
        self._outbox.notify(notices)

    def unsent(
        self, slots: Collection[int] | None, limit: int, done: Callable[[Unsent | WireError], None]
    ) -> None:
        """Answers at once, with what the rings have left."""
        done(self._outbox.unsent(slots, limit))

    def sent(
        self, heads: Mapping[str, int], notices: Sequence[int], done: Callable[[WireError | None], None]
    ) -> None:
        """Answers at once."""
        self._outbox.sent(heads, notices)
        done(None)

    def backlog(self, done: Callable[[Backlog | WireError], None]) -> None:
        """Answers at once."""
        done(self._outbox.backlog())

    def close(self) -> None:
        """Nothing to finish."""
