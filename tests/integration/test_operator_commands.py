"""`fastchat user`, `room` and `audit`: with a server that runs and without one."""

import asyncio
import json
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients import JsonLinesClient
from tests.protocol_document import ProtocolDocument
from tests.server_process import ServerProcess

ASKED: list[tuple[str, dict[str, Any], str]] = [
    ("user_add", {"user": "alice"}, "account"),
    ("user_role", {"user": "alice", "operator": False}, "account"),
    ("join", {"room": "lobby"}, "joined"),
    ("users", {}, "users"),
    ("room_list", {}, "room_list"),
    ("ban", {"room": "lobby", "user": "mallory"}, "sent"),
    ("mute", {"room": "lobby", "user": "bob", "for_s": 60}, "sent"),
    ("role", {"room": "lobby", "user": "alice", "role": "owner"}, "sent"),
    ("room", {"room": "lobby"}, "room"),
    ("audit", {}, "audit"),
]
DOCUMENT = ProtocolDocument()
PASSWORD = "correct horse battery staple"

# Each command is a process of its own, and some tests give ten of them.
pytestmark = pytest.mark.timeout(180)

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A store's file."""
    return tmp_path / "chat.db"


@pytest.fixture
def run(file: Path) -> Run:
    """`run("user", "list")`: a command about this store."""

    def run_one(group: str, *arguments: str, words: str = "", store: str | None = None) -> object:
        where = ["--store", store or f"sqlite://{file}"]
        tail = [*where, *arguments] if group in ("user", "room") else [*arguments, *where]
        return subprocess.run(
            [sys.executable, "-m", "fastchat", group, *tail],
            input=words,
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )

    return run_one  # type: ignore[return-value]


def printed(result: subprocess.CompletedProcess[str]) -> str:
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def refused(result: subprocess.CompletedProcess[str], status: int = 1) -> str:
    assert (result.returncode, result.stdout) == (status, "")
    return result.stderr


def test_an_account_made_without_a_server_is_there_when_one_starts(
    run: Run, file: Path, start_server: Callable[..., ServerProcess]
) -> None:
    assert printed(run("user", "add", "alice", words=PASSWORD + "\n")) == "added alice\n"
    server = start_server(f"store.url=sqlite://{file}")

    async def log_in() -> None:
        async with await JsonLinesClient.open(server.line) as client:
            await client.send("hello", user="alice", password=PASSWORD)
            assert (await client.expect("welcome"))["user"] == "alice"
            (listed,) = map(json.loads, (await run_off(run, "user", "list", "--json")).splitlines())
            assert (listed["user"], listed["online"]) == ("alice", 1)
            await run_off(run, "user", "disable", "alice")
            assert (await client.expect("bye"))["code"] == 4501

    asyncio.run(log_in())
    assert "disabled" in printed(run("user", "list"))
    actions = [json.loads(line)["action"] for line in printed(run("audit", "--json")).splitlines()]
    assert actions == ["user_disable", "user_add"]


async def run_off(run: Run, *arguments: str) -> str:
    """As ``printed(run(…))``, while the loop goes on."""
    return printed(await asyncio.to_thread(run, *arguments))


def test_the_socket_is_the_owners_alone_and_goes_with_the_server(
    file: Path, start_server: Callable[..., ServerProcess]
) -> None:
    path = file.with_name("chat.db.control")
    server = start_server(f"store.url=sqlite://{file}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with socket.socket(socket.AF_UNIX) as shell:
        shell.connect(str(path))
        answers = shell.makefile("rb")
        for kind, fields, answer in ASKED:
            shell.sendall(json.dumps({"type": kind, "ref": "x", **fields}).encode() + b"\n")
            line = next(line for line in answers if b'"ref"' in line)
            DOCUMENT.check_from_server(line)
            assert json.loads(line)["type"] == answer, line
    assert server.stop() == 0
    assert not path.exists()


def test_what_a_killed_server_left_is_replaced(
    run: Run, file: Path, start_server: Callable[..., ServerProcess]
) -> None:
    killed = start_server(f"store.url=sqlite://{file}")
    killed.kill()
    assert file.with_name("chat.db.control").exists()
    assert printed(run("user", "add", "alice", "--no-password")) == "added alice\n"
    start_server(f"store.url=sqlite://{file}")
    assert "alice" in printed(run("user", "list"))


def test_a_server_without_the_socket_is_named(
    run: Run, file: Path, start_server: Callable[..., ServerProcess]
) -> None:
    start_server(f"store.url=sqlite://{file}", "server.control=off")
    assert "is in use by another fastchat" in refused(run("user", "list"))


def test_memory_alone_has_nothing_to_manage(run: Run) -> None:
    assert "keeps nothing" in refused(run("user", "list", store="memory:"))


def test_mistakes_end_with_one_line(run: Run, tmp_path: Path) -> None:
    assert "there is no account bob" in refused(run("user", "disable", "bob"))
    assert "15 characters at least" in refused(run("user", "add", "bob", words="short\n"))
    assert "there is no password" in refused(run("user", "add", "bob"), 2)
    missing = run("user", "add", "bob", "--password-file", str(tmp_path / "missing"))
    assert "cannot read the password" in refused(missing)
    assert "no role of the server" in refused(run("user", "role", "bob", "king"), 2)
    assert printed(run("user", "list")).splitlines()[1:] == []


def test_a_room_is_looked_after_from_the_command_line(
    run: Run, file: Path, start_server: Callable[..., ServerProcess]
) -> None:
    start_server(f"store.url=sqlite://{file}")
    printed(run("user", "add", "alice", "--no-password"))
    printed(run("room", "create", "support", "--access", "private", "--topic", "help"))
    assert (
        printed(run("room", "role", "support", "alice", "owner")) == "alice has the role owner in support\n"
    )
    printed(run("room", "ban", "support", "mallory", "--for", "7d", "--reason", "adverts"))
    printed(run("room", "mute", "support", "bob"))
    printed(run("room", "slow", "support", "10s"))
    room = json.loads(printed(run("room", "show", "support", "--json")))
    assert (room["access"], room["topic"], room["interval_s"], room["roles"]) == (
        "private", "help", 10, {"alice": "owner"},
    )  # fmt: skip
    assert room["banned"]["mallory"] > 0
    assert room["muted"] == {"bob": 0}
    assert "banned   mallory until " in printed(run("room", "show", "support"))
    (listed,) = map(json.loads, printed(run("room", "list", "--json")).splitlines())
    assert (listed["room"], listed["head"]) == ("support", 5)
    entries = [json.loads(line) for line in printed(run("audit", "--room", "support", "--json")).splitlines()]
    assert [entry["action"] for entry in entries] == ["slow", "mute", "ban", "role", "create"]
    assert "no length of time" in refused(run("room", "ban", "support", "mallory", "--for", "soon"), 2)
