"""Where a broker is: hosts and credentials out of its address. Pure: no sockets, clock or await."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from fastchat.broker.interface import BrokerError


@dataclass(frozen=True, slots=True)
class Address:
    """One server's address; texts show ``where`` alone, so that no password gets into a log."""

    scheme: str
    host: str
    port: int | None
    user: str | None
    password: str | None

    @property
    def where(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


def parse_addresses(url: str) -> Sequence[Address]:
    """The servers of ``url``: several with commas between, as NATS's clients take them.

    Raises BrokerError where a host is missing.
    """
    return tuple(_parse_address(one) for one in url.split(","))


def _parse_address(url: str) -> Address:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BrokerError(
            "broker.url: the port is a number; write / : @ # ? [ ] in a password as %XX"
        ) from None
    if not parts.hostname:
        raise BrokerError(f"broker.url: the host is missing; write {parts.scheme or 'SCHEME'}://HOST:PORT")
    user, password = (None if part is None else unquote(part) for part in (parts.username, parts.password))
    return Address(parts.scheme, parts.hostname, port, user or None, password or None)


def without_secrets(text: str, url: str, instead: str) -> str:
    """``text`` as it may be shown: ``instead`` where a library has put a password or token into it."""
    if url in text or any(secret in text for secret in _secrets(url)):
        return instead
    return text


def _secrets(url: str) -> set[str]:
    secrets: set[str] = set()
    for one in url.split(","):
        user_info = one.partition("://")[2].rpartition("@")[0]
        user, colon, password = user_info.partition(":")
        # Alone it is a token where NATS listens.
        secret = password if colon else user
        secrets |= {secret, unquote(secret)}
    return secrets - {""}
