"""Addresses to listen on."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastchat.config import Address, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("[::1]:8080", Address("::1", 8080)),
        ("[::]:0", Address("::", 0)),
        ("[fe80::1%eth0]:1", Address("fe80::1%eth0", 1)),
        ("chat.example.org:65535", Address("chat.example.org", 65535)),
        ("chat_1:80", Address("chat_1", 80)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "8080", "localhost", "localhost:", "localhost:x", "localhost:-1", "localhost:65536",
        "localhost:\u0662", "localhost: 80", " localhost:80", "local host:80", "-a:80", "a..b:80", "a/b:80",
        "1.2.3:80", "256.1.1.1:80", "::1:80", "[::1]", "[::1]80", "[::g]:80", "[127.0.0.1]:80", "[]:80",
        ":80", "*:80", "caf\u00e9:80", "a:80\n", "x" * 254 + ":80", "user@host:80",
    ],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"^$|brackets|every interface"):
        parse_address(text)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_every_ip_address_is_read_as_it_was_written(ip: object, port: int) -> None:
    address = Address(str(ip), port)
    assert parse_address(str(address)) == address


@given(st.text())
@example("a" * 200 + "!:80")
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert 0 <= address.port <= 65535
    assert parse_address(str(address)) == address
