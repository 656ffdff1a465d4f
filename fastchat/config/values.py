"""What settings hold beyond numbers: addresses, origins, networks, names. Pure.

A validator raises ValueError with a text only where it knows more than the setting's `Allowed`.
"""

import ipaddress
import json
import re
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, PlainValidator

from fastchat.config.address import ADDRESS, Address, is_loopback, parse_address
from fastchat.config.service_url import POSTGRESQL, check_postgresql_url

SECRET: dict[str, Any] = {"secret": True}
"""Marks a setting whose value is never shown."""
ADDRESS_WITH_PASSWORD: dict[str, Any] = {"password": True}
"""Marks a setting of whose value all is shown but a password."""
ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")
STORES = ("memory:", "sqlite:", "sqlite:///PATH", "postgresql://USER:PASSWORD@HOST/DATABASE")
ROOM_PATTERN = re.compile(r"[a-z0-9._*?@,\[\]!-]{1,64}")
WORD = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
ROOM_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
MODULE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_ORIGIN = re.compile(r"null|[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


@dataclass(frozen=True)
class Allowed:
    """What a setting accepts where type and bounds don't tell, to follow the word "use"."""

    text: str


def _address(value: object) -> Address:
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise ValueError
    return parse_address(value)


def _address_or_off(value: object) -> Address | None:
    if value is None or value == "off":
        return None
    try:
        return _address(value)
    except ValueError as error:
        raise ValueError(f"{error}, or off" if str(error) else "") from None


def words(value: object) -> object:
    """Lists given as text (a flag, the environment): separated by commas, or a JSON array."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("use values separated by commas, or a JSON array of strings") from None
    return [word.strip() for word in value.split(",") if word.strip()]


def _origin(value: object) -> str:
    if not isinstance(value, str) or not _ORIGIN.fullmatch(value.lower()):
        raise ValueError
    return value.lower()


def _network(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    try:
        return str(ipaddress.ip_network(value))
    except ValueError:
        raise ValueError from None


def _room(value: object) -> str:
    if not isinstance(value, str) or not ROOM_NAME.fullmatch(value):
        raise ValueError
    return value


def _module(value: object) -> str:
    if not isinstance(value, str) or not MODULE_NAME.fullmatch(value):
        raise ValueError
    return value


def _store(value: object) -> str:
    if isinstance(value, str) and (value in ("memory:", "sqlite:") or re.fullmatch(r"sqlite:///.+", value)):
        return value
    if isinstance(value, str) and value.partition("://")[0] in POSTGRESQL:
        return check_postgresql_url(value)
    raise ValueError


def _word(value: object) -> str:
    if not isinstance(value, str) or not WORD.fullmatch(value):
        raise ValueError
    return value


def _socket_path(value: object) -> str:
    if isinstance(value, str) and value.strip() and "\0" not in value:
        return value
    raise ValueError


def _pattern(value: object) -> str:
    if not isinstance(value, str) or not ROOM_PATTERN.fullmatch(value):
        raise ValueError
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError
    return value


def _jwks_url(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    if value:
        parts = urlsplit(value)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.username is not None:
            raise ValueError
        if parts.scheme == "http" and not is_loopback(Address(parts.hostname, 0)):
            raise ValueError("keys that come over plain HTTP could be anybody's: use https://")
    return value


def _algorithm(value: object) -> str:
    if value not in ALGORITHMS:
        raise ValueError
    return str(value)


def _tables(value: object) -> object:
    """Lists of tables given as text (a flag, the environment): a JSON array of objects."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("use a JSON array of objects") from None


ListenAddress = Annotated[Address, PlainValidator(_address), Allowed(ADDRESS)]
OptionalListenAddress = Annotated[
    Address | None, PlainValidator(_address_or_off), Allowed(f"{ADDRESS}, or off")
]
Origins = Annotated[
    tuple[Annotated[str, PlainValidator(_origin)], ...],
    BeforeValidator(words),
    Allowed("origins without a path, such as https://chat.example.org"),
]
Networks = Annotated[
    tuple[Annotated[str, PlainValidator(_network)], ...],
    BeforeValidator(words),
    Allowed("IP addresses or networks, such as 127.0.0.1 or 10.0.0.0/8"),
]
Modules = Annotated[
    tuple[Annotated[str, PlainValidator(_module)], ...],
    BeforeValidator(words),
    Allowed("names of Python modules, such as mychat.moderation"),
]
RoomName = Annotated[
    str, PlainValidator(_room), Allowed("1 to 64 of a-z 0-9 . _ - that begin with a letter or digit")
]
Word = Annotated[
    str, PlainValidator(_word), Allowed("1 to 32 of a-z 0-9 - that begin with a letter or digit")
]
SocketPath = Annotated[
    str, PlainValidator(_socket_path), Allowed("the path of a Unix socket, auto for one of its own, or off")
]
StoreUrl = Annotated[str, PlainValidator(_store), Allowed(" or ".join(f"'{url}'" for url in STORES))]
RoomPattern = Annotated[
    str, PlainValidator(_pattern), Allowed("a room's name in which * and ? stand for other characters")
]
Tables = BeforeValidator(_tables)
Text = Annotated[str, PlainValidator(_text), Allowed("text on one line, or nothing")]
Texts = Annotated[
    tuple[Annotated[str, PlainValidator(_text)], ...], BeforeValidator(words), Allowed("paths of files")
]
JwksUrl = Annotated[
    str,
    PlainValidator(_jwks_url),
    Allowed("an address like https://login.example.org/jwks.json, or nothing"),
]
Algorithms = Annotated[
    tuple[Annotated[str, PlainValidator(_algorithm)], ...],
    BeforeValidator(words),
    Allowed(f"some of {', '.join(ALGORITHMS)}"),
]
