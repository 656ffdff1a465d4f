"""Who there is, in PostgreSQL: accounts, their rooms of two, the audit log, and what users have read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from fastchat.messages import WireError
from fastchat.store.interface import Account, AuditEntry, Direct, Page, RoomSummary
from fastchat.store.overlay import Marked, Overlay
from fastchat.store.postgres import accounts, audit, finding
from fastchat.store.postgres.changes import Changes
from fastchat.store.postgres.connection import Connection, Reader
from fastchat.store.postgres.marks import Question, read_marks, save_marks
from fastchat.store.postgres.probe import probe
from fastchat.store.shared import SharedReads
from fastchat.store.unsaved import Numbers

NOTES_MAX = 10_000  # entries of the audit log that wait for the database
NOTES_AT_ONCE = 200  # in one transaction

Done = Callable[[WireError | None], None]


class PostgresDirectory:
    """Who there is, and what of that is not in the database yet.

    What is not there yet is kept, and tried again until it is.
    """

    has_accounts = True
    """Any node may add one at any time."""

    def __init__(self, changes: Changes, reader: Reader, searcher: Reader) -> None:
        self.changes = changes
        self.reader = reader
        self.searcher = searcher
        self._overlay = Overlay(self._save_marks, self._save_seen)
        self._notes: list[AuditEntry] = []  # that are not in the database yet
        self._notes_submitted = False
        self._by_key = _Asked(changes, reader, accounts.reader_of("key"))
        self._by_subject = _Asked(changes, reader, accounts.reader_of("subject"))
        self._directs = _Asked(changes, reader, accounts.read_directs)
        self._marks = SharedReads[Question, Mapping[str, int]](reader, read_marks)

    def save(self) -> None:
        """Stores what could not be stored before."""
        self._overlay.save()
        self._save_notes()

    def _save_marks(self, take: Numbers[Marked], done: Done) -> None:
        self._save(lambda connection: save_marks(connection, take()), done)

    def _save_seen(self, take: Numbers[str], done: Done) -> None:
        self._save(lambda connection: accounts.save_seen(connection, take()), done)

    def _save(self, save: Callable[[Connection], Any], done: Done) -> None:
        def on_saved(result: WireError | None) -> None:
            done(result)
            if result is not None:
                self.changes.later(self.save)

        self.changes.submit(save, on_saved)

    def probe(self, done: Callable[[WireError | None], None]) -> None:
        """Writes and reads as everything else here does."""
        probe(self.changes, self.reader, done)

    # Accounts

    def account(self, key: str, done: Callable[[Account | WireError | None], None]) -> None:
        """Reads for all who ask meanwhile."""
        self._by_key.ask(key, self._overlay.account(done), behind=bool(self._overlay.unsaved_seen))

    def account_of(self, subject: str, done: Callable[[Account | WireError | None], None]) -> None:
        """Reads for all who ask meanwhile."""
        behind = bool(self._overlay.unsaved_seen)
        self._by_subject.ask(subject, self._overlay.account(done), behind=behind)

    def accounts(self, after: str, limit: int, done: Callable[[Sequence[Account] | WireError], None]) -> None:
        """Reads them behind what was submitted before."""
        read = partial(accounts.read_accounts, after=after, limit=limit)
        self.changes.submit(read, self._overlay.accounts(done))

    def add_account(self, account: Account, done: Done) -> None:
        """Answers after the commit."""
        self.changes.make(
            lambda connection, again: accounts.add_account(connection, account, again=again), done
        )

    def change_account(
        self, key: str, changes: Mapping[str, Any], done: Callable[[Account | WireError | None], None]
    ) -> None:
        """Answers after the commit. Raises TypeError for what is no field."""
        replace(_ANYONE, **changes)
        self.changes.make(
            lambda connection, again: accounts.change_account(connection, key, changes, again=again),
            self._overlay.account(done),
        )

    def seen(self, at_ms: Mapping[str, int]) -> None:
        """All in one transaction."""
        self._overlay.unsaved_seen.add(at_ms)

    def directs(self, user: str, done: Callable[[Sequence[Direct] | WireError], None]) -> None:
        """Reads for all who ask meanwhile."""
        behind = bool(self._overlay.unsaved_marks)
        self._directs.ask(user, self._overlay.directs(user, done), behind=behind)

    # What users have read

    def mark(self, marks: Mapping[Marked, int]) -> None:
        """All in one transaction."""
        self._overlay.unsaved_marks.add(marks)

    def marks(
        self, user: str, rooms: Sequence[str], done: Callable[[Mapping[str, int] | WireError], None]
    ) -> None:
        """Reads for all who ask meanwhile."""
        self._marks.ask((user, rooms), self._overlay.marks(user, rooms, done))

    # The audit log

    def record(self, entry: AuditEntry, done: Done) -> None:
        """Answers after the commit."""
        self.changes.make(lambda connection, again: audit.add_entry(connection, entry, again=again), done)

    def note(self, entry: AuditEntry) -> None:
        """Adds what is true already, such as an event of a room in memory; tried again as ``seen`` is."""
        self._notes.append(entry)
        self._save_notes()

    def _save_notes(self) -> None:
        if not self._notes or self._notes_submitted:
            return
        self._notes_submitted = True
        taken: list[AuditEntry] = []

        async def run(connection: Connection, again: bool) -> None:
            self._notes_submitted = False  # what comes in between is submitted again
            if not taken:
                taken.extend(self._notes[:NOTES_AT_ONCE])
                del self._notes[: len(taken)]
            async with connection.transaction():
                for entry in taken:
                    await audit.add_entry(connection, entry, again=again)

        def on_saved(result: WireError | None) -> None:
            if result is None:
                self._save_notes()
                return
            self._notes_submitted = False
            self._notes[:0] = taken
            del self._notes[:-NOTES_MAX]
            self.changes.later(self._save_notes)

        self.changes.make(run, on_saved)

    def audit(
        self, before: int, limit: int, done: Callable[[Sequence[tuple[int, AuditEntry]] | WireError], None]
    ) -> None:
        """Reads on another connection than those who sign in."""
        self.searcher.submit(partial(audit.read_entries, before=before, limit=limit), done)

    # What rooms there are, and what is in them

    def rooms(
        self, after: str, limit: int, done: Callable[[Sequence[RoomSummary] | WireError], None]
    ) -> None:
        """Reads on another connection than those who sign in."""
        self.searcher.submit(partial(finding.read_rooms, after=after, limit=limit), done)

    def search(
        self,
        rooms: Sequence[str],
        query: str,
        before_ms: int | None,
        limit: int,
        done: Callable[[Page | WireError], None],
    ) -> None:
        """Finds what has been committed: the index is part of each commit."""
        find = partial(finding.search, rooms=rooms, query=query, before_ms=before_ms, limit=limit)
        self.searcher.submit(find, done)


class _Asked:
    """Questions of one kind: to any connection, or behind changes that the answer must have seen."""

    def __init__(
        self,
        changes: Changes,
        reader: Reader,
        read: Callable[[Connection, Sequence[str]], Any],
    ) -> None:
        self._reads = SharedReads[str, Any](reader, read)
        self._reads_behind = SharedReads[str, Any](changes, read)

    def ask(self, question: str, done: Callable[[Any], None], *, behind: bool) -> None:
        (self._reads_behind if behind else self._reads).ask(question, done)


_ANYONE = Account("", "")
