"""The examples do what they say."""

import asyncio
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from examples import embedded, greeting, moderation, own_login
from fastchat import Server
from tests.clients import JsonLinesClient
from tests.integration.embedded import member, settings


async def test_moderation() -> None:
    async with Server(settings(), hooks=[moderation]) as server, member(server, "alice") as alice:
        answer = await alice.ask("send", room="lobby", text="Win in my CASINO")
        assert (answer["code"], answer["message"]) == ("refused", "no advertising here")
        for said, heard in (("Damn, missed", "****, missed"), ("hello", "hello")):
            await alice.send("send", room="lobby", text=said)
            assert (await alice.expect("message"))["text"] == heard


async def test_greeting() -> None:
    quick = settings(rooms={"presence_interval_ms": 0})
    async with Server(quick, hooks=[greeting]) as server, member(server, "alice") as alice:
        assert (await alice.expect("message", text="Welcome, alice!"))["from"] == "greeter"
        await alice.send("send", room="lobby", text="!time")
        await alice.expect("message", text="!time")
        assert re.fullmatch(r"\d\d:\d\d UTC", (await alice.expect("message"))["text"])


async def test_own_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "app.db"
    monkeypatch.setenv("SESSIONS", str(path))
    with closing(sqlite3.connect(path)) as sessions, sessions:
        sessions.execute("CREATE TABLE sessions (token TEXT PRIMARY KEY, user TEXT, expires_at REAL)")
        rows = [("t1", "alice", time.time() + 1000), ("t2", "bob", time.time() - 1000)]
        sessions.executemany("INSERT INTO sessions VALUES (?, ?, ?)", rows)
    async with Server(settings(), hooks=[own_login]) as server:
        async with await JsonLinesClient.open(server.addresses["line"]) as client:
            for token in ("t2", "t3"):
                answer = await client.ask("hello", token=token)
                assert (answer["code"], answer["message"]) == (
                    "unauthorized",
                    "your session has ended; sign in again",
                )
            welcome = await client.ask("hello", token="t1")
            assert (welcome["user"], welcome["guest"]) == ("alice", False)
        async with member(server, "carol"):
            pass


async def test_embedded(capsys: pytest.CaptureFixture[str]) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(embedded.serve(settings(), stop))
    said = ""
    async with asyncio.timeout(10):
        while not (found := re.search(r"nc (\S+) (\d+)", said)):
            await asyncio.sleep(0)
            said += capsys.readouterr().out
    async with await JsonLinesClient.open(f"{found[1]}:{found[2]}") as client:
        await client.hello("alice")
        await client.join("lobby", after=0)
        assert (await client.expect("message"))["text"] == "This room counts words."
        await client.ask("send", room="lobby", text="to be or not to be")
        stop.set()
        words = await running
    assert words["be"] == words["to"] == 2
