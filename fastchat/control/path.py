"""Where a server's control socket is."""

from pathlib import Path

from fastchat.config import Settings
from fastchat.store import sqlite_path

PATH_BYTES_MAX = 107  # what the kernel takes as the name of a Unix socket


def control_path(settings: Settings) -> Path | None:
    """The socket that is set, or the one beside the store's file; None where there is none."""
    wanted = settings.server.control
    if wanted == "off":
        return None
    if wanted != "auto":
        return Path(wanted)
    file = sqlite_path(settings.store.url)
    return None if file is None else file.with_name(file.name + ".control")


def is_too_long(path: Path) -> bool:
    """Whether the kernel takes no socket of this name."""
    return len(str(path.absolute()).encode()) > PATH_BYTES_MAX
