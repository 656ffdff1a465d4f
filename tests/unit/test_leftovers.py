"""Tests of the checks that run around every test: each must be able to fail."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from blockbuster import BlockingError

import fastchat
from tests import leftovers


def test_an_open_socket_is_found() -> None:
    with pytest.raises(AssertionError, match="sockets open"), leftovers.nothing_new():
        opened = socket.socket()
    opened.close()


def test_a_running_child_is_found() -> None:
    with pytest.raises(AssertionError, match="child processes"), leftovers.nothing_new():
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    child.communicate(b"\n")


async def test_a_running_task_is_found() -> None:
    task = asyncio.create_task(asyncio.Event().wait())
    assert len(leftovers.tasks_beside(asyncio.current_task())) == 1
    task.cancel()
    await asyncio.wait([task])
    assert leftovers.tasks_beside(asyncio.current_task()) == []


async def test_the_loop_is_the_servers() -> None:
    assert type(asyncio.get_running_loop()).__module__ == "uvloop"


async def test_a_blocking_call_of_ours_is_found() -> None:
    namespace: dict[str, Callable[[], object]] = {}
    source = "import os\ndef block(): return os.listdir('/')"
    exec(compile(source, str(Path(fastchat.__path__[0], "blocking.py")), "exec"), namespace)
    with pytest.raises(BlockingError):
        namespace["block"]()
