"""Who is let in by a running server: guests, passwords, tokens in every place where they may come."""

import asyncio
import contextlib
import json
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jwt
import pytest
from websockets.exceptions import InvalidStatus

from fastchat.auth.names import name_key
from fastchat.auth.passwords import Cost, PasswordPool
from fastchat.store import open_store
from fastchat.store.interface import Account
from tests.clients import Document, JsonLinesClient, WebSocketClient
from tests.pump import Pump
from tests.server_process import ServerProcess

Start = Callable[..., ServerProcess]

SECRET = "a secret of thirty-two bytes or more"
WORDS = "correct horse battery"
CHEAP = ("auth.password_memory_bytes=8388608", "auth.password_rounds=1")


def token(**claims: object) -> str:
    return jwt.encode({"sub": "42", "name": "alice", "exp": time.time() + 60, **claims}, SECRET)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A store with the account Alice."""
    path = tmp_path / "accounts.db"
    pump = Pump()
    store = open_store(f"sqlite://{path}", deliver=pump.deliver)
    pool = PasswordPool(pump.deliver, cost=Cost(8388608, 1))
    stored = pump.answer(partial(pool.hash, WORDS))
    assert pump.answer(partial(store.add_account, Account("Alice", name_key("Alice"), stored))) is None
    pool.close()
    store.close()
    return path


def stored_hash(path: Path) -> str:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (stored,) = connection.execute("SELECT password FROM accounts").fetchone()
        return str(stored)


async def say_hello(server: ServerProcess, **fields: str) -> Document:
    async with await JsonLinesClient.open(server.line) as client:
        return await client.ask("hello", **fields)


# Passwords


async def test_an_account_comes_in_by_its_password_alone(start_server: Start, file: Path) -> None:
    server = start_server(f"store.url=sqlite://{file}", *CHEAP)
    welcome = await say_hello(server, user="aLICE", password=WORDS)
    assert (welcome["type"], welcome["user"], welcome["guest"]) == ("welcome", "Alice", False)
    assert (await say_hello(server, user="alice"))["code"] == "name_taken"
    assert (await say_hello(server, user="bob"))["guest"] is True
    wrong = await say_hello(server, user="alice", password="wrong " + WORDS)
    nobody = await say_hello(server, user="nobody", password="wrong " + WORDS)
    assert wrong["code"] == "unauthorized"
    assert {**wrong, "ref": 0} == {**nobody, "ref": 0}


async def test_a_hash_of_another_cost_is_stored_anew(start_server: Start, file: Path) -> None:
    server = start_server(
        f"store.url=sqlite://{file}",
        "auth.password_memory_bytes=9437184",
        "auth.password_rounds=1",
    )
    assert (await say_hello(server, user="alice", password=WORDS))["type"] == "welcome"
    assert (await say_hello(server, user="alice", password=WORDS))["type"] == "welcome"
    server.stop()
    stored = await asyncio.to_thread(stored_hash, file)
    assert stored.startswith("$argon2id$v=19$m=9216,t=1,p=1$")


async def test_who_guesses_has_to_wait(start_server: Start, file: Path) -> None:
    server = start_server(f"store.url=sqlite://{file}", *CHEAP, "auth.attempts=2")
    for _ in range(2):
        assert (await say_hello(server, user="alice", password="wrong"))["code"] == "unauthorized"
    refused = await say_hello(server, user="alice", password=WORDS)
    assert refused["code"] == "rate_limited"
    assert 0 < refused["retry_after_ms"] <= 1001


@pytest.mark.settings("auth.password_queue=1", "auth.password_threads=1", "auth.attempts_per_address=1000")
async def test_when_logins_pile_up_others_are_served_and_some_told_to_come_back(
    server: ServerProcess,
) -> None:
    async with await JsonLinesClient.open(server.line) as guest:
        await guest.hello("carol")
        await guest.join()
        crowd = [await JsonLinesClient.open(server.line) for _ in range(8)]
        for number, each in enumerate(crowd):
            await each.send("hello", user=f"nobody-{number}", password=WORDS, ref="login")
        assert (await guest.ask("send", room="lobby", text="hi"))["type"] == "sent"
        codes = [(await each.expect("error", ref="login"))["code"] for each in crowd]
        for each in crowd:
            await each.close()
    assert set(codes) == {"unauthorized", "unavailable"}


# Guests


@pytest.mark.settings("auth.guests=off", f"auth.secret={SECRET}")
async def test_guests_may_be_kept_out(server: ServerProcess) -> None:
    assert (await say_hello(server))["code"] == "unauthorized"
    assert (await say_hello(server, user="bob"))["code"] == "unauthorized"
    assert (await say_hello(server, token=token()))["user"] == "alice"


# Tokens


@pytest.mark.settings(f"auth.secret={SECRET}")
async def test_a_token_comes_with_the_handshake(server: ServerProcess) -> None:
    bearer = {"Authorization": f"Bearer {token()}"}
    async with await WebSocketClient.open(server.http, headers=bearer) as client:
        welcome = await client.hello()
        assert (welcome["user"], welcome["guest"]) == ("alice", False)
    subprotocols = ("fastchat.v1", f"fastchat.token.{token(sub='43', name='bob')}")
    async with await WebSocketClient.open(server.http, subprotocols=subprotocols) as client:
        assert client.socket.subprotocol == "fastchat.v1"
        assert (await client.hello())["user"] == "bob"


@pytest.mark.settings(f"auth.secret={SECRET}")
async def test_a_token_of_the_handshake_is_forgotten_with_the_first_hello(server: ServerProcess) -> None:
    bearer = {"Authorization": f"Bearer {token(exp=1)}"}
    async with await WebSocketClient.open(server.http, headers=bearer) as client:
        refused = await client.ask("hello")
        assert (refused["code"], refused["field"]) == ("unauthorized", "token")
        assert (await client.ask("hello", user="bob"))["guest"] is True


@pytest.mark.settings(f"auth.secret={SECRET}")
async def test_a_token_in_hello_goes_before_that_of_the_handshake(server: ServerProcess) -> None:
    bearer = {"Authorization": f"Bearer {token()}"}
    async with await WebSocketClient.open(server.http, headers=bearer) as client:
        assert (await client.ask("hello", token=token(sub="43", name="bob")))["user"] == "bob"


@pytest.mark.settings(f"auth.secret={SECRET}")
async def test_a_token_in_the_address_is_none_and_two_are_too_many(server: ServerProcess) -> None:
    async with await WebSocketClient.open(server.http, path=f"/ws?token={token()}") as client:
        assert (await client.hello())["guest"] is True
    with pytest.raises(InvalidStatus) as caught:
        await WebSocketClient.open(
            server.http,
            headers={"Authorization": f"Bearer {token()}"},
            subprotocols=("fastchat.v1", f"fastchat.token.{token()}"),
        )
    assert caught.value.response.status_code == 400


@pytest.mark.settings(f"auth.secret={SECRET}", "auth.audience=chat", "auth.issuer=https://login.example")
async def test_bad_tokens_are_refused_and_the_connection_lives(server: ServerProcess) -> None:
    right = {"aud": "chat", "iss": "https://login.example"}
    good = token(**right)
    header, payload, signature = good.split(".")
    bad = {
        "expired": token(**right, exp=time.time() - 60),
        "early": token(**right, nbf=time.time() + 60),
        "audience": token(iss=right["iss"], aud="shop"),
        "issuer": token(iss="https://evil.example", aud="chat"),
        "none": f"eyJhbGciOiJub25lIn0.{payload}.",
        "truncated": good[:-10],
        "half": f"{header}.{payload}",
        "oversized": token(**right, padding="x" * 9000),
        "other": jwt.encode({"sub": "42", "exp": time.time() + 60, **right}, "not" + SECRET),
    }
    async with await JsonLinesClient.open(server.line) as client:
        for what, each in bad.items():
            refused = await client.ask("hello", token=each)
            assert refused["code"] in ("unauthorized", "bad_field"), what
            assert refused["field"] == "token", what
            assert signature not in json.dumps(refused), what
        assert (await client.ask("hello", token=good))["user"] == "alice"
