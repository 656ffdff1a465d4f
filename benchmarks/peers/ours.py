"""fastchat on both of its ports, and the two C floors at equal bytes."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
from collections.abc import Iterator

from benchmarks.plan import FULL
from benchmarks.servers import EventSize, Server, fastchat, floor, measure_event_size

from .peer import Peer, missing_program

_DEFAULTS = "its defaults; limits meant for people off, texts of up to 64 KB; rooms in memory"
_TEXT_BYTES = 64_000
_WINDOWS = (1, 4, 16, 64)


@functools.cache
def event_size() -> EventSize:
    """Bytes of an event and of an acknowledgement on fastchat's line port; all peers deliver as many."""
    return measure_event_size(FULL.text_bytes)


@contextlib.contextmanager
def _start_fastchat() -> Iterator[Server]:
    with fastchat(f"limits.text_bytes={_TEXT_BYTES}") as server:
        yield server


@contextlib.contextmanager
def _start_floor(name: str) -> Iterator[Server]:
    with floor(name, event_size()) as server:
        yield server


def _version() -> str:
    return importlib.metadata.version("fastchat-server")


def _floor_version() -> str:
    return "benchmarks/floors"


def _nothing_missing() -> None:
    return None


OURS = (
    Peer("fastchat, lines", "line", "Python, Cython", _DEFAULTS, _WINDOWS, _version, _nothing_missing,
         _start_fastchat),
    Peer("fastchat, WebSocket", "ws", "Python, Cython", _DEFAULTS, _WINDOWS, _version, _nothing_missing,
         _start_fastchat),
    Peer("writev() floor", "floor", "C", "one writev() per member for all that one epoll_wait reported",
         _WINDOWS, _floor_version, missing_program("cc", "apt install gcc"),
         functools.partial(_start_floor, "writev_floor")),
    Peer("send() floor", "floor", "C", "one send() per event and member", _WINDOWS, _floor_version,
         missing_program("cc", "apt install gcc"), functools.partial(_start_floor, "send_floor")),
)  # fmt: skip
