"""The compiled handshake: what it lets in the thorough one lets in, too, with the same answer."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastchat._handshake import open_plain
from fastchat.handshake import (
    HEAD_LIMIT_BYTES,
    SUBPROTOCOL,
    HandshakeError,
    check_upgrade,
    encode_accept,
    is_upgrade,
    parse_request,
)

pytestmark = pytest.mark.compiled

KEY = "dGhlIHNhbXBsZSBub25jZQ=="

BROWSER = (
    b"GET /ws HTTP/1.1\r\nHost: chat.example:8080\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"
    b"Accept: */*\r\nAccept-Language: en-US,en;q=0.5\r\nSec-WebSocket-Version: 13\r\n"
    b"Origin: https://chat.example\r\nSec-WebSocket-Protocol: fastchat.v1\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Key: " + KEY.encode() + b"\r\n"
    b"Connection: keep-alive, Upgrade\r\nCookie: a=b; c=d\r\nPragma: no-cache\r\nUpgrade: websocket\r\n\r\n"
)

Plain = tuple[bytes, int, str | None, list[str] | None]


def plain(data: bytes) -> Plain | None:
    return open_plain(data, b"/ws", SUBPROTOCOL.encode(), HEAD_LIMIT_BYTES)


def thorough(data: bytes) -> Plain | None:
    """What the other one makes of it; None where it refuses."""
    size = data.find(b"\r\n\r\n") + 4
    if size < 4 or size > HEAD_LIMIT_BYTES or not is_upgrade(data):
        return None
    try:
        request = parse_request(data[:size])
        response = encode_accept(check_upgrade(request, "/ws"))
    except HandshakeError:
        return None
    forwarded_for = request.headers.get("x-forwarded-for")
    stripped = None if forwarded_for is None else [value.strip() for value in forwarded_for]
    return response, size, request.only("origin"), stripped


def test_a_browser_is_plain() -> None:
    found = plain(BROWSER + b"\x81\x80abcd")
    assert found == thorough(BROWSER)
    assert found is not None
    assert found[1:] == (len(BROWSER), "https://chat.example", None)


def test_what_proxies_say_comes_in_its_order() -> None:
    lines = b"X-Forwarded-For: 1.2.3.4\r\nx-forwarded-for:  5.6.7.8, 9.9.9.9 \r\n\r\n"
    found = plain(BROWSER[:-2] + lines)
    assert found is not None
    assert found[3] == ["1.2.3.4", "5.6.7.8, 9.9.9.9"]


@pytest.mark.parametrize("size", range(len(BROWSER)))
def test_a_part_is_not_plain(size: int) -> None:
    assert plain(BROWSER[:size]) is None


def test_a_head_that_is_too_long_is_not_plain() -> None:
    filler = b"x: " + b"y" * (HEAD_LIMIT_BYTES - len(BROWSER) - 5) + b"\r\n\r\n"
    assert plain(BROWSER[:-2] + filler) is not None
    assert plain(BROWSER[:-2] + b"a" + filler) is None


@pytest.mark.parametrize(
    "name", [b"Host", b"Upgrade", b"Connection", b"Sec-WebSocket-Key", b"Sec-WebSocket-Version", b"Origin"]
)
def test_what_decides_may_not_come_twice(name: bytes) -> None:
    (line,) = (line for line in BROWSER.split(b"\r\n") if line.startswith(name + b":"))
    assert plain(BROWSER[:-2] + line + b"\r\n\r\n") is None


@pytest.mark.parametrize(
    "line",
    [
        b"Authorization: Bearer a.b.c",
        b"authorization: Basic YTpi",
        b"Sec-WebSocket-Protocol: fastchat.v1, fastchat.token.a",
        b"Sec-WebSocket-Protocol: fastchat.token.a",
    ],
)
def test_what_may_have_a_token_is_not_plain(line: bytes) -> None:
    assert plain(BROWSER.replace(b"Sec-WebSocket-Protocol: fastchat.v1", line)) is None


NAMES = (
    "Host", "upgrade", "CONNECTION", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol",
    "Origin", "X-Forwarded-For", "Content-Length", "Transfer-Encoding", "X-Other", "Cookie", "",
    "Authorization", "Bad Name", "é",
)  # fmt: skip
VALUES = (
    "websocket", "WebSocket", "websocket, h2c", "Upgrade", "keep-alive, upgrade", "keep-alive,,Upgrade ,",
    "close", "upgraded", "13", "8", " 13 ", KEY, KEY[:-1], KEY[:-2] + "A=", "A" * 22 + "==", "A" * 21 + "-==",
    "x" * 24,
    "fastchat.v1", "chat, fastchat.v1", "FASTCHAT.V1", "fastchat.v1, fastchat.token.a", "fastchat.token.a",
    "Bearer a", "127.0.0.1:8080", "", " ", "\t", "5", "chunked",
    "1.2.3.4, ::1", "a\tb", "a\x00b", "é", "a\rb", "a\nb", "a\x7fb",
)  # fmt: skip
USUAL = (
    ("Host", "chat.example"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
)
LINES = st.tuples(
    st.sampled_from(NAMES), st.sampled_from([":", ": ", " : ", ":\t", ""]), st.sampled_from(VALUES)
)
START = st.sampled_from(
    ["GET /ws HTTP/1.1"] * 8
    + [
        "GET /ws?a=b HTTP/1.1",
        "GET /ws HTTP/1.0",
        "POST /ws HTTP/1.1",
        "GET /ws  HTTP/1.1",
        "GET /w HTTP/1.1",
    ]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Mostly fine, with a few lines that are not, in any order."""
    kept = [f"{name}: {value}" for name, value in USUAL if draw(st.integers(0, 19))]
    strange = ["".join(line) for line in draw(st.lists(LINES, max_size=4))]
    lines = draw(st.permutations(kept + strange))
    end = draw(st.sampled_from(["\r\n"] * 9 + ["\n"]))
    return end.join([draw(START), *lines, "", ""]).encode("latin-1") + draw(st.binary(max_size=3))


@given(data=requests())
@example(data=BROWSER)
def test_what_is_plain_is_fine_and_answered_alike(data: bytes) -> None:
    found = plain(data)
    if found is not None:
        assert found == thorough(data)


@given(data=st.tuples(st.integers(0, len(BROWSER) - 1), st.binary(max_size=3)))
def test_a_changed_byte_is_judged_alike(data: tuple[int, bytes]) -> None:
    at, replacement = data
    changed = BROWSER[:at] + replacement + BROWSER[at + 1 :]
    found = plain(changed)
    if found is not None:
        assert found == thorough(changed)
