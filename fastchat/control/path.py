"""Where a server's control socket is."""

from pathlib import Path

import platformdirs

from fastchat.config import Settings
from fastchat.config.cluster import is_postgresql
from fastchat.store import sqlite_path

PATH_BYTES_MAX = 107  # what the kernel takes as the name of a Unix socket


def control_path(settings: Settings) -> Path | None:
    """The socket that is set, or the one beside the store's file; None where there is none.

    With PostgreSQL it is in the user's data folder and named after the cluster: what XDG_RUNTIME_DIR names is
    not the same for a service and for the shell that an operator's command is given in.
    """
    wanted = settings.server.control
    if wanted == "off":
        return None
    if wanted != "auto":
        return Path(wanted)
    if is_postgresql(settings.store.url):
        return platformdirs.user_data_path("fastchat") / f"{settings.cluster.name}.control"
    file = sqlite_path(settings.store.url)
    return None if file is None else file.with_name(file.name + ".control")


def is_too_long(path: Path) -> bool:
    """Whether the kernel takes no socket of this name."""
    return len(str(path.absolute()).encode()) > PATH_BYTES_MAX
