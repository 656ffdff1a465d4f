"""A store whose answers come when the test says so."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastchat._ring import Ring
from fastchat.messages import Code, WireError
from fastchat.store import (
    Account,
    AuditEntry,
    Block,
    Direct,
    Draft,
    Facts,
    MemoryStore,
    Page,
    RoomLog,
    RoomSummary,
    Stored,
)
from fastchat.store.interface import Follower
from fastchat.store.pairs import has_guest


def unavailable() -> WireError:
    """What a store says that cannot do it now."""
    return WireError(Code.UNAVAILABLE, "the disk is full", retry_after_ms=500)


class SlowStore:
    """A memory store that is asked at once, and looks only when it is to answer, one question after another.

    ``waiting`` has what it was asked and has not answered: "open", "rooms", "marks", "append", "read",
    "search", "probe", "set_facts", "account", "accounts", "add_account", "change_account", "record", "audit",
    "directs".
    """

    problem: str | None = None

    def __init__(self, *, hold: bool = True) -> None:
        self.hold = hold
        """Whether answers wait for ``answer``; otherwise they come at once."""
        self.store = MemoryStore()
        self.waiting: list[str] = []
        self.told: list[dict[tuple[str, str], int]] = []
        """The marks, as they came."""
        self._logs: dict[str, RoomLog] = {}  # kept, as those on a disk are
        self._questions: list[tuple[Callable[[], None], Callable[[WireError], None]]] = []

    def answer(self, count: int | None = None) -> None:
        """Answers the oldest questions; without ``count`` all of them, and those that follow from it."""
        while self._questions and count != 0:
            self.waiting.pop(0)
            look, _ = self._questions.pop(0)
            look()
            count = None if count is None else count - 1

    def answer_one(self, index: int) -> None:
        """Answers one question out of turn."""
        self.waiting.pop(index)
        look, _ = self._questions.pop(index)
        look()

    def fail(self, count: int = 1) -> None:
        """Answers the oldest questions with ``unavailable``."""
        for _ in range(count):
            self.waiting.pop(0)
            _, refuse = self._questions.pop(0)
            refuse(unavailable())

    def ask(self, kind: str, look: Callable[[], None], refuse: Callable[[WireError], None]) -> None:
        if self.hold:
            self.waiting.append(kind)
            self._questions.append((look, refuse))
        else:
            look()

    # Store

    def open(self, room: str, done: Callable[[RoomLog | WireError], None]) -> None:
        def wrap(log: RoomLog | WireError) -> None:
            assert not isinstance(log, WireError)
            slow = self._logs.get(room) or SlowLog(self, log)
            if not has_guest(room):
                self._logs[room] = slow
            done(slow)

        self.ask("open", lambda: self.store.open(room, wrap), done)

    def mark(self, marks: Mapping[tuple[str, str], int]) -> None:
        self.told.append(dict(marks))
        self.store.mark(marks)

    def marks(
        self, user: str, rooms: Sequence[str], done: Callable[[Mapping[str, int] | WireError], None]
    ) -> None:
        self.ask("marks", lambda: self.store.marks(user, rooms, done), done)

    def search(
        self,
        rooms: Sequence[str],
        query: str,
        before_ms: int | None,
        limit: int,
        done: Callable[[Page | WireError], None],
    ) -> None:
        self.ask("search", lambda: self.store.search(rooms, query, before_ms, limit, done), done)

    def rooms(
        self, after: str, limit: int, done: Callable[[Sequence[RoomSummary] | WireError], None]
    ) -> None:
        self.ask("rooms", lambda: self.store.rooms(after, limit, done), done)

    def probe(self, done: Callable[[WireError | None], None]) -> None:
        self.ask("probe", lambda: self.store.probe(done), done)

    def close(self) -> None:
        assert not self._questions

    # Directory

    @property
    def has_accounts(self) -> bool:
        return self.store.has_accounts

    def account(self, key: str, done: Callable[[Account | WireError | None], None]) -> None:
        self.ask("account", lambda: self.store.account(key, done), done)

    def account_of(self, subject: str, done: Callable[[Account | WireError | None], None]) -> None:
        self.ask("account", lambda: self.store.account_of(subject, done), done)

    def accounts(self, after: str, limit: int, done: Callable[[Sequence[Account] | WireError], None]) -> None:
        self.ask("accounts", lambda: self.store.accounts(after, limit, done), done)

    def add_account(self, account: Account, done: Callable[[WireError | None], None]) -> None:
        self.ask("add_account", lambda: self.store.add_account(account, done), done)

    def change_account(
        self, key: str, changes: Mapping[str, Any], done: Callable[[Account | WireError | None], None]
    ) -> None:
        self.ask("change_account", lambda: self.store.change_account(key, changes, done), done)

    def seen(self, at_ms: Mapping[str, int]) -> None:
        self.store.seen(at_ms)

    def record(self, entry: AuditEntry, done: Callable[[WireError | None], None]) -> None:
        self.ask("record", lambda: self.store.record(entry, done), done)

    def audit(
        self, before: int, limit: int, done: Callable[[Sequence[tuple[int, AuditEntry]] | WireError], None]
    ) -> None:
        self.ask("audit", lambda: self.store.audit(before, limit, done), done)

    def directs(self, user: str, done: Callable[[Sequence[Direct] | WireError], None]) -> None:
        self.ask("directs", lambda: self.store.directs(user, done), done)


class SlowLog:
    """One of its logs."""

    durable = False

    def __init__(self, store: SlowStore, log: RoomLog) -> None:
        self._store = store
        self._log = log
        self.room = log.room
        self.epoch = log.epoch
        self.facts = log.facts
        self.attached = 0
        """How many times the room was opened anew."""

    @property
    def head(self) -> int:
        return self._log.head

    @property
    def first(self) -> int:
        return self._log.first

    def attach(self, ring: Ring, follower: Follower) -> None:
        self.attached += 1
        self._log.attach(ring, follower)

    def refresh(self, done: Callable[[WireError | None], None]) -> None:
        self._log.refresh(done)

    def append(self, draft: Draft, done: Callable[[Stored | WireError], None]) -> None:
        self._store.ask("append", lambda: self._log.append(draft, done), done)

    def set_facts(self, changes: Facts, done: Callable[[WireError | None], None]) -> None:
        self._store.ask("set_facts", lambda: self._log.set_facts(changes, done), done)

    def read(
        self, after: int, before: int, limit: int, newest: bool, done: Callable[[Page | WireError], None]
    ) -> None:
        self._store.ask("read", lambda: self._log.read(after, before, limit, newest, done), done)

    def replay(self, after: int, done: Callable[[Block | WireError], None]) -> None:
        raise AssertionError("a memory room has nothing but its ring")
