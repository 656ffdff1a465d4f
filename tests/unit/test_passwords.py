"""What may be a password, and the threads that hash."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import argon2
import pytest

from fastchat.auth.passwords import BUSY_RETRY_MS, LENGTH_MAX, Cost, PasswordPool, Verdict, check_password
from fastchat.messages import Code, WireError

CHEAP = Cost(memory_bytes=8 * 1024 * 1024, rounds=1)
WORDS = "correct horse battery"


class Loop:
    """Runs what the threads deliver, in the test's own thread."""

    def __init__(self) -> None:
        self.delivered: queue.SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]]] = queue.SimpleQueue()

    def deliver(self, callback: Callable[..., object], *args: Any) -> None:
        self.delivered.put((callback, args))

    def run(self, deliveries: int = 1) -> None:
        for _ in range(deliveries):
            callback, args = self.delivered.get(timeout=30)
            callback(*args)


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def pool(loop: Loop) -> Iterator[PasswordPool]:
    pool = PasswordPool(loop.deliver, threads=1, waiting_max=2, cost=CHEAP)
    yield pool
    pool.close()


def hashed(pool: PasswordPool, loop: Loop, password: str) -> str:
    results: list[str | WireError] = []
    pool.hash(password, results.append)
    loop.run()
    (result,) = results
    assert isinstance(result, str)
    return result


def verified(pool: PasswordPool, loop: Loop, password: str, stored: str | None) -> Verdict:
    results: list[Verdict | WireError] = []
    pool.verify(password, stored, results.append)
    loop.run()
    (result,) = results
    assert isinstance(result, Verdict)
    return result


# What may be one


@pytest.mark.parametrize(
    "password",
    [
        WORDS,
        "aaaaaaaaaaaaabcdex",
        "\u00fc\u00e4\u00f6\u00df\u00fc\u00e4\u00f6\u00df\u00e9\u00e8\u00ea!?#\u00df",
        "x7" * 5 + "long!",
    ],
)
def test_length_counts_and_kinds_of_characters_do_not(password: str) -> None:
    check_password(password, "alice", 15)


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("", "15 characters at least"),
        ("correct horse", "15 characters at least"),
        ("e\u0301" * 14, "15 characters at least"),  # one letter, however it was typed
        ("ab" * LENGTH_MAX, "256 characters at most"),
        ("a" * 20, "easy to guess"),
        ("abababababababab", "easy to guess"),
        ("abcdefghijklmnopqrst", "easy to guess"),
        ("zyxwvutsrqponmlkjih", "easy to guess"),
        ("AliceAliceAlice1", "too much like the name"),
    ],
)
def test_what_is_guessed_first_is_refused(password: str, why: str) -> None:
    with pytest.raises(WireError, match=why) as caught:
        check_password(password, "alice", 15, "new")
    assert (caught.value.code, caught.value.field) == (Code.BAD_FIELD, "new")
    if password:
        assert password not in caught.value.message


# Hashing


def test_a_hash_is_argon2id_of_the_cost_and_verifies(pool: PasswordPool, loop: Loop) -> None:
    stored = hashed(pool, loop, WORDS)
    assert stored.startswith("$argon2id$v=19$m=8192,t=1,p=1$")
    assert stored != hashed(pool, loop, WORDS)
    assert verified(pool, loop, WORDS, stored) == Verdict(right=True)
    assert verified(pool, loop, WORDS + ".", stored) == Verdict(right=False)


def test_every_keyboard_writes_the_same_password(pool: PasswordPool, loop: Loop) -> None:
    stored = hashed(pool, loop, "caf\u00e9 au lait")
    assert verified(pool, loop, "cafe\u0301\u00a0au\u3000lait", stored).right


@pytest.mark.parametrize(
    "stored", [None, "", "plain", "$argon2id$v=19$m=8192,t=1,p=1$AAAA$AAAA", "$argon2id$"]
)
def test_nothing_is_the_password_of_nobody_or_of_a_broken_hash(
    pool: PasswordPool, loop: Loop, stored: str | None
) -> None:
    assert not verified(pool, loop, WORDS, stored).right


def test_nobodys_password_is_verified_against_a_hash_of_the_same_cost(
    pool: PasswordPool, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = hashed(pool, loop, WORDS)
    verified_against = []
    verify = argon2.PasswordHasher.verify

    def spy(self: argon2.PasswordHasher, hash: str, password: str) -> bool:
        verified_against.append(argon2.extract_parameters(hash))
        return verify(self, hash, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", spy)
    verified(pool, loop, "wrong" + WORDS, stored)
    verified(pool, loop, "wrong" + WORDS, None)
    assert len(verified_against) == 2
    assert verified_against[0] == verified_against[1]


def test_a_hash_of_another_cost_is_made_anew(pool: PasswordPool, loop: Loop) -> None:
    dear = PasswordPool(loop.deliver, threads=1, cost=Cost(memory_bytes=9 * 1024 * 1024, rounds=1))
    stored = hashed(pool, loop, WORDS)
    verdict = verified(dear, loop, WORDS, stored)
    assert verdict.right
    assert verdict.renewed is not None
    assert verified(dear, loop, WORDS, verdict.renewed) == Verdict(right=True)
    assert verified(dear, loop, "wrong" + WORDS, stored) == Verdict(right=False)
    dear.close()


# The threads


def test_who_comes_when_too_many_wait_is_told_at_once_to_come_back(loop: Loop) -> None:
    pool = PasswordPool(loop.deliver, threads=1, waiting_max=2, cost=CHEAP)
    results: list[str | WireError] = []
    for _ in range(5):
        pool.hash(WORDS, results.append)
    assert [type(result) for result in results] == [WireError, WireError]
    assert isinstance(error := results[0], WireError)
    assert error.code == Code.UNAVAILABLE
    assert error.retry_after_ms is not None
    assert BUSY_RETRY_MS <= error.retry_after_ms < 2 * BUSY_RETRY_MS
    loop.run(3)
    assert [type(result) for result in results[2:]] == [str, str, str]
    pool.hash(WORDS, results.append)
    loop.run()
    assert isinstance(results[-1], str)
    pool.close()


def test_answers_come_from_other_threads(loop: Loop) -> None:
    threads = set()

    def deliver(callback: Callable[..., object], *args: object) -> None:
        threads.add(threading.current_thread().name)
        loop.deliver(callback, *args)

    pool = PasswordPool(deliver, threads=2, cost=CHEAP)
    hashed(pool, loop, WORDS)
    pool.close()
    assert threads <= {"fastchat-passwords-0", "fastchat-passwords-1"}


def test_no_memory_for_a_hash_is_said_and_the_thread_goes_on(
    pool: PasswordPool, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = hashed(pool, loop, WORDS)

    def fail(*_: object) -> bool:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(argon2.PasswordHasher, "verify", fail)
        results: list[Verdict | WireError] = []
        pool.verify(WORDS, stored, results.append)
        loop.run()
    assert isinstance(error := results[0], WireError)
    assert error.code == Code.UNAVAILABLE
    assert verified(pool, loop, WORDS, stored).right


def test_the_threads_end_and_a_loop_that_is_gone_does_no_harm() -> None:
    def gone(*_: object) -> None:
        raise RuntimeError("Event loop is closed")

    before = set(threading.enumerate())
    pool = PasswordPool(gone, threads=2, cost=CHEAP)
    started = set(threading.enumerate()) - before
    assert len(started) == 2
    pool.hash(WORDS, lambda result: None)
    pool.close()
    for thread in started:
        thread.join(30)
        assert not thread.is_alive()
