"""What the settings make of the authenticator."""

from pathlib import Path

import pytest

from fastchat.auth.authentication import Guests, Policy
from fastchat.auth.building import policy_of, read_keys, rules_of
from fastchat.auth.passwords import Cost, PasswordPool
from fastchat.auth.tokens import Rules
from fastchat.config import Settings, load
from fastchat.errors import StartError

SECRET = "a secret of thirty-two bytes or more"


def settings(*given: str) -> Settings:
    return load(None, list(given), {})


def test_the_defaults_of_the_settings_are_those_of_the_parts() -> None:
    assert policy_of(settings()) == Policy()
    assert rules_of(settings().auth) == Rules()
    auth = settings().auth
    assert Cost(auth.password_memory_bytes, auth.password_rounds) == Cost()
    PasswordPool(print, threads=0).close()


@pytest.mark.parametrize(
    ("given", "alone"),
    [
        ([], True),
        (["http.listen=[::1]:0", "line.listen=off"], True),
        (["http.listen=localhost:0"], True),
        (["http.listen=0.0.0.0:0"], False),
        (["line.listen=[::]:0"], False),
        (["line.listen=192.0.2.1:0"], False),
        (["http.listen=chat.example.org:0"], False),
        (["http.trusted_proxies=127.0.0.1"], False),
    ],
)
def test_auto_is_as_open_as_the_listeners_are_closed(given: list[str], alone: bool) -> None:
    policy = policy_of(settings(*given))
    assert (policy.guests, policy.registration) == (Guests.ON if alone else Guests.OFF, alone)


def test_what_is_said_counts_wherever_the_server_listens() -> None:
    policy = policy_of(settings("auth.guests=off", "auth.registration=off"))
    assert (policy.guests, policy.registration) == (Guests.OFF, False)
    policy = policy_of(settings("http.listen=0.0.0.0:0", "auth.guests=read-only", "auth.registration=on"))
    assert (policy.guests, policy.registration) == (Guests.READ_ONLY, True)


def test_a_secret_may_be_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\r\n")
    (key,) = read_keys(settings(f"auth.secret_file={path}").auth)
    assert key.material == SECRET.encode()
    assert read_keys(settings(f"auth.secret={SECRET}").auth) == [key]
    assert read_keys(settings().auth) == []


def test_what_cannot_be_used_is_named_and_not_shown(tmp_path: Path) -> None:
    short, binary, garbage = (tmp_path / name for name in ("short", "binary", "garbage"))
    short.write_text("hunter2")
    binary.write_bytes(b"\xff" * 40)
    garbage.write_text("hunter2")
    for given, problem in (
        (f"auth.secret_file={short}", "auth.secret_file: a secret has 32 bytes"),
        (f"auth.secret_file={binary}", "not UTF-8"),
        (f"auth.secret_file={tmp_path}/missing", "no such file"),
        (f"auth.key_files={garbage}", "no PEM file"),
        ("auth.secret=hunter2", "auth.secret: a secret has 32 bytes"),
    ):
        with pytest.raises(StartError) as caught:
            read_keys(settings(given).auth)
        assert problem in str(caught.value)
        assert "hunter2" not in str(caught.value)
