"""The `fastchat` command: what it hands to the server, what it prints, how it fails."""

import os
import socket
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import jwt
import pytest
import typer.testing
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import fastchat
from fastchat import cli
from fastchat.config import Address, ConfigError, Settings
from fastchat.config.address import ADDRESS
from fastchat.control.options import USAGE
from fastchat.errors import StartError, cannot_listen

Result = typer.testing.Result


class FakeServer(types.ModuleType):
    """Stands in for fastchat.serving and keeps what it was asked to run."""

    settings: Settings
    reload: Callable[[], Settings]
    ready_fd: int | None
    ready_file: Path | None
    outcome: int | Exception = 0

    def run(
        self,
        settings: Settings,
        *,
        reload: Callable[[], Settings],
        ready_fd: int | None = None,
        ready_file: Path | None = None,
    ) -> int:
        self.settings, self.reload, self.ready_fd, self.ready_file = settings, reload, ready_fd, ready_file
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("FASTCHAT_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    fake = FakeServer("fastchat.serving")
    monkeypatch.setitem(sys.modules, "fastchat.serving", fake)
    monkeypatch.setattr(fastchat, "serving", fake, raising=False)
    # The log is the process's own; test_log covers it.
    monkeypatch.setattr("fastchat.log.configure", lambda *_: None)
    return fake


def run(*arguments: str) -> Result:
    return typer.testing.CliRunner().invoke(cli.app, list(arguments), prog_name="fastchat")


# serve


def test_serve_hands_over_the_defaults(server: FakeServer) -> None:
    assert run("serve").exit_code == 0
    assert server.settings == Settings()
    assert server.ready_fd is None
    assert server.ready_file is None


def test_serve_hands_over_what_is_given(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "fastchat.toml"
    config.write_text("[fanout]\nslice_ms = 3\n[limits]\nburst = 3\n")
    monkeypatch.setenv("FASTCHAT_LIMITS__BURST", "4")
    ready_file = tmp_path / "ready.json"
    result = run(
        "serve", "--http", "[::1]:0", "--line", "off", "--store", "memory:", "--config", str(config),
        "--set", "rooms.lobby=hall", "--set", "limits.connections=5",
        "--ready-fd", "2", "--ready-file", str(ready_file),
    )  # fmt: skip
    assert result.exit_code == 0
    assert server.settings.http.listen == Address("::1", 0)
    assert server.settings.line.listen is None
    assert server.settings.rooms.lobby == "hall"
    assert server.settings.limits.connections == 5
    assert server.settings.limits.burst == 4
    assert server.settings.fanout.slice_ms == 3
    assert server.ready_fd == 2
    assert server.ready_file == ready_file


def test_reload_reads_the_same_sources_again(server: FakeServer, tmp_path: Path) -> None:
    config = tmp_path / "fastchat.toml"
    config.write_text("[fanout]\nslice_ms = 3\n")
    run("serve", "--config", str(config), "--http", "[::1]:0", "--set", "limits.burst=4")
    config.write_text("[fanout]\nslice_ms = 7\n")
    again = server.reload()
    assert again.fanout.slice_ms == 7
    assert again.http.listen == Address("::1", 0)
    assert again.limits.burst == 4
    config.write_text("[fanout]\nslice_ms = 0\n")
    with pytest.raises(ConfigError, match=r"^fanout\.slice_ms: 0 is not allowed"):
        server.reload()


def test_the_servers_status_is_the_commands(server: FakeServer) -> None:
    server.outcome = 3
    assert run("serve").exit_code == 3


def test_a_server_that_cannot_start_says_why_in_one_line(server: FakeServer) -> None:
    server.outcome = StartError("no room left")
    result = run("serve")
    assert (result.exit_code, result.stderr) == (1, "fastchat: no room left\n")


def test_the_log_is_configured_before_the_server_runs(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr("fastchat.log.configure", lambda *arguments: calls.append(arguments))
    run("serve", "--set", "log.level=warning", "--set", "log.format=json")
    assert calls == [("warning", "json")]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["serve", "--http", "8080"], "http.listen: '8080' is not allowed (from --http); use HOST:PORT "),
        (["serve", "--line", "of"], "line.listen: 'of' is not allowed (from --line); use HOST:PORT "),
        (["serve", "--store", "x:"], "store.url: 'x:' is not allowed (from --store); use 'memory:'"),
        (["serve", "--set", "a.b=c"], "a.b: no such setting (from --set); "),
        (["serve", "--config", "/none"], "cannot read /none (from --config): no such file or directory"),
        (["config", "show", "--set", "log.level=x"], "log.level: 'x' is not allowed (from --set); "),
        (["config", "check", "--set", "log.level=x"], "log.level: 'x' is not allowed (from --set); "),
        (["config", "check", "--config", "/none"], "cannot read /none (from --config): "),
    ],
)
def test_wrong_settings_stop_every_command_with_one_line(
    arguments: list[str], problem: str, server: FakeServer
) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"fastchat: {problem}")
    assert result.stderr.count("\n") == 1
    assert not hasattr(server, "settings")


def test_each_wrong_setting_has_its_line(server: FakeServer) -> None:
    result = run("serve", "--http", "x", "--set", "limits.burst=0")
    assert [line.split(": ")[:2] for line in result.stderr.splitlines()] == [
        ["fastchat", "http.listen"],
        ["fastchat", "limits.burst"],
    ]


@pytest.mark.parametrize("descriptor", ["9999", "99999999999999999999"])
def test_a_closed_ready_fd_is_told_at_once(descriptor: str, server: FakeServer) -> None:
    result = run("serve", "--ready-fd", descriptor)
    assert result.exit_code == 2
    assert result.stderr == f"fastchat: --ready-fd: {descriptor} is not an open file descriptor\n"


def test_a_missing_compiled_module_is_one_line(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "fastchat._fanout" else name)
    result = run("serve")
    assert result.exit_code == 1
    assert result.stderr == (
        "fastchat: the compiled module fastchat._fanout is missing; "
        "run 'pip install .' with a C compiler installed, or 'make build'\n"
    )


def test_settings_are_checked_without_the_compiled_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert run("config", "check").exit_code == 0
    assert run("config", "show").exit_code == 0


# Why an address cannot be bound


def test_a_port_in_use_names_the_flag_that_helps() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use") as caught:
        socket.create_server(taken.getsockname())
    address = Address("127.0.0.1", 8080)
    assert str(cannot_listen(address, "http.listen", "--http", caught.value)) == (
        "cannot listen on 127.0.0.1:8080 (http.listen): address already in use; "
        "choose another with --http HOST:PORT"
    )


def test_other_reasons_not_to_listen() -> None:
    def text(error: OSError) -> str:
        return str(cannot_listen(Address("::1", 80), "line.listen", "--line", error))

    assert text(PermissionError(13, "x")) == (
        "cannot listen on [::1]:80 (line.listen): permission denied; "
        "choose another with --line HOST:PORT (ports below 1024 are privileged)"
    )
    assert ": name or service not known; " in text(socket.gaierror(-2, "Name or service not known"))
    assert ": odd; " in text(OSError("odd"))


# config


def test_config_show_prints_every_setting_and_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCHAT_LIMITS__BURST", "4")
    result = run("config", "show", "--set", "log.level=debug")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["SETTING", "VALUE", "UNIT", "DEFAULT"]
    values = {line.split()[0]: line.split()[1:] for line in lines if not line.startswith(" ")}
    assert values["limits.burst"] == ["4", "100"]
    assert values["fanout.ring_bytes"] == ["1048576", "bytes", "1048576"]
    assert "    from FASTCHAT_LIMITS__BURST" in lines
    assert "    from --set" in lines


def test_config_show_toml_can_be_saved_and_used(tmp_path: Path, server: FakeServer) -> None:
    config = tmp_path / "fastchat.toml"
    config.write_text(run("config", "show", "--toml", "--set", "rooms.lobby=hall").stdout)
    assert run("serve", "--config", str(config)).exit_code == 0
    assert server.settings.rooms.lobby == "hall"


def test_config_check_counts_what_is_given() -> None:
    result = run("config", "check", "--set", "rooms.lobby=hall")
    assert result.exit_code == 0
    assert result.stdout == "the settings are right: 1 given, the others are defaults\n"


# The process


def test_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: {"fastchat-server": "1.2.3"}[name])
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, "fastchat 1.2.3\n")


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["serve", "--nonsense"], ["serve", "--ready-fd", "x"], ["config"]]
)
def test_wrong_usage(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Usage: fastchat" in result.output


def test_the_package_runs_as_the_command() -> None:
    # One real process: nothing above may depend on the test's own, and errors have no traceback.
    result = subprocess.run(
        [sys.executable, "-m", "fastchat", "serve", "--http", "x"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "FASTCHAT_LOG__LEVEL": "loud"},
    )
    assert result.returncode == 2
    assert result.stdout == ""
    http, level = result.stderr.splitlines()
    assert http == f"fastchat: http.listen: 'x' is not allowed (from --http); use {ADDRESS}"
    assert level.startswith("fastchat: log.level: 'loud' is not allowed (from FASTCHAT_LOG__LEVEL); use ")


# fastchat token

SECRET = "a secret of thirty-two bytes or more"


def claims_of(result: Result, key: object = SECRET.encode(), algorithm: str = "HS256") -> dict[str, Any]:
    assert (result.exit_code, result.stderr) == (0, "")
    claims: dict[str, Any] = jwt.decode(
        result.stdout.strip(), cast("bytes", key), [algorithm], options={"verify_aud": False}
    )
    return claims


def test_a_token_says_who_may_do_what_for_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCHAT_AUTH__SECRET", SECRET)
    result = run(
        "token", "--user", "alice", "--rooms", "support-*=rw", "--rooms", "news=r", "--expires", "10m",
        "--set", "auth.issuer=https://login.example", "--set", "auth.audience=chat",
    )  # fmt: skip
    claims = claims_of(result)
    assert claims.pop("exp") - claims.pop("iat") == 600
    assert claims == {
        "sub": "alice",
        "name": "alice",
        "iss": "https://login.example",
        "aud": "chat",
        "rooms": {"support-*": "rw", "news": "r"},
    }


def test_a_token_lasts_an_hour_and_is_for_all_rooms_unless_said_otherwise(tmp_path: Path) -> None:
    secret_file = tmp_path / "secret"
    secret_file.write_text(SECRET + "\n")
    claims = claims_of(run("token", "--user", "alice", "--set", f"auth.secret_file={secret_file}"))
    assert claims["exp"] - claims["iat"] == 3600
    assert "rooms" not in claims


@pytest.mark.parametrize("option", ["--key", "--set"])
def test_a_token_is_signed_with_a_private_key(tmp_path: Path, option: str) -> None:
    private = Ed25519PrivateKey.generate()
    pem = tmp_path / "key.pem"
    pem.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    value = str(pem) if option == "--key" else f"auth.key_files={pem}"
    claims = claims_of(run("token", "--user", "alice", option, value), private.public_key(), "EdDSA")
    assert claims["sub"] == "alice"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "nothing to sign with"),
        (["--set", "auth.secret=short"], "32 bytes"),
        (["--set", "auth.secret_file=/nowhere"], "cannot read /nowhere (auth.secret_file)"),
        (["--key", "/nowhere"], "cannot read /nowhere (--key)"),
        (["--set", f"auth.secret={SECRET}", "--rooms", "lobby=x"], "r, rw, rwm"),
        (["--set", f"auth.secret={SECRET}", "--rooms", "lobby"], "patterns"),
        (["--set", f"auth.secret={SECRET}", "--expires", "soon"], "90s, 10m, 12h or 7d"),
        (["--set", f"auth.secret={SECRET}", "--set", "auth.algorithms=RS256"], "must be signed by RS256"),
    ],
)
def test_why_there_is_no_token_is_said_in_one_line(arguments: list[str], problem: str) -> None:
    result = run("token", "--user", "alice", *arguments)
    assert result.exit_code == USAGE
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert problem in result.stderr
    assert SECRET not in result.stderr


def test_a_token_is_for_a_name() -> None:
    result = run("token", "--user", "al ice", "--set", f"auth.secret={SECRET}")
    assert (result.exit_code, result.stderr.startswith("fastchat: user must be letters")) == (USAGE, True)
