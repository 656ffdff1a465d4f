"""The store's interface: a log per room. Pure: no sockets, clock or await.

The store is the truth: it numbers the events, remembers which ids it has seen, and knows what became of a
message. Answers come through callbacks, so that a store in memory answers at once and one on a disk after its
commit, and nothing above can tell which it talks to. Every callback is called exactly once, in the loop's
thread, with a WireError where the store cannot do it (``unavailable``: nothing has been stored).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol
from zlib import crc32

from fastchat._events import Draft as Draft
from fastchat._events import Kind as Kind
from fastchat._events import Stored as Stored
from fastchat._ring import Ring
from fastchat.messages import WireError

PAGE_BYTES = 48 * 1024
"""About the most that one page carries: a reply of this size fits below the usual high watermark."""

BLOCK_EVENTS = 128
"""Events of a log are read for replay in aligned blocks of this many, so that readers share them."""


@dataclass(frozen=True, slots=True)
class Page:
    """JSON objects in order; ``more`` tells whether there are further ones in the direction of reading."""

    bodies: Sequence[bytes]
    more: bool


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive events of a log: ``bodies[i]`` has ``seq`` ``first + i``.

    Starts where it was asked for, or at the oldest event that is left; may be empty only at the head.
    """

    first: int
    bodies: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of a room's log is kept; 0 means no limit."""

    events: int = 0
    age_s: float = 0.0
    size_bytes: int = 0


AUDIT_KEPT = Retention(events=100_000, age_s=365 * 86_400)
"""How much of the audit log is kept, unless the operator says otherwise: it takes some 30 MB at most."""

Facts = Mapping[str, Any]
"""What is true of a room beside its events: JSON values by name, such as ``topic`` and ``role alice``.

In a change None takes a fact away. See ``facts.py`` for those that events bring about.
"""

NO_FACTS: Facts = MappingProxyType({})
"""What all rooms share of which nothing is told."""


@dataclass(frozen=True, slots=True)
class Account:
    """A person or program that can come back. ``key`` is what its name shares with all that look like it."""

    name: str
    key: str
    password: str | None = None
    """What argon2 made of it, as a PHC string; None where only tokens tell."""
    subject: str | None = None
    """Issuer and ``sub`` of the tokens that tell who it is; None where there are none."""
    operator: bool = False
    disabled: bool = False
    created_at_ms: int = 0
    seen_at_ms: int = 0
    """When it was last connected."""
    valid_from_ms: int = 0
    """Tokens issued before are not taken any more: it has signed out everywhere."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to whom: a moderation act, or what an operator did to an account."""

    at_ms: int
    actor: str
    action: str
    room: str = ""
    target: str = ""
    detail: str = ""
    """JSON of what else there is to know; empty where there is nothing."""


@dataclass(frozen=True, slots=True)
class Direct:
    """A conversation of two, as one of them finds it on return."""

    room: str
    head: int
    cursor: int
    """How far this user has read it."""
    blocked: bool = False
    """Whether this user has blocked the other one."""


@dataclass(frozen=True, slots=True)
class RoomSummary:
    """A room that is kept: its events have ``first`` … ``head`` as their ``seq``."""

    name: str
    first: int
    head: int
    size_bytes: int


class Committed(NamedTuple):
    """What one node has committed, for the others: an event; without a body, that the facts are others."""

    room: str
    seq: int
    body: bytes | None


class Follower(Protocol):
    """Who is told what a log has from elsewhere: the room. In the loop's thread."""

    def on_foreign(self, stored: Stored) -> None:
        """An event that another node has stored, in its turn among those that are appended here."""

    def on_facts(self, facts: Facts) -> None:
        """Another node has changed the facts: they are these now."""

    def on_lost(self) -> None:
        """Events were trimmed that had not been told: this log tells nothing more, open it anew."""


class RoomLog(Protocol):
    """One room's events, numbered 1, 2, 3 … without holes."""

    room: str
    epoch: str
    """Names this numbering: it is another one when the log had to begin anew."""
    durable: bool
    """Whether events outlive the ring (and the process); where not, the ring is all there is."""
    facts: Facts
    """As they were when the log was opened; whoever changes them knows what they are from then on."""

    @property
    def head(self) -> int:
        """The ``seq`` of the newest event that is kept; 0 in a new log."""

    @property
    def first(self) -> int:
        """The ``seq`` of the oldest event that is kept; ``head + 1`` where there is none."""

    def attach(self, ring: Ring, follower: Follower) -> None:
        """Tells where the newest events are held, and who follows; called once, before anything else.

        A log that this process has to itself never calls the follower.
        """

    def refresh(self, done: Callable[[WireError | None], None]) -> None:
        """Answers when everything has been told that was stored by now, by other nodes too."""

    def append(self, draft: Draft, done: Callable[[Stored | WireError], None]) -> None:
        """Keeps the event and calls ``done``, in order of ``seq``, when it is as durable as promised.

        The same author and id again gives the first one's ``seq``. Refuses a change of what is not there
        (``no_such_message``) and of what is not the author's (``forbidden``). MUST NOT block.
        """

    def set_facts(self, changes: Facts, done: Callable[[WireError | None], None]) -> None:
        """Keeps facts that no event tells of, such as who has blocked whom. MUST NOT block."""

    def read(
        self, after: int, before: int, limit: int, newest: bool, done: Callable[[Page | WireError], None]
    ) -> None:
        """Reads messages with ``after < seq < before`` in their current state, at most ``limit``.

        The oldest or the ``newest`` of them; a page is also bounded in bytes (PAGE_BYTES). MUST NOT block.
        """

    def replay(self, after: int, done: Callable[[Block | WireError], None]) -> None:
        """Reads the events that follow ``after``, to the end of its aligned block. MUST NOT block."""


class Directory(Protocol):
    """Who there is. Callbacks as everywhere in a store; nothing here blocks."""

    @property
    def has_accounts(self) -> bool:
        """False as long as there cannot be any: true from the first ``add_account`` on. Costs nothing."""

    def account(self, key: str, done: Callable[[Account | WireError | None], None]) -> None:
        """The account with this key; None where there is none. Those who ask at once share a read."""

    def account_of(self, subject: str, done: Callable[[Account | WireError | None], None]) -> None:
        """The account that tokens of this subject belong to."""

    def accounts(self, after: str, limit: int, done: Callable[[Sequence[Account] | WireError], None]) -> None:
        """Accounts by key, those behind ``after``."""

    def add_account(self, account: Account, done: Callable[[WireError | None], None]) -> None:
        """Refuses a key or subject that is there already (``name_taken``)."""

    def change_account(
        self, key: str, changes: Mapping[str, Any], done: Callable[[Account | WireError | None], None]
    ) -> None:
        """Sets fields of ``Account`` by name; answers what it is then, None where there is none."""

    def seen(self, at_ms: Mapping[str, int]) -> None:
        """Remembers by key when accounts were last connected, as ``mark`` does what was read."""

    def record(self, entry: AuditEntry, done: Callable[[WireError | None], None]) -> None:
        """Adds to the audit log what is no event of a room; those add themselves."""

    def audit(
        self, before: int, limit: int, done: Callable[[Sequence[tuple[int, AuditEntry]] | WireError], None]
    ) -> None:
        """Entries and their numbers, the newest first, those with numbers below ``before`` (0: all)."""

    def directs(self, user: str, done: Callable[[Sequence[Direct] | WireError], None]) -> None:
        """The user's own rooms of two that have events or where it blocks the other one, the newest first."""


class Store(Directory, Protocol):
    """Every room's log, what users have read of them, and who there is."""

    def open(self, room: str, done: Callable[[RoomLog | WireError], None]) -> None:
        """The log of a room, which is a new one where there is none. MUST NOT block."""

    def rooms(
        self, after: str, limit: int, done: Callable[[Sequence[RoomSummary] | WireError], None]
    ) -> None:
        """Rooms by name, those behind ``after``; rooms of two are nobody else's business."""

    def mark(self, marks: Mapping[tuple[str, str], int]) -> None:
        """Remembers how far users have read, by user and room; never goes back. MUST NOT block."""

    def marks(
        self, user: str, rooms: Sequence[str], done: Callable[[Mapping[str, int] | WireError], None]
    ) -> None:
        """How far the user has read each of the rooms; rooms without a mark are missing."""

    def search(
        self,
        rooms: Sequence[str],
        query: str,
        before_ms: int | None,
        limit: int,
        done: Callable[[Page | WireError], None],
    ) -> None:
        """Messages of the rooms that contain all words of the query, the newest first, as they are now.

        ``before_ms`` is the time of the oldest one of the page before. A page ends between two messages of
        different times, so that this is exact, unless all of its messages are of one millisecond.
        """

    def probe(self, done: Callable[[WireError | None], None]) -> None:
        """Stores something small, reads it back, and answers then; a store that hangs never does.

        Finds out what ``problem`` would only know after the next message. MUST NOT block.
        """

    @property
    def problem(self) -> str | None:
        """Why nothing can be stored at the moment; None when all is well."""

    def close(self) -> None:
        """Finishes what was begun and lets go of files and threads. Blocks; call it outside the loop."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How this node stands among the others, for as long as its lease holds."""

    nodes: Sequence[str]
    """All that are alive, this one among them."""
    slots: Collection[int]
    """The slots (see ``slot_of``) whose unsent events are this node's to send."""
    renewed: bool
    """Whether the lease still held. Where not, others may have the names of this node's guests."""


class SharedStore(Store, Protocol):
    """A store of several nodes. What one of them commits the others hear of by a bus, or find out here.

    The bus may lose, repeat and reorder: every room's events are told to its follower in order and once.
    """

    node: str
    """Names this process among the nodes, and is another name after each start."""

    def observe(self, on_commit: Callable[[Sequence[Committed]], None]) -> None:
        """Has everything told that this node commits, once a commit and before its senders are answered."""

    def receive(self, committed: Sequence[Committed]) -> None:
        """Other nodes have committed this; what is missing before it is read from the store."""

    def compare(self) -> None:
        """Looks whether open rooms have more events or other facts than was told; fetches what is missing."""

    def beat(self, done: Callable[[Standing | WireError], None]) -> None:
        """Renews this node's lease, ends those of dead ones, and shares their work out among the living."""

    def claim(self, keys: Sequence[str], done: Callable[[Collection[str] | WireError], None]) -> None:
        """Takes guests' names for this node, as long as its lease holds; answers those that others have.

        Those of this node already are its own again. All who ask at once share one round trip.
        """

    def release(self, keys: Sequence[str]) -> None:
        """Gives names back. MUST NOT block."""

    def forget(self, room: str) -> None:
        """Takes a guest's room of two away, with everything in it. MUST NOT block."""


SLOTS = 256
"""Rooms are divided into so many, for the bus and for the work of sending events on."""


def slot_of(room: str) -> int:
    """The slot of a room, the same everywhere and for ever."""
    return crc32(room.encode()) % SLOTS
