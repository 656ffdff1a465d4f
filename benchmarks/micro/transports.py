"""Events of a size, and a transport that takes everything. No sockets."""

from __future__ import annotations

import asyncio
from typing import Any

_EVENT = (
    b'{"type":"message","room":"lobby","seq":1000,"id":"a1","from":"alice","at":1700000000000,"text":"%s"}'
)


def make_event(text_bytes: int = 64) -> bytes:
    """A message's JSON as clients get it: about 100 bytes, and so many of text."""
    return _EVENT % (b"x" * text_bytes)


def make_payload(size_bytes: int) -> bytes:
    """A text of this size."""
    return b"x" * size_bytes


class NullTransport(asyncio.Transport):
    """Takes every write and keeps nothing, so that only what leads to a write is measured."""

    def write(self, data: Any) -> None:
        """Taken."""

    def writelines(self, list_of_data: Any) -> None:
        """Taken."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""

    def get_write_buffer_size(self) -> int:
        """Nothing is kept."""
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """There is no socket."""
        return None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Nothing ever arrives."""

    def pause_reading(self) -> None:
        """Nothing ever arrives."""

    def resume_reading(self) -> None:
        """Nothing ever arrives."""

    def abort(self) -> None:
        """There is nothing to end."""
