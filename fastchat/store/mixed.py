"""Rooms in one store and rooms in another, as one. Pure: no sockets, clock or await."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from fastchat.messages import WireError
from fastchat.store.found import merge_pages
from fastchat.store.interface import (
    Account,
    AuditEntry,
    Direct,
    Page,
    RoomLog,
    RoomSummary,
    Store,
)
from fastchat.store.pairs import has_guest
from fastchat.store.sending import Backlog, Notice, SendingStore, Unsent


class MixedStore:
    """Two stores as one: some rooms are in memory only, those of two with a guest among them.

    Who there is, is in the durable one.
    """

    def __init__(self, durable: SendingStore, memory: SendingStore, in_memory: Callable[[str], bool]) -> None:
        self._durable = durable
        self._memory = memory
        self._of_class = in_memory

    def _in_memory(self, room: str) -> bool:
        return has_guest(room) or self._of_class(room)

    def open(self, room: str, done: Callable[[RoomLog | WireError], None]) -> None:
        """From the store that keeps the room."""
        (self._memory if self._in_memory(room) else self._durable).open(room, done)

    def rooms(
        self, after: str, limit: int, done: Callable[[Sequence[RoomSummary] | WireError], None]
    ) -> None:
        """Of both, in one order."""

        def on_durable(durable: Sequence[RoomSummary] | WireError) -> None:
            if isinstance(durable, WireError):
                done(durable)
            else:
                self._memory.rooms(after, limit, partial(on_memory, durable))

        def on_memory(durable: Sequence[RoomSummary], memory: Sequence[RoomSummary] | WireError) -> None:
            if isinstance(memory, WireError):
                done(memory)
            else:
                done(sorted([*durable, *memory], key=lambda room: room.name)[:limit])

        self._durable.rooms(after, limit, on_durable)

    def mark(self, marks: Mapping[tuple[str, str], int]) -> None:
        """Each where its room is."""
        memory = {key: seq for key, seq in marks.items() if self._in_memory(key[1])}
        durable = {key: seq for key, seq in marks.items() if key not in memory}
        for store, some in ((self._memory, memory), (self._durable, durable)):
            if some:
                store.mark(some)

    def marks(
        self, user: str, rooms: Sequence[str], done: Callable[[Mapping[str, int] | WireError], None]
    ) -> None:
        """Of both."""
        if len(rooms) == 1:  # who joins asks for one, and thousands may join at once
            (self._memory if self._in_memory(rooms[0]) else self._durable).marks(user, rooms, done)
            return

        def ask(store: Store, some: Sequence[str], on_answer: Callable[[Any], None]) -> None:
            store.marks(user, some, on_answer)

        self._ask(
            rooms, ask, lambda answers: {room: seq for marks in answers for room, seq in marks.items()}, done
        )

    def search(
        self,
        rooms: Sequence[str],
        query: str,
        before_ms: int | None,
        limit: int,
        done: Callable[[Page | WireError], None],
    ) -> None:
        """In both, the newest first."""

        def ask(store: Store, some: Sequence[str], on_answer: Callable[[Any], None]) -> None:
            store.search(some, query, before_ms, limit, on_answer)

        self._ask(rooms, ask, partial(merge_pages, limit=limit), done)

    def _ask(
        self,
        rooms: Sequence[str],
        ask: Callable[[Store, Sequence[str], Callable[[Any], None]], None],
        merge: Callable[[list[Any]], Any],
        done: Callable[[Any], None],
    ) -> None:
        """Asks each store for its own rooms: what one has alone need not wait for the other."""
        memory = [room for room in rooms if self._in_memory(room)]
        if len(memory) in (0, len(rooms)):
            ask(self._memory if memory else self._durable, rooms, done)
            return
        durable = [room for room in rooms if room not in memory]

        def on_durable(one: Any) -> None:
            if isinstance(one, WireError):
                done(one)
            else:
                ask(self._memory, memory, partial(on_memory, one))

        def on_memory(one: Any, other: Any) -> None:
            done(other if isinstance(other, WireError) else merge([one, other]))

        ask(self._durable, durable, on_durable)

    # Who there is

    @property
    def has_accounts(self) -> bool:
        """Whether the durable one has any."""
        return self._durable.has_accounts

    def account(self, key: str, done: Callable[[Account | WireError | None], None]) -> None:
        """From the durable one."""
        self._durable.account(key, done)

    def account_of(self, subject: str, done: Callable[[Account | WireError | None], None]) -> None:
        """From the durable one."""
        self._durable.account_of(subject, done)

    def accounts(self, after: str, limit: int, done: Callable[[Sequence[Account] | WireError], None]) -> None:
        """From the durable one."""
        self._durable.accounts(after, limit, done)

    def add_account(self, account: Account, done: Callable[[WireError | None], None]) -> None:
        """To the durable one."""
        self._durable.add_account(account, done)

    def change_account(
        self, key: str, changes: Mapping[str, Any], done: Callable[[Account | WireError | None], None]
    ) -> None:
        """In the durable one."""
        self._durable.change_account(key, changes, done)

    def seen(self, at_ms: Mapping[str, int]) -> None:
        """By the durable one."""
        self._durable.seen(at_ms)

    def record(self, entry: AuditEntry, done: Callable[[WireError | None], None]) -> None:
        """To the durable one."""
        self._durable.record(entry, done)

    def audit(
        self, before: int, limit: int, done: Callable[[Sequence[tuple[int, AuditEntry]] | WireError], None]
    ) -> None:
        """From the durable one, to which the one in memory adds."""
        self._durable.audit(before, limit, done)

    def directs(self, user: str, done: Callable[[Sequence[Direct] | WireError], None]) -> None:
        """Of both; those that are kept first."""

        def on_durable(kept: Sequence[Direct] | WireError) -> None:
            if isinstance(kept, WireError):
                done(kept)
            else:
                self._memory.directs(user, partial(on_memory, kept))

        def on_memory(kept: Sequence[Direct], more: Sequence[Direct] | WireError) -> None:
            done(more if isinstance(more, WireError) else [*kept, *more])

        self._durable.directs(user, on_durable)

    # What waits for a broker

    def watch(self, on_waiting: Callable[[], None]) -> None:
        """Told by both."""
        self._durable.watch(on_waiting)
        self._memory.watch(on_waiting)

    def begin_sending(self, done: Callable[[WireError | None], None]) -> None:
        """In both."""

        def on_begun(error: WireError | None) -> None:
            if error is None:
                self._memory.begin_sending(done)
            else:
                done(error)

        self._durable.begin_sending(on_begun)

    def notify(self, notices: Sequence[Notice]) -> None:
        """In the durable one, whatever room they are about."""
        self._durable.notify(notices)

    def unsent(
        self, slots: Collection[int] | None, limit: int, done: Callable[[Unsent | WireError], None]
    ) -> None:
        """Of both; rooms in memory get a part in any case, as their rings go on."""
        share = max(1, limit // 4)

        def on_durable(durable: Unsent | WireError) -> None:
            if isinstance(durable, WireError):
                done(durable)
                return
            taken = len(durable.notices) + sum(len(each.bodies) for each in durable.events)
            self._memory.unsent(slots, max(1, limit - taken), partial(on_memory, durable))

        def on_memory(durable: Unsent, memory: Unsent | WireError) -> None:
            if isinstance(memory, WireError):
                done(memory)
            else:
                events = [*durable.events, *memory.events]
                done(Unsent(events, durable.notices, durable.more or memory.more))

        self._durable.unsent(slots, max(1, limit - share), on_durable)

    def sent(
        self, heads: Mapping[str, int], notices: Sequence[int], done: Callable[[WireError | None], None]
    ) -> None:
        """Each where its room is."""
        memory = {room: seq for room, seq in heads.items() if self._in_memory(room)}
        durable = {room: seq for room, seq in heads.items() if room not in memory}
        if memory:
            self._memory.sent(memory, (), lambda error: None)  # it answers at once, and never with one
        self._durable.sent(durable, notices, done)

    def backlog(self, done: Callable[[Backlog | WireError], None]) -> None:
        """Of both."""

        def on_durable(durable: Backlog | WireError) -> None:
            if isinstance(durable, WireError):
                done(durable)
            else:
                self._memory.backlog(partial(on_memory, durable))

        def on_memory(one: Backlog, other: Backlog | WireError) -> None:
            if isinstance(other, WireError):
                done(other)
                return
            times = [each.oldest_ms for each in (one, other) if each.oldest_ms]
            done(
                Backlog(
                    one.events + other.events,
                    one.notices + other.notices,
                    min(times, default=0),
                    one.dropped + other.dropped,
                )
            )

        self._durable.backlog(on_durable)

    def probe(self, done: Callable[[WireError | None], None]) -> None:
        """The durable one."""
        self._durable.probe(done)

    @property
    def problem(self) -> str | None:
        """The durable store's."""
        return self._durable.problem

    def close(self) -> None:
        """Closes both."""
        self._durable.close()
        self._memory.close()
