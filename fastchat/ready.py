"""What is said when the server is ready: lines for people, JSON for scripts that wait for it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastchat.config import Settings
from fastchat.config.service_url import masked
from fastchat.errors import cannot_write
from fastchat.store import sqlite_path


def announce(
    version: str,
    settings: Settings,
    addresses: Mapping[str, str],
    ready_fd: int | None,
    ready_file: Path | None,
    **more: Any,
) -> None:
    """Prints the addresses, and writes them as JSON, with ``more``, where a script waits for them.

    Raises StartError.
    """
    print(f"fastchat {version} is ready")
    print(f"  page       http://{addresses['http']}/")
    print(f"  WebSocket  ws://{addresses['http']}/ws")
    if "line" in addresses:
        print(f"  lines      {addresses['line']}   (nc {addresses['line'].replace(':', ' ')})")
    for name, place in _places(settings).items():
        print(f"  {name:<9}  {place}", flush=True)
    ready = json.dumps({**addresses, "pid": os.getpid(), **more}) + "\n"
    if ready_fd is not None:
        write_line(ready_fd, ready)
    if ready_file is not None:
        _write_file(ready_file, ready)


def _places(settings: Settings) -> dict[str, object]:
    """Where the server keeps what it has, and whom it tells, without passwords."""
    url = settings.store.url
    places: dict[str, object] = {
        "store": "memory" if url == "memory:" else sqlite_path(url) or masked(url),
    }
    if settings.broker.url:
        places["broker"] = masked(settings.broker.url)
    return places


def write_line(ready_fd: int, line: str) -> None:
    """Writes to a descriptor that somebody waits at, and closes it. Raises StartError."""
    try:
        os.write(ready_fd, line.encode())
    except OSError as error:
        raise cannot_write(ready_fd, "--ready-fd", error) from None
    os.close(ready_fd)


def _write_file(ready_file: Path, line: str) -> None:
    # In one step, so that nobody who waits for the file reads half of it.
    partial = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
    try:
        partial.write_text(line)
        partial.replace(ready_file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise cannot_write(ready_file, "--ready-file", error) from None
