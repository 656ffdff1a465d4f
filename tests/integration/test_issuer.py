"""Tokens of an issuer that rotates its keys, hangs, is away, or answers rubbish; and a server beside it."""

import time
from collections.abc import Callable, Iterator

import jwt
import pytest

from fastchat.auth.keyring import fetch
from fastchat.auth.keys import KeyProblem
from tests.clients import Document, JsonLinesClient
from tests.issuer import Issuer
from tests.server_process import ServerProcess

Start = Callable[..., ServerProcess]


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


# Fetching


def test_what_is_there_is_fetched(issuer: Issuer) -> None:
    assert fetch(issuer.url, 5, 10_000) == issuer.body
    issuer.headers = {"Content-Length": str(len(issuer.body))}
    assert fetch(issuer.url, 5, 10_000) == issuer.body


@pytest.mark.parametrize("status", [204, 301, 302, 400, 404, 500, 503])
def test_nothing_but_a_plain_answer_counts(issuer: Issuer, status: int) -> None:
    issuer.status = status
    issuer.headers = {"Location": issuer.url}
    with pytest.raises(KeyProblem, match=str(status)):
        fetch(issuer.url, 5, 10_000)
    assert issuer.asked == 1


@pytest.mark.parametrize(
    ("behaviour", "problem"),
    [("hang", "TimeoutError|timed out"), ("drip", "in time"), ("flood", "more than")],
)
def test_no_answer_takes_long_or_much(issuer: Issuer, behaviour: str, problem: str) -> None:
    issuer.behaviour = behaviour
    with pytest.raises(KeyProblem, match=problem):
        fetch(issuer.url, 0.2, 100_000)


def test_an_issuer_that_is_away_is_a_problem_in_words() -> None:
    with Issuer() as gone:
        url = gone.url
    with pytest.raises(KeyProblem, match="refused"):
        fetch(url, 5, 10_000)


def test_half_an_answer_is_none(issuer: Issuer) -> None:
    issuer.headers = {"Content-Length": "100000"}
    with pytest.raises(KeyProblem, match="half an answer"):
        fetch(issuer.url, 5, 1_000_000)


# A server


async def say_hello(server: ServerProcess, token: str) -> Document:
    async with await JsonLinesClient.open(server.line) as client:
        return await client.ask("hello", token=token)


def settings(issuer: Issuer, *more: str) -> list[str]:
    return [f"auth.jwks_url={issuer.url}", "auth.jwks_retry_s=1", "auth.jwks_timeout_s=1", *more]


async def test_tokens_are_taken_as_the_issuer_rotates_its_keys(start_server: Start, issuer: Issuer) -> None:
    server = start_server(*settings(issuer))
    old = issuer.token()
    assert (await say_hello(server, old))["user"] == "alice"
    issuer.rotate("second")
    answer = await until_welcome(server, issuer.token(sub="43", name="bob"))
    assert answer["user"] == "bob"
    refused = await say_hello(server, old)
    assert (refused["code"], refused["field"]) == ("unauthorized", "token")


async def until_welcome(server: ServerProcess, token: str) -> Document:
    """The answer that follows the next question to the issuer, which may not be put at once."""
    while (answer := await say_hello(server, token))["type"] != "welcome":
        assert answer["code"] in ("unauthorized", "unavailable")
    return answer


async def test_keys_are_kept_while_the_issuer_is_away(start_server: Start) -> None:
    with Issuer() as issuer:
        server = start_server(*settings(issuer, "auth.jwks_refresh_s=10"))
        token = issuer.token()
        assert (await say_hello(server, token))["type"] == "welcome"
    assert (await say_hello(server, token))["type"] == "welcome"
    unknown = jwt.encode({"sub": "1", "exp": time.time() + 60}, issuer._private, "EdDSA", {"kid": "unknown"})
    assert (await say_hello(server, unknown))["code"] == "unauthorized"
    assert (await say_hello(server, token))["type"] == "welcome"


@pytest.mark.parametrize("behaviour", ["hang", "drip", "flood"])
async def test_an_issuer_that_does_not_answer_delays_nobody_else(
    start_server: Start, issuer: Issuer, behaviour: str
) -> None:
    issuer.behaviour = behaviour
    server = start_server(*settings(issuer, "auth.jwks_timeout_s=3"))
    async with (
        await JsonLinesClient.open(server.line) as stuck,
        await JsonLinesClient.open(server.line) as guest,
    ):
        await stuck.send("hello", token=issuer.token(), ref="token")
        await guest.hello("carol")
        await guest.join()
        for number in range(20):
            sent = await guest.ask("send", room="lobby", text=str(number))
            assert sent["type"] == "sent"
        assert (await stuck.expect("error", ref="token"))["code"] == "unavailable"
    issuer.behaviour = "answer"
    assert (await until_welcome(server, issuer.token()))["user"] == "alice"


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[" * 200_000, b'{"keys":[{}]}', b"\xff\xfe", b" " * 300_000]
)
async def test_rubbish_is_no_key_and_no_harm(start_server: Start, issuer: Issuer, body: bytes) -> None:
    token, right, issuer.body = issuer.token(), issuer.body, body
    server = start_server(*settings(issuer))
    assert (await say_hello(server, token))["code"] == "unavailable"
    issuer.body = right
    assert (await until_welcome(server, token))["user"] == "alice"


async def test_a_token_does_not_appear_in_the_log(start_server: Start, issuer: Issuer) -> None:
    server = start_server(*settings(issuer, "log.level=debug"))
    good, bad = issuer.token(), issuer.token(exp=1)
    await say_hello(server, good)
    await say_hello(server, bad)
    server.stop()
    log = server.log
    for token in (good, bad):
        for part in token.split("."):
            assert part not in log
