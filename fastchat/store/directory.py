"""Accounts and the audit log in memory. Pure: no sockets, clock or await."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from fastchat.messages import Code, WireError
from fastchat.store.interface import Account, AuditEntry

AUDIT_MAX = 10_000  # entries


def taken(account: Account) -> WireError:
    """What who adds an account is told where its name, or its subject, is another's."""
    return WireError(Code.NAME_TAKEN, f"user {account.name} is taken; choose another name", field="user")


class MemoryDirectory:
    """Who there is as long as the process lives: accounts, and the last AUDIT_MAX entries of the audit."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._keys: dict[str, str] = {}  # by subject
        self._entries: deque[tuple[int, AuditEntry]] = deque(maxlen=AUDIT_MAX)

    @property
    def has_accounts(self) -> bool:
        """Whether there are any."""
        return bool(self._accounts)

    def account(self, key: str, done: Callable[[Account | WireError | None], None]) -> None:
        """Answers at once."""
        done(self._accounts.get(key))

    def account_of(self, subject: str, done: Callable[[Account | WireError | None], None]) -> None:
        """Answers at once."""
        key = self._keys.get(subject)
        done(None if key is None else self._accounts[key])

    def accounts(self, after: str, limit: int, done: Callable[[Sequence[Account] | WireError], None]) -> None:
        """Answers at once."""
        keys = sorted(key for key in self._accounts if key > after)
        done([self._accounts[key] for key in keys[: max(0, limit)]])

    def add_account(self, account: Account, done: Callable[[WireError | None], None]) -> None:
        """Answers at once."""
        if not self._is_free(account):
            done(taken(account))
            return
        self._keep(account)
        done(None)

    def change_account(
        self, key: str, changes: Mapping[str, Any], done: Callable[[Account | WireError | None], None]
    ) -> None:
        """Answers at once."""
        before = self._accounts.get(key)
        if before is None:
            done(None)
            return
        account = replace(before, **changes)
        if not self._is_free(account, key):
            done(taken(account))
            return
        del self._accounts[key]
        if before.subject is not None:
            del self._keys[before.subject]
        self._keep(account)
        done(account)

    def _is_free(self, account: Account, own_key: str | None = None) -> bool:
        others = {account.key if account.key in self._accounts else None}
        if account.subject is not None:
            others.add(self._keys.get(account.subject))
        return not others - {None, own_key}

    def _keep(self, account: Account) -> None:
        self._accounts[account.key] = account
        if account.subject is not None:
            self._keys[account.subject] = account.key

    def seen(self, at_ms: Mapping[str, int]) -> None:
        """Remembered at once."""
        for key, seen_at_ms in at_ms.items():
            account = self._accounts.get(key)
            if account is not None and seen_at_ms > account.seen_at_ms:
                self._accounts[key] = replace(account, seen_at_ms=seen_at_ms)

    def record(self, entry: AuditEntry, done: Callable[[WireError | None], None]) -> None:
        """Answers at once."""
        self.note(entry)
        done(None)

    def note(self, entry: AuditEntry) -> None:
        """Adds to the audit log; the oldest entry goes where there are too many."""
        number = self._entries[-1][0] + 1 if self._entries else 1
        self._entries.append((number, entry))

    def audit(
        self, before: int, limit: int, done: Callable[[Sequence[tuple[int, AuditEntry]] | WireError], None]
    ) -> None:
        """Answers at once."""
        newest = (one for one in reversed(self._entries) if not before or one[0] < before)
        done(list(islice(newest, max(0, limit))))
