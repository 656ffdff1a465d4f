"""Who there is, in the file: accounts, their rooms of two, the audit log, and what users have read."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import orjson

from fastchat.messages import WireError
from fastchat.store.interface import Account, AuditEntry, Direct
from fastchat.store.overlay import Marked, Overlay
from fastchat.store.shared import SharedReads
from fastchat.store.sqlite import accounts, audit
from fastchat.store.sqlite.marks import SAVE_MARKS, read_marks
from fastchat.store.sqlite.reader import Reader
from fastchat.store.sqlite.writer import Job, Writer
from fastchat.store.unsaved import Numbers

NOTES_MAX = 10_000  # entries of the audit log that wait for the disk


class SqliteDirectory:
    """Who there is, and what of that is not in the file yet."""

    def __init__(self, writer: Writer, reader: Reader, *, has_accounts: bool) -> None:
        """``has_accounts``: whether the file has any."""
        self.writer = writer
        self.reader = reader
        self.has_accounts = has_accounts
        self._overlay = Overlay(self._save_marks, self._save_seen)
        self._notes: list[AuditEntry] = []
        self._by_key = SharedReads(reader, accounts.reader_of("key"))
        self._by_subject = SharedReads(reader, accounts.reader_of("subject"))
        self._directs = SharedReads(reader, accounts.read_directs)
        self._marks = SharedReads(reader, read_marks)

    def save(self) -> None:
        """Stores what could not be stored before."""
        self._overlay.save()
        self._save_notes()

    def _save_marks(self, take: Numbers[Marked], done: Callable[[WireError | None], None]) -> None:
        self._save(SAVE_MARKS, lambda: [(*key, seq) for key, seq in take().items()], done)

    def _save_seen(self, take: Numbers[str], done: Callable[[WireError | None], None]) -> None:
        self._save(accounts.SAVE_SEEN, lambda: list(take().items()), done)

    def _save(
        self, statement: str, rows: Callable[[], object], done: Callable[[WireError | None], None]
    ) -> None:
        def run(connection: sqlite3.Connection) -> None:
            connection.execute(statement, (orjson.dumps(rows()).decode(),))

        self.writer.submit(Job(run, done))

    # Accounts

    def account(self, key: str, done: Callable[[Account | WireError | None], None]) -> None:
        """Reads in the reader's thread, for all who ask meanwhile."""
        self._by_key.ask(key, self._overlay.account(done))

    def account_of(self, subject: str, done: Callable[[Account | WireError | None], None]) -> None:
        """Reads in the reader's thread, for all who ask meanwhile."""
        self._by_subject.ask(subject, self._overlay.account(done))

    def accounts(self, after: str, limit: int, done: Callable[[Sequence[Account] | WireError], None]) -> None:
        """Reads in the reader's thread."""
        read = partial(accounts.read_accounts, after=after, limit=limit)
        self.reader.submit(read, self._overlay.accounts(done))

    def add_account(self, account: Account, done: Callable[[WireError | None], None]) -> None:
        """Answers after the commit."""
        self.has_accounts = True

        def run(connection: sqlite3.Connection) -> WireError | None:
            try:
                job.undo = accounts.add_account(connection, account)
            except WireError as error:
                return error
            return None

        job = Job(run, done)
        self.writer.submit(job)

    def change_account(
        self, key: str, changes: Mapping[str, Any], done: Callable[[Account | WireError | None], None]
    ) -> None:
        """Answers after the commit. Raises TypeError for what is no field."""
        replace(_ANYONE, **changes)

        def run(connection: sqlite3.Connection) -> Account | WireError | None:
            try:
                account, job.undo = accounts.change_account(connection, key, changes)
            except WireError as error:
                return error
            return account

        job = Job(run, self._overlay.account(done))
        self.writer.submit(job)

    def seen(self, at_ms: Mapping[str, int]) -> None:
        """All in one transaction; tried again when the file can be written to again."""
        self._overlay.unsaved_seen.add(at_ms)

    def directs(self, user: str, done: Callable[[Sequence[Direct] | WireError], None]) -> None:
        """Reads in the reader's thread, for all who ask meanwhile."""
        self._directs.ask(user, self._overlay.directs(user, done))

    # What users have read

    def mark(self, marks: Mapping[Marked, int]) -> None:
        """All in one transaction; tried again when the file can be written to again."""
        self._overlay.unsaved_marks.add(marks)

    def marks(
        self, user: str, rooms: Sequence[str], done: Callable[[Mapping[str, int] | WireError], None]
    ) -> None:
        """Reads in the reader's thread, for all who ask meanwhile."""
        self._marks.ask((user, rooms), self._overlay.marks(user, rooms, done))

    # The audit log

    def record(self, entry: AuditEntry, done: Callable[[WireError | None], None]) -> None:
        """Answers after the commit."""

        def run(connection: sqlite3.Connection) -> None:
            job.undo = audit.remove_entries(audit.add_entry(connection, entry))

        job = Job(run, done)
        self.writer.submit(job)

    def note(self, entry: AuditEntry) -> None:
        """Adds what is true already, such as an event of a room in memory; tried again as ``seen`` is."""
        self._notes.append(entry)
        self._save_notes()

    def _save_notes(self) -> None:
        if not self._notes:
            return
        entries, self._notes = self._notes, []

        def run(connection: sqlite3.Connection) -> None:
            numbers = [audit.add_entry(connection, entry) for entry in entries]
            job.undo = audit.remove_entries(*numbers)

        def on_saved(result: WireError | None) -> None:
            if result is not None:
                self._notes = (entries + self._notes)[-NOTES_MAX:]

        job = Job(run, on_saved)
        self.writer.submit(job)

    def audit(
        self, before: int, limit: int, done: Callable[[Sequence[tuple[int, AuditEntry]] | WireError], None]
    ) -> None:
        """Reads in the reader's thread."""
        self.reader.submit(partial(audit.read_entries, before=before, limit=limit), done)


_ANYONE = Account("", "")
