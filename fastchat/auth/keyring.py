"""Which keys may have signed a token: those that the settings name, and those that an issuer publishes.

The issuer is asked in a thread of its own, so nobody waits but who brings a key that is not known yet, and
that for ``timeout_s`` at most. What was published stays when the issuer is away or answers rubbish. It is
asked again when what it said is ``refresh_s`` old, and for unknown keys, but at most every ``retry_s``.
"""

import contextlib
import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastchat.auth.keys import KeyProblem, jwk_keys
from fastchat.auth.tokens import Header, Key, fitting
from fastchat.messages import Code, WireError

READ_BYTES = 65536
FETCHES_MAX = 3
"""Fetches that may hang at once: a name that is being looked up cannot be told to stop."""

Found = Callable[[Sequence[Key] | WireError], None]


@dataclass(frozen=True, slots=True)
class Issuer:
    """Where keys are published, and how long and often to ask."""

    url: str
    timeout_s: float = 5.0
    refresh_s: float = 3600.0
    retry_s: float = 30.0
    document_bytes: int = 262_144


class Keyring:
    """Keys by the headers of tokens.

    ``deliver(callback, *args)`` runs callbacks in the loop's thread, ``call_later(seconds, callback)`` in
    time; ``clock`` is in seconds. ``report`` is told in words why keys could not be had.
    """

    def __init__(
        self,
        own: Sequence[Key],
        issuer: Issuer | None,
        *,
        deliver: Callable[..., object],
        call_later: Callable[[float, Callable[[], None]], object],
        clock: Callable[[], float],
        report: Callable[[str], None],
    ) -> None:
        self._own = tuple(own)
        self._issuer = issuer
        self._deliver = deliver
        self._call_later = call_later
        self._clock = clock
        self._report = report
        self._published: Sequence[Key] | None = None
        self._published_at = 0.0
        self._asked_at: float | None = None
        self._fetch = 0  # the number of the last one
        self._hanging: set[int] = set()
        self._is_asking = False
        self._waiting: list[Callable[[], None]] = []

    def __bool__(self) -> bool:
        """Whether there can be any key."""
        return bool(self._own or self._issuer)

    def find(self, header: Header, done: Found) -> None:
        """The keys to try; ``unavailable`` where the issuer could not be asked yet."""
        own = fitting(self._own, header)
        if self._issuer is None or header.algorithm.startswith("HS"):
            done(own)
            return
        if self._published is not None and self._clock() - self._published_at > self._issuer.refresh_s:
            self.refresh()
        if published := fitting(self._published or (), header):
            done([*own, *published])
            return
        self.refresh()
        if self._is_asking:
            self._waiting.append(lambda: self._answer(header, done))
        else:
            self._answer(header, done)

    def _answer(self, header: Header, done: Found) -> None:
        own = fitting(self._own, header)
        if self._published is None and not own and self._issuer is not None:
            retry_after_ms = int(self._issuer.retry_s * 1000)
            done(
                WireError(
                    Code.UNAVAILABLE, "the token's keys cannot be had now", retry_after_ms=retry_after_ms
                )
            )
        else:
            done([*own, *fitting(self._published or (), header)])

    # Asking the issuer

    def refresh(self) -> None:
        """Asks the issuer, unless that was done a moment ago."""
        issuer, now = self._issuer, self._clock()
        if issuer is None or (self._asked_at is not None and now - self._asked_at < issuer.retry_s):
            return
        if len(self._hanging) >= FETCHES_MAX:
            return
        self._asked_at = now
        self._fetch += 1
        number = self._fetch
        self._hanging.add(number)
        self._is_asking = True
        threading.Thread(target=self._ask, args=(issuer, number), name="fastchat-keys", daemon=True).start()
        self._call_later(issuer.timeout_s, lambda: self._on_timeout(number))

    def _ask(self, issuer: Issuer, number: int) -> None:
        result: Sequence[Key] | str
        try:
            result = jwk_keys(fetch(issuer.url, issuer.timeout_s, issuer.document_bytes))
        except KeyProblem as error:
            result = str(error)
        except Exception as error:  # whatever an issuer answers, the thread has to say that it is over
            result = f"{type(error).__name__}: {error}"
        with contextlib.suppress(RuntimeError):  # the loop may be closed by now
            self._deliver(self._on_answer, number, result)

    def _on_answer(self, number: int, result: Sequence[Key] | str) -> None:
        self._hanging.discard(number)
        if not isinstance(result, str):
            self._published = result
            self._published_at = self._clock()
        elif number == self._fetch:
            self._report(result)
        if number == self._fetch:
            self._go_on()

    def _on_timeout(self, number: int) -> None:
        if number == self._fetch and self._is_asking:
            self._report("no answer in time")
            self._go_on()

    def _go_on(self) -> None:
        self._is_asking = False
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each()


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Keys come from the address that was named, or not at all."""


def fetch(url: str, timeout_s: float, size_max: int) -> bytes:
    """What is at an address. Blocks, for little more than ``timeout_s``. Raises KeyProblem."""
    ends_at = time.monotonic() + timeout_s
    opener = urllib.request.build_opener(_NoRedirects())
    request = urllib.request.Request(url, headers={"Accept": "application/json", "User-Agent": "fastchat"})
    try:
        with opener.open(request, timeout=timeout_s) as response:
            if response.status != 200:
                raise KeyProblem(f"status {response.status}")
            parts, size = [], 0
            while part := response.read1(READ_BYTES):
                parts.append(part)
                size += len(part)
                if size > size_max:
                    raise KeyProblem(f"more than {size_max} bytes")
                if time.monotonic() > ends_at:
                    raise KeyProblem("no whole answer in time")
            if response.length:
                raise KeyProblem("half an answer")
            return b"".join(parts)
    except urllib.error.HTTPError as error:
        error.close()
        raise KeyProblem(f"status {error.code}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise KeyProblem(f"{type(error).__name__}: {error}") from None
