"""The peers that come from Python's package index."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

from benchmarks.servers import Server

from .peer import SERVERS, Peer, missing_package, package_version, run_server

_WINDOWS = (1, 4, 16, 64)


def _script(name: str, file: str) -> Callable[[], AbstractContextManager[Server]]:
    return lambda: run_server(name, lambda port: [sys.executable, str(SERVERS / file), str(port)])


def _missing_socketify() -> str | None:
    absent = missing_package("socketify", "socketify")()
    if absent:
        return absent
    try:
        import socketify  # noqa: F401
    except OSError as error:  # its wheel carries uWebSockets, but not what that is linked with
        return f"apt install libuv1 zlib1g ({error})"
    return None


PYTHON = (
    Peer(
        "uWebSockets (socketify)",
        "echo-ws",
        "C++",
        "publish() to a topic; libuv's own loop in place of asyncio's around it; no compression; up to 1 MiB"
        " waiting per member in place of 64 KiB",
        (1, 2, 3, 4, 8, 16, 64),  # it slows down beyond 32 publishes in one turn of its loop
        package_version("socketify"),
        _missing_socketify,
        _script("uWebSockets (socketify)", "socketify_publish.py"),
    ),
    Peer(
        "picows",
        "echo-ws",
        "Python, Cython",
        "uvloop under its aiofastnet; a loop over the transports' send()",
        _WINDOWS,
        package_version("picows"),
        missing_package("picows", "picows"),
        _script("picows", "picows_loop.py"),
    ),
    Peer(
        "websockets",
        "echo-ws",
        "Python",
        "uvloop; broadcast() of bytes as they came; no compression",
        _WINDOWS,
        package_version("websockets"),
        missing_package("websockets", "websockets"),
        _script("websockets", "websockets_broadcast.py"),
    ),
    Peer(
        "aiohttp",
        "echo-ws",
        "Python, Cython",
        "uvloop; send_frame() to one member after the other, of bytes as they came; no compression",
        _WINDOWS,
        package_version("aiohttp"),
        missing_package("aiohttp", "aiohttp"),
        _script("aiohttp", "aiohttp_ws.py"),
    ),
    Peer(
        "FastAPI, uvicorn",
        "echo-ws",
        "Python",
        "uvloop, httptools, ws=websockets-sansio (the fastest of its three); send_text() to one member after"
        " the other; no compression, no access log",
        _WINDOWS,
        package_version("fastapi", "starlette", "uvicorn", "websockets"),
        missing_package("fastapi", "fastapi 'uvicorn[standard]'"),
        _script("FastAPI, uvicorn", "fastapi_ws.py"),
    ),
)
