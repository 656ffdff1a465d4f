"""Who there is, in the file: accounts, their rooms of two, and the audit log."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import orjson

from fastchat.messages import WireError
from fastchat.store.interface import Account, AuditEntry, Direct
from fastchat.store.shared import SharedReads
from fastchat.store.sqlite import accounts, audit
from fastchat.store.sqlite.marks import SAVE_MARKS
from fastchat.store.sqlite.reader import Reader
from fastchat.store.sqlite.writer import Job, Writer
from fastchat.store.unsaved import Numbers, Unsaved

NOTES_MAX = 10_000  # entries of the audit log that wait for the disk


class SqliteDirectory:
    """Who there is, and what of that is not in the file yet."""

    def __init__(self, writer: Writer, reader: Reader, *, has_accounts: bool) -> None:
        """``has_accounts``: whether the file has any."""
        self.writer = writer
        self.reader = reader
        self.has_accounts = has_accounts
        self._unsaved_marks = Unsaved[tuple[str, str]](self._save_marks)
        self._unsaved_seen = Unsaved[str](self._save_seen)
        self._notes: list[AuditEntry] = []
        self._by_key = SharedReads(reader, accounts.reader_of("key"))
        self._by_subject = SharedReads(reader, accounts.reader_of("subject"))
        self._directs = SharedReads(reader, accounts.read_directs)

    def save(self) -> None:
        """Stores what could not be stored before."""
        self._unsaved_marks.save()
        self._unsaved_seen.save()
        self._save_notes()

    def _save_marks(self, take: Numbers[tuple[str, str]], done: Callable[[WireError | None], None]) -> None:
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
        self._by_key.ask(key, lambda found: done(self._as_seen(found)))

    def account_of(self, subject: str, done: Callable[[Account | WireError | None], None]) -> None:
        """Reads in the reader's thread, for all who ask meanwhile."""
        self._by_subject.ask(subject, lambda found: done(self._as_seen(found)))

    def accounts(self, after: str, limit: int, done: Callable[[Sequence[Account] | WireError], None]) -> None:
        """Reads in the reader's thread."""

        def on_read(found: Sequence[Account] | WireError) -> None:
            done(found if isinstance(found, WireError) else [self._fresh(account) for account in found])

        self.reader.submit(partial(accounts.read_accounts, after=after, limit=limit), on_read)

    def _as_seen(self, found: Account | WireError | None) -> Account | WireError | None:
        return self._fresh(found) if isinstance(found, Account) else found

    def _fresh(self, account: Account) -> Account:
        seen_at_ms = self._unsaved_seen.get(account.key)
        if seen_at_ms is None or seen_at_ms <= account.seen_at_ms:
            return account
        return replace(account, seen_at_ms=seen_at_ms)

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

        job = Job(run, lambda result: done(self._as_seen(result)))
        self.writer.submit(job)

    def seen(self, at_ms: Mapping[str, int]) -> None:
        """All in one transaction; tried again when the file can be written to again."""
        self._unsaved_seen.add(at_ms)

    def directs(self, user: str, done: Callable[[Sequence[Direct] | WireError], None]) -> None:
        """Reads in the reader's thread, for all who ask meanwhile."""

        def on_read(found: Sequence[Direct] | WireError) -> None:
            if not isinstance(found, WireError):
                found = [self._as_read(user, direct) for direct in found]
            done(found)

        self._directs.ask(user, on_read)

    def _as_read(self, user: str, direct: Direct) -> Direct:
        cursor = self._unsaved_marks.get((user, direct.room))
        return direct if cursor is None else replace(direct, cursor=max(cursor, direct.cursor))

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
