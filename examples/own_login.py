"""An app's own sessions as logins: whoever has a session there is that user here.

The app keeps its sessions in a SQLite file, in a table ``sessions(token, user, expires_at)``. A ``def`` may
block, so an ordinary database driver will do. `SESSIONS` names the file:
`SESSIONS=app.db fastchat serve --set hooks.modules=examples.own_login`.
"""

import os
import sqlite3
import time
from contextlib import closing

from fastchat import Refuse
from fastchat.auth import Credentials


def authenticate(credentials: Credentials) -> str | None:
    """The user whose session this token is; None for those who come without one."""
    if credentials.token is None:
        return None
    with closing(sqlite3.connect(os.environ["SESSIONS"])) as sessions:
        found = sessions.execute(
            "SELECT user FROM sessions WHERE token = ? AND expires_at > ?", (credentials.token, time.time())
        ).fetchone()
    if found is None:
        raise Refuse("your session has ended; sign in again")
    name: str = found[0]
    return name
