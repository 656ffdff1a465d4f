"""Where the engines are that fastchat stands on: their addresses, and how these are shown. Pure."""

import re
from collections.abc import Collection
from urllib.parse import SplitResult, unquote, urlsplit

POSTGRESQL = ("postgresql", "postgres")
RABBITMQ = ("amqp", "amqps")
NATS = ("nats", "tls")
REDIS = ("redis", "rediss")

# All that stands before the last @, as who forgot to escape a password may have one in it.
_USER_INFO = re.compile(r"(?<=://)[^\s,]*(?=@)")
_PASSWORD_OPTION = re.compile(r"([?&](?:ssl)?password=)[^&#\s]*", re.IGNORECASE)


def masked(url: str) -> str:
    """The address as it may be shown: with the user's name, and without the password or token."""
    return _PASSWORD_OPTION.sub(r"\1***", _USER_INFO.sub(_mask_user_info, url))


def _mask_user_info(found: re.Match[str]) -> str:
    user, colon, _ = found[0].partition(":")
    # Alone it is a name in most addresses, yet in those of NATS a token.
    return f"{user}:***" if colon else "***"


def check_postgresql_url(url: str) -> str:
    """Raises ValueError where this names no database, with a text if the general rule is not enough."""
    parts = _split(url, POSTGRESQL)
    database = unquote(parts.path.removeprefix("/"))
    if not database or "/" in database:
        raise ValueError(f"name one database behind the host, such as {parts.scheme}://HOST/fastchat")
    return url


def check_broker_url(url: str) -> str:
    """Raises ValueError where this names no broker, with a text if the general rule is not enough."""
    scheme = url.partition("://")[0]
    if scheme in NATS:
        # A NATS client knows several servers of a cluster, and connects to one that is there.
        for one in url.split(","):
            parts = _split(one, NATS)
            if parts.path not in ("", "/") or parts.query:
                raise ValueError(f"{scheme}:// takes a host and port alone, such as {scheme}://HOST:4222")
        return url
    parts = _split(url, (*RABBITMQ, *REDIS))
    if scheme in REDIS and not re.fullmatch(r"(/[0-9]*)?", parts.path):
        raise ValueError(f"behind Redis's host stands the number of a database, such as {scheme}://HOST/0")
    if scheme in RABBITMQ and parts.path.count("/") > 1:
        raise ValueError("a virtual host with a / in its name is written with %2F, such as amqp://HOST/%2F")
    return url


def _split(url: str, schemes: Collection[str]) -> SplitResult:
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("write characters that are not letters or digits as %XX, in a password too")
    scheme = url.partition("://")[0]
    if scheme not in schemes or "://" not in url:
        raise ValueError
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(
            "the port is a number from 1 to 65535; write / : @ # ? [ ] in a password as %XX"
        ) from None
    if not parts.hostname:
        raise ValueError(f"the host is missing: write {scheme}://HOST:PORT")
    if port == 0:
        raise ValueError("the port is a number from 1 to 65535")
    if parts.fragment or "@" in parts.path:
        raise ValueError("write / : @ # ? [ ] in a password as %XX")
    return parts
