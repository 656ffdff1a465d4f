"""Keys that an issuer publishes: asked for rarely, kept when it is away, and nobody waits for long."""

import json
import queue
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fastchat.auth import keyring as module
from fastchat.auth.keyring import FETCHES_MAX, Issuer, Keyring
from fastchat.auth.keys import KeyProblem, secret_key
from fastchat.auth.tokens import Header, Key
from fastchat.messages import Code, WireError
from tests.fakes import FakeLoop
from tests.issuer import jwk_of

PRIVATE = Ed25519PrivateKey.generate()
Found = Sequence[Key] | WireError


def document(*key_ids: str) -> bytes:
    return json.dumps({"keys": [jwk_of(PRIVATE, key_id) for key_id in key_ids]}).encode()


class Ring:
    """A keyring whose issuer answers what the test says, when it says so."""

    def __init__(self, *own: Key, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loop = FakeLoop()
        self.answers: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
        self.delivered: queue.SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]]] = queue.SimpleQueue()
        self.asked = 0
        self.reports: list[str] = []

        def fetch(url: str, timeout_s: float, size_max: int) -> bytes:
            answer = self.answers.get()
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(module, "fetch", fetch)
        self.ring = Keyring(
            own,
            Issuer("https://login.example", timeout_s=5, refresh_s=3600, retry_s=30),
            deliver=lambda callback, *args: self.delivered.put((callback, args)),
            call_later=self.loop.call_later,
            clock=self.loop.time,
            report=self.reports.append,
        )

    def find(self, key_id: str | None = "a", algorithm: str = "EdDSA") -> list[Found]:
        """What was found, filled in when it is."""
        found: list[Found] = []
        self.ring.find(Header(algorithm, key_id), found.append)
        return found

    def answer(self, answer: bytes | Exception) -> None:
        """What the issuer answers to the oldest question that is open."""
        self.answers.put(answer)
        callback, args = self.delivered.get(timeout=30)
        callback(*args)

    @property
    def asking(self) -> int:
        """How many questions the issuer has not answered."""
        return len(self.ring._hanging)

    def end(self) -> None:
        for _ in range(self.asking):
            self.answer(KeyProblem("over"))


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ring]:
    ring = Ring(monkeypatch=monkeypatch)
    yield ring
    ring.end()


def ids(found: list[Found]) -> list[str | None]:
    (keys,) = found
    assert not isinstance(keys, WireError), keys
    return [key.id for key in keys]


def test_who_comes_before_the_first_answer_waits_for_it(ring: Ring) -> None:
    found = [ring.find(), ring.find("b"), ring.find("c"), ring.find(None)]
    assert ring.asking == 1
    assert found == [[], [], [], []]
    ring.answer(document("a", "b"))
    assert [ids(each) for each in found] == [["a"], ["b"], [], ["a", "b"]]


def test_known_keys_are_found_at_once_and_nobody_is_asked(ring: Ring) -> None:
    ring.find()
    ring.answer(document("a"))
    assert ids(ring.find()) == ["a"]
    assert ring.asking == 0


def test_an_unknown_key_asks_again_but_not_more_often_than_every_retry(ring: Ring) -> None:
    ring.find()
    ring.answer(document("a"))
    assert ids(ring.find("b")) == []  # it was asked a moment ago
    assert ring.asking == 0
    ring.loop.advance(30)
    rotated = ring.find("b")
    assert (rotated, ring.asking) == ([], 1)
    assert ids(ring.find("a")) == ["a"]  # who has a known key does not wait
    ring.answer(document("b"))
    assert ids(rotated) == ["b"]
    assert ids(ring.find("a")) == []  # it was withdrawn


def test_old_keys_are_asked_for_again_while_they_still_count(ring: Ring) -> None:
    ring.find()
    ring.answer(document("a"))
    ring.loop.advance(3601)
    assert ids(ring.find()) == ["a"]
    assert ring.asking == 1
    ring.answer(document("b"))
    assert ids(ring.find("b")) == ["b"]


@pytest.mark.parametrize(
    "answer",
    [KeyProblem("status 500"), OSError("gone"), RecursionError(), b"<html>", b"{}", b'{"keys":[]}', b""],
)
def test_what_was_published_stays_when_the_issuer_is_away_or_answers_rubbish(
    ring: Ring, answer: bytes | Exception
) -> None:
    ring.find()
    ring.answer(document("a"))
    ring.loop.advance(3601)
    assert ids(ring.find()) == ["a"]
    ring.answer(answer)
    assert len(ring.reports) == 1
    assert ids(ring.find()) == ["a"]
    ring.loop.advance(100_000)
    assert ids(ring.find()) == ["a"]


def test_without_any_answer_tokens_are_put_off(ring: Ring) -> None:
    found = ring.find()
    ring.answer(KeyProblem("status 503"))
    (error,) = found
    assert isinstance(error, WireError)
    assert (error.code, error.retry_after_ms) == (Code.UNAVAILABLE, 30_000)
    assert isinstance(ring.find()[0], WireError)  # at once
    assert ring.asking == 0
    ring.loop.advance(30)
    found = ring.find()
    ring.answer(document("a"))
    assert ids(found) == ["a"]


def test_nobody_waits_longer_than_the_time_limit_and_a_late_answer_counts(ring: Ring) -> None:
    found = ring.find()
    ring.loop.advance(4.9)
    assert found == []
    ring.loop.advance(0.1)
    assert isinstance(found[0], WireError)
    assert ring.reports == ["no answer in time"]
    assert isinstance(ring.find()[0], WireError)  # nobody waits for it any more
    ring.answer(document("a"))
    assert ids(ring.find()) == ["a"]
    assert len(found) == 1


def test_an_issuer_that_hangs_is_asked_a_few_times_at_most(ring: Ring) -> None:
    for _ in range(10):
        ring.find()
        ring.loop.advance(60)
    assert ring.asking == FETCHES_MAX
    ring.answer(KeyProblem("late"))
    found = ring.find()
    assert ring.asking == FETCHES_MAX
    ring.loop.advance(5)
    assert isinstance(found[0], WireError)


def test_own_keys_need_no_issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = secret_key("a secret of thirty-two bytes or more")
    own = Key(PRIVATE.public_key(), frozenset({"EdDSA"}))
    ring = Ring(secret, own, monkeypatch=monkeypatch)
    assert ring.find("a", "HS256") == [[secret]]
    assert ring.asking == 0
    found = ring.find("a")
    ring.answer(KeyProblem("status 500"))
    assert found == [[own]]
    ring.loop.advance(30)
    found = ring.find("a")
    ring.answer(document("a"))
    assert ids(found) == [None, "a"]


def test_without_any_key_it_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = Ring(monkeypatch=monkeypatch).ring
    assert ring
    empty = Keyring((), None, deliver=print, call_later=print, clock=lambda: 0.0, report=print)
    assert not empty
    empty.refresh()
