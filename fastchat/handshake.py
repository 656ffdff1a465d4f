"""The WebSocket opening handshake (RFC 6455, section 4). Pure: no sockets, clock or await."""

import base64
import binascii
import hashlib
import http
import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import httptools

HEAD_LIMIT_BYTES = 32768
SUBPROTOCOL = "fastchat.v1"
TOKEN_PREFIX = "fastchat.token."

_KEY_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # section 1.3

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


_UPGRADE = re.compile(rb"\r\nupgrade:[ \t]*websocket[ \t]*\r\n", re.IGNORECASE)


class HandshakeError(Exception):
    """The request is no opening handshake that this server accepts. `response` is the whole HTTP answer."""

    def __init__(self, status: int, reason: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.response = encode_response(status, reason, headers)


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request's head. Header names are in lower case, a name's values in the order they came."""

    method: str
    path: str
    version: str
    headers: dict[str, list[str]]

    def tokens(self, name: str) -> list[str]:
        """Returns the elements of a comma-separated header, over all its lines."""
        return [
            token
            for value in self.headers.get(name, ())
            for part in value.split(",")
            if (token := part.strip())
        ]

    def only(self, name: str) -> str | None:
        """Returns a header that may come once, None when it is missing. Raises HandshakeError for two."""
        values = self.headers.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise HandshakeError(400, f"{name} is repeated")
        return values[0].strip()


@dataclass(frozen=True, slots=True)
class Upgrade:
    """An opening handshake that is fine. `subprotocol` is None where the client offered none of ours."""

    key: str
    subprotocol: str | None
    token: str | None = None
    """Who the client says it is, to be proved."""


class _HeadCollector:
    """What httptools calls back while it parses a head."""

    __slots__ = ("headers", "url")

    def __init__(self) -> None:
        self.url = b""
        self.headers: dict[str, list[str]] = {}

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))


def is_upgrade(data: bytes) -> bool:
    """Whether `data` begins with the whole head of a GET that asks for a WebSocket, and for nothing else."""
    end = data.find(b"\r\n\r\n")
    return end > 0 and data.startswith(b"GET ") and _UPGRADE.search(data, 0, end + 2) is not None


def parse_request(head: bytes) -> Request:
    """Parses a request up to and with its empty line. Raises HandshakeError with 400 for what is no HTTP."""
    collector = _HeadCollector()
    parser = httptools.HttpRequestParser(collector)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        raise HandshakeError(400, "this is not an HTTP request") from None
    try:
        path = httptools.parse_url(collector.url).path or b"/"
    except httptools.HttpParserError:
        raise HandshakeError(400, "the request's target is malformed") from None
    return Request(
        parser.get_method().decode("latin-1"),
        path.decode("latin-1"),
        parser.get_http_version(),
        collector.headers,
    )


def check_upgrade(request: Request, path: str, allowed_origins: frozenset[str] = frozenset()) -> Upgrade:
    """Raises HandshakeError for what section 4.2.1 does not allow, for another path and a foreign Origin.

    Without `allowed_origins` every Origin is welcome; a client that sends none is no browser, and is too.
    """
    if request.path != path:
        raise HandshakeError(404, f"there is nothing here; the chat is at {path}")
    if request.method != "GET":
        raise HandshakeError(405, "the WebSocket handshake is a GET", [("allow", "GET")])
    if request.version != "1.1":
        raise HandshakeError(400, "the WebSocket handshake needs HTTP/1.1")
    if "websocket" not in map(str.lower, request.tokens("upgrade")) or "upgrade" not in map(
        str.lower, request.tokens("connection")
    ):
        raise HandshakeError(426, "this address speaks WebSocket", [("upgrade", "websocket")])
    if request.only("sec-websocket-version") != "13":
        raise HandshakeError(426, "the WebSocket version must be 13", [("sec-websocket-version", "13")])
    if not request.only("host"):
        raise HandshakeError(400, "host is missing")
    key = request.only("sec-websocket-key") or ""
    if not _is_key(key):
        raise HandshakeError(400, "sec-websocket-key must be 16 bytes in base64")
    if not is_allowed_origin(request.only("origin"), allowed_origins):
        raise HandshakeError(403, "this origin is not allowed")
    offered = request.tokens("sec-websocket-protocol")
    return Upgrade(key, SUBPROTOCOL if SUBPROTOCOL in offered else None, _find_token(request, offered))


def _find_token(request: Request, offered: Sequence[str]) -> str | None:
    """The token in `Authorization` (RFC 6750), or among the subprotocols: a browser can set no other header.

    Other schemes are a proxy's business. Raises HandshakeError for two tokens.
    """
    scheme, _, token = (request.only("authorization") or "").partition(" ")
    tokens = [token.strip()] if scheme.lower() == "bearer" else []
    tokens += [each.removeprefix(TOKEN_PREFIX) for each in offered if each.startswith(TOKEN_PREFIX)]
    if len(tokens) > 1:
        raise HandshakeError(400, "there is more than one token")
    return tokens[0] if tokens else None


def encode_accept(upgrade: Upgrade) -> bytes:
    """Returns the 101 response."""
    digest = hashlib.sha1(upgrade.key.encode() + _KEY_SUFFIX, usedforsecurity=False).digest()
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"upgrade: websocket",
        b"connection: Upgrade",
        b"sec-websocket-accept: " + base64.b64encode(digest),
    ]
    if upgrade.subprotocol is not None:
        lines.append(b"sec-websocket-protocol: " + upgrade.subprotocol.encode())
    return b"\r\n".join([*lines, b"", b""])


def encode_response(status: int, reason: str, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """Returns an HTTP response that ends the connection, with `reason` as a line of plain text."""
    body = reason.encode() + b"\n"
    lines = [
        f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}",
        "content-type: text/plain; charset=utf-8",
        f"content-length: {len(body)}",
        "connection: close",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def is_allowed_origin(origin: str | None, allowed: frozenset[str]) -> bool:
    """Whether a page from there may connect; None is no page."""
    return not allowed or origin is None or normalize_origin(origin) in allowed


def normalize_origin(origin: str) -> str:
    """Returns an Origin in the form in which two of them can be compared: scheme and host ignore case."""
    return origin.strip().rstrip("/").lower()


def normalize_origins(origins: Iterable[str]) -> frozenset[str]:
    return frozenset(map(normalize_origin, origins))


def parse_networks(values: Iterable[str]) -> tuple[Network, ...]:
    """Parses addresses and CIDR networks. Raises ValueError that names the wrong one."""
    return tuple(ipaddress.ip_network(value, strict=False) for value in values)


def client_address(peer: str, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> str:
    """Returns the client's address: `peer`, or what trusted proxies say of it.

    `forwarded_for` are the X-Forwarded-For headers in the order they came. Every proxy appends the address
    that it was called from, so they are believed from the right, as long as who said it is trusted.
    """
    if not trusted or not forwarded_for:
        return peer
    believed = peer
    for hop in reversed(",".join(forwarded_for).split(",")):
        if not _is_trusted(believed, trusted):
            return believed
        address = _parse_address(hop)
        if address is None:
            return believed
        believed = str(address)
    return believed


def _is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    parsed = _parse_address(address)
    return parsed is not None and any(parsed in network for network in trusted)


def _parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Understands an address with a port too, as some proxies write it, and IPv4 within IPv6."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
