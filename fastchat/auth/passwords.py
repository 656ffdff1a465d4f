"""Passwords: what may be one, and argon2id in threads of its own, so that the loop never waits.

A hash takes tens of milliseconds and megabytes. So few threads work on them, each with one at a time; what
waits is bounded, and who comes beyond that is told to come back. The threads yield to everything else on the
machine (``nice``): fan-out goes before logins. argon2 lets go of Python's lock while it works.
"""

import contextlib
import itertools
import os
import queue
import secrets
import threading
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import argon2

from fastchat.messages import Code, WireError

T = TypeVar("T")

LENGTH_MAX = 256  # NIST SP 800-63B-4 asks for 64 at least; a bound keeps the work of normalizing small
DISTINCT_MIN = 5
BUSY_RETRY_MS = 1000
NICE = 10


@dataclass(frozen=True, slots=True)
class Cost:
    """What one hash costs; a stored one of another cost is made anew when its password comes by."""

    memory_bytes: int = 19 * 1024 * 1024
    rounds: int = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a password is the stored one; ``renewed`` is its hash at today's cost where that differs."""

    right: bool
    renewed: str | None = None


def check_password(password: str, name: str, length_min: int, field: str = "password") -> None:
    """Whether this may become the password of ``name``. Raises WireError (``bad_field``).

    After NIST SP 800-63B-4, section 3.1.1: length counts, kinds of characters do not; what everybody tries
    first is refused.
    """
    if problem := _find_problem(password, name, length_min):
        raise WireError(Code.BAD_FIELD, f"{field} {problem}", field=field)


def _find_problem(password: str, name: str, length_min: int) -> str | None:
    text = _prepared(password)
    if len(text) < length_min:
        return f"must have {length_min} characters at least; a few words do"
    if len(text) > LENGTH_MAX:
        return f"must have {LENGTH_MAX} characters at most"
    folded = text.casefold()
    if len(set(folded)) < DISTINCT_MIN or _is_sequence(folded):
        return f"is too easy to guess; use {DISTINCT_MIN} different characters at least, and no sequence"
    # What is left without the name has to be long enough by itself.
    if len(folded.replace(name.casefold(), "")) < length_min // 2:
        return "is too much like the name"
    return None


def _is_sequence(text: str) -> bool:
    return all(abs(ord(after) - ord(before)) <= 1 for before, after in itertools.pairwise(text))


def _prepared(password: str) -> str:
    """The same password from every keyboard: RFC 8265, section 4.2 (OpaqueString), without its refusals."""
    spaces = "".join(" " if unicodedata.category(each) == "Zs" else each for each in password)
    return unicodedata.normalize("NFC", spaces)


class Passwords(Protocol):
    """Hashes and verifies; ``done`` comes in the loop's thread, perhaps at once."""

    def hash(self, password: str, done: Callable[[str | WireError], None]) -> None:
        """What to store of a password, as a PHC string."""

    def verify(self, password: str, stored: str | None, done: Callable[[Verdict | WireError], None]) -> None:
        """Whether ``stored`` is the hash of this password; None is of none, and takes as long."""


class PasswordPool:
    """``Passwords`` by argon2id. ``deliver(callback, *args)`` runs callbacks in the loop's thread."""

    def __init__(
        self,
        deliver: Callable[..., object],
        *,
        threads: int = 1,
        waiting_max: int = 100,
        cost: Cost | None = None,
    ) -> None:
        self._deliver = deliver
        self._unanswered = 0
        self._unanswered_max = threads + waiting_max
        self._threads = threads
        cost = cost or Cost()
        # One lane: a hash is not spread over cores, which belong to others.
        self._hasher = argon2.PasswordHasher(
            time_cost=cost.rounds, memory_cost=cost.memory_bytes // 1024, parallelism=1
        )
        self._nobodys: str | None = None
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        for number in range(threads):
            threading.Thread(target=self._run, name=f"fastchat-passwords-{number}", daemon=True).start()

    def hash(self, password: str, done: Callable[[str | WireError], None]) -> None:
        """Queues it; ``unavailable`` when too many wait."""
        self._submit(lambda: self._hasher.hash(_prepared(password)), done)

    def verify(self, password: str, stored: str | None, done: Callable[[Verdict | WireError], None]) -> None:
        """Queues it; ``unavailable`` when too many wait."""
        self._submit(lambda: self._verify(_prepared(password), stored), done)

    def close(self) -> None:
        """Ends the threads when they have done what is there; does not wait."""
        for _ in range(self._threads):
            self._jobs.put(None)
        self._threads = 0

    def _submit(self, work: Callable[[], T], done: Callable[[T | WireError], None]) -> None:
        if self._unanswered >= self._unanswered_max:
            # Not all in the same moment.
            retry_after_ms = BUSY_RETRY_MS + secrets.randbelow(BUSY_RETRY_MS)
            error = WireError(
                Code.UNAVAILABLE, "too many logins at once; try again", retry_after_ms=retry_after_ms
            )
            done(error)
            return
        self._unanswered += 1

        def answer(result: T | WireError) -> None:
            self._unanswered -= 1
            done(result)

        def job() -> None:
            try:
                result: T | WireError = work()
            except (MemoryError, argon2.exceptions.Argon2Error):
                result = WireError(
                    Code.UNAVAILABLE, "passwords cannot be checked now", retry_after_ms=BUSY_RETRY_MS
                )
            with contextlib.suppress(RuntimeError):  # the loop may be closed by now
                self._deliver(answer, result)

        self._jobs.put(job)

    # In the threads

    def _run(self) -> None:
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICE)
        while (job := self._jobs.get()) is not None:
            # Before the first, whoever's it is: it must not tell those who are there from those who are not.
            if self._nobodys is None:
                self._nobodys = self._hasher.hash(secrets.token_hex())
            job()

    def _verify(self, password: str, stored: str | None) -> Verdict:
        if not self._matches(stored or self._nobodys or "", password) or stored is None:
            return Verdict(right=False)
        stale = self._hasher.check_needs_rehash(stored)
        return Verdict(right=True, renewed=self._hasher.hash(password) if stale else None)

    def _matches(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False
