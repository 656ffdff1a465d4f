"""Addresses to listen on, written HOST:PORT. Pure: nothing is resolved."""

import ipaddress
import re
from typing import NamedTuple

ADDRESS = "HOST:PORT with a port from 0 to 65535, such as 127.0.0.1:8080 or [::1]:8080"

# RFC 1123, section 2.1, plus the underscore that container networks allow.
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*\.?")
_PORT = re.compile(r"[0-9]{1,5}")


class Address(NamedTuple):
    """A host (name, IPv4 or IPv6 without brackets) and a port, 0 for any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_loopback(address: Address) -> bool:
    """Whether only this machine can connect there."""
    try:
        return ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        return address.host == "localhost"


def parse_address(text: str) -> Address:
    """Reads HOST:PORT; IPv6 stands in brackets. Raises ValueError, with a text if `ADDRESS` is not enough."""
    host, colon, port = text.rpartition(":")
    if not colon or not _PORT.fullmatch(port) or int(port) > 65535:
        raise ValueError
    if host.startswith("[") and host.endswith("]"):
        return Address(_ipv6(host[1:-1]), int(port))
    if ":" in host:
        raise ValueError(f"an IPv6 address stands in brackets: use {ADDRESS}")
    if host in ("", "*"):
        raise ValueError(f"for every interface write 0.0.0.0:{port} or [::]:{port}")
    if not _is_host(host):
        raise ValueError
    return Address(host, int(port))


def _ipv6(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise ValueError from None


def _is_host(text: str) -> bool:
    # What ends in a number is an IPv4 address or a mistake (WHATWG URL, section 3.5).
    if text.rstrip(".").rpartition(".")[2].isdigit():
        try:
            ipaddress.IPv4Address(text)
        except ValueError:
            return False
        return True
    return _HOST_NAME.fullmatch(text) is not None
