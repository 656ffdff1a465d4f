"""The opening handshake, without a socket."""

import pytest

from fastchat.handshake import (
    HandshakeError,
    check_upgrade,
    client_address,
    encode_accept,
    encode_response,
    normalize_origins,
    parse_networks,
    parse_request,
)

# The example of RFC 6455, section 1.3.
HEADERS = {
    "Host": "server.example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def head(
    line: str = "GET /ws HTTP/1.1", extra: list[tuple[str, str]] | None = None, **changes: str | None
) -> bytes:
    """Returns a request's head; `changes` name headers with _ for -, None leaves one out."""
    headers = {name.lower(): value for name, value in HEADERS.items()}
    for name, value in changes.items():
        if value is None:
            del headers[name.replace("_", "-")]
        else:
            headers[name.replace("_", "-")] = value
    lines = [line, *(f"{name}: {value}" for name, value in [*headers.items(), *(extra or [])])]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def check(data: bytes, *origins: str) -> int | str | None:
    """Returns the chosen subprotocol, or the status of the refusal."""
    try:
        return check_upgrade(parse_request(data), "/ws", normalize_origins(origins)).subprotocol
    except HandshakeError as error:
        return int(error.response.split()[1])


def test_accept_is_the_specifications_example() -> None:
    upgrade = check_upgrade(parse_request(head(sec_websocket_protocol="chat, fastchat.v1")), "/ws")
    assert encode_accept(upgrade) == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"upgrade: websocket\r\n"
        b"connection: Upgrade\r\n"
        b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"sec-websocket-protocol: fastchat.v1\r\n"
        b"\r\n"
    )


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (head(), None),
        (head("GET /ws?token=x HTTP/1.1"), None),
        (head(connection="keep-alive, upgrade", upgrade="WebSocket"), None),
        (head(connection="keep-alive", extra=[("connection", "upgrade")]), None),
        (head(sec_websocket_protocol="fastchat.v1"), "fastchat.v1"),
        (head(sec_websocket_protocol="other"), None),
        (
            head(sec_websocket_protocol="other", extra=[("Sec-WebSocket-Protocol", "fastchat.v1")]),
            "fastchat.v1",
        ),
        (head(sec_websocket_extensions="permessage-deflate"), None),
        (head("GET / HTTP/1.1"), 404),
        (head("GET /ws/ HTTP/1.1"), 404),
        (head("POST /ws HTTP/1.1"), 405),
        (head("GET /ws HTTP/1.0"), 400),
        (head(host=None), 400),
        (head(upgrade=None), 426),
        (head(upgrade="h2c"), 426),
        (head(connection=None), 426),
        (head(connection="close"), 426),
        (head(sec_websocket_version=None), 426),
        (head(sec_websocket_version="8"), 426),
        (head(sec_websocket_version="13", extra=[("sec-websocket-version", "13")]), 400),
        (head(sec_websocket_key=None), 400),
        (head(sec_websocket_key=""), 400),
        (head(sec_websocket_key="dGhlIHNhbXBsZQ=="), 400),
        (head(sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ"), 400),
        (head(sec_websocket_key="!GhlIHNhbXBsZSBub25jZQ=="), 400),
        (head(sec_websocket_key="\xe9" * 24), 400),
        (head(extra=[("sec-websocket-key", HEADERS["Sec-WebSocket-Key"])]), 400),
        (head(b"GET http:// HTTP/1.1".decode()), 400),
        (b"hello\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /ws HTTP/1.1\r\nspace in: name\r\n\r\n", 400),
        (b"GET /ws HTTP/1.1\nhost: x\n\r\n\r\n", 400),
    ],
)
def test_check(data: bytes, expected: int | str | None) -> None:
    assert check(data) == expected


def test_the_refusal_says_what_would_be_fine() -> None:
    with pytest.raises(HandshakeError) as refused:
        check_upgrade(parse_request(head(sec_websocket_version="7")), "/ws")
    assert b"\r\nsec-websocket-version: 13\r\n" in refused.value.response
    with pytest.raises(HandshakeError) as refused:
        check_upgrade(parse_request(head(upgrade="foo")), "/ws")
    assert b"\r\nupgrade: websocket\r\n" in refused.value.response


def test_origins() -> None:
    allowed = ["https://Chat.example.com", "http://localhost:8080/"]
    assert check(head(origin="https://chat.example.com"), *allowed) is None
    assert check(head(origin="HTTP://localhost:8080"), *allowed) is None
    assert check(head(), *allowed) is None
    assert check(head(origin="https://evil.example"), *allowed) == 403
    assert check(head(origin="https://chat.example.com.evil.example"), *allowed) == 403
    assert check(head(origin="http://chat.example.com"), *allowed) == 403
    assert check(head(origin="null"), *allowed) == 403
    assert check(head(origin="https://evil.example")) is None


def test_encode_response_counts_bytes() -> None:
    assert (
        encode_response(503, "zu früh", [("retry-after", "5")])
        == (
            "HTTP/1.1 503 Service Unavailable\r\n"
            "content-type: text/plain; charset=utf-8\r\n"
            "content-length: 9\r\n"
            "connection: close\r\n"
            "retry-after: 5\r\n"
            "\r\n"
            "zu früh\n"
        ).encode()
    )


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "expected"),
    [
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("198.51.100.1", ["203.0.113.7"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["1.1.1.1", "203.0.113.7, 10.0.0.9"], "203.0.113.7"),
        ("10.0.0.1", ["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
        ("10.0.0.1", ["203.0.113.7:4711"], "203.0.113.7"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("::1", ["2001:db8::1"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["::ffff:203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7, "], "10.0.0.1"),
        ("", ["203.0.113.7"], ""),
    ],
)
def test_client_address(peer: str, forwarded_for: list[str], expected: str) -> None:
    trusted = parse_networks(["10.0.0.0/8", "::1"])
    assert client_address(peer, forwarded_for, trusted) == expected


def test_no_one_is_trusted_unasked() -> None:
    assert client_address("10.0.0.1", ["203.0.113.7"], ()) == "10.0.0.1"


def test_a_wrong_network_is_named() -> None:
    with pytest.raises(ValueError, match="example"):
        parse_networks(["10.0.0.0/8", "example"])


# Tokens

BEARER = "authorization: Bearer a.b.c"


def with_lines(lines: list[str]) -> bytes:
    return head(extra=[(name, value.lstrip()) for name, _, value in (line.partition(":") for line in lines)])


def token_of(lines: list[str]) -> str | None:
    return check_upgrade(parse_request(with_lines(lines)), "/ws").token


@pytest.mark.parametrize(
    ("lines", "token"),
    [
        ([], None),
        (["authorization: Bearer a.b.c"], "a.b.c"),
        (["Authorization: bearer  a.b.c "], "a.b.c"),
        (["authorization: Basic YTpi"], None),
        (["authorization: Bearer"], ""),
        (["authorization:"], None),
        (["sec-websocket-protocol: fastchat.v1, fastchat.token.a.b-_c"], "a.b-_c"),
        (["sec-websocket-protocol: fastchat.token.a", "sec-websocket-protocol: fastchat.v1"], "a"),
        (["sec-websocket-protocol: fastchat.token."], ""),
        (["sec-websocket-protocol: fastchat.v1, token.a"], None),
    ],
)
def test_a_token_comes_in_a_header(lines: list[str], token: str | None) -> None:
    assert token_of(lines) == token


@pytest.mark.parametrize(
    "lines",
    [
        [BEARER, BEARER],
        [BEARER, "sec-websocket-protocol: fastchat.token.d"],
        ["sec-websocket-protocol: fastchat.token.a, fastchat.token.b"],
    ],
)
def test_one_token_is_enough(lines: list[str]) -> None:
    with pytest.raises(HandshakeError) as caught:
        token_of(lines)
    assert caught.value.status == 400
    assert b"a.b.c" not in caught.value.response


def test_a_token_is_no_subprotocol_of_ours() -> None:
    upgrade = check_upgrade(parse_request(with_lines(["sec-websocket-protocol: fastchat.token.a"])), "/ws")
    assert upgrade.subprotocol is None
    assert b"fastchat.token" not in encode_accept(upgrade)


def test_a_token_in_the_address_is_none() -> None:
    request = parse_request(head().replace(b"/ws", b"/ws?token=a.b.c&access_token=a.b.c"))
    assert check_upgrade(request, "/ws").token is None
